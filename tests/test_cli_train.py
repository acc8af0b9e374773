"""`forethought train` and `forethought runs`, on the tiny checkpoint."""

import io
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from attempt_scene import register
from command_line import CommandLine
from forethought.cli.train_view import TrainView
from forethought.engine.native import NativeEngine
from forethought.engine.runner import BLOCK_SIZE
from forethought.tasks.problem import CORRECT
from forethought.train.recipe import SftStage
from forethought.train.rl import RlLoop
from forethought.train.sft import SftLoop
from forethought.train.stage import Stage, Step
from rl_scene import Even

RECIPE = """
schema_version = 1
name = "small"
base = "{base}"

[learner]
dtype = "float32"
threads = 1

[[stages]]
name = "cold"
kind = "sft"
steps = 2
tokens = 64
families = ["even"]
replay = {{ share = 0.0 }}

[[stages]]
name = "rl"
kind = "rl"
credit = "process"
steps = 3
families = ["even"]
prompts = 2
samples = 3
efforts = {{ low = {{ budget = 4 }} }}
alarms = {{ idle = 100, most_entropy = 100.0 }}

[evaluation]
levels = [1]
problems = 2
effort = "low"
budget = 4
"""


@pytest.fixture(autouse=True)
def _place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register(monkeypatch, Even())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recipe(tiny_checkpoint: Path, tmp_path: Path) -> str:
    (tmp_path / "small.toml").write_text(RECIPE.format(base=tiny_checkpoint))
    return "small.toml"


def test_a_recipe_is_followed_to_its_end_under_the_eyes_of_who_started_it(forethought: CommandLine, recipe: str):
    done = forethought("train", recipe, "--run", "run")
    assert done.status == 0, done.err
    assert "the run is in run" in done.err
    assert "cold should take" in done.err
    assert "cold 2/2: loss" in done.err
    assert "rl 3/3: reward" in done.err
    assert "tok/s" in done.err
    assert "rl took" in done.err
    assert Path("run/checkpoints/rl/adapter_model.safetensors").exists()


def test_a_run_gets_a_folder_by_itself(forethought: CommandLine, recipe: str):
    assert forethought("train", recipe, "--until", "cold").status == 0
    (made,) = Path("runs").iterdir()
    assert made.name.startswith("small-")


def test_a_device_that_is_not_there_is_said_before_anything_is_made(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FORETHOUGHT_TRAIN__DEVICE", "cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    done = forethought("train", recipe, "--run", "run")
    assert done.status == 1
    assert "finds no graphics processor" in done.err
    assert not Path("run").exists()


def test_a_mistake_in_the_last_stage_is_said_before_the_first_begins(forethought: CommandLine, recipe: str):
    first, last = Path(recipe).read_text().rsplit('families = ["even"]', 1)
    Path(recipe).write_text(f"{first}families = {{ even = {{ start = 9 }} }}{last}")
    done = forethought("train", recipe, "--run", "run")
    assert done.status == 1
    assert "families.even begins at level 9" in done.err
    assert not Path("run").exists()


def test_a_base_that_is_not_there_or_not_fit_for_an_adapter_leaves_no_folder(forethought: CommandLine, recipe: str):
    assert forethought("train", recipe, "--run", "first", "--until", "cold").status == 0
    told = Path(recipe).read_text()
    base = next(line for line in told.splitlines() if line.startswith("base"))
    for other, said in (
        ('base = "nowhere"', "nowhere"),
        ('base = "first/checkpoints/cold"\nadapter = {}', "its base has one already"),
    ):
        Path(recipe).write_text(told.replace(base, other))
        refused = forethought("train", recipe, "--run", "run")
        assert refused.status == 1
        assert said in refused.err
        assert not Path("run").exists()


def test_who_repeats_the_command_is_told_how_to_go_on(forethought: CommandLine, recipe: str):
    assert forethought("train", recipe, "--run", "run", "--until", "cold").status == 0
    again = forethought("train", recipe, "--run", "run")
    assert again.status == 1
    assert "Go on with it: forethought train --resume --run run" in again.err


def test_a_model_beside_a_recipe_is_refused(forethought: CommandLine, recipe: str):
    refused = forethought("--model", "smollm2-135m-instruct", "train", recipe, "--run", "run")
    assert refused.status == 1
    assert "--model does nothing here" in refused.err


def test_a_cold_start_needs_worked_solutions(forethought: CommandLine, recipe: str):
    pytest.importorskip("reasoning_gym")
    path = Path(recipe)
    path.write_text(path.read_text().replace('families = ["even"]', 'families = ["gym:chain_sum"]', 1))
    refused = forethought("train", recipe, "--run", "run")
    assert refused.status == 1
    assert "gym:chain_sum has no worked solutions" in refused.err


def test_below_temperature_one_every_problem_needs_worked_solutions(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch
):
    class Worded(Even):
        name = "worded"
        free_wording = True

    register(monkeypatch, Even(), Worded())
    path = Path(recipe)
    told = path.read_text().replace('credit = "process"', 'credit = "process"\ntemperature = 0.5')
    path.write_text(told.replace('families = ["even"]\nprompts', 'families = ["even", "worded"]\nprompts'))
    refused = forethought("train", recipe, "--run", "run")
    assert refused.status == 1
    assert "worded in rl: attempts cannot be judged by worked solutions" in refused.err


def test_what_no_family_is_judged_by_is_refused(forethought: CommandLine, recipe: str):
    path = Path(recipe)
    path.write_text(path.read_text().replace('credit = "process"', 'credit = "process"\nloss = "cispo"'))
    refused = forethought("train", recipe, "--run", "run")
    assert refused.status == 1
    assert "loss in rl: every family is judged by its worked solutions instead" in refused.err
    assert not Path("run").exists()


def test_a_stage_may_compute_in_another_precision(forethought: CommandLine, recipe: str):
    Path(recipe).write_text(Path(recipe).read_text().replace('kind = "rl"', 'kind = "rl"\ndtype = "bfloat16"'))
    assert forethought("train", recipe, "--run", "run").status == 0
    costs = [json.loads(line) for line in Path("run/estimates.jsonl").read_text().splitlines()]
    assert [(cost["stage"], cost["dtype"]) for cost in costs] == [("cold", "float32"), ("rl", "bfloat16")]


def test_a_cost_names_the_commit_that_the_process_began_with(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("forethought.train.stages.commit", iter(("old", "new", "newer")).__next__)
    assert forethought("train", recipe, "--run", "run").status == 0
    costs = [json.loads(line) for line in Path("run/estimates.jsonl").read_text().splitlines()]
    assert [(cost["stage"], cost["commit"]) for cost in costs] == [("cold", "old"), ("rl", "old")]


@pytest.mark.parametrize(("asked", "least", "most"), [("0", 512, 4096), ("5000", 5000, 5031)])
def test_attempts_have_a_cache_of_the_size_that_they_need(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch, asked: str, least: int, most: int
):
    taken, blocks = RlLoop.step, list[int]()

    async def watched(loop: RlLoop, number: int) -> Step:
        engine = loop._backend.reasoner.engine  # pyright: ignore[reportPrivateUsage]
        assert isinstance(engine, NativeEngine)
        blocks.append(engine.metrics().total_blocks)
        return await taken(loop, number)

    monkeypatch.setattr(RlLoop, "step", watched)
    monkeypatch.setenv("FORETHOUGHT_ENGINE__CACHE_TOKENS", asked)
    assert forethought("train", recipe, "--run", "run").status == 0
    assert all(least <= count * BLOCK_SIZE <= most for count in blocks), blocks
    assert len(blocks) == 3


def test_ctrl_c_halts_and_resume_goes_on(forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch):
    taken = RlLoop.step

    async def interrupted(loop: RlLoop, number: int) -> Step:
        signal.raise_signal(signal.SIGINT)
        return await taken(loop, number)

    with monkeypatch.context() as patched:
        patched.setattr(RlLoop, "step", interrupted)
        halted = forethought("train", recipe, "--run", "run")
    assert halted.status == 130
    assert "halted; go on with: forethought train --resume --run run" in halted.err
    assert "to be resumed" in forethought("runs", "list", ".").out
    assert forethought("train", "--resume", "--run", "run").status == 0
    entries = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert [(entry["stage"], entry["step"]) for entry in entries] == [
        ("cold", 1),
        ("cold", 2),
        ("rl", 1),
        ("rl", 2),
        ("rl", 3),
    ]


def test_a_second_ctrl_c_waits_for_nothing(forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch):
    ended: list[int] = []

    class Ended(BaseException):
        pass

    def end(status: int) -> None:
        ended.append(status)
        raise Ended

    async def interrupted(loop: SftLoop, number: int) -> Step:
        for _ in range(2):
            signal.raise_signal(signal.SIGINT)
        raise AssertionError("it has waited for the step to end")

    monkeypatch.setattr(SftLoop, "step", interrupted)
    monkeypatch.setattr("os._exit", end)
    with pytest.raises(Ended):
        forethought("train", recipe, "--run", "run")
    assert ended == [130]


def test_sigterm_halts_as_ctrl_c_does(forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch):
    taken, before = SftLoop.step, signal.getsignal(signal.SIGTERM)

    async def ended(loop: SftLoop, number: int) -> Step:
        signal.raise_signal(signal.SIGTERM)
        return await taken(loop, number)

    monkeypatch.setattr(SftLoop, "step", ended)
    halted = forethought("train", recipe, "--run", "run")
    assert halted.status == 130
    assert "halted; go on with" in halted.err
    assert json.loads(next(Path("run/state").glob("*/position.json")).read_text())["step"] == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_ctrl_c_in_the_last_step_of_a_stage_begins_no_other(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch
):
    taken = SftLoop.step

    async def interrupted(loop: SftLoop, number: int) -> Step:
        if number + 1 == loop.steps:
            signal.raise_signal(signal.SIGINT)
        return await taken(loop, number)

    with monkeypatch.context() as patched:
        patched.setattr(SftLoop, "step", interrupted)
        assert forethought("train", recipe, "--run", "run").status == 130
    assert {json.loads(line)["stage"] for line in Path("run/metrics.jsonl").read_text().splitlines()} == {"cold"}
    assert forethought("train", "--resume", "--run", "run").status == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no recipe to follow"),
        (("--resume",), "--resume needs the run"),
        (("--seed", "2"), "--seed changes a recipe's"),
        (("--resume", "--run", "nowhere"), "nowhere is no run"),
        (("none.toml",), "none.toml cannot be read"),
        (("small.toml", "--until", "align"), "no stage 'align'"),
    ],
)
@pytest.mark.usefixtures("recipe")
def test_what_cannot_be_done_is_said_in_a_line(forethought: CommandLine, arguments: tuple[str, ...], said: str):
    refused = forethought("train", *arguments)
    assert refused.status == 1
    assert said in refused.err


def test_a_run_can_have_another_seed_than_its_recipe(forethought: CommandLine, recipe: str):
    done = forethought("train", recipe, "--run", "run", "--until", "cold", "--seed", "7")
    assert done.status == 0, done.err
    assert json.loads(Path("run/config.json").read_text())["recipe"]["seed"] == 7


def test_a_run_can_be_resumed_with_other_stages_than_those_that_have_begun(forethought: CommandLine, recipe: str):
    assert forethought("train", recipe, "--run", "run", "--until", "cold").status == 0
    path = Path(recipe)
    path.write_text(path.read_text().replace("steps = 3", "steps = 1"))
    assert forethought("train", recipe, "--resume", "--run", "run").status == 0
    assert json.loads(Path("run/config.json").read_text())["recipe"]["stages"][1]["steps"] == 1
    assert json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-1])["step"] == 1


def test_a_run_is_not_resumed_by_a_recipe_that_it_has_not_followed(forethought: CommandLine, recipe: str):
    assert forethought("train", recipe, "--run", "run", "--until", "cold").status == 0
    path = Path(recipe)
    path.write_text(path.read_text().replace("tokens = 64", "tokens = 65"))
    refused = forethought("train", recipe, "--resume", "--run", "run")
    assert refused.status == 1
    assert "is not what run has followed so far: stages[0].tokens" in refused.err


def test_a_run_does_not_take_over_a_mistake_in_a_stage_to_come(forethought: CommandLine, recipe: str):
    assert forethought("train", recipe, "--run", "run", "--until", "cold").status == 0
    path = Path(recipe)
    first, last = path.read_text().rsplit('families = ["even"]', 1)
    path.write_text(f'{first}families = ["nope"]{last}')
    assert "nope" in forethought("train", recipe, "--resume", "--run", "run").err
    assert "nope" not in Path("run/config.json").read_text()


def test_an_alarm_ends_the_command_with_a_plain_sentence(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Even, "verify", lambda family, problem, transcript: CORRECT)
    stopped = forethought("train", recipe, "--run", "run")
    assert stopped.status == 1
    assert "error: The verifier of even, level 1, accepts an attempt without an answer." in stopped.err
    assert "The run in run is saved after step 0 of rl." in stopped.err
    assert "to be resumed" in forethought("runs", "list", ".").out


def test_in_a_terminal_one_line_tells_how_far_it_is():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120)
    stage = SftStage.model_validate({"name": "cold", "kind": "sft", "steps": 9, "families": ["even"]})
    with TrainView(console) as view:
        view.stage(cast("Stage", stage), 3)
        view.step({"stage": "cold", "step": 4, "loss": 0.5, "tokens_per_second": 300.0})
        view.note("halting")
        view._progress.refresh()
    assert "4/9" in written.getvalue()
    assert "loss 0.500, 300 tok/s" in written.getvalue()
    assert "halting" in written.getvalue()


@pytest.fixture
def two_runs(forethought: CommandLine, recipe: str) -> Mapping[str, Any]:
    for name in ("one", "two"):
        assert forethought("train", recipe, "--run", name).status == 0
    return json.loads(forethought("runs", "show", "one", "--json").out)


@pytest.mark.usefixtures("two_runs")
def test_runs_are_listed_shown_drawn_and_compared(forethought: CommandLine, two_runs: Mapping[str, Any]):
    listed = forethought("runs", "list", ".").out
    assert listed.splitlines() == [
        "run\trecipe\tstage\tstep\tstate",
        "one\tsmall\trl\t3\tfinished",
        "two\tsmall\trl\t3\tfinished",
    ]
    assert two_runs["state"] == "finished"
    assert two_runs["stages"]["cold"]["steps"] == 2
    assert two_runs["costs"][1]["stage"] == "rl"
    shown = forethought("runs", "show", "one").out
    assert "estimated" in shown
    assert "base: pass@1 level 1 " in shown
    assert "rl less cold: " in shown
    drawn = forethought("runs", "plot", "one").out.split()
    assert drawn == ["one/plots/cold.png", "one/plots/rl.png", "one/plots/rl-families.png"]
    assert all(Path(path).read_bytes().startswith(b"\x89PNG") for path in drawn)
    compared = forethought("runs", "compare", "one", "two", "--stage", "rl", "--plot", "both.png").out.splitlines()
    assert [line.split("\t")[0] for line in compared] == ["rl", "one", "two", "both.png"]
    assert Path("both.png").read_bytes().startswith(b"\x89PNG")
    assert two_runs["measurements"]["base"]["problems"] == 2
    missed = forethought("runs", "compare", "one", "two", "--stage", "rn")
    assert missed.status == 1
    assert "None of these runs has taken a step of a stage 'rn'" in missed.err
    assert "One run is nothing to compare" in forethought("runs", "compare", "one").err
    assert "There is no directory nowhere" in forethought("runs", "list", "nowhere").err
    assert "one/checkpoints/rl is no run" in forethought("runs", "show", "one/checkpoints/rl").err


def test_pictures_without_matplotlib_say_what_is_missing(
    forethought: CommandLine, recipe: str, monkeypatch: pytest.MonkeyPatch
):
    assert forethought("train", recipe, "--run", "run", "--until", "cold").status == 0
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    refused = forethought("runs", "plot", "run")
    assert refused.status == 1
    assert "pip install matplotlib" in refused.err
