"""The input of a custom tool in a format whose calls take JSON only: `{"input": "…"}`."""

import json
import re
from typing import Any, Final

INPUT_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}

_HEAD = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*"input"[ \t\n\r]*:[ \t\n\r]*"')
# Whole characters of a JSON string; the two halves of a surrogate pair are one, and none alone is any.
_CHARACTERS = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]'
    r"|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)
_TAIL = re.compile(r"[ \t\n\r]*\}[ \t\n\r]*")


def input_arguments(text: str) -> str:
    """The JSON arguments that stand for an input."""
    return json.dumps({"input": text}, ensure_ascii=False)


class InputReader:
    """Reads the input out of such arguments, as they come. `text` is all of it so far."""

    def __init__(self) -> None:
        self.text = ""
        self._rest = ""
        self._begun = False
        self._ended = False

    @property
    def complete(self) -> bool:
        """Whether the arguments are whole, and hold an input and nothing else."""
        return self._ended and _TAIL.fullmatch(self._rest) is not None

    def feed(self, arguments: str) -> str:
        """More of the arguments; returns what more of the input is in them."""
        self._rest += arguments
        if not self._begun:
            head = _HEAD.match(self._rest)
            if head is None:
                return ""
            self._begun = True
            self._rest = self._rest[head.end() :]
        if self._ended:
            return ""
        characters = _CHARACTERS.match(self._rest)
        length = characters.end() if characters else 0
        # Not strict: a control character breaks the JSON, which is found out when all of it is there.
        more: str = json.loads(f'"{self._rest[:length]}"', strict=False)
        self._rest = self._rest[length:]
        if self._rest.startswith('"'):
            self._ended = True
            self._rest = self._rest[1:]
        self.text += more
        return more
