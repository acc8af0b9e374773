"""How good the base and what each stage has made are, kept in the run's `measurements`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
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

PIECE: Final = 1000
"""Attempts, about, after which what was found is kept."""
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
    recipe: Recipe,
    checkpoint: Checkpoint,
    engine: NativeEngine,
    target: Path,
    halt: Halt,
    told: Callable[[str], None] = lambda _: None,
) -> Measurement | None:
    """Measures a checkpoint as its recipe says and writes it to `target`; None when asked to halt meanwhile. What is
    found until then lies beside it, to be gone on with, and `told` how far that is.

    One that thinks does so with the recipe's effort; one that does not sees solved examples instead.
    """
    plan = recipe.evaluation
    assert plan is not None
    thinks = checkpoint.capabilities.thinks
    how: dict[str, Any] = {
        "problems": plan.problems,
        "samples": plan.samples,
        "effort": plan.effort if thinks else None,
        "budget": plan.budget or None if thinks else None,
        "examples": 0 if thinks else plan.examples,
        "split": plan.split,
        "seed": recipe.seed,
    }
    cells = measured_cells(recipe)
    of_piece = max(1, PIECE // (plan.problems * plan.samples))
    partial = target.with_suffix(".partial")
    found = _kept(partial, cells, how | {"checkpoint": checkpoint.digest()})
    begun = 0 if found is None else len(found.cells)
    target.parent.mkdir(exist_ok=True)
    await engine.start()
    try:
        for end in range(begun + of_piece, len(cells) + of_piece, of_piece):
            known = found
            found = await _unless(halt, measure(Reasoner(checkpoint, engine), cells[:end], known=known, **how))
            if found is None:
                return None
            if known is not None:
                found = found.model_copy(update={"seconds": known.seconds + found.seconds})
            fresh = target.with_name(f".{target.name}")
            found.save(fresh)
            fresh.replace(partial)
            if end < len(cells):
                told(f"{end} of {len(cells)} levels of families")
    finally:
        await engine.close()
    partial.replace(target)
    return found


def _kept(path: Path, cells: Sequence[Cell], how: Mapping[str, Any]) -> Measurement | None:
    """What was measured of the first of these cells, if it was done so."""
    if not path.exists():
        return None
    kept = Measurement.load(path)
    first = kept.cells == sorted(cells[: len(kept.cells)])
    return kept if first and all(getattr(kept, name) == value for name, value in how.items()) else None


def in_words(measurement: Measurement) -> str:
    """Pass@1 of each level with its interval, for a line."""
    levels = Report.of(measurement).levels
    said = (
        f"level {level} {figures.pass_1.value:.0%} ({figures.pass_1.low:.0%} to {figures.pass_1.high:.0%})"
        for level, figures in levels.items()
    )
    return f"pass@1 {', '.join(said)}; {len(measurement.records)} problems"


def in_json(measurement: Measurement) -> dict[str, Any]:
    """The same, for programs."""
    report = Report.of(measurement)
    levels = {str(level): asdict(figures.pass_1) for level, figures in report.levels.items()}
    return {"problems": len(measurement.records), "pass_1": levels}


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
