"""Pictures of a run's metrics, and of several runs over each other. They need matplotlib, which is no dependency."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from forethought.errors import TrainError
from forethought.train.run import Run, by_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = Mapping[str, Any]
Points = Sequence[tuple[int, float]]
Lines = Mapping[str, Points]

FIGURES: Final[Mapping[str, Callable[[Entry], Any]]] = {
    "reward": lambda entry: entry.get("reward"),
    "correct": lambda entry: entry.get("correct"),
    "correct in validations": lambda entry: entry.get("validation"),
    "loss": lambda entry: entry.get("loss"),
    "gradient norm": lambda entry: entry.get("grad_norm"),
    "thinking tokens": lambda entry: entry.get("thinking_tokens"),
    "entropy": lambda entry: entry.get("entropy"),
    "groups that teach (share)": lambda entry: _taught(entry),
    "|log p learner - log p sampler|, most": lambda entry: entry.get("ratio", {}).get("most"),
    "mean level": lambda entry: _mean(entry.get("levels", {})),
}
"""What is drawn for a stage: a name, and how to take it from a line of `metrics.jsonl`."""

SMOOTH: Final = 10
"""Steps that the line through the dots is a mean of."""


def plot_run(run: Run) -> list[Path]:
    """Draws each stage of a run, and the rewards of each family by level, into its folder `plots`. Returns the
    pictures."""
    made: list[Path] = []
    for stage in run.recipe.stages:
        entries = [entry for entry in run.metrics() if entry["stage"] == stage.name]
        if not entries:
            continue
        made.append(_draw(run.directory / "plots" / f"{stage.name}.png", _figures({run.directory.name: entries})))
        if families := _families(entries):
            made.append(_draw(run.directory / "plots" / f"{stage.name}-families.png", families))
    return made


def plot_compared(runs: Sequence[Run], stage: str, target: Path) -> Path:
    """Draws the same stage of several runs into one picture. Raises `TrainError` when none of them has taken a step of
    it."""
    found = {name: [entry for entry in run.metrics() if entry["stage"] == stage] for name, run in by_name(runs).items()}
    if not any(found.values()):
        raise TrainError(f"None of these runs has taken a step of a stage {stage!r}.", "Name one that they have.")
    return _draw(target, _figures(found))


def _figures(found: Mapping[str, Sequence[Entry]]) -> Mapping[str, Lines]:
    """What is drawn for a stage: a picture for each figure that somebody has, and in it a line for each run."""
    drawn = {
        title: {label: _points(entries, taken) for label, entries in found.items()} for title, taken in FIGURES.items()
    }
    return {title: lines for title, lines in drawn.items() if any(lines.values())}


def _families(entries: Sequence[Entry]) -> Mapping[str, Lines]:
    """The rewards of a stage: a picture for each family, and in it a line for each level."""
    drawn: dict[str, dict[str, Points]] = {}
    for cell in sorted({cell for entry in entries for cell in entry.get("cells", {})}):
        family, level = cell.rsplit("/", 1)
        drawn.setdefault(family, {})[f"level {level}"] = _points(entries, _of_cell(cell))
    return drawn


def _draw(target: Path, pictures: Mapping[str, Lines]) -> Path:
    """Small pictures by their titles, and the lines in each by their labels."""
    columns = min(3, len(pictures)) or 1
    rows = -(-len(pictures) // columns) or 1
    figure = _matplotlib()(figsize=(5 * columns, 3 * rows), layout="constrained")
    for place, (title, lines) in enumerate(pictures.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        for label, points in lines.items():
            _line(axes, label, points)
        if len(lines) > 1:
            axes.legend(fontsize=7)
    target.parent.mkdir(exist_ok=True)
    figure.savefig(target, dpi=110)
    return target


def _points(entries: Sequence[Entry], taken: Callable[[Entry], Any]) -> Points:
    return [(entry["step"], value) for entry in entries if _is_number(value := taken(entry))]


def _line(axes: Axes, label: str, points: Points) -> None:
    steps, values = [step for step, _ in points], [value for _, value in points]
    smooth = [sum(values[max(0, n - SMOOTH + 1) : n + 1]) / min(n + 1, SMOOTH) for n in range(len(values))]
    draw = cast("Any", axes).plot  # whose own types are not complete
    (line,) = draw(steps, smooth, label=label)
    draw(steps, values, ".", markersize=3, alpha=0.35, color=line.get_color())


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise TrainError("Pictures need matplotlib, which is not installed.", "Run `pip install matplotlib`.") from None
    matplotlib.use("agg")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    def figure_of(**options: Any) -> Figure:
        figure = Figure(**options)
        FigureCanvasAgg(figure)
        return figure

    return figure_of


def _of_cell(name: str) -> Callable[[Entry], Any]:
    return lambda entry: entry.get("cells", {}).get(name, {}).get("reward")


def _taught(entry: Entry) -> float | None:
    groups: Mapping[str, int] = entry.get("groups", {})
    taught: int = entry.get("credit", {}).get("groups", groups.get("taught", 0))
    return taught / sum(groups.values()) if groups else None


def _mean(levels: Mapping[str, float]) -> float | None:
    return sum(levels.values()) / len(levels) if levels else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
