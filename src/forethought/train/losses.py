"""The losses, each on flat tensors of N learned tokens: one number a token. The step divides by its count of tokens.

A loss of rows without `sampler_logprobs` that needs them raises `TrainError`; what is missing for single tokens is NaN,
and spoils the step visibly.
"""

import torch

from forethought.errors import TrainError
from forethought.train.backend import LearnedTokens, Loss


def sft(tokens: LearnedTokens) -> torch.Tensor:
    """Cross-entropy; the advantage is the weight of the branch."""
    return -tokens.advantages_N * tokens.logprobs_N


def reinforce(tokens: LearnedTokens) -> torch.Tensor:
    """The policy gradient (https://doi.org/10.1007/BF00992696); exact as long as the sampling weights are the present
    ones."""
    return -tokens.advantages_N * tokens.logprobs_N


def chance(tokens: LearnedTokens) -> torch.Tensor:
    """Minus the token's probability: the policy gradient where this token is worth 1 and every other one nothing, taken
    over all of them instead of the one that was sampled (https://arxiv.org/abs/1706.05374)."""
    return -tokens.advantages_N * tokens.logprobs_N.exp()


def grpo(clip_low: float = 0.2, clip_high: float = 0.2) -> Loss:
    """The clipped ratio of PPO with advantages of a group (https://arxiv.org/abs/2402.03300); `clip_high` above
    `clip_low` is DAPO's asymmetry (https://arxiv.org/abs/2503.14476)."""

    def loss(tokens: LearnedTokens) -> torch.Tensor:
        ratio_N = (tokens.logprobs_N - _sampler(tokens)).exp()
        clipped_N = ratio_N.clamp(1 - clip_low, 1 + clip_high)
        return -torch.minimum(ratio_N * tokens.advantages_N, clipped_N * tokens.advantages_N)

    return loss


def cispo(most: float = 5.0) -> Loss:
    """Importance weights clipped and not differentiated, so that no token's gradient vanishes
    (https://arxiv.org/abs/2506.13585)."""

    def loss(tokens: LearnedTokens) -> torch.Tensor:
        weight_N = (tokens.logprobs_N - _sampler(tokens)).exp().clamp(max=most).detach()
        return -weight_N * tokens.advantages_N * tokens.logprobs_N

    return loss


def with_kl(loss: Loss, coefficient: float) -> Loss:
    """Adds a price for leaving the reference: the estimate r - 1 - log r with r = p_reference / p, never below 0
    (http://joschu.net/blog/kl-approx.html, k3)."""

    def priced(tokens: LearnedTokens) -> torch.Tensor:
        if tokens.reference_logprobs_N is None:
            raise TrainError("The loss has a KL term, and the rows have no reference_logprobs.", "Compute them first.")
        log_ratio_N = tokens.reference_logprobs_N - tokens.logprobs_N
        return loss(tokens) + coefficient * (log_ratio_N.exp() - 1 - log_ratio_N)

    return priced


def _sampler(tokens: LearnedTokens) -> torch.Tensor:
    if tokens.sampler_logprobs_N is None:
        raise TrainError(
            "The loss weighs by the sampler, and the rows have no sampler_logprobs.", "Sample with logprobs."
        )
    return tokens.sampler_logprobs_N
