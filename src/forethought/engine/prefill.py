"""How the tokens of a step are divided among the prompts that are being computed.

By rank alone a long prompt would hold back, for many steps, all that come after it. So where one cannot be finished in
a step, half of the step still goes by rank, and the other half to prompts behind it that are much shorter and no less
important, the shortest first. What either half leaves over the other gets.

Nobody starves: the first in rank gets its half of every step, whatever comes after it, and in time everybody is first.
And a short prompt waits for shorter ones, not for a long one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from forethought.engine.sequence import Sequence

MUCH_SHORTER = 2
"""Who passes a prompt has at most its length divided by this before it."""


def pending(sequence: Sequence) -> int:
    """Known tokens whose KV is not computed."""
    return len(sequence.tokens) - sequence.computed


@dataclass(frozen=True, slots=True)
class HeldUp:
    """The first prompt, by rank, that a step cannot finish, and how many of the step's tokens may pass it."""

    sequence: Sequence
    passing: int

    @classmethod
    def of(cls, prompts: Iterable[Sequence], tokens: int) -> Self | None:
        """What is held up when `prompts` get so many tokens by rank; None when all of them are finished."""
        left = tokens
        for sequence in prompts:
            if pending(sequence) > left:
                return cls(sequence, min(left, tokens // 2))
            left -= pending(sequence)
        return None

    def lets_pass(self, sequence: Sequence, length: int) -> bool:
        """Whether a prompt that ranks behind this one, with so many tokens before it, may be computed first."""
        held = self.sequence
        return MUCH_SHORTER * length <= pending(held) and sequence.request.priority <= held.request.priority


def divide(prompts: list[Sequence], tokens: int) -> list[tuple[Sequence, int]]:
    """How many tokens of each prompt the next step computes; at most `tokens` together. In and out by rank; who gets
    nothing is left out."""
    division = _Division(tokens)
    held = HeldUp.of(prompts, tokens)
    if held is not None:
        place = prompts.index(held.sequence)
        passing = [each for each in prompts[place + 1 :] if held.lets_pass(each, pending(each))]
        division.give(prompts[:place], tokens)
        division.give(sorted(passing, key=pending), held.passing)
    division.give(prompts, tokens)
    return [(sequence, division.given[sequence]) for sequence in prompts if division.given[sequence]]


class _Division:
    """Tokens as they are given out."""

    def __init__(self, tokens: int) -> None:
        self._left = tokens
        self.given: dict[Sequence, int] = {}

    def give(self, order: Iterable[Sequence], most: int) -> None:
        """To each in turn as many as it has use for, while there are any; not more than `most` together."""
        most = min(most, self._left)
        for sequence in order:
            had = self.given.get(sequence, 0)
            more = min(pending(sequence) - had, most)
            self.given[sequence] = had + more
            most -= more
            self._left -= more
