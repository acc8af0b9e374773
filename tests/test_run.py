"""A run's folder: what is in it, and that nothing is lost or doubled wherever it is cut off."""

import asyncio
import errno
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.errors import CheckpointError, TrainError, TrainingStopped
from forethought.model.processor import Processor
from forethought.train.page import PAGE
from forethought.train.recipe import Recipe
from forethought.train.run import ENVIRONMENT, METRICS, ROLLOUTS, Position, Run, by_name, runs_in
from forethought.train.stage import Halt, Step, Trainer

RECIPE = Recipe.parse(
    {
        "schema_version": 1,
        "name": "some",
        "base": "b",
        "stages": [{"name": "cold", "kind": "sft", "steps": 9, "families": ["chain_sum"]}],
    },
    "some.toml",
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", RECIPE)


class Killed(BaseException):
    """What a kill does, as far as files can tell."""


class Counting:
    """A stage whose only work is to add up numbers; `dies` says before which call of a step it is killed."""

    name, kind, save_every = "cold", "sft", 3

    def __init__(self, steps: int = 9, dies: int | None = None, alarms: Mapping[int, bool] | None = None) -> None:
        self.steps = steps
        self.total = 0
        self._dies = dies
        self._alarms = alarms or {}

    async def step(self, number: int) -> Step:
        if self._dies == 0:
            raise Killed
        self._dies = None if self._dies is None else self._dies - 1
        if self._alarms.get(number) is False:
            return Step({}, (), "There is a hole.", done=False)
        self.total += number
        alarm = "It has broken down." if number in self._alarms else None
        return Step({"total": self.total, "loss": float("nan")}, (), alarm)

    def state(self) -> dict[str, Any]:
        return {"total": self.total}

    def resume(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]


class Files:
    """A backend of which only files are known."""

    def save_state(self, directory: Path) -> None:
        directory.mkdir()

    def save_checkpoint(self, directory: Path) -> None:
        directory.mkdir(parents=True)


class Nobody:
    """A watcher that does not look."""

    def stage(self, stage: object, done: int) -> None: ...

    def step(self, entry: Mapping[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...


def train(run: Run, stage: Counting, halt: Halt | None = None) -> Position | None:
    async def main() -> Position | None:
        trainer = Trainer(run, Nobody(), halt or Halt())
        return await trainer.train(0, stage, run.rewind(), Files())

    return asyncio.run(main())


def totals(run: Run) -> list[int]:
    return [entry["total"] for entry in run.metrics()]


def test_a_run_keeps_its_recipe_and_what_it_runs_on(run: Run):
    assert Run.open(run.directory).recipe == RECIPE
    environment = json.loads((run.directory / ENVIRONMENT).read_text())
    assert {"python", "packages", "processor", "cores", "threads", "commit"} <= set(environment)


def test_a_run_is_never_begun_over_another(run: Run):
    with pytest.raises(TrainError, match=r"There is a run in .* --resume"):
        Run.create(run.directory, RECIPE)
    (run.directory / "config.json").unlink()
    with pytest.raises(CheckpointError, match="exists already"):
        Run.create(run.directory, RECIPE)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path):
    with pytest.raises(TrainError, match="is no run"):
        Run.open(tmp_path)


def test_a_run_of_a_newer_version_is_refused(run: Run):
    path = run.directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    with pytest.raises(TrainError, match="schema version 99"):
        Run.open(run.directory)


def test_runs_are_found_by_name(tmp_path: Path):
    for name in ("b", "a"):
        Run.create(tmp_path / name, RECIPE)
    (tmp_path / "other").mkdir()
    found, broken = runs_in(tmp_path)
    assert [run.directory.name for run in found] == ["a", "b"]
    assert broken == []


def test_a_run_that_cannot_be_opened_hides_no_other(tmp_path: Path):
    for name in ("a", "b"):
        Run.create(tmp_path / name, RECIPE)
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    config["recipe"]["surprise"] = 1
    (tmp_path / "a" / "config.json").write_text(json.dumps(config))
    found, [error] = runs_in(tmp_path)
    assert [run.directory.name for run in found] == ["b"]
    assert "surprise" in error.message


def test_runs_whose_folders_have_the_same_name_are_told_apart(tmp_path: Path):
    made = [Run.create(tmp_path / name, RECIPE) for name in ("a/run", "b/run", "c")]
    assert list(by_name(made)) == [str(tmp_path / "a/run"), str(tmp_path / "b/run"), "c"]
    assert list(by_name(made).values()) == made


def test_a_run_is_running_while_it_is_written(run: Run):
    assert not run.running
    with run.writing():
        assert Run.open(run.directory).running
    assert not run.running


def test_a_file_system_without_locks_is_told_as_such(run: Run, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with pytest.raises(TrainError, match="cannot be locked: No locks available"), run.writing():
        pass


def test_a_recipe_that_a_run_has_not_followed_is_told_by_its_keys(run: Run):
    run.save(Position(0, 1))
    stage = RECIPE.stages[0].model_copy(update={"tokens": 5, "steps": 4})
    other = RECIPE.model_copy(update={"seed": 7, "stages": (stage,)})
    with pytest.raises(TrainError, match=r"so far: seed, stages\[0\]\.steps, stages\[0\]\.tokens\."):
        run.revised(other)


def test_text_may_hold_what_other_programs_take_for_the_end_of_a_line(run: Run):
    run.append(METRICS, [{"text": "a\u2028b\u2029c\x85d\ve\r"}, {"text": "f"}])
    assert [entry["text"] for entry in run.metrics()] == ["a\u2028b\u2029c\x85d\ve\r", "f"]


def test_one_process_writes_a_run_at_a_time(run: Run):
    with run.writing(), pytest.raises(TrainError, match="Another process"), Run.open(run.directory).writing():
        pass


def test_the_recipe_of_a_run_is_not_changed_under_who_works_on_it(run: Run):
    other = RECIPE.model_copy(update={"name": "other"})
    with run.writing(), pytest.raises(TrainError, match="Another process"):
        run.revised(other)
    assert Run.open(run.directory).recipe == RECIPE


def test_after_an_alarm_before_the_first_step_nothing_is_taken_up(run: Run):
    with pytest.raises(TrainingStopped):
        train(run, Counting(alarms={0: False}))
    position = run.position()
    assert (position.step, position.memory) == (0, {"total": 0})

    class Other(Counting):
        def resume(self, state: Mapping[str, Any]) -> None:
            raise KeyError("a family that the recipe has since then")

    assert train(run, Other()) is not None


def test_a_line_that_was_cut_off_does_not_count(run: Run):
    run.append(METRICS, [{"step": 1}])
    with (run.directory / METRICS).open("a") as file:
        file.write('{"step": 2, "lo')
    assert [entry["step"] for entry in run.metrics()] == [1]


def test_numbers_that_are_not_finite_are_written_as_words(run: Run):
    run.append(METRICS, [{"loss": float("nan"), "deep": [{"norm": float("inf")}]}])
    assert run.metrics() == [{"loss": "nan", "deep": [{"norm": "inf"}]}]


def test_going_back_forgets_what_came_after_the_state(run: Run):
    run.append(METRICS, [{"step": 1}])
    run.save(Position(0, 1, {"levels": [1]}, 2.5))
    run.append(METRICS, [{"step": 2}])
    assert run.rewind() == Position(0, 1, {"levels": [1]}, 2.5)
    assert [entry["step"] for entry in run.metrics()] == [1]


def test_only_the_newest_state_is_kept(run: Run):
    for step in (1, 2, 10):
        run.save(Position(0, step))
    assert [path.name for path in (run.directory / "state").iterdir()] == ["00-000010"]
    assert run.position() == Position(0, 10)


def test_what_an_alarm_has_to_add_to_a_step_that_was_saved_before_counts(run: Run):
    for noise in (1, 2, 3):
        run.save(Position(0, 4, {"noise": noise}))
    assert run.position() == Position(0, 4, {"noise": 3})
    run.save(Position(0, 5))
    assert run.position() == Position(0, 5)


def test_a_state_that_was_being_written_does_not_count(run: Run):
    run.save(Position(0, 1))
    left = run.directory / "state" / ".00-000002.partial-77"
    left.mkdir()
    assert run.position() == Position(0, 1)
    run.rewind()
    assert not left.exists()


def test_a_stage_is_trained_to_its_end(run: Run):
    reached = train(run, Counting())
    assert reached is not None
    assert (reached.step, reached.memory) == (9, {"total": 36})
    assert totals(run) == [0, 1, 3, 6, 10, 15, 21, 28, 36]


@given(st.lists(st.integers(0, 8), max_size=6))
def test_a_run_that_is_killed_anywhere_ends_as_if_it_had_not_been(kills: list[int]):
    with tempfile.TemporaryDirectory() as directory:
        run = Run.create(Path(directory) / "run", RECIPE)
        for dies in kills:
            try:
                train(run, Counting(dies=dies))
            except Killed:
                continue
        reached = train(run, Counting())
        assert reached is not None
        assert reached.memory == {"total": 36}
        assert totals(run) == [0, 1, 3, 6, 10, 15, 21, 28, 36]


def test_a_halt_saves_the_state_after_the_step_at_hand(run: Run):
    halt = Halt()
    halt.ask()
    assert train(run, Counting(), halt) is None
    assert run.position().step == 1
    train(run, Counting())
    assert totals(run)[-1] == 36


def test_a_stage_that_was_moved_to_another_machine_names_both(run: Run, monkeypatch: pytest.MonkeyPatch):
    halt = Halt()
    halt.ask()
    monkeypatch.setattr("forethought.train.stage.processor", lambda: Processor("Zen", "", frozenset()))
    assert train(run, Counting(), halt) is None
    monkeypatch.setattr("forethought.train.stage.processor", lambda: Processor("Atom", "", frozenset()))
    reached = train(run, Counting())
    assert reached is not None
    assert reached.processors == ("Atom", "Zen")


def test_an_alarm_stops_the_run_with_its_state_saved(run: Run):
    with pytest.raises(TrainingStopped, match=r"It has broken down\.") as stopped:
        train(run, Counting(alarms={4: True}))
    assert "saved after step 5 of cold" in stopped.value.remedy
    position = run.position()
    assert (position.step, position.memory) == (5, {"total": 10})
    assert len(run.metrics()) == 5


def test_an_alarm_before_anything_was_learned_leaves_the_step_to_be_taken_again(run: Run):
    with pytest.raises(TrainingStopped, match=r"There is a hole\."):
        train(run, Counting(alarms={4: False}))
    assert run.position().step == 4
    train(run, Counting())
    assert totals(run)[-1] == 36


def test_what_scores_best_is_kept_beside_the_last(run: Run):
    class Scored(Counting):
        async def step(self, number: int) -> Step:
            return Step({"total": number}, score=(0.1, 0.7, 0.4)[number])

    saved: list[int] = []

    class Noting(Files):
        def save_checkpoint(self, directory: Path) -> None:
            saved.append(len(run.metrics()))
            super().save_checkpoint(directory)

    async def main() -> Position | None:
        return await Trainer(run, Nobody(), Halt()).train(0, Scored(steps=3), Position(), Noting())

    reached = asyncio.run(main())
    assert reached is not None
    assert reached.best == 0.7
    assert saved == [1, 2]
    assert run.checkpoint("cold-best").exists()


def test_rollouts_can_be_read_as_a_page(run: Run):
    class Showing(Counting):
        async def step(self, number: int) -> Step:
            output = [["think <b>", ""], ["7", "blamed"], ["end", "forced"]]
            sample = {"output": output, "correct": False, "why": "not 3", "reward": 0.0, "advantage": -0.5}
            sample |= {"reason": "stop_token", "thinking_tokens": 2}
            group = {"family": "sums", "level": 1, "effort": "low", "budget": 7, "lesson": "taught", "prompt": "1+2?"}
            return Step({"total": 0}, [group | {"samples": [sample]}])

    train(run, Showing(steps=1))
    assert run.lines(ROLLOUTS)[0]["prompt"] == "1+2?"
    page = (run.directory / PAGE).read_text()
    assert "think &lt;b&gt;<span class=blamed>7</span><span class=forced>end</span>" in page
    assert "wrong: not 3; reward 0.00, advantage -0.50, 2 tokens of thinking" in page
