"""Tokens that say when they were emitted, so that a client can tell how long each one took to reach it.

A stamp is an ordinary token of the tokenizer: a space and a word of lower-case letters. The words stand for the
moments of the system-wide monotonic clock, a fixed time apart, and begin again when all have been used. They stay
apart when a server joins several tokens into one event. The standard library only: servers and clients use this in
whatever Python they run in.
"""

import time
from collections.abc import Iterable, Iterator, Sequence

GRAIN = 0.0005
"""Seconds between two moments."""

Word = tuple[int, str]
"""A token: its id, and its text without the space."""


class Stamps:
    """The words, in the order of the moments that they stand for."""

    def __init__(self, words: Sequence[Word]) -> None:
        self._ids = [token_id for token_id, _ in words]
        self._places = {text: place for place, (_, text) in enumerate(words)}

    def at(self, moment: float) -> int:
        """The token that says `moment`."""
        return self._ids[round(moment / GRAIN) % len(self._ids)]

    def now(self) -> int:
        """The token that says the present moment."""
        return self.at(time.monotonic())

    def moments(self, words: Iterable[str], sent: float) -> Iterator[float]:
        """When the tokens of one answer were emitted, in order. The first one was emitted behind `sent`, and each one
        less than a round of all words behind the one before it."""
        place = int(sent / GRAIN)
        for word in words:
            place += (self._places[word] - place) % len(self._ids)
            yield place * GRAIN
