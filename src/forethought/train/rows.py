"""What a learner learns from: token rows. A prompt, and the continuations of it that are learned from.

Tokens come as they were rendered or sampled and are never made out of text again. Rows know nothing of losses: what a
branch is worth stands in it as a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Branch:
    """One continuation of a prompt: an answer, or several turns with the results of tools between them.

    `learned` says for each token whether it is learned. Those that the model did not choose (forced ends of thinking,
    tool results) are read only. `advantage` is what the branch is worth; for a worked solution its weight.
    `sampler_logprobs` are the log-probabilities under the weights that sampled the tokens (NaN for one that was not
    sampled), and `reference_logprobs` those under the weights that a KL term holds on to; only those of learned tokens
    count. `teacher_LC` are the base's hidden states that predict the L tokens: where there is one (a row that is not
    NaN), what is learned is the base's whole distribution instead of the one token.
    """

    token_ids: tuple[int, ...]
    learned: tuple[bool, ...]
    advantage: float = 1.0
    sampler_logprobs: tuple[float, ...] | None = None
    reference_logprobs: tuple[float, ...] | None = None
    teacher_LC: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("learned", "sampler_logprobs", "reference_logprobs", "teacher_LC"):
            given = getattr(self, name)
            if given is not None and len(given) != len(self.token_ids):
                raise ValueError(f"{name} has {len(given)} entries for {len(self.token_ids)} tokens")

    @classmethod
    def of(cls, token_ids: Sequence[int], advantage: float = 1.0) -> Branch:
        """A branch of which every token is learned."""
        return cls(tuple(token_ids), (True,) * len(token_ids), advantage)

    @property
    def learned_tokens(self) -> int:
        """How many tokens are learned."""
        return sum(self.learned)


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt and its branches. The learner computes the prompt once for all of them; a branch sees the prompt and
    itself. The prompt is never empty: something must predict the first token of a branch."""

    prompt_ids: tuple[int, ...]
    branches: tuple[Branch, ...]

    def __post_init__(self) -> None:
        if not self.prompt_ids:
            raise ValueError("a row needs a prompt of at least one token")

    @property
    def tokens(self) -> int:
        """All tokens, the prompt counted once."""
        return len(self.prompt_ids) + sum(len(branch.token_ids) for branch in self.branches)

    @property
    def learned_tokens(self) -> int:
        """How many tokens are learned."""
        return sum(branch.learned_tokens for branch in self.branches)


def learned_values(rows: Sequence[Row], values: Sequence[Sequence[float]]) -> list[float]:
    """Of numbers given for each token of each branch, those of learned tokens: in the order of rows, branches and
    tokens, which is the order of all flat results of a learner."""
    flat: list[float] = []
    for branch, given in zip(branches(rows), values, strict=True):
        flat.extend(value for value, learned in zip(given, branch.learned, strict=True) if learned)
    return flat


def branches(rows: Sequence[Row]) -> Iterator[Branch]:
    """All branches of all rows, in order."""
    return (branch for row in rows for branch in row.branches)
