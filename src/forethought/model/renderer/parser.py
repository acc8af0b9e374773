"""The tokens of one output become typed pieces: one machine for every format.

The lexer says what is text and what is a marker; this machine knows where it stands. A marker that means nothing
where it stands (a tool call inside the thinking, say) is text, spelled out. What the model thinks is thinking wherever
it begins, so that a model that starts to think again in the middle of its answer shows none of it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from forethought.model.renderer.call import Call
from forethought.model.renderer.lexer import Lexeme, Lexer, Marker
from forethought.model.renderer.protocol import Piece, TextDelta, ThinkingDelta, ThinkingEnd
from forethought.model.renderer.section import Section


@dataclass(frozen=True, slots=True)
class Layout:
    """Newlines that a format puts around its markers and that belong to no content."""

    think_opened: int = 0
    think_closing: int = 0
    think_closed: int = 0
    call_opening: int = 0


class OutputParser:
    """Reads one output. `new_call` makes the reader of the call with a given index; `formatted` is that of
    `Renderer.parser`."""

    def __init__(
        self, lexer: Lexer, layout: Layout, new_call: Callable[[int], Call], *, thinking_open: bool, formatted: bool
    ) -> None:
        self._lexer = lexer
        self._layout = layout
        self._new_call = new_call
        self._formatted = formatted
        self._calls = 0
        self._call: Call | None = None
        self._thinking = thinking_open
        self._after_call = False
        self._stopped = False
        # An opening marker in the prompt took its newline with it.
        self._section = self._new_thinking(skip=0) if thinking_open else self._new_text(skip=0)

    def feed(self, token_ids: Iterable[int]) -> list[Piece]:
        """The pieces that these tokens complete. Tokens behind a stop token are not read."""
        pieces: list[Piece] = []
        for token_id in token_ids:
            for lexeme in [] if self._stopped else self._lexer.feed(token_id):
                pieces += self._read(lexeme)
        return pieces

    def finish(self) -> list[Piece]:
        """The output is over: what was held back comes out."""
        if self._stopped:
            return []
        pieces = [piece for lexeme in self._lexer.finish() for piece in self._read(lexeme)]
        return pieces + self._stop()

    def _read(self, lexeme: Lexeme) -> list[Piece]:
        if isinstance(lexeme, str):
            return self._read_text(lexeme)
        if lexeme.kind == "stop":
            return self._stop()
        if self._call is not None:
            return self._read_marker_in_call(self._call, lexeme)
        if self._thinking:
            return self._close_thinking() if lexeme.kind == "think_close" else self._read_text(lexeme.spelling)
        if self._formatted and lexeme.in_text and self._section.begun:
            return self._read_text(lexeme.spelling)
        match lexeme.kind:
            case "think_open":
                return self._open_thinking()
            case "call_open":
                return self._open_call()
            case _:
                return self._read_text(lexeme.spelling)

    def _read_text(self, text: str) -> list[Piece]:
        if self._call is not None:
            return self._call.feed(text)
        return self._content(self._section.feed(text))

    def _read_marker_in_call(self, call: Call, marker: Marker) -> list[Piece]:
        if marker.in_text and call.in_string:
            return call.feed(marker.spelling)
        match marker.kind:
            case "call_close":
                return self._close_call(call, closed=True)
            case "call_open":
                # The end marker was forgotten; the calls must not mix.
                return [*self._close_call(call, closed=False), *self._open_call()]
            case _:
                return call.feed(marker.spelling)

    def _open_thinking(self) -> list[Piece]:
        pieces = self._content(self._section.end(at_marker=False, blank_is_layout=True))
        self._thinking = True
        self._section = self._new_thinking(skip=self._layout.think_opened)
        return pieces

    def _close_thinking(self) -> list[Piece]:
        begun = self._section.begun
        rest = self._content(self._section.end(at_marker=True, blank_is_layout=False))
        self._thinking = self._after_call = False
        self._section = self._new_text(skip=self._layout.think_closed)
        return [*(rest if rest or begun else [ThinkingDelta("")]), ThinkingEnd()]

    def _open_call(self) -> list[Piece]:
        pieces = self._content(self._section.end(at_marker=True, blank_is_layout=True))
        self._call = self._new_call(self._calls)
        return pieces

    def _close_call(self, call: Call, *, closed: bool) -> list[Piece]:
        pieces = call.end(closed=closed)
        self._calls += call.started
        self._call = None
        self._after_call = True
        self._section = self._new_text(skip=0)
        return pieces

    def _stop(self) -> list[Piece]:
        self._stopped = True
        if self._call is not None:
            return self._close_call(self._call, closed=False)
        # White space behind a call is layout; elsewhere it is all that the model said.
        return self._content(self._section.end(at_marker=False, blank_is_layout=self._after_call))

    def _content(self, text: str) -> list[Piece]:
        if not text:
            return []
        return [ThinkingDelta(text) if self._thinking else TextDelta(text)]

    def _new_thinking(self, *, skip: int) -> Section:
        return Section(skip=skip, hold=self._layout.think_closing)

    def _new_text(self, *, skip: int) -> Section:
        return Section(skip=skip, hold=self._layout.call_opening, defer_blank=True)
