"""A stage of a run while it is trained: steps one after another, each written down, the state saved now and then.

What a step does is the stage's own affair (`sft`, `rl`). Here is what all have in common: lines, states, alarms, the
view, an end on demand, and the promise that a run that was cut off anywhere goes on as if it had not been.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import torch

from forethought.errors import TrainingStopped
from forethought.model.processor import processor
from forethought.train.page import write_page
from forethought.train.run import METRICS, ROLLOUTS, Position, Run
from forethought.train.seeds import seed_of


@dataclass(frozen=True, slots=True)
class Step:
    """What a step of a stage gave: its metrics, rollouts for people to read, and what an alarm says about it. `done` is
    False when the alarm came before anything was learned: a resumed run then takes the step again. `score` is how well
    the model did in a validation, if there was one."""

    metrics: Mapping[str, Any]
    rollouts: Sequence[Mapping[str, Any]] = ()
    alarm: str | None = None
    done: bool = True
    score: float | None = None


class Stage(Protocol):
    """A stage that is trained step by step. All it does follows from the recipe, its backend's state and `state`."""

    name: str
    kind: str
    steps: int
    save_every: int

    async def step(self, number: int) -> Step:
        """Takes step `number`, counted from 0."""
        ...

    def state(self) -> dict[str, Any]:
        """What it has to remember besides the backend's state, as JSON values."""
        ...

    def resume(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state."""
        ...


class Watcher(Protocol):
    """Who looks on: the live view of the command line, or nobody."""

    def stage(self, stage: Stage, done: int) -> None:
        """A stage begins, or goes on after `done` steps."""
        ...

    def step(self, entry: Mapping[str, Any]) -> None:
        """A step was taken; `entry` is its line of `metrics.jsonl`."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line."""
        ...


class Saving(Protocol):
    """What is saved of a backend."""

    def save_state(self, directory: Path) -> None:
        """Writes all that the next step depends on."""
        ...

    def save_checkpoint(self, directory: Path) -> object:
        """Writes what has been trained."""
        ...


@dataclass(slots=True)
class Halt:
    """Asks a run to end after the step that it is at."""

    wanted: bool = field(default=False)

    def ask(self) -> None:
        """It may come from a signal handler."""
        self.wanted = True


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains the stages of one run."""

    run: Run
    watcher: Watcher
    halt: Halt

    async def train(self, index: int, stage: Stage, position: Position, backend: Saving) -> Position | None:
        """Takes the steps from `position` on. Returns where it got; None when it was asked to halt before the end, in
        which case the state is saved.

        Raises:
            TrainingStopped: an alarm went off; the state is saved.
        """
        if position.memory is not None and position.step:  # an alarm before the first step leaves nothing to go on with
            stage.resume(position.memory)
        self.watcher.stage(stage, position.step)
        here = position
        processors = tuple(sorted({*position.processors, str(processor())}))
        while here.step < stage.steps:
            # Dropout draws from torch's own generator; so it, too, follows from the place in the run.
            seed = seed_of(self.run.recipe.seed, stage.name, here.step, "torch")
            torch.manual_seed(seed)  # pyright: ignore[reportUnknownMemberType]
            began = perf_counter()
            step = await stage.step(here.step)
            seconds, number = here.seconds + perf_counter() - began, here.step + step.done
            self._write(stage, number, step)
            best = self._best(stage, step.score, here.best, backend)
            here = Position(index, number, stage.state(), seconds, best, processors)
            if step.alarm is not None:
                self.run.save(here, backend.save_state)
                remedy = f"The run in {self.run.directory} is saved after step {number} of {stage.name}."
                raise TrainingStopped(
                    step.alarm, f"{remedy} Look at its rollouts.html, mend the cause, then resume it."
                )
            await asyncio.sleep(1e-3)  # a step need not wait for anything, and then no signal would be heard
            halted = self.halt.wanted and number < stage.steps
            if halted or number % stage.save_every == 0:
                self.run.save(here, backend.save_state)
            if halted:
                return None
        return here

    def _best(self, stage: Stage, score: float | None, best: float | None, backend: Saving) -> float | None:
        """Keeps what has scored best so far as a checkpoint. Returns the best score."""
        if score is None or (best is not None and score <= best):
            return best
        target = self.run.checkpoint(f"{stage.name}-best")
        better, worse = (target.with_name(f".{target.name}-{name}") for name in ("better", "worse"))
        shutil.rmtree(better, ignore_errors=True)
        backend.save_checkpoint(better)
        if target.exists():
            target.replace(worse)
        better.replace(target)
        shutil.rmtree(worse, ignore_errors=True)
        return score

    def _write(self, stage: Stage, number: int, step: Step) -> None:
        """The step's lines. Steps are counted from 1 in them."""
        entry = {"stage": stage.name, "kind": stage.kind, "step": number, **step.metrics}
        if step.done:
            self.run.append(METRICS, [entry])
            self.watcher.step(entry)
        if step.rollouts:
            self.run.append(ROLLOUTS, [{"stage": stage.name, "step": number, **each} for each in step.rollouts])
            write_page(self.run.directory, self.run.lines(ROLLOUTS))
