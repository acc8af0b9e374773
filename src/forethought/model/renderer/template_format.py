"""What a chat template does not say of itself: how the model spells thinking and tool calls in its output.

Both are declared in `forethought.json`, or else detected: the usual spellings, where the template mentions them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from forethought.errors import CheckpointError, misfits
from forethought.model.renderer.lexer import MarkerKind
from forethought.model.renderer.parser import Layout

CALL_OPEN: Final = "<tool_call>"
CALL_CLOSE: Final = "</tool_call>"


class ThinkingFormat(BaseModel):
    """The pair of markers around thinking, each with the newlines that belong to it and to no content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    open: str = "<think>\n"
    close: str = "\n</think>\n\n"

    @model_validator(mode="after")
    def _markers_are_there(self) -> Self:
        for marker in (self.open_marker, self.close_marker):
            if not marker or marker != marker.strip():
                raise ValueError("a thinking marker is a word, with nothing but newlines around it")
        if self.open.startswith("\n"):
            raise ValueError("newlines before the opening marker belong into the chat template")
        return self

    @property
    def open_marker(self) -> str:
        """The opening marker alone."""
        return self.open.strip("\n")

    @property
    def close_marker(self) -> str:
        """The closing marker alone."""
        return self.close.strip("\n")


class TemplateFormat(BaseModel):
    """How outputs are spelled; None for what the model cannot do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thinking: ThinkingFormat | None = None
    tool_calls: Literal["hermes"] | None = None

    @property
    def markers(self) -> dict[str, MarkerKind]:
        """The kind of each marker by its spelling."""
        markers: dict[str, MarkerKind] = {}
        if self.thinking is not None:
            markers |= {self.thinking.open_marker: "think_open", self.thinking.close_marker: "think_close"}
        if self.tool_calls is not None:
            markers |= {CALL_OPEN: "call_open", CALL_CLOSE: "call_close"}
        return markers

    @property
    def layout(self) -> Layout:
        """The newlines around the markers."""
        thinking = self.thinking or ThinkingFormat()
        return Layout(
            think_opened=len(thinking.open) - len(thinking.open.rstrip("\n")),
            think_closing=len(thinking.close) - len(thinking.close.lstrip("\n")),
            think_closed=len(thinking.close) - len(thinking.close.rstrip("\n")),
            call_opening=int(self.tool_calls is not None),
        )


_KNOWN_THINKING: Final = (
    ThinkingFormat(),
    ThinkingFormat(open="<thinking>\n", close="\n</thinking>\n\n"),
    ThinkingFormat(open="[THINK]", close="[/THINK]"),
)


def template_format(source: str, declared: Mapping[str, Any]) -> TemplateFormat:
    """The format for a template: what is declared, and what is detected for the rest.

    `<tool_call>` around XML functions (Qwen3-Coder) is another format than `hermes`.

    Raises:
        CheckpointError: something is declared that does not exist.
    """
    known = (format_ for format_ in _KNOWN_THINKING if format_.close_marker in source)
    hermes = CALL_OPEN in source and "arguments" in source and "<function=" not in source
    detected = {"thinking": next(known, None), "tool_calls": "hermes" if hermes else None}
    try:
        format_ = TemplateFormat.model_validate({**detected, **declared})
    except ValidationError as error:
        raise CheckpointError(
            f'The options under "renderer" do not fit the template renderer: {misfits(error)}.',
            "Mend forethought.json.",
        ) from None
    markers = list(format_.markers)
    if any(one in other for one in markers for other in markers if one is not other):
        raise CheckpointError(
            f"The markers {' '.join(markers)} cannot be told apart.", "Declare markers that do not contain each other."
        )
    return format_


def hermes_call(name: str, arguments: str) -> str:
    """The inside of a tool call."""
    return f'\n{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": {arguments}}}\n'
