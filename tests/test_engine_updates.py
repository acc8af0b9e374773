"""New weights for an engine process: in force at once and after a restart, or refused."""

from pathlib import Path

import pytest
import torch

import engine_double as double
from forethought.errors import CheckpointError, EngineDown
from process_scenario import SpecMaker, answer, ask, counted, running, scenario


def test_new_weights_are_in_force_after_the_update_and_after_a_restart(
    counting_spec: SpecMaker, tmp_path: Path
) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            await engine.update_weights({"w": torch.ones(2), "v": torch.ones(1)})
            await engine.update_weights({"w": torch.ones(3)})
            assert engine.digest == "sha256:1+v=1+w=2+w=3"
            await answer(engine, ask("crash", double.EXIT))
            assert await answer(engine, ask("next")) == counted(3)
            assert engine.digest == "sha256:1+v=1+w=2+w=3"
            assert engine.metrics().restarts == 1
        assert not list(tmp_path.glob("forethought-weights-*"))

    scenario(body)


def test_of_weights_that_were_replaced_no_copy_is_kept(counting_spec: SpecMaker, tmp_path: Path) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            for value in (1.0, 2.0, 3.0):
                await engine.update_weights({"w": torch.tensor([value])})
            assert len(list(tmp_path.glob("forethought-weights-*/*"))) == 1

    scenario(body)


def test_weights_that_do_not_fit_are_refused_and_change_nothing(counting_spec: SpecMaker, tmp_path: Path) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            with pytest.raises(CheckpointError, match="no tensor of that name"):
                await engine.update_weights({"unknown": torch.ones(1)})
            assert engine.digest == "sha256:1"
            assert await answer(engine, ask("next")) == counted(3)
            assert not list(tmp_path.glob("forethought-weights-*/*"))

    scenario(body)


def test_an_update_that_kills_the_process_is_not_applied_again(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            with pytest.raises(EngineDown, match="those before are in force"):
                await engine.update_weights({"deadly": torch.ones(1)})
            assert await answer(engine, ask("next")) == counted(3)
            assert engine.digest == "sha256:1"

    scenario(body)
