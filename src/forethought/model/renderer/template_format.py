"""What a chat template does not say of itself: how the model spells thinking and tool calls in its output.

Both are declared in `forethought.json`, or else detected: the usual spellings, where the template mentions them.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from forethought.errors import CheckpointError, misfits
from forethought.model.renderer.call_spelling import CallSpelling
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

    @property
    def layout(self) -> str:
        """The newlines behind the closing marker."""
        return self.close[len(self.close.rstrip("\n")) :]


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
            think_closed=len(thinking.layout),
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


def call_spelling(format_: TemplateFormat, reserved: Mapping[str, int]) -> CallSpelling | None:
    """How calls are spelled in a vocabulary with these reserved tokens; None where there are none."""
    if format_.tool_calls is None:
        return None
    opening_kinds = ("think_open", "call_open")
    return CallSpelling(
        opening=reserved.get(CALL_OPEN, CALL_OPEN),
        closing=reserved.get(CALL_CLOSE, CALL_CLOSE),
        before_name='\n{"name": "',
        before_input='", "arguments": ',
        behind_input="}\n",
        between="\n",
        json_input=True,
        text_markers=tuple(
            spelling for spelling, kind in format_.markers.items() if kind in opening_kinds and spelling not in reserved
        ),
    )
