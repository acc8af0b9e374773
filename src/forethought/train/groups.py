"""Groups of rewards and what they teach: each sample is as good as it is better than its group.

The baseline is the group's mean (REINFORCE with a group baseline; https://arxiv.org/abs/2402.14740). Dividing by the
standard deviation, as GRPO does, weighs easy and hard problems more than the others (https://arxiv.org/abs/2503.20783)
and is off unless asked for.
"""

from collections.abc import Sequence
from math import fsum, sqrt
from typing import Literal

Lesson = Literal["taught", "all_solved", "all_failed", "all_equal", "broken"]
"""What the rewards of a group come to: they teach something, or are all the same (all right, all wrong, or mixed with
equal rewards), or fewer than two of its samples could be judged."""

SAME = 1e-9
"""Rewards that differ by less are the same: they differ by rounding."""


def lesson(rewards: Sequence[float], correct: Sequence[bool]) -> Lesson:
    """What a group of judged samples teaches, and why it teaches nothing."""
    if len(rewards) < 2:
        return "broken"
    if max(rewards) - min(rewards) > SAME:
        return "taught"
    if all(correct):
        return "all_solved"
    return "all_equal" if any(correct) else "all_failed"


def advantages(rewards: Sequence[float], *, divide: bool = False) -> tuple[float, ...]:
    """Each reward less the mean of all; with `divide` in standard deviations. All 0 where the rewards are the same.

    Raises:
        ValueError: there are no rewards.
    """
    if not rewards:
        raise ValueError("a group needs rewards")
    if max(rewards) - min(rewards) <= SAME:
        return (0.0,) * len(rewards)
    mean = fsum(rewards) / len(rewards)
    centred = [reward - mean for reward in rewards]
    scale = sqrt(fsum(each * each for each in centred) / len(centred)) if divide else 1.0
    return tuple(each / scale for each in centred)
