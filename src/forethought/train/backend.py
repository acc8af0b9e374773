"""The seam between what is learned and what learns: a `Backend` turns rows into better weights, and samples from them.

`TorchBackend` is the one in this process. Recipes, losses and the loops of `sft` and `rl` know this protocol only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    import torch

    from forethought.model.checkpoint import Checkpoint
    from forethought.model.lora_config import LoraConfig
    from forethought.reasoning.reasoner import Reasoner
    from forethought.train.rows import Row


MOST_AT_ONCE: Final = 4
"""Packs computed side by side at most: more would take memory, and gain little."""


def packs_at_once(threads: int) -> int:
    """How many packs are computed side by side, so that each has as many threads as the others and none is idle."""
    return next(count for count in range(MOST_AT_ONCE, 0, -1) if threads % count == 0)


Precision = Literal["bfloat16", "float32"]
"""What a learner, and the engine that samples for it, compute with."""


class LearnerSettings(BaseModel):
    """How a learner computes; the same for every loss.

    `train` says what is trained: an adapter, or every weight. `dtype` is that of the arithmetic (what is trained, its
    gradients and the optimiser's moments are float32 in any case).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: Literal["adapter", "all"] = "adapter"
    dtype: Precision = "bfloat16"
    threads: int = Field(default=0, ge=0, description="0: as many as torch takes by itself")
    pack_tokens: int = Field(default=512, ge=16, description="tokens of one forward pass, about")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.95, ge=0, lt=1)
    epsilon: float = Field(default=1e-8, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0, description="gradients are scaled down to this norm")


@dataclass(frozen=True, slots=True)
class LearnedTokens:
    """What a loss sees: N learned tokens of some packs, flat. All float32; only `logprobs_N` carries a gradient.

    `sampler_logprobs_N` and `reference_logprobs_N` are None when no branch has them.
    """

    logprobs_N: torch.Tensor
    advantages_N: torch.Tensor
    sampler_logprobs_N: torch.Tensor | None = None
    reference_logprobs_N: torch.Tensor | None = None


Loss = Callable[[LearnedTokens], "torch.Tensor"]
"""Learned tokens to `losses_N`, one number a token. It sees a pack at a time, so it may not mix tokens with each other:
what depends on a whole step (advantages, the count to divide by) is computed before. Packs are computed in several
threads, in any order, so it may not keep anything either."""


@dataclass(frozen=True, slots=True)
class StepStats:
    """What a `forward_backward` did.

    `loss` is the sum of the losses times `scale`. `tokens` counts all tokens computed (shared prompts once), `learned`
    those with a loss. `logprobs_N` are the learner's float32 log-probabilities of the learned tokens before the
    update (minus the divergence for those with a teacher), in the order of rows, branches and tokens.
    """

    loss: float
    tokens: int
    learned: int
    packs: int
    seconds: float
    logprobs_N: np.ndarray


@dataclass(frozen=True, slots=True)
class Adapter:
    """A LoRA adapter in memory: tensors by PEFT's names without prefix, float32."""

    config: LoraConfig
    tensors: dict[str, torch.Tensor]


class Backend(Protocol):
    """A learner, and the reasoner that samples from what it has learned.

    A step is one or more `forward_backward` (their gradients add up), then one `optimizer_step`. None of them touches
    what the reasoner samples from: only `publish` does.
    """

    @property
    def checkpoint(self) -> Checkpoint:
        """What is being trained, as it began: its renderer makes the rows. It declares that it thinks and calls
        tools, because that is what it is being taught."""
        ...

    @property
    def reasoner(self) -> Reasoner:
        """Samples with the weights of the last `publish`. Raises `TrainError` for a backend without an engine."""
        ...

    def forward_backward(self, rows: Sequence[Row], loss: Loss, scale: float) -> StepStats:
        """Adds the gradient of `scale` times the sum of all learned tokens' losses.

        `scale` is one over the learned tokens of the whole step, so that every token of a step weighs the same
        however it is cut into calls and packs.

        Raises:
            TrainError: a row is longer than the model's context, or nothing in the rows is learned.
        """
        ...

    def optimizer_step(self, learning_rate: float) -> float:
        """Clips the gathered gradient, updates the weights and clears the gradient. Returns its norm before clipping.

        A norm that is not finite changes nothing but clears the gradient: the caller sees it and decides.
        """
        ...

    def logprobs(self, rows: Sequence[Row], *, reference: bool = False) -> np.ndarray:
        """Log-probabilities `logprobs_N` of the learned tokens (order as in `StepStats`), under the present weights,
        or under those that the backend began with. No gradients.

        Raises:
            TrainError: as `forward_backward`; or the backend was not told to keep a reference.
        """
        ...

    async def publish(self) -> None:
        """Gives the present weights to the engine that `reasoner` samples with, and empties its prefix cache. Raises
        `TrainError` for a backend without an engine."""
        ...

    def save_state(self, directory: Path) -> None:
        """Writes all that the next step depends on (trained tensors, moments, count of steps; float32) into a new
        directory. It appears whole or not at all."""
        ...

    def load_state(self, directory: Path) -> None:
        """Takes up what `save_state` wrote: from here everything is the same, bit for bit, as if it had gone on.

        Raises:
            CheckpointError: the state is missing, broken or of another model.
        """
        ...

    def adapter(self) -> Adapter | None:
        """A copy of the trained adapter; None when every weight is trained."""
        ...

    def save_checkpoint(self, directory: Path) -> Checkpoint:
        """Writes what has been trained as a checkpoint that anyone can open: an adapter (bfloat16) beside the base, or
        a whole model. Raises `CheckpointError` when `directory` exists."""
        ...
