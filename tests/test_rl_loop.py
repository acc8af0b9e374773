"""Steps of reinforcement learning on a tiny model with a real engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from attempt_scene import register
from forethought.model.checkpoint import Checkpoint
from forethought.tasks.problem import CORRECT, Problem, Transcript, Verdict
from forethought.train import losses
from forethought.train.backend import Loss, StepStats
from forethought.train.replay import Answer
from forethought.train.replay_rows import Replay
from forethought.train.rl import RlLoop, with_reference
from forethought.train.rl_settings import RlSettings
from forethought.train.rows import Branch, Row, branches
from forethought.train.stage import Step
from forethought.train.teacher import Teacher
from forethought.train.torch_backend import TorchBackend
from learner_scene import FLOAT32
from rl_scene import Even, rl_settings, with_learner

TIMES = ("seconds", "tokens_per_second")


@pytest.fixture(autouse=True)
def _even(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Even())


def timeless(step: Step) -> dict[str, Any]:
    return {name: value for name, value in step.metrics.items() if name not in TIMES}


def rl_loop(settings: RlSettings, backend: TorchBackend) -> RlLoop:
    """A loop whose replay, if it has one, is of one answer."""
    answers, base = (Answer("Hello!", (40, 41, 42)),), Checkpoint.open(backend.checkpoint.directory)
    teacher = Teacher(base, FLOAT32) if settings.replay.share else None
    return RlLoop("rl", settings, backend, 1, Replay(backend.checkpoint, settings.replay, answers, teacher))


def weights(backend: TorchBackend) -> dict[str, torch.Tensor]:
    adapter = backend.adapter()
    assert adapter is not None
    return adapter.tensors


@pytest.mark.parametrize(
    "given", [{"clip_low": 0.1}, {"clip_high": 0.3, "loss": "cispo"}, {"most_weight": 2.0, "loss": "grpo"}]
)
def test_a_setting_of_another_loss_is_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError, match=f"{next(iter(given))} acts with loss ="):
        rl_settings(**given)


def test_a_step_tells_all_that_is_worth_knowing(checkpoint: Checkpoint):
    async def body(backend: TorchBackend) -> Step:
        return await rl_loop(rl_settings(prompts=6), backend).step(0)

    step = with_learner(checkpoint, body)
    metrics = step.metrics
    assert step.done
    assert step.alarm is None
    assert metrics["cells"]["even/1"]["n"] == 24
    assert sum(metrics["groups"].values()) == 6
    assert sum(metrics["reasons"].values()) == 24
    assert set(metrics["seconds"]) == {"publish", "sample", "verify", "learn"}
    assert metrics["levels"] == {"even": 1}
    assert 0 < metrics["thinking_by_effort"]["low"] <= 4
    assert metrics["grad_norm"] > 0
    assert metrics["entropy"] > 1  # a random model chooses among hundreds of tokens
    json.dumps(metrics)


def test_sampler_and_learner_agree_on_what_was_sampled_at_every_step(checkpoint: Checkpoint):
    async def body(backend: TorchBackend) -> list[Step]:
        loop = rl_loop(rl_settings(), backend)
        return [await loop.step(number) for number in range(3)]

    found = [step.metrics["ratio"]["most"] for step in with_learner(checkpoint, body) if "ratio" in step.metrics]
    assert found
    assert max(found) < 1e-4


def test_an_update_makes_the_better_attempts_likelier(checkpoint: Checkpoint):
    async def body(backend: TorchBackend) -> float:
        from forethought.train import rl

        seen: list[Row] = []
        original, rl.rows_of = rl.rows_of, lambda groups, **how: seen.extend(rows := original(groups, **how)) or rows
        try:
            await rl_loop(rl_settings(prompts=6, learning_rate=1e-3), backend).step(0)
        finally:
            rl.rows_of = original
        learned = [branch for row in seen for branch in row.branches]
        before = [
            value for each in learned for value, ok in zip(each.sampler_logprobs or (), each.learned, strict=True) if ok
        ]
        worth = [each.advantage for each in learned for ok in each.learned if ok]
        return float(np.dot(backend.logprobs(seen) - np.array(before), worth))

    assert with_learner(checkpoint, body) > 0


@pytest.mark.parametrize(("objective", "stay"), [("reward", losses.chance), ("likelihood", losses.sft)])
def test_judged_attempts_are_learned_by_their_chances_and_the_others_by_their_rewards(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, objective: str, stay: Loss
):
    class Tried(Even):
        name = "tried"
        has_traces = False

    register(monkeypatch, Even(), Tried())
    settings = rl_settings(families=["even", "tried"], credit="process", prompts=6, loss="cispo", objective=objective)

    async def body(backend: TorchBackend) -> tuple[list[tuple[list[Row], Loss]], Step]:
        seen: list[tuple[list[Row], Loss]] = []
        learn = backend.forward_backward

        def noted(rows: list[Row], loss: Loss, scale: float) -> StepStats:
            seen.append((rows, loss))
            return learn(rows, loss, scale)

        monkeypatch.setattr(backend, "forward_backward", noted)
        return seen, await rl_loop(settings, backend).step(0)

    [(judged, chance), (compared, other)], step = with_learner(checkpoint, body)
    assert chance is stay
    assert other is not stay
    assert {branch.advantage for branch in branches(judged)} == {1.0}
    assert any(branch.advantage < 0 for branch in branches(compared))
    learned = sum(row.learned_tokens for row in (*judged, *compared))
    assert step.metrics["learned_tokens"] == learned
    assert step.metrics["credit"]["attempts"] == 12
    assert step.metrics["ratio"]["most"] < 1e-4


@pytest.mark.parametrize(
    "changes", [{}, {"loss": "grpo"}, {"loss": "cispo"}, {"kl": 0.1}, {"replay": {"share": 0.3}}], ids=str
)
def test_a_resumed_stage_goes_on_as_the_other_would_have(
    checkpoint: Checkpoint, tmp_path: Path, changes: dict[str, Any]
):
    settings = rl_settings(curriculum={"window": 8, "up": 0.3, "down": 0.05}, **changes)
    kept: dict[str, Any] = {}

    async def whole(backend: TorchBackend) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
        loop, steps = rl_loop(settings, backend), []
        for number in range(4):
            if number == 2:
                backend.save_state(tmp_path / "state")
                kept.update(json.loads(json.dumps(loop.state())))
            steps.append(timeless(await loop.step(number)))
        return steps[2:], weights(backend)

    async def rest(backend: TorchBackend) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
        loop = rl_loop(settings, backend)
        backend.load_state(tmp_path / "state")
        loop.resume(kept)
        return [timeless(await loop.step(number)) for number in (2, 3)], weights(backend)

    options = {"keep_reference": settings.kl > 0}
    steps, tensors = with_learner(checkpoint, whole, **options)
    again, others = with_learner(checkpoint, rest, **options)
    assert again == steps
    assert all(torch.equal(tensor, others[name]) for name, tensor in tensors.items())


def test_replay_brings_the_model_back_to_what_the_base_says(checkpoint: Checkpoint):
    async def body(backend: TorchBackend) -> list[float]:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for name, tensor in backend.trained.items():
                if name.endswith("lora_B.weight"):
                    tensor.normal_(0, 0.1, generator=generator)
        replay = {"share": 0.5, "weight": 100.0, "thinking": 0.0}
        loop = rl_loop(rl_settings(prompts=6, learning_rate=1e-2, replay=replay), backend)
        steps = [await loop.step(number) for number in range(6)]
        return [step.metrics["divergence"] for step in steps if "divergence" in step.metrics]

    found = with_learner(checkpoint, body)
    assert found[-1] < 0.7 * found[0], found


def test_validation_scores_the_weights_as_they_are_after_the_step(checkpoint: Checkpoint):
    async def body(backend: TorchBackend) -> list[Step]:
        loop = rl_loop(rl_settings(validate_every=2, validate_problems=2), backend)
        return [await loop.step(number) for number in range(2)]

    first, second = with_learner(checkpoint, body)
    assert (first.score, first.metrics.get("validation")) == (None, None)
    assert second.score is not None
    assert 0 <= second.score <= 1
    assert second.metrics["validation"] == second.score


class Hole(Even):
    """Rewards an empty answer."""

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        return CORRECT


def test_a_hole_in_a_verifier_is_found_before_anything_is_learned(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register(monkeypatch, Hole())

    async def body(backend: TorchBackend) -> tuple[Step, bool]:
        before = weights(backend)
        step = await rl_loop(rl_settings(), backend).step(0)
        return step, all(torch.equal(tensor, before[name]) for name, tensor in weights(backend).items())

    step, unchanged = with_learner(checkpoint, body)
    assert step.alarm == "The verifier of even, level 1, accepts an attempt without an answer."
    assert not step.done
    assert unchanged


def test_reference_logprobs_stand_at_learned_tokens():
    rows = [
        Row((1,), (Branch((2, 3), (True, False)), Branch((4,), (True,)))),
        Row((5,), (Branch((6, 7), (False, True)),)),
    ]
    filled = with_reference(rows, np.array([-1.0, -2.0, -3.0], np.float32))
    found = [branch.reference_logprobs for row in filled for branch in row.branches]
    assert found == [(-1.0, 0.0), (-2.0,), (0.0, -3.0)]
