"""Effort becomes a number of thinking tokens here, and nowhere else.

The budget is told to the model (the renderer writes it into the prompt) and enforced by the engine. It depends on the
effort, the context and the caller's token limit only, never on the length of the prompt: the prompts of one
conversation then begin alike, and the engine finds their prefix in its cache.
"""

from math import ceil
from typing import Final

from forethought.model.conversation import Effort

DEFAULT_EFFORT: Final[Effort] = "medium"

BUDGET: Final[dict[Effort, int]] = {"low": 256, "medium": 1024, "high": 4096}
"""Thinking tokens where there is room for them."""

SHARE: Final[dict[Effort, float]] = {"low": 0.25, "medium": 0.5, "high": 0.75}
"""The most of an output that may be thinking. Strictly rising, so a small limit keeps the efforts apart."""

RESERVE_SHARE: Final = 0.25
RESERVE_TOKENS: Final = 512
"""Tokens kept for the answer: this share of the output, and never more than this many."""


def thinking_budget(effort: Effort, context_length: int, max_output_tokens: int | None = None) -> int:
    """Thinking tokens that `effort` stands for, in an output of at most `max_output_tokens`."""
    limit = context_length if max_output_tokens is None else min(context_length, max_output_tokens)
    return min(BUDGET[effort], int(limit * SHARE[effort]))


def answer_reserve(max_tokens: int) -> int:
    """Tokens of an output of `max_tokens` at which thinking is closed, so that an answer still fits."""
    return min(RESERVE_TOKENS, int(max_tokens * RESERVE_SHARE))


def output_room(budget: int, end_tokens: int, answer_tokens: int) -> int:
    """The smallest `max_output_tokens` under which all of a budget can be thought, the thinking be closed with
    `end_tokens`, and this much be answered."""
    thought = budget + end_tokens
    reserved = min(RESERVE_TOKENS, ceil(thought * RESERVE_SHARE / (1 - RESERVE_SHARE)))
    return thought + max(answer_tokens, reserved)
