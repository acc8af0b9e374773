"""How thinking is summarised: how finely, at what length, and how long anybody waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from forethought.errors import SettingsError

SummaryDetail = Literal["auto", "concise", "detailed"]


@dataclass(frozen=True, slots=True)
class Detail:
    """One level of detail. Lengths are in characters, except for `max_tokens`.

    Args:
        segment: what a part of the summary is about: a stretch of thinking of this length at least. Those of a long
            thinking grow.
        most_parts: what is thought after so many parts is summarised no more.
        sentences: the fewest and the most that follow the title.
        sentence: the least and the greatest length of one, spaces not counted.
        max_tokens: of one part.
    """

    segment: int
    most_parts: int
    sentences: tuple[int, int]
    sentence: tuple[int, int]
    max_tokens: int

    def __post_init__(self) -> None:
        ranges = (self.sentences, self.sentence)
        positive = min(self.segment, self.most_parts, self.max_tokens, *self.sentences, *self.sentence) > 0
        if not positive or any(least > most for least, most in ranges):
            raise SettingsError(f"{self} cannot be a level of detail.", "Numbers are positive, ranges rise.")


# A part has fewer tokens than its segment (a token is some four characters): so the summariser, which has the engine's
# pace, keeps up with the thinking.
DETAILS: Final[Mapping[SummaryDetail, Detail]] = MappingProxyType(
    {
        "concise": Detail(2400, 12, sentences=(1, 1), sentence=(20, 120), max_tokens=80),
        "auto": Detail(1200, 20, sentences=(1, 2), sentence=(20, 140), max_tokens=128),
        "detailed": Detail(600, 32, sentences=(2, 3), sentence=(30, 160), max_tokens=192),
    }
)


@dataclass(frozen=True, slots=True)
class SummarySettings:
    """What a `Summarizer` may take.

    Args:
        part_seconds: a part that takes longer is cut off.
        final_seconds: how long the answer waits, once the thinking is over, for what is missing of the summary.
        priority: of the summariser's requests. Above that of turns, so that these run first.
        details: what the words that a client may say stand for.
    """

    part_seconds: float = 20.0
    final_seconds: float = 3.0
    priority: int = 1
    details: Mapping[SummaryDetail, Detail] = field(default_factory=lambda: DETAILS)

    def __post_init__(self) -> None:
        if self.part_seconds <= 0 or self.final_seconds < 0:
            raise SettingsError("A summary has no time.", "Give part_seconds above 0, and final_seconds of 0 or more.")
