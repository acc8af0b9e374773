"""How a run measures what its stages have made: in pieces, so that one that is cut off goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from attempt_scene import register
from forethought.engine.native import NativeEngine
from forethought.evals import measure as measuring
from forethought.evals.attempt import Attempt, attempt
from forethought.evals.measurement import Measurement
from forethought.model.checkpoint import Checkpoint
from forethought.settings import EngineSettings, Settings
from forethought.train import evaluation
from forethought.train.recipe import Recipe
from forethought.train.stage import Halt
from rl_scene import Even

PLAN = {"problems": 2, "samples": 2, "effort": "low", "budget": 4}


def recipe(**changes: Any) -> Recipe:
    stages = [{"name": "rl", "kind": "rl", "steps": 1, "families": ["even"]}]
    return Recipe.parse(
        {"schema_version": 1, "name": "some", "base": "b", "stages": stages, "evaluation": PLAN | changes}, "test"
    )


def test_a_measurement_that_was_cut_off_goes_on(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register(monkeypatch, Even())
    monkeypatch.setattr(evaluation, "PIECE", 4)  # a level
    settings = Settings(
        cache_dir=tmp_path, engine=EngineSettings(runner="torch", dtype="float32", threads=1, cache_tokens=8192)
    )
    tried: list[int] = []

    async def counted(*given: Any, **options: Any) -> Attempt:
        tried.append(1)
        return await attempt(*given, **options)

    monkeypatch.setattr(measuring, "attempt", counted)

    def found(name: str, halts: int | None = None, followed: Recipe = recipe()) -> Measurement | None:  # noqa: B008
        halt, heard = Halt(), list[str]()

        def told(far: str) -> None:
            heard.append(far)
            halt.wanted = len(heard) == halts

        target = tmp_path / "measurements" / f"{name}.json"
        made = evaluation.evaluate(followed, checkpoint, NativeEngine(checkpoint, settings), target, halt, told)
        return asyncio.run(made)

    assert found("cut", halts=2) is None
    assert not (tmp_path / "measurements" / "cut.json").exists()
    halfway = len(tried)
    went_on = found("cut")
    assert (halfway, len(tried)) == (8, 12)
    whole = found("whole")
    assert went_on is not None
    assert whole is not None
    assert went_on.digest == whole.digest
    assert Measurement.load(tmp_path / "measurements" / "cut.json") == went_on
    assert not list((tmp_path / "measurements").glob("*.partial"))
    # What was found so far in another way is of no use.
    assert found("other", halts=1) is None
    tried.clear()
    other = found("other", followed=recipe(examples=1))
    assert len(tried) == 12
    assert other is not None
    assert other.examples == 1
