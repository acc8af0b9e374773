"""Token ids become text and markers.

A marker that is one reserved token is known by its id and by nothing else: ordinary tokens that spell it are text. A
marker that the vocabulary has no token for is found in the decoded text, however the tokens cut it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from forethought.model.tokenizer import Tokenizer

MarkerKind = Literal["think_open", "think_close", "call_open", "call_close", "stop"]


@dataclass(frozen=True, slots=True)
class Marker:
    """A marker in an output. `in_text` says that it was found in the text, where content can spell it too."""

    kind: MarkerKind
    spelling: str
    in_text: bool = False


Lexeme = str | Marker


class Lexer:
    """Reads one output. `markers` gives the kind of each marker by its spelling; those which the tokenizer has a
    reserved token for are known by id. `stops` are the ids that end the output."""

    def __init__(self, tokenizer: Tokenizer, markers: Mapping[str, MarkerKind], stops: tuple[int, ...]) -> None:
        reserved = tokenizer.special_tokens
        self._stream = tokenizer.stream()
        self._by_id = {stop: Marker("stop", tokenizer.decode([stop])) for stop in stops}
        self._in_text: dict[str, Marker] = {}
        for spelling, kind in markers.items():
            if spelling in reserved:
                self._by_id[reserved[spelling]] = Marker(kind, spelling)
            else:
                self._in_text[spelling] = Marker(kind, spelling, in_text=True)
        self._held = ""

    def feed(self, token_id: int) -> list[Lexeme]:
        """What this token completes."""
        marker = self._by_id.get(token_id)
        if marker is None:
            return self._scan(self._stream.feed(token_id))
        return [*self.finish(), marker]

    def finish(self) -> list[Lexeme]:
        """The text that was held back: an unfinished character, the beginning of a marker that did not come."""
        lexemes = self._scan(self._stream.finish())
        held, self._held = self._held, ""
        return [*lexemes, held] if held else lexemes

    def _scan(self, text: str) -> list[Lexeme]:
        if not self._in_text:
            return [text] if text else []
        lexemes: list[Lexeme] = []
        self._held += text
        while found := self._first_marker():
            at, marker = found
            if at:
                lexemes.append(self._held[:at])
            lexemes.append(marker)
            self._held = self._held[at + len(marker.spelling) :]
        ready = len(self._held) - self._unfinished()
        if ready:
            lexemes.append(self._held[:ready])
            self._held = self._held[ready:]
        return lexemes

    def _first_marker(self) -> tuple[int, Marker] | None:
        places = ((self._held.find(spelling), marker) for spelling, marker in self._in_text.items())
        return min((place for place in places if place[0] >= 0), key=lambda place: place[0], default=None)

    def _unfinished(self) -> int:
        """Length of the longest end of the held text that a marker may begin with."""
        longest = max(map(len, self._in_text)) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            end = self._held[-length:]
            if any(spelling.startswith(end) for spelling in self._in_text):
                return length
        return 0
