"""Learning on a graphics processor: the numbers of a CPU, up to the order in which sums are rounded."""

from pathlib import Path

import numpy as np
import pytest
import torch

from forethought.model.checkpoint import Checkpoint
from forethought.train import losses
from forethought.train.backend import LearnerSettings
from forethought.train.estimate import product_rate
from forethought.train.replay_rows import taught
from forethought.train.rows import Branch, Row
from forethought.train.teacher import Teacher
from learner_scene import FLOAT32, gradients, learner, some_rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no graphics processor")


def rows_with_a_teacher(checkpoint: Checkpoint, device: str) -> list[Row]:
    plain = [Row((1, 2, 3, last), (Branch.of((5, 6, 7, 8, last)),)) for last in (9, 10)]
    states = Teacher(checkpoint, FLOAT32, device).states(plain)
    return [*some_rows(checkpoint, 9), *map(taught, plain, states)]


@pytest.mark.parametrize("train", ["adapter", "all"])
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-4), ("bfloat16", 0.1)])
def test_it_learns_what_a_cpu_learns(checkpoint: Checkpoint, train: str, dtype: str, most: float) -> None:
    how = LearnerSettings.model_validate({**FLOAT32.model_dump(), "train": train, "dtype": dtype})
    there, here = learner(checkpoint, how, device="cuda"), learner(checkpoint, how)
    rewarded = losses.with_kl(losses.grpo(0.2, 0.2), 0.1)
    for backend, device in ((there, "cuda"), (here, "cpu")):
        backend.forward_backward(rows_with_a_teacher(checkpoint, device), losses.sft, 0.01)
    rows = some_rows(checkpoint, 9)
    found, expected = (backend.forward_backward(rows, rewarded, 0.01) for backend in (there, here))
    np.testing.assert_allclose(found.logprobs_N, expected.logprobs_N, atol=most)
    ours, theirs = gradients(there), gradients(here)
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        difference = torch.linalg.vector_norm(ours[name].cpu() - gradient)
        assert difference <= most * torch.linalg.vector_norm(gradient) + 1e-6, name


@pytest.mark.parametrize("train", ["adapter", "all"])
def test_its_state_goes_on_anywhere(checkpoint: Checkpoint, tmp_path: Path, train: str) -> None:
    how = LearnerSettings.model_validate({**FLOAT32.model_dump(), "train": train})
    rows = some_rows(checkpoint, 5)
    there = learner(checkpoint, how, device="cuda")
    there.forward_backward(rows, losses.sft, 0.01)
    there.optimizer_step(1e-3)
    there.save_state(tmp_path / "state")
    there.save_checkpoint(tmp_path / "made")
    there.forward_backward(rows, losses.sft, 0.01)
    there.optimizer_step(1e-3)
    for device in ("cpu", "cuda"):
        other = learner(checkpoint, how, device=device)
        other.load_state(tmp_path / "state")
        other.forward_backward(rows, losses.sft, 0.01)
        other.optimizer_step(1e-3)
        for name, tensor in there.trained.items():
            torch.testing.assert_close(other.trained[name].cpu(), tensor.cpu(), atol=1e-4, rtol=1e-3, msg=name)
        assert {name: tensor.device.type for name, tensor in other.merged().items()} == dict.fromkeys(
            there.merged(), "cpu"
        )


def test_its_speed_is_measured() -> None:
    assert product_rate(torch.float32, "cuda", seconds=0.05) > 0
