"""The items that the input of a response may hold: messages, reasoning, tool calls and what they gave back.

All of them can be items of an earlier response, passed back as they came, with the nulls that SDKs fill in. Items of
hosted tools, references to stored items, images and files are not offered, so their types are refused by name.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, Tag

from forethought.api.wire import Array, NotOffered, OnlyFalse, WireModel, by, by_shape

Status = Literal["in_progress", "completed", "incomplete"] | None
"""How an item ended. It changes nothing here: what an item holds is all that the model is shown."""

Phase = Literal["commentary", "final_answer"] | None


class InputText(WireModel):
    """Text that people, programs or tools wrote."""

    type: Literal["input_text"]
    text: str
    prompt_cache_breakpoint: NotOffered = None


class OutputText(WireModel):
    """Text that the model wrote."""

    type: Literal["output_text"]
    text: str
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class Refusal(WireModel):
    """A refusal that a model wrote."""

    type: Literal["refusal"]
    refusal: str


OutputPart = Annotated[Annotated[OutputText, Tag("<output_text>")] | Annotated[Refusal, Tag("<refusal>")], by("type")]
_TEXT_OR_PARTS = by_shape("a string or an array")
InputContent: TypeAlias = Annotated[
    Annotated[str, Tag("<string>")] | Annotated[Array[InputText], Tag("<array>")], _TEXT_OR_PARTS
]
OutputContent: TypeAlias = Annotated[
    Annotated[str, Tag("<string>")] | Annotated[Array[OutputPart], Tag("<array>")], _TEXT_OR_PARTS
]


class InputMessage(WireModel):
    """What a user says, or a developer, who outranks users. `system` is another word for developer."""

    type: Literal["message"] | None = None
    id: str | None = None
    role: Literal["user", "system", "developer"]
    content: InputContent
    status: Status = None


class OutputMessage(WireModel):
    """What the model answered."""

    type: Literal["message"] | None = None
    id: str | None = None
    role: Literal["assistant"]
    content: OutputContent
    status: Status = None
    phase: Phase = None


class SummaryText(WireModel):
    """A part of a summary. The model is not shown it."""

    type: Literal["summary_text"]
    text: str


class Reasoning(WireModel):
    """What the model thought: all of it in `encrypted_content`, or nothing that could be shown to it again."""

    type: Literal["reasoning"]
    id: str
    summary: Array[SummaryText] | None = None
    encrypted_content: str | None = None
    content: Annotated[list[Any], Field(max_length=0)] | None = None
    status: Status = None


class _CallFields(WireModel):
    """What calls and their outputs have in common."""

    id: str | None = None
    call_id: Annotated[str, Field(min_length=1, max_length=64)]
    status: Status = None
    namespace: NotOffered = None
    caller: NotOffered = None


class FunctionCall(_CallFields):
    """The model called a function."""

    type: Literal["function_call"]
    name: str
    arguments: str
    async_: Annotated[OnlyFalse | None, Field(alias="async")] = None


class CustomToolCall(_CallFields):
    """The model called a custom tool."""

    type: Literal["custom_tool_call"]
    name: str
    input: str
    async_: Annotated[OnlyFalse | None, Field(alias="async")] = None


class FunctionCallOutput(_CallFields):
    """What a function gave back."""

    type: Literal["function_call_output"]
    output: InputContent
    name: str | None = None


class CustomToolCallOutput(_CallFields):
    """What a custom tool gave back."""

    type: Literal["custom_tool_call_output"]
    output: InputContent


def _untyped(item: Mapping[str, object]) -> str | None:
    """Only messages may leave out their type."""
    return "message" if "role" in item or "content" in item else None


Message = Annotated[
    Annotated[InputMessage, Tag("<user>")]
    | Annotated[InputMessage, Tag("<developer>")]
    | Annotated[InputMessage, Tag("<system>")]
    | Annotated[OutputMessage, Tag("<assistant>")],
    by("role"),
]
InputItem: TypeAlias = Annotated[
    Annotated[Message, Tag("<message>")]
    | Annotated[Reasoning, Tag("<reasoning>")]
    | Annotated[FunctionCall, Tag("<function_call>")]
    | Annotated[FunctionCallOutput, Tag("<function_call_output>")]
    | Annotated[CustomToolCall, Tag("<custom_tool_call>")]
    | Annotated[CustomToolCallOutput, Tag("<custom_tool_call_output>")],
    by("type", default=_untyped),
]
Input: TypeAlias = Annotated[
    Annotated[str, Tag("<string>")] | Annotated[Array[InputItem], Tag("<array>")], by_shape("a string or an array")
]
