"""What the acceptance runs of training share: the checkpoints that runs have made, and measurements of them.

A measurement takes hours in all, so each is kept in a file as soon as it is there, under the digests of what was
measured and of the code that does it; an interrupted run goes on with those that are missing, on another machine too.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from forethought import engine, evals, model, reasoning, tasks
from forethought.engine.native import NativeEngine
from forethought.errors import TrainError
from forethought.evals.measure import measure
from forethought.evals.measurement import Cell, Measurement
from forethought.model.checkpoint import Checkpoint
from forethought.model.processor import processor
from forethought.model.registry import resolve
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import Settings
from forethought.tasks.registry import family
from forethought.train.run import ESTIMATES, Run

WORK = Path("build/acceptance")
AFTERWARDS = ("figures.py", "validate.py")
"""What says something of measurements, or of tasks, and changes none."""
OWN = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Samples from the model's own distribution: what reinforcement learning improves."""

RUNNER = {"runner": "compiled"}
"""A machine without a compiler would compute in another precision, under the same name."""


def made_by(run: Path, stage: str, settings: Settings) -> Checkpoint:
    """The checkpoint of a stage of a run. Raises `TrainError` or `CheckpointError` when it is not there."""
    return resolve(str(Run.open(run).checkpoint(stage)), settings)


def cost_of(run: Path, stages: Sequence[str]) -> dict[str, Any]:
    """What these stages of a run took together (`seconds`), on which machines and how exactly, by the code of which
    commits, and what the first of them began with, as `estimates.jsonl` has it. Raises `TrainError` when one is not
    over."""
    costs = {cost["stage"]: cost for cost in Run.open(run).lines(ESTIMATES)}
    for stage in stages:
        if stage not in costs:
            raise TrainError(
                f"The stage {stage} of {run} is not over.", f"Go on with it: forethought train --resume --run {run}."
            )
    parts = [costs[stage] for stage in stages]
    machines = {tuple(str(cost[key]) for key in ("device", "processor", "threads", "dtype")) for cost in parts}
    return {
        "stages": list(stages),
        "began": parts[0]["began"],
        "machines": sorted(" ".join(machine) for machine in machines),
        "commits": list(dict.fromkeys(str(cost.get("commit")) for cost in parts)),
        "seconds": sum(cost["found"]["seconds"] for cost in parts),
    }


def cells_of(names: Iterable[str], levels: Sequence[int] = ()) -> list[Cell]:
    """Every level of these families, or only these levels."""
    cells = [Cell(name, level) for name in names for level in range(1, len(family(name).levels) + 1)]
    return [cell for cell in cells if not levels or cell.level in levels]


def joined(measurements: Sequence[Measurement]) -> Measurement:
    """Measurements of different cells as one, which says of how they were made what the first does."""
    first = measurements[0]
    records = tuple(record for each in measurements for record in each.records)
    return first.model_copy(update={"records": records, "seconds": sum(each.seconds for each in measurements)})


def _sources() -> str:
    """A digest of the tasks, the prompts, the rules of an attempt, and what computes it."""
    digest = hashlib.sha256("".join(map(version, ("llguidance", "tokenizers"))).encode())
    for package in (tasks, evals, reasoning, model, engine):
        for file in sorted(Path(package.__path__[0]).rglob("*.*")):
            if file.suffix in (".py", ".txt", ".c", ".h") and file.name not in AFTERWARDS:
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


SOURCES = _sources()
"""As this process has them, whatever is written into the files later."""


class Subject:
    """A checkpoint that is measured, piece by piece. The engine starts when a piece is missing."""

    def __init__(self, name: str, checkpoint: Checkpoint, settings: Settings) -> None:
        settings = settings.model_copy(update={"engine": settings.engine.model_copy(update=RUNNER)})
        self.name, self.checkpoint = name, checkpoint
        self.digest = checkpoint.digest()
        self._settings = settings
        self._engine: NativeEngine | None = None
        self._starting = asyncio.Lock()
        # What only makes an engine faster is no part of what it computes.
        by = settings.engine.model_dump_json(include={"runner", "dtype", "quantization"})
        of = f"{self.digest} {by} {SOURCES}"
        self._directory = WORK / f"{name}-{hashlib.sha256(of.encode()).hexdigest()[:16]}"
        self._here = self._directory / re.sub(r"[^A-Za-z0-9_]+", "-", str(processor())).strip("-")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            await self._engine.close()

    @property
    def processors(self) -> list[str]:
        """Those on which it was measured, as directories are named after them: sums are rounded in another order on
        another one."""
        return sorted({path.parent.name for path in self._directory.glob("*/*.json")})

    async def reasoner(self) -> Reasoner:
        """Takes turns of the checkpoint."""
        async with self._starting:
            if self._engine is None:
                engine = NativeEngine(self.checkpoint, self._settings)
                await engine.start()
                self._engine = engine
        return Reasoner(self.checkpoint, self._engine)

    async def measured(
        self, piece: str, cells: Sequence[Cell], known: Measurement | None = None, **how: Any
    ) -> Measurement:
        """The measurement of that name, from its file or made now, with the samples that are known already."""
        path = next(self._directory.glob(f"*/{piece}.json"), self._here / f"{piece}.json")
        if path.exists():
            kept = Measurement.load(path)
            if kept.cells == sorted(cells) and all(getattr(kept, key) == value for key, value in how.items()):
                if not any(sample.error for record in kept.records for sample in record.samples):
                    return kept
                known = kept  # what broke is tried again
        found = await measure(await self.reasoner(), cells, known=known, **how)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        found.save(partial)
        partial.replace(path)
        sys.stdout.write(f"{self.name}: {piece} took {found.seconds:.0f} s\n")
        sys.stdout.flush()
        return found
