"""How good the base and what each stage has made are, kept in the run's `measurements`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from forethought.errors import TrainError
from forethought.evals.figures import Report, compare
from forethought.evals.measure import measure
from forethought.evals.measurement import Cell, Measurement
from forethought.reasoning.reasoner import Reasoner
from forethought.tasks.registry import family
from forethought.train.recipe import Recipe
from forethought.train.stage import Halt

if TYPE_CHECKING:
    from forethought.engine.native import NativeEngine
    from forethought.model.checkpoint import Checkpoint

LOOK: Final = 0.5
"""Seconds between two looks whether a halt was asked for."""


def measured_cells(recipe: Recipe) -> list[Cell]:
    """What the recipe has measured: each level of each family that it names, or that its stages learn.

    Raises:
        TaskError: a family does not exist.
        TrainError: no family has such a level.
    """
    plan = recipe.evaluation
    if plan is None:
        return []
    names = plan.families or tuple(dict.fromkeys(name for stage in recipe.stages for name in stage.families))
    cells = [Cell(name, level) for name in names for level in range(1, len(family(name).levels) + 1)]
    chosen = [cell for cell in cells if not plan.levels or cell.level in plan.levels]
    if not chosen:
        raise TrainError(f"evaluation.levels {list(plan.levels)} exist in no family.", "Correct the recipe.")
    return chosen


async def evaluate(
    recipe: Recipe, checkpoint: Checkpoint, engine: NativeEngine, target: Path, halt: Halt
) -> Measurement | None:
    """Measures a checkpoint as its recipe says and writes it to `target`; None when asked to halt meanwhile.

    One that thinks does so with the recipe's effort; one that does not sees solved examples instead.
    """
    plan = recipe.evaluation
    assert plan is not None
    thinks = checkpoint.capabilities.thinks
    await engine.start()
    try:
        found = await _unless(
            halt,
            measure(
                Reasoner(checkpoint, engine),
                measured_cells(recipe),
                problems=plan.problems,
                samples=plan.samples,
                effort=plan.effort if thinks else None,
                budget=plan.budget or None if thinks else None,
                examples=0 if thinks else plan.examples,
                split=plan.split,
                seed=recipe.seed,
            ),
        )
    finally:
        await engine.close()
    if found is not None:
        target.parent.mkdir(exist_ok=True)
        partial = target.with_name(f".{target.name}")
        found.save(partial)
        partial.replace(target)
    return found


def in_words(measurement: Measurement) -> str:
    """Pass@1 of each level with its interval, for a line."""
    levels = Report.of(measurement).levels
    said = (
        f"level {level} {figures.pass_1.value:.0%} ({figures.pass_1.low:.0%} to {figures.pass_1.high:.0%})"
        for level, figures in levels.items()
    )
    return f"pass@1 {', '.join(said)}; {len(measurement.records)} problems"


def gain_in_words(before: Measurement, after: Measurement) -> str:
    """How much more the second gets right than the first, problem by problem, for a line; and which families lost."""
    found = compare(before, after)
    pooled, worse = found.pooled, found.worse()
    lost = f"; significantly down: {', '.join(worse)}" if worse else ""
    gain = pooled.difference
    return f"{gain.value:+.1%} ({gain.low:+.1%} to {gain.high:+.1%}), p {pooled.p_value:.2g}, {gain.n} problems{lost}"


async def _unless(halt: Halt, work: Coroutine[Any, Any, Measurement]) -> Measurement | None:
    """The result of some work; None when a halt is asked for first."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done() and not halt.wanted:
            await asyncio.wait({task}, timeout=LOOK)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        await asyncio.wait({task})
