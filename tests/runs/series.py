"""Thousands of runs, one after another: what they were about, how they ended, and which of them failed."""

import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter
from typing import Any, Generic, Self, TextIO, TypeVar

import pytest

from runs.run import Run
from runs.shrink import describe, smallest

WRONG = (Exception, pytest.fail.Exception)
"""Whatever is wrong with a run is what is looked for; the second is what `pytest.raises` raises."""

MOST_FAILURES = 5
EVERY = 100
PACKAGES = ("forethought", "openai", "pydantic", "fastapi", "starlette", "uvicorn", "httptools", "httpx")

Opened = TypeVar("Opened")
Check = Callable[[int, Run], str]
"""Takes a run by its number and says how it ended. Raises what is wrong."""


@dataclass
class Series:
    """The runs of one seed. `renew` is called after a failure, which may have left anything behind."""

    seed: int
    make: Callable[[int], Run]
    check: Check
    renew: Callable[[], None]
    progress: TextIO = sys.stderr
    kinds: Counter[str] = field(default_factory=Counter[str])
    features: Counter[str] = field(default_factory=Counter[str])
    ends: Counter[str] = field(default_factory=Counter[str])
    failures: list[str] = field(default_factory=list[str])

    def take(self, numbers: Iterable[int]) -> None:
        """Takes these runs, or as many as it takes to see that something is wrong."""
        began = perf_counter()
        for number in numbers:
            run = self.make(number)
            self.kinds[run.kind] += 1
            self.features.update(run.features)
            try:
                self.ends[f"{run.kind}: {self.check(number, run)}"] += 1
            except WRONG:
                self._failed(number, run)
                if len(self.failures) == MOST_FAILURES:
                    return
            if self.kinds.total() % EVERY == 0:
                self._say(f"{self.kinds.total()} runs, {perf_counter() - began:.0f} s, {len(self.failures)} failed")

    def last(self, check: Callable[[], None]) -> None:
        """What must hold of all runs together."""
        try:
            check()
        except AssertionError:
            self.failures.append(f"after all runs of seed {self.seed}\n{traceback.format_exc()}")

    @property
    def figures(self) -> dict[str, Any]:
        """What the runs were, for the outcome."""
        return {
            "seed": self.seed,
            "runs": self.kinds.total(),
            "kinds": dict(self.kinds.most_common()),
            "features": dict(self.features.most_common()),
            "ends": dict(sorted(self.ends.items())),
            "failures": self.failures,
            "versions": {name: version(name) for name in PACKAGES},
        }

    def _failed(self, number: int, run: Run) -> None:
        """Tells of the smallest run that fails like this one."""
        why = traceback.format_exc()
        small = smallest(run, lambda smaller: self._fails(number, smaller))
        self.renew()
        told = f"run {number} of seed {self.seed}\n{describe(small)}\n{why}"
        self.failures.append(told)
        self._say(told)

    def _say(self, line: str) -> None:
        self.progress.write(f"{line}\n")
        self.progress.flush()

    def _fails(self, number: int, run: Run) -> bool:
        self.renew()
        try:
            self.check(number, run)
        except WRONG:
            return True
        return False


class Reopened(Generic[Opened]):
    """Something that is opened and closed, and opened anew when nobody knows what became of it. Use as `with`."""

    def __init__(self, opening: Callable[[], AbstractContextManager[Opened]]) -> None:
        self._opening = opening
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.now = self._stack.enter_context(self._opening())
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def renew(self) -> None:
        """Opens another one."""
        self._stack.close()
        self.now = self._stack.enter_context(self._opening())
