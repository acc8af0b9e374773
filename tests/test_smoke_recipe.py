"""The smoke recipe: from a base to an evaluated adapter, however often it is killed.

It is followed once as it is. To be killed, it is followed on the tiny checkpoint, with a family that a random model can
solve now and then: else nothing would be learned from rewards.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from attempt_scene import register
from forethought.errors import TrainError, TrainingStopped
from forethought.evals.measurement import Measurement
from forethought.model.checkpoint import Checkpoint
from forethought.model.layout import CONFIG
from forethought.settings import EngineSettings, Settings, load_settings
from forethought.tasks import registry
from forethought.tasks.families.chain_sum import ChainSum
from forethought.tasks.problem import CORRECT
from forethought.train.recipe import Recipe
from forethought.train.run import ESTIMATES, Run
from forethought.train.stage import Halt
from forethought.train.stages import train
from rl_scene import Even
from test_run import Nobody

SMOKE = Path(__file__).parent.parent / "recipes" / "smoke.toml"


def smoke(base: Path) -> Recipe:
    """The recipe as it is, but for its base and its family."""
    content = Recipe.read(SMOKE).model_dump(mode="json", exclude_unset=True)
    stages = [stage | {"families": ["even"]} for stage in content["stages"]]
    return Recipe.parse(content | {"base": str(base), "stages": stages}, "smoke.toml")


def only_even() -> None:
    """Makes the one family known, in a process of its own."""
    registry.families = lambda: {"even": Even()}


@pytest.fixture(scope="module", autouse=True)
def _even() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        register(patched, Even(), ChainSum())
        yield


def settings() -> Settings:
    return Settings(cache_dir=load_settings().cache_dir, engine=EngineSettings(threads=1, cache_tokens=8192))


def follow(run: Run, until: str | None = None, watcher: Any = None) -> bool:
    return asyncio.run(train(run, settings(), watcher or Nobody(), Halt(), until))


def outcome(run: Run) -> dict[str, Any]:
    """All that a run has found, without times."""
    times = ("seconds", "tokens_per_second")
    digests = {
        stage.name: Checkpoint.open(Path(run.recipe.base), run.checkpoint(stage.name)).digest()
        for stage in run.recipe.stages
    }
    measured = {path.stem: Measurement.load(path).digest for path in sorted(run.directory.glob("measurements/*.json"))}
    metrics = [{name: value for name, value in entry.items() if name not in times} for entry in run.metrics()]
    return {"digests": digests, "measured": measured, "metrics": metrics}


def test_the_recipe_itself_makes_an_adapter_of_the_base_within_minutes(base_directory: Path, tmp_path: Path):
    run = Run.create(tmp_path / "run", Recipe.read(SMOKE))
    assert follow(run)
    assert Measurement.load(run.measurement("rl")).records
    assert not (run.checkpoint("rl") / CONFIG).exists()
    assert Checkpoint.open(base_directory, run.checkpoint("rl")).capabilities.thinks


@pytest.fixture(scope="module")
def finished(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run.create(tmp_path_factory.mktemp("smoke") / "run", smoke(tiny_checkpoint))
    assert follow(run)
    return run


def test_it_gives_a_checkpoint_and_a_measurement_of_every_stage(finished: Run):
    found = outcome(finished)
    assert set(found["measured"]) == {"base", "cold", "rl"}
    assert len(set(found["digests"].values())) == 2
    assert [(entry["stage"], entry["step"]) for entry in found["metrics"]] == [
        *(("cold", step) for step in (1, 2, 3, 4)),
        *(("rl", step) for step in (1, 2)),
    ]


def test_the_checkpoint_declares_what_it_was_taught(finished: Run, tiny_checkpoint: Path):
    made = Checkpoint.open(tiny_checkpoint, finished.checkpoint("rl"))
    assert made.capabilities.thinks
    assert made.capabilities.calls_tools


def test_what_it_cost_stands_beside_what_was_expected(finished: Run):
    for cost in finished.lines(ESTIMATES):
        for kind in ("estimated", "found"):
            assert cost[kind]["seconds"] > 0
            assert cost[kind]["memory_bytes"] > 0


def test_a_finished_run_has_nothing_left_to_do(finished: Run):
    before = outcome(finished)
    assert follow(Run.open(finished.directory))
    assert outcome(finished) == before


class Killing(Nobody):
    """Kills the process before its n-th event is told, as the kernel would: nothing is cleaned up."""

    def __init__(self, after: int) -> None:
        self._left = after

    def step(self, entry: Mapping[str, Any]) -> None:
        self._tick()

    def note(self, text: str) -> None:
        self._tick()

    def _tick(self) -> None:
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)


CHILD = """
import sys
from pathlib import Path
from forethought.train.run import Run
from test_smoke_recipe import Killing, follow, only_even
only_even()
follow(Run.open(Path(sys.argv[1])), watcher=Killing(int(sys.argv[2])))
"""


def killed(run: Run, after: int) -> int:
    """Works on the run in a process of its own, which is killed after so many events. Returns its exit status."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(run.directory), str(after)]
    return subprocess.run(command, env=environment, timeout=120, check=False).returncode


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_at_random_points_it_ends_in_the_same_checkpoint(
    finished: Run, tiny_checkpoint: Path, tmp_path: Path, seed: int
):
    run = Run.create(tmp_path / "run", smoke(tiny_checkpoint))
    random = Random(seed)
    deaths = 0
    while killed(run, random.randint(1, 5)) == -signal.SIGKILL:
        deaths += 1
        assert deaths < 30
    assert deaths > 1
    assert outcome(run) == outcome(finished)


def test_it_can_be_followed_stage_by_stage(finished: Run, tiny_checkpoint: Path, tmp_path: Path):
    run = Run.create(tmp_path / "run", smoke(tiny_checkpoint))
    assert follow(run, until="cold")
    assert not run.checkpoint("rl").exists()
    assert follow(Run.open(run.directory))
    assert outcome(run) == outcome(finished)


def test_a_stage_that_the_recipe_lacks_is_refused_by_name(tiny_checkpoint: Path, tmp_path: Path):
    run = Run.create(tmp_path / "run", smoke(tiny_checkpoint))
    with pytest.raises(TrainError, match="no stage 'align'"):
        follow(run, until="align")


def test_a_planted_hole_stops_the_run_and_the_mended_run_goes_on(
    finished: Run, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Run.create(tmp_path / "run", smoke(tiny_checkpoint))
    assert follow(run, until="cold")
    with monkeypatch.context() as planted:
        planted.setattr(Even, "verify", lambda family, problem, transcript: CORRECT)
        with pytest.raises(TrainingStopped, match="accepts an attempt without an answer"):
            follow(run)
    assert follow(run)
    assert outcome(run) == outcome(finished)
