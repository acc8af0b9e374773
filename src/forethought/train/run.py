"""A run: one folder that holds all there is to know about a training.

    config.json        the recipe, with every default filled in
    environment.json   what it runs on
    metrics.jsonl      one line a step
    rollouts.jsonl     sample rollouts, and rollouts.html for people
    estimates.jsonl    what each stage should have cost, and what it did
    replay.jsonl       the base's own answers that training shows again, if it does
    measurements/      how good the base and each stage's checkpoint were found to be
    checkpoints/       what each stage has made, and what scored best in it, to be opened like any checkpoint
    state/             from where the run goes on
    plots/             pictures of the metrics

Nothing in it is ever half there: a line is complete or cut off at the next resume, a directory appears under its name
when it is full. One process writes a run at a time.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self, cast

from forethought.errors import CheckpointError, TrainError
from forethought.model.layout import new_directory, read_object, write_object
from forethought.train.environment import environment
from forethought.train.recipe import Recipe

SCHEMA_VERSION: Final = 1

CONFIG, ENVIRONMENT, METRICS, ROLLOUTS = "config.json", "environment.json", "metrics.jsonl", "rollouts.jsonl"
ESTIMATES, POSITION, REPLAY = "estimates.jsonl", "position.json", "replay.jsonl"

LINES: Final = (METRICS, ROLLOUTS, ESTIMATES)
"""Files that grow by the line. A state remembers how long each of them was."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a run has come: `step` steps of the stage with this index are done. `memory` is what the stage itself
    has to remember, as JSON values, `seconds` what it has taken so far, `best` the best score of its validations, and
    `processors` are those that it has been trained on."""

    stage: int = 0
    step: int = 0
    memory: Mapping[str, Any] | None = None
    seconds: float = 0.0
    best: float | None = None
    processors: tuple[str, ...] = ()


class Run:
    """The folder of a run. Made by `create` or `open`."""

    def __init__(self, directory: Path, recipe: Recipe) -> None:
        self.directory = directory
        self.recipe = recipe

    @classmethod
    def create(cls, directory: Path, recipe: Recipe) -> Self:
        """A new folder for a recipe.

        Raises:
            TrainError: a run is there already.
            CheckpointError: something else is.
        """
        if (directory / CONFIG).exists():
            message = f"There is a run in {directory} already."
            raise TrainError(
                message, f"Go on with it: forethought train --resume --run {directory}; or give another folder."
            )
        with new_directory(directory) as partial:
            write_object(partial / CONFIG, _config(recipe))
            write_object(partial / ENVIRONMENT, environment())
            for name in LINES:
                (partial / name).touch()
        return cls(directory, recipe)

    @classmethod
    def open(cls, directory: Path) -> Self:
        """A run that is there. Raises `TrainError` when it is none, or one of a newer version."""
        try:
            config = read_object(directory / CONFIG)
        except CheckpointError:
            config = {}
        version = config.get("schema_version")
        if version is None:  # a checkpoint has a file of that name, too
            raise TrainError(f"{directory} is no run.", "Give the folder of one; `forethought runs list` shows them.")
        if version != SCHEMA_VERSION:
            raise TrainError(f"{directory} is a run of schema version {version}.", "Install a newer Forethought.")
        return cls(directory, Recipe.parse(config["recipe"], str(directory / CONFIG)))

    def revised(self, recipe: Recipe) -> Self:
        """This run, to go on with a recipe that differs in stages that have not begun, or in an evaluation when nothing
        was evaluated. Raises `TrainError` when it differs in anything else, or another process works on the run."""
        with self.writing():
            position = self.position()
            begun, measured = position.stage + (position.step > 0), any(self.directory.glob("measurements/*.json"))
            done, wanted = (_followed(each, begun, measured=measured) for each in (self.recipe, recipe))
            if differs := _differing(done, wanted):
                raise TrainError(
                    f"The recipe {recipe.name} is not what {self.directory} has followed so far: {', '.join(differs)}.",
                    "Leave it out to go on with the run's own; only stages that have not begun may differ.",
                )
            if recipe != self.recipe:
                partial = self.directory / f".{CONFIG}"
                write_object(partial, _config(recipe))
                partial.replace(self.directory / CONFIG)
        return type(self)(self.directory, recipe)

    @contextmanager
    def writing(self) -> Generator[None]:
        """Keeps other processes from writing this run for the time of the block. Raises `TrainError` if one does."""
        with (self.directory / ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                message = f"Another process is working on the run in {self.directory}."
                raise TrainError(message, "Wait for it, or end it.") from None
            except OSError as error:
                message = f"The run in {self.directory} cannot be locked: {error.strerror}."
                raise TrainError(message, "Keep runs on a file system that knows locks (flock).") from None
            yield

    @property
    def running(self) -> bool:
        """Whether a process works on it right now."""
        try:
            with (self.directory / ".lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:  # nobody has ever, or nobody can tell
            return False
        return False

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of `metrics.jsonl`."""
        return self.lines(METRICS)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The lines of one of the files that grow; a last one that was cut off is left out."""
        content = (self.directory / name).read_bytes()
        return [json.loads(line) for line in content.split(b"\n")[:-1]]  # text may hold what str.splitlines cuts at

    def append(self, name: str, entries: Sequence[Mapping[str, Any]]) -> None:
        """Adds lines to one of them."""
        with (self.directory / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(_plain(entry), ensure_ascii=False) + "\n" for entry in entries)

    def checkpoint(self, stage: str) -> Path:
        """Where the checkpoint of a stage lies, or will lie."""
        return self.directory / "checkpoints" / stage

    def measurement(self, name: str) -> Path:
        """Where the measurement of the base, or of a stage's checkpoint, lies or will lie."""
        return self.directory / "measurements" / f"{name}.json"

    def save(self, position: Position, write: Callable[[Path], None] | None = None) -> None:
        """Keeps a state to go on from, and drops the one before. `write` puts a backend's state into a directory that
        it makes; there is none between two stages, whose checkpoint is all there is to go on from."""
        states = self.directory / "state"
        target = states / f"{position.stage:02d}-{position.step:06d}"
        while target.exists():  # the same step was saved before: an alarm has something to add
            target = target.with_name(f"{target.name}-again")
        with new_directory(target) as partial:
            for name in LINES:
                _flush(self.directory / name)  # how long they are is written down
            lengths = {name: (self.directory / name).stat().st_size for name in LINES}
            write_object(partial / POSITION, asdict(position) | {"lengths": lengths})
            if write is not None:
                write(partial / "backend")
            made = (self.checkpoint(stage.name) for stage in self.recipe.stages[: position.stage])
            for path in (path for directory in (partial, *made) for path in directory.rglob("*")):
                if path.is_file():
                    _flush(path)
        for other in states.iterdir():
            if other != target:
                shutil.rmtree(other, ignore_errors=True)

    def position(self) -> Position:
        """How far the newest state is."""
        found = self._newest()
        if found is None:
            return Position()
        content = read_object(found / POSITION)
        del content["lengths"]
        content["processors"] = tuple(content.get("processors", ()))
        return Position(**content)

    def backend_state(self) -> Path | None:
        """The backend's part of the newest state, if it has one."""
        found = self._newest()
        return found / "backend" if found is not None and (found / "backend").exists() else None

    def rewind(self) -> Position:
        """Goes back to the newest state: forgets the lines that were written after it and what was half written, and
        returns its position."""
        for partial in self.directory.glob("*/.*"):
            shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
        found = self._newest()
        lengths: dict[str, int] = {} if found is None else read_object(found / POSITION)["lengths"]
        for name in LINES:
            os.truncate(self.directory / name, lengths.get(name, 0))
        return self.position()

    def _newest(self) -> Path | None:
        states = sorted(path for path in (self.directory / "state").glob("*") if not path.name.startswith("."))
        return states[-1] if states else None


def _followed(recipe: Recipe, begun: int, *, measured: bool) -> dict[str, Any]:
    """What a run has followed of a recipe when so many stages have begun. How it is watched and kept is no part."""
    left = {"stages"} if measured else {"stages", "evaluation"}
    stages = [stage.model_dump(exclude={"alarms", "show_every", "save_every"}) for stage in recipe.stages[:begun]]
    return recipe.model_dump(exclude=left) | {"stages": stages}


def _differing(one: Any, other: Any, key: str = "") -> list[str]:
    """The keys under which two recipes differ: `stages[0].steps`."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        first, second = cast("Mapping[str, Any]", one), cast("Mapping[str, Any]", other)
        names = list(dict.fromkeys([*first, *second]))
        return [
            found
            for name in names
            for found in _differing(first.get(name), second.get(name), f"{key}.{name}".removeprefix("."))
        ]
    if isinstance(one, list) and isinstance(other, list):
        left, right = cast("list[Any]", one), cast("list[Any]", other)
        if len(left) == len(right):
            pairs = enumerate(zip(left, right, strict=True))
            return [found for n, (a, b) in pairs for found in _differing(a, b, f"{key}[{n}]")]
    return [] if one == other else [key]


def _config(recipe: Recipe) -> dict[str, Any]:
    return {"schema_version": SCHEMA_VERSION, "recipe": recipe.model_dump(mode="json")}


def runs_in(directory: Path) -> tuple[list[Run], list[TrainError]]:
    """The runs that lie in a directory, by name, and what is wrong with those that cannot be opened."""
    found: list[Run] = []
    broken: list[TrainError] = []
    for config in sorted(directory.glob(f"*/{CONFIG}")):
        if _is_run(config):
            try:
                found.append(Run.open(config.parent))
            except TrainError as error:
                broken.append(error)
    return found, broken


def by_name(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by the names of their folders; by their whole paths where two have the same name."""
    names = Counter(run.directory.name for run in runs)
    return {run.directory.name if names[run.directory.name] == 1 else str(run.directory): run for run in runs}


def _is_run(config: Path) -> bool:
    return (config.parent / METRICS).exists()


def _flush(path: Path) -> None:
    """Has the disk take what was written, before it gets the name under which it is trusted."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _plain(value: Any) -> Any:
    """JSON knows no numbers that are not finite: they are written as words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("Sequence[Any]", value)]
    return value
