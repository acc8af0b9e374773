"""A training as it is watched: one line that is always there, one line a step below each other in a pipe."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from forethought.cli.terminal import printable

if TYPE_CHECKING:
    from forethought.train.stage import Stage

RECENT = 20
"""Steps that the time left is judged by."""


class TrainView:
    """A `Watcher` that writes to standard error. Use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        self._progress = Progress(*columns, console=self._console, transient=True)
        self._task: Any = None
        self._steps = 0
        self._moments: deque[float] = deque(maxlen=RECENT + 1)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Leaves the terminal as it was."""
        self._progress.stop()

    def stage(self, stage: Stage, done: int) -> None:
        """A stage begins, or goes on."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._steps = stage.steps
        self._moments = deque([monotonic()], maxlen=RECENT + 1)
        self._task = self._progress.add_task(stage.name, total=stage.steps, completed=done, figures="")

    def step(self, entry: Mapping[str, Any]) -> None:
        """The figures of a step."""
        self._moments.append(monotonic())
        figures = f"{_figures(entry)}, {self._left(entry['step'])} left"
        if self._console.is_terminal:
            self._progress.update(self._task, completed=entry["step"], figures=figures)
        else:
            self._console.print(f"{entry['stage']} {entry['step']}/{self._steps}: {figures}", markup=False)

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(printable(text), style="dim", markup=False)

    def _left(self, step: int) -> str:
        from forethought.train.estimate import duration

        pace = (self._moments[-1] - self._moments[0]) / (len(self._moments) - 1)
        return duration(pace * (self._steps - step))


def _figures(entry: Mapping[str, Any]) -> str:
    """What a line has room for."""
    shown = (("reward", "reward", ".2f"), ("loss", "loss", ".3f"), ("thinking_tokens", "thinking", ".0f"))
    figures = [f"{name} {entry[key]:{form}}" for key, name, form in shown if isinstance(entry.get(key), int | float)]
    if "tokens_per_second" in entry:
        figures.append(f"{entry['tokens_per_second']:.0f} tok/s")
    return ", ".join(figures)
