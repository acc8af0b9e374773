"""What an attempt is worth: 1 for a right answer, 0 for any other, and less of the 1 for thinking close to a budget.

The length factor is LCPO-Max's (L1, https://arxiv.org/abs/2503.04697): `clip(alpha * (budget - n) + delta, 0, 1)`. It
acts where the budget of a prompt is tight, so that keeping one is learned; elsewhere length costs nothing, or effort
would be trained away.
"""

from pydantic import BaseModel, ConfigDict, Field

from forethought.evals.attempt import Attempt


class LengthReward(BaseModel):
    """The length factor under a tight budget. With these numbers, 25 spared tokens of thinking earn all of the reward,
    and thinking that had to be ended by force earns half of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alpha: float = Field(default=0.02, ge=0, description="reward for each token that was spared")
    delta: float = Field(default=0.5, ge=0, le=1, description="reward at the end of the budget")

    def factor(self, budget: int, thinking_tokens: int) -> float:
        """From 0 to 1, falling with the length of the thinking."""
        return min(1.0, max(0.0, self.alpha * (budget - thinking_tokens) + self.delta))


def reward(attempt: Attempt, tight_budget: int | None, length: LengthReward) -> float:
    """From 0 to 1. A budget holds for each turn, so the longest thinking counts."""
    if not attempt.verdict.correct:
        return 0.0
    if tight_budget is None:
        return 1.0
    return length.factor(tight_budget, max((turn.thinking_tokens for turn in attempt.turns), default=0))
