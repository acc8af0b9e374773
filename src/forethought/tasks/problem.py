"""A problem, the transcript of an attempt at it, and the verdict on that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Final, Literal

from forethought.model.conversation import Conversation, Item
from forethought.reasoning.format import FreeText, OutputFormat

Split = Literal["train", "test"]

TEST_SHARE: Final = 5
"""One key in so many belongs to the test problems."""

FREE_TEXT: Final = FreeText()

Transcript = tuple[Item, ...]
"""What came after the problem's conversation: the model's outputs, and the results of the tools that it called."""


@dataclass(frozen=True, slots=True)
class Draft:
    """What a family draws: a conversation whose next output is the attempt, and what its verifier compares with.

    `key` says what is asked, whatever the wording: drafts with the same key are always in the same split. With `thinks`
    off the attempt is made without thinking, and its trace holds none.
    """

    conversation: Conversation
    gold: Any
    key: str
    output_format: OutputFormat = FREE_TEXT
    thinks: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem. `family`, `level`, `split` and `seed` together make it again."""

    family: str
    level: int
    split: Split
    seed: int
    conversation: Conversation
    gold: Any
    key: str
    output_format: OutputFormat = FREE_TEXT
    thinks: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an attempt is right, and why not, in a few words for whoever reads rollouts."""

    correct: bool
    reason: str = ""


CORRECT: Final = Verdict(True)


def wrong(reason: str) -> Verdict:
    """An attempt that is not right."""
    return Verdict(False, reason)


def split_of(family: str, key: str) -> Split:
    """The split that a key belongs to. It follows from the key alone, so train and test never share one."""
    digest = hashlib.sha256(f"{family}\n{key}".encode()).digest()
    return "test" if digest[0] % TEST_SHARE == 0 else "train"
