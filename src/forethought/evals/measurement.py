"""What was measured: the samples of each problem, and how they were made. One JSON file.

A measurement is its samples. Figures and comparisons (`figures`) are computed from them, so each can be traced back.
What was found does not depend on time, so the time that it took is kept apart from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from forethought.errors import ResultError, misfits
from forethought.evals.attempt import Attempt, Reason
from forethought.model.conversation import Effort
from forethought.tasks.problem import Split

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A level of a family: what is measured together."""

    family: str
    level: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What is kept of an attempt. `verdict` says why it is wrong; `error` what broke, if anything did."""

    correct: bool
    answered: bool
    capped: bool
    thinking_tokens: int
    reason: Reason
    verdict: str
    error: str | None = None

    @classmethod
    def of(cls, made: Attempt) -> Sample:
        return cls(
            made.verdict.correct,
            made.answered,
            made.capped,
            made.thinking_tokens,
            made.reason,
            made.verdict.reason,
            made.error,
        )


@dataclass(frozen=True, slots=True)
class ProblemRecord:
    """The samples of one problem. `key` is the hash of the problem's own; it names the problem in its cell."""

    cell: Cell
    seed: int
    key: str
    samples: tuple[Sample, ...]


class Measurement(BaseModel):
    """All that was sampled, and how. `problems` is how many were asked for in each cell: where a family has fewer that
    differ, there are fewer records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    checkpoint: str
    """The digest."""
    effort: Effort | None
    budget: int | None
    sampling: dict[str, int | float]
    examples: int
    worked: bool = False
    must_call: bool = False
    split: Split
    problems: int
    samples: int
    seed: int
    records: tuple[ProblemRecord, ...]
    seconds: float
    """How long it took; no part of what was found."""

    @property
    def cells(self) -> list[Cell]:
        """In order."""
        return sorted({record.cell for record in self.records})

    def of(self, *, family: str | None = None, level: int | None = None) -> list[ProblemRecord]:
        """The records of a family, a level, or a cell; all without any of them."""
        return [
            record
            for record in self.records
            if family in (None, record.cell.family) and level in (None, record.cell.level)
        ]

    @property
    def digest(self) -> str:
        """Of what was found, without the time that it took."""
        text = json.dumps(self._found(), sort_keys=True, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def save(self, path: Path) -> None:
        """Writes it as one JSON file."""
        content = {"schema_version": SCHEMA_VERSION, "found": self._found(), "seconds": self.seconds}
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Measurement:
        """Reads what `save` wrote.

        Raises:
            ResultError: the file cannot be read, is no measurement, or one of another version.
        """
        try:
            content: Any = json.loads(path.read_text(encoding="utf-8"))
            version = content["schema_version"]
            found: dict[str, Any] = {**content["found"], "seconds": content["seconds"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ResultError(f"{path} is no measurement: {type(error).__name__}.", "Measure again.") from None
        if version != SCHEMA_VERSION:
            raise ResultError(
                f"{path} is a measurement of version {version}, and this Forethought reads {SCHEMA_VERSION}.",
                "Measure again.",
            )
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise ResultError(f"{path} is no measurement: {misfits(error)}.", "Measure again.") from None

    def lines(self) -> Iterator[str]:
        """One line of JSON for each problem."""
        for record in self.records:
            yield json.dumps(asdict(record), ensure_ascii=False, separators=(",", ":"))

    def _found(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"seconds"})
