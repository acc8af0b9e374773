"""Every loss against numbers worked out by hand."""

from math import exp, log

import pytest
import torch

from forethought.errors import TrainError
from forethought.train import losses
from forethought.train.backend import LearnedTokens, Loss


def tokens(logprobs: list[float], advantages: list[float], **others: list[float]) -> LearnedTokens:
    return LearnedTokens(
        torch.tensor(logprobs, requires_grad=True),
        torch.tensor(advantages),
        **{f"{name}_N": torch.tensor(values) for name, values in others.items()},
    )


def values_and_slopes(loss: Loss, given: LearnedTokens) -> tuple[list[float], list[float]]:
    values = loss(given)
    (slopes,) = torch.autograd.grad(values.sum(), given.logprobs_N)
    return values.tolist(), slopes.tolist()


@pytest.mark.parametrize("loss", [losses.sft, losses.reinforce])
def test_a_log_probability_counts_by_its_advantage(loss: Loss) -> None:
    values, slopes = values_and_slopes(loss, tokens([-1.0, -2.0, -0.5], [1.0, 0.5, -2.0]))
    assert values == pytest.approx([1.0, 1.0, -1.0])
    assert slopes == pytest.approx([-1.0, -0.5, 2.0])


def test_a_chance_counts_by_its_advantage_and_its_size() -> None:
    values, slopes = values_and_slopes(losses.chance, tokens([log(0.5), log(0.9)], [1.0, 2.0]))
    assert values == pytest.approx([-0.5, -1.8])
    assert slopes == pytest.approx([-0.5, -1.8])


def test_grpo_clips_what_has_moved_far_enough_already() -> None:
    sampler = [log(0.5)] * 4
    present = [log(0.55), log(0.75), log(0.75), log(0.35)]  # ratios 1.1, 1.5, 1.5, 0.7
    values, slopes = values_and_slopes(losses.grpo(0.2, 0.2), tokens(present, [1, 1, -1, -1], sampler_logprobs=sampler))
    assert values == pytest.approx([-1.1, -1.2, 1.5, 0.8], rel=1e-5)
    assert slopes == pytest.approx([-1.1, 0.0, 1.5, 0.0], rel=1e-5)


def test_grpo_may_clip_higher_above_than_below() -> None:
    given = tokens([log(0.75), log(0.3)], [1.0, -1.0], sampler_logprobs=[log(0.5)] * 2)
    values, _ = values_and_slopes(losses.grpo(0.1, 0.3), given)
    assert values == pytest.approx([-1.3, 0.9], rel=1e-5)


def test_cispo_weighs_with_a_clipped_ratio_and_keeps_every_gradient() -> None:
    given = tokens([log(0.6), log(0.9)], [1.0, -2.0], sampler_logprobs=[log(0.5), log(0.1)])
    values, slopes = values_and_slopes(losses.cispo(most=4.0), given)
    assert values == pytest.approx([-1.2 * log(0.6), 8 * log(0.9)], rel=1e-5)
    assert slopes == pytest.approx([-1.2, 8.0], rel=1e-5)


def test_a_kl_term_prices_the_way_from_the_reference() -> None:
    given = tokens([-1.0, -1.0], [0.0, 0.0], reference_logprobs=[-1.0, -0.5])
    values, slopes = values_and_slopes(losses.with_kl(losses.reinforce, 2.0), given)
    assert values == pytest.approx([0.0, 2 * (exp(0.5) - 1 - 0.5)], rel=1e-5)
    assert slopes == pytest.approx([0.0, 2 * (1 - exp(0.5))], rel=1e-5)


@pytest.mark.parametrize("loss", [losses.grpo(), losses.cispo(), losses.with_kl(losses.sft, 0.1)])
def test_a_loss_says_which_numbers_it_lacks(loss: Loss) -> None:
    with pytest.raises(TrainError, match="logprobs"):
        loss(tokens([-1.0], [1.0]))
