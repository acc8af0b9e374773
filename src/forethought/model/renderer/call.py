"""The inside of a tool call in our own format: the name, a line break, the JSON arguments or a custom tool's input.

A call reads the text between its markers and says what it learns as early as it can. Whether the arguments are JSON
shows only at the end, so a call that has begun may still turn out to be `Malformed`. An input is complete when its end
marker is there.
"""

from typing import Protocol

from forethought.model.renderer.protocol import Malformed, Piece, ToolCallDelta, ToolCallEnd, ToolCallStart
from forethought.model.renderer.tool import is_json_object, valid_tool_name


class Call(Protocol):
    """One tool call being read."""

    @property
    def started(self) -> bool:
        """Whether its name is known (and was told)."""
        ...

    @property
    def in_string(self) -> bool:
        """Whether the text stands inside a JSON string, where a marker made of text is none."""
        ...

    def feed(self, text: str) -> list[Piece]:
        """More of the call."""
        ...

    def end(self, *, closed: bool) -> list[Piece]:
        """The call is over, by its end marker or (`closed` off) because something else came. The last piece is a
        `ToolCallEnd` or a `Malformed`."""
        ...


class NamedCall:
    """`NAME\\n{"argument": 1}`, or `NAME\\nany text` for one of the `custom_tools`. A call without arguments may end
    after its name."""

    in_string = False  # our markers are single tokens: no content spells them

    def __init__(self, index: int, custom_tools: frozenset[str] = frozenset()) -> None:
        self._index = index
        self._custom_tools = custom_tools
        self._custom = False
        self._header = ""
        self._arguments: str = ""
        self._blank: str = ""
        self._broken = False
        self.started = False

    def feed(self, text: str) -> list[Piece]:
        """More of the call."""
        if self.started:
            return self._feed_arguments(text)
        self._header += text
        name, line_break, rest = self._header.partition("\n")
        if self._broken or not line_break:
            return []
        self._broken = not valid_tool_name(name)
        if self._broken:
            return []
        return [*self._start(name), *self._feed_arguments(rest)]

    def end(self, *, closed: bool) -> list[Piece]:
        """The call is over."""
        pieces: list[Piece] = []
        if not self.started and closed and valid_tool_name(self._header):
            pieces += self._start(self._header)
        if self.started and closed and not self._custom and not self._arguments:
            self._blank = ""
            pieces += self._feed_arguments("{}")
        if self.started and (closed if self._custom else is_json_object(self._arguments)):
            return [*pieces, ToolCallEnd(self._index, self._arguments)]
        return [*pieces, Malformed(f"{self._header}\n{self._arguments}" if self.started else self._header)]

    def _start(self, name: str) -> list[Piece]:
        self._header = name
        self._custom = name in self._custom_tools
        self.started = True
        return [ToolCallStart(self._index, name, self._custom)]

    def _feed_arguments(self, text: str) -> list[Piece]:
        # Arguments of nothing but white space stand for `{}`, so white space waits for what follows.
        if not self._custom and not self._arguments:
            text = self._blank + text
            if not text.strip():
                self._blank = text
                return []
        self._arguments += text
        return [ToolCallDelta(self._index, text)] if text else []
