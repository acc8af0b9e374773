"""The inside of a tool call in the `hermes` format: `{"name": "…", "arguments": {…}}`.

The JSON is read character by character, so that the name is told when it is complete and the arguments flow as they
come, exactly as the model wrote them. The keys may come in either order; until the name is known the arguments wait.
Out of the arguments of a custom tool flows the input that they wrap.
"""

import json
from typing import Literal, cast

from forethought.model.renderer.custom_input import InputReader
from forethought.model.renderer.protocol import Malformed, Piece, ToolCallDelta, ToolCallEnd, ToolCallStart
from forethought.model.renderer.tool import is_json_object, valid_tool_name

_SPACE = " \t\n\r"

# What comes next at the top level of the object.
_Expected = Literal["object", "key", "colon", "value", "comma", "nothing"]


class HermesCall:
    """One call being read. Other keys than `name` and `arguments` are passed over."""

    def __init__(self, index: int, custom_tools: frozenset[str] = frozenset()) -> None:
        self._index = index
        self._custom_tools = custom_tools
        self._input: InputReader | None = None
        self._text: list[str] = []
        self._expected: _Expected = "object"
        self._broken = False
        self._key = ""
        self._value = ""
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self._seen: set[str] = set()
        self._name = ""
        self._arguments = ""
        self._told = 0
        self.started = False

    @property
    def in_string(self) -> bool:
        """Whether the text stands inside a JSON string."""
        return self._quoted and not self._broken

    def feed(self, text: str) -> list[Piece]:
        """More of the call."""
        self._text.append(text)
        for character in text:
            if self._broken:
                break
            self._broken = not self._read(character)
        return self._tell()

    def end(self, *, closed: bool) -> list[Piece]:
        """The call is over. A complete object is a call even where its end marker is missing (`closed` off)."""
        text = "".join(self._text)
        if self._broken or self._expected != "nothing" or not self._name or not is_json_object(text):
            return [Malformed(text)]
        if self._input is not None:
            return [ToolCallEnd(self._index, self._input.text) if self._input.complete else Malformed(text)]
        if "arguments" not in self._seen:
            self._arguments = "{}"
        return [*self._tell(), ToolCallEnd(self._index, self._arguments)]

    def _tell(self) -> list[Piece]:
        pieces: list[Piece] = []
        if not self._name:
            return pieces
        if not self.started:
            self.started = True
            custom = self._name in self._custom_tools
            self._input = InputReader() if custom else None
            pieces.append(ToolCallStart(self._index, self._name, custom))
        news = self._arguments[self._told :]
        self._told = len(self._arguments)
        if self._input is not None:
            news = self._input.feed(news)
        if news:
            pieces.append(ToolCallDelta(self._index, news))
        return pieces

    def _read(self, character: str) -> bool:
        """One character; False when the text cannot be a call."""
        if self._value:
            return self._read_value(character)
        if character in _SPACE:
            return True
        match self._expected, character:
            case "object", "{":
                self._expected = "key"
            case "key", "}" if not self._seen:
                self._expected = "nothing"
            case ("key", '"') | ("value", _):
                return self._begin_value(character)
            case "colon", ":":
                self._expected = "value"
            case "comma", ",":
                self._expected = "key"
            case "comma", "}":
                self._expected = "nothing"
            case _:
                return False
        return True

    def _begin_value(self, character: str) -> bool:
        if self._expected == "value":
            required = {"name": '"', "arguments": "{"}.get(self._key, character)
            if character != required:
                return False
        self._quoted = character == '"'
        self._depth = int(character in "{[")
        self._take(character)
        return True

    def _read_value(self, character: str) -> bool:
        """A character of a key or value that has begun."""
        is_scalar = not self._quoted and self._depth == 0
        if is_scalar and (character in _SPACE or character in ",}"):
            return self._complete() and self._read(character)
        self._take(character)
        if self._quoted:
            if self._escaped:
                self._escaped = False
            elif character == "\\":
                self._escaped = True
            elif character == '"':
                self._quoted = False
        elif character == '"':
            self._quoted = True
        else:
            self._depth += (character in "{[") - (character in "}]")
        ended = not is_scalar and not self._quoted and self._depth == 0
        return self._complete() if ended else True

    def _take(self, character: str) -> None:
        self._value += character
        if self._expected == "value" and self._key == "arguments":
            self._arguments += character

    def _complete(self) -> bool:
        """A key or value is complete; False when it cannot stand where it stands."""
        value, self._value = self._value, ""
        if self._expected == "value":
            self._expected = "comma"
            if self._key == "name":
                name = _string(value) or ""
                self._name = name if valid_tool_name(name) else ""
                return bool(self._name)
            return True
        key = _string(value)
        if key is None or key in self._seen:
            return False
        self._seen.add(key)
        self._key, self._expected = key, "colon"
        return True


def _string(text: str) -> str | None:
    try:
        return cast(str, json.loads(text))
    except ValueError:
        return None
