"""How an output spells its tool calls: what stands around the name and the input of each.

The renderer writes calls so, its parser reads them so, and a grammar that binds outputs is built from it.
"""

from dataclasses import dataclass

Spelling = int | str
"""A marker: a reserved token, or a text where the vocabulary has no token for it."""


@dataclass(frozen=True, slots=True)
class CallSpelling:
    """`opening`, the name and the input with fixed texts around them, `closing`.

    `between` stands between two calls. `json_input` says that the input of custom tools is wrapped into JSON (see
    `custom_input`). `text_markers` are texts that no answer can hold, because they begin something else.
    """

    opening: Spelling
    closing: Spelling
    before_name: str = ""
    before_input: str = ""
    behind_input: str = ""
    between: str = ""
    json_input: bool = False
    text_markers: tuple[str, ...] = ()

    def head(self, name: str) -> str:
        """What stands between the opening marker and the input."""
        return f"{self.before_name}{name}{self.before_input}"

    def inside(self, name: str, input_text: str) -> str:
        """All that stands between the markers."""
        return f"{self.head(name)}{input_text}{self.behind_input}"
