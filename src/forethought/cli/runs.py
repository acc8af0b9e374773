"""`forethought runs`: what training runs there are, and what became of them."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from forethought.evals.measurement import Measurement
    from forethought.train.run import Run

from forethought.cli.train import RUNS

app = typer.Typer(help="List, show, draw and compare training runs.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder of a run.")]

LAST = 10
"""Steps that the figures of `show` and `compare` are means of."""


@app.command("list")
def list_runs(
    directory: Annotated[Path, typer.Argument(help="The directory that holds the runs.")] = RUNS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the runs in a directory."""
    from forethought.cli.table import print_table
    from forethought.errors import TrainError
    from forethought.train.run import runs_in

    if directory != RUNS and not directory.is_dir():
        raise TrainError(f"There is no directory {directory}.", "Name the one that holds the runs (default: runs).")
    runs, broken = runs_in(directory)
    found = [_summary(run) for run in runs]
    for error in broken:
        typer.echo(error.message, err=True)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    columns = ("run", "recipe", "stage", "step", "state")
    print_table(columns, [[str(run[column]) for column in columns] for run in found])


@app.command()
def show(
    run: Folder, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False
) -> None:
    """Show how a run went: where it is, the means of each stage's last 10 steps, and what it took.

    A loss is of another kind in every kind of stage: compare it with itself alone.
    """
    from forethought.cli.table import print_facts, print_table
    from forethought.train.evaluation import in_json
    from forethought.train.run import ESTIMATES, Run

    opened = Run.open(run)
    stages = _stages(opened)
    costs = opened.lines(ESTIMATES)
    if as_json:
        measured = {name: in_json(found) for name, found in _measurements(opened).items()}
        told = {"stages": stages, "costs": costs, "measurements": measured}
        typer.echo(json.dumps(_summary(opened) | told, indent=2))
        return
    print_facts([(name, str(value)) for name, value in _summary(opened).items()])
    names = [name for name in FIGURES if any(name in figures for figures in stages.values())]
    print_table(("stage", *names), [(stage, *_cells(figures, names)) for stage, figures in stages.items()])
    for line in _measured(opened):
        typer.echo(line)
    for cost in costs:
        typer.echo(f"{cost['stage']}: {_cost(cost['found'])}, estimated {_cost(cost['estimated'])}")


@app.command()
def plot(run: Folder) -> None:
    """Draw a run's metrics as PNG files, in its folder `plots`."""
    from forethought.train.plots import plot_run
    from forethought.train.run import Run

    for path in plot_run(Run.open(run)):
        typer.echo(str(path))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="The folders of two or more runs.")],
    stage: Annotated[str | None, typer.Option(help="The stage to compare (default: the last one).")] = None,
    picture: Annotated[Path | None, typer.Option("--plot", help="Draw them over each other into this PNG.")] = None,
) -> None:
    """Compare means of the last 10 steps of a stage. Runs draw different problems, so this is no test."""
    from forethought.cli.table import print_table
    from forethought.errors import TrainError
    from forethought.train.run import Run, by_name

    if len(runs) < 2:
        raise TrainError("One run is nothing to compare.", "Name another one too, or look at it with runs show.")
    opened = [Run.open(run) for run in runs]
    name = stage or opened[0].recipe.stages[-1].name
    found = {label: _stages(run).get(name, {}) for label, run in by_name(opened).items()}
    if not any(found.values()):
        raise TrainError(f"None of these runs has taken a step of a stage {name!r}.", "Name one that they have.")
    names = [figure for figure in FIGURES if any(figure in figures for figures in found.values())]
    print_table((name, *names), [(run, *_cells(figures, names)) for run, figures in found.items()])
    if picture is not None:
        from forethought.train.plots import plot_compared

        typer.echo(str(plot_compared(opened, name, picture)))


FIGURES = ("steps", "reward", "correct", "validation", "loss", "thinking_tokens", "entropy", "grad_norm")


def _summary(run: Run) -> dict[str, Any]:
    position, stages = run.position(), run.recipe.stages
    finished = position.stage == len(stages)
    unmeasured = run.recipe.evaluation is not None and not run.measurement(stages[-1].name).exists()
    return {
        "run": run.directory.name,
        "recipe": run.recipe.name,
        "stage": stages[-1].name if finished else stages[position.stage].name,
        "step": stages[-1].steps if finished else position.step,
        "state": "running" if run.running else "finished" if finished and not unmeasured else "to be resumed",
    }


def _stages(run: Run) -> dict[str, dict[str, float]]:
    """For each stage that has begun: its steps, and means of the last of them."""
    found: dict[str, dict[str, float]] = {}
    entries = run.metrics()
    for stage in run.recipe.stages:
        own = [entry for entry in entries if entry["stage"] == stage.name]
        if own:
            figures = {name: _mean([entry.get(name) for entry in own[-LAST:]]) for name in FIGURES[1:]}
            found[stage.name] = {"steps": len(own)} | {
                name: value for name, value in figures.items() if value is not None
            }
    return found


def _measured(run: Run) -> list[str]:
    """What the base and the checkpoints were found to be worth, and what each stage gained."""
    from forethought.train.evaluation import gain_in_words, in_words

    found = _measurements(run)
    worth = [f"{name}: {in_words(measured)}" for name, measured in found.items()]
    gains = [
        f"{after} less {before}: {gain_in_words(found[before], found[after])}" for before, after in pairwise(found)
    ]
    return worth + gains


def _measurements(run: Run) -> dict[str, Measurement]:
    from forethought.evals.measurement import Measurement

    names = ["base", *(stage.name for stage in run.recipe.stages)]
    return {name: Measurement.load(run.measurement(name)) for name in names if run.measurement(name).exists()}


def _mean(values: list[Any]) -> float | None:
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) / len(numbers) if numbers else None


def _cells(figures: dict[str, float], names: list[str]) -> list[str]:
    return [f"{figures[name]:.4g}" if name in figures else "" for name in names]


def _cost(cost: dict[str, Any]) -> str:
    return f"{cost['seconds']:.0f} s and {cost['memory_bytes'] / 2**30:.1f} GiB of memory"
