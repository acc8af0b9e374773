"""Parts of problems that only one split may use: functions, names and numbers that training never sees.

A problem's split follows from its key alone (`split_of`). A family whose *parts* shall be new in the test problems
draws for one split from that split's parts, until the key falls there too; where there are few, marks make it fall
there.
"""

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Final

from forethought.errors import TaskError
from forethought.tasks.problem import Draft, Split, split_of

MOST_TRIES: Final = 1000
"""Draws for a key of the right split. One in five does for the rarer of the two."""


@cache
def pool(words: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """Those of the words that this split may use. Every word belongs to one split, whatever list it stands in."""
    return tuple(word for word in words if split_of("word", word) == split)


def number(rng: Random, least: int, most: int, split: Split) -> int:
    """A number from `least` to `most` that this split may use."""
    return rng.choice(_numbers(least, most, split))


@cache
def _numbers(least: int, most: int, split: Split) -> Sequence[int]:
    return [n for n in range(least, most + 1) if split_of("number", str(n)) == split]


def marked(family: str, key: str, split: Split) -> str:
    """The key, with marks behind it until it is one of this split."""
    while split_of(family, key) != split:
        key += "'"
    return key


def drawn_apart(family: str, rng: Random, draw: Callable[[Split], Draft]) -> Draft:
    """A draft whose key is in the split that its parts are from; both splits come up equally often."""
    split: Split = rng.choice(("train", "test"))
    for _ in range(MOST_TRIES):
        draft = draw(split)
        if split_of(family, draft.key) == split:
            return draft
    raise TaskError(f"{family} found no {split} problem in {MOST_TRIES} draws.", "Widen its range.")
