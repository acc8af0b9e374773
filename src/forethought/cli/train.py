"""`forethought train`: from a recipe to a better checkpoint."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from forethought.cli.train_view import TrainView
    from forethought.settings import Settings
    from forethought.train.recipe import Recipe
    from forethought.train.run import Run
    from forethought.train.stage import Halt

RUNS = Path("runs")
"""Where runs lie when nothing else is said."""


def train(
    context: typer.Context,
    recipe: Annotated[
        Path | None, typer.Argument(help="A TOML file (docs/recipes.md). Not needed with --resume.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="The run's folder (default: runs/NAME-DATE).", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --run.")] = False,
    until: Annotated[
        str | None, typer.Option("--until", metavar="STAGE", help="End after this stage.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.", show_default=False)] = None,
) -> None:
    """Follow a recipe: stages of supervised fine-tuning ("sft") and reinforcement learning ("rl"), in its order.

    Ctrl-C, or SIGTERM, halts the run after the step it is at, with its state saved, and exits with 130. `--resume` goes
    on from there: on a CPU, with the same threads and kernels, to the same bits.
    """
    from forethought.cli.train_view import TrainView
    from forethought.errors import TrainError
    from forethought.train.stage import Halt
    from forethought.train.stages import check

    settings = cast("Settings", context.obj)
    if context.parent is not None and context.parent.params.get("model") is not None:
        raise TrainError("A recipe names what it begins with, so --model does nothing here.", "Set its `base` instead.")
    opened = _opened(recipe, run, resume=resume, seed=seed, check=lambda recipe: check(recipe, settings, until))
    halt = Halt()
    with TrainView() as view:
        view.note(f"the run is in {opened.directory}")
        finished = asyncio.run(_train(opened, settings, view, halt, until))
        if not finished:
            view.note(f"halted; go on with: forethought train --resume --run {opened.directory}")
    raise typer.Exit(0 if finished else 130)


async def _train(opened: Run, settings: Settings, view: TrainView, halt: Halt, until: str | None) -> bool:
    from forethought.cli.interrupt import interrupting_at_once
    from forethought.train.stages import train as follow

    def ask() -> None:
        if halt.wanted:
            view.close()
            os._exit(130)  # an exception would wait for the thread that computes; the last saved state is whole
        halt.ask()
        view.note("halting after this step or piece; Ctrl-C again ends at once, and loses what is not saved")

    with interrupting_at_once(ask):
        return await follow(opened, settings, view, halt, until)


def _opened(
    recipe: Path | None, directory: Path | None, *, resume: bool, seed: int | None, check: Callable[[Recipe], None]
) -> Run:
    """The run to work on: a new one, or one that is there. A recipe has to stand the check before a run has it."""
    from forethought.errors import TrainError
    from forethought.train.recipe import Recipe
    from forethought.train.run import Run

    if recipe is None and seed is not None:
        raise TrainError("--seed changes a recipe's, and there is none.", "Name the recipe too, or leave it out.")
    read = None if recipe is None else Recipe.read(recipe)
    if read is not None and seed is not None:
        read = read.model_copy(update={"seed": seed})
    if resume:
        if directory is None:
            raise TrainError("--resume needs the run to go on with.", "Name it with --run.")
        opened = Run.open(directory)
        if read is None:
            return opened
        check(read)
        return opened.revised(read)
    if read is None:
        raise TrainError("There is no recipe to follow.", "Name a TOML file, or a run with --resume --run.")
    if directory is None:
        directory = RUNS / f"{read.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    check(read)
    return Run.create(directory, read)
