"""The messages that a chat may hold, as clients write them and as they come back from earlier completions.

Images, audio and files are not offered, so their types are refused by name, and so are messages of the role `function`.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, Tag

from forethought.api.wire import Array, NotOffered, WireModel, by, by_shape

Name = Annotated[str, Field(pattern=r"^[^\s<|\\/>]+$", max_length=64)]
CallId = Annotated[str, Field(min_length=1)]


class TextPart(WireModel):
    """Text."""

    type: Literal["text"]
    text: str
    prompt_cache_breakpoint: NotOffered = None


class RefusalPart(WireModel):
    """A refusal that a model wrote."""

    type: Literal["refusal"]
    refusal: str


AssistantPart = Annotated[Annotated[TextPart, Tag("<text>")] | Annotated[RefusalPart, Tag("<refusal>")], by("type")]
_TEXT_OR_PARTS = by_shape("a string or an array")
Content: TypeAlias = Annotated[
    Annotated[str, Tag("<string>")] | Annotated[Array[TextPart], Field(min_length=1), Tag("<array>")], _TEXT_OR_PARTS
]
AssistantContent: TypeAlias = Annotated[
    Annotated[str, Tag("<string>")] | Annotated[Array[AssistantPart], Field(min_length=1), Tag("<array>")],
    _TEXT_OR_PARTS,
]


class InputMessage(WireModel):
    """What a user says, or a developer, who outranks users. `system` is another word for developer."""

    role: Literal["user", "system", "developer"]
    content: Content
    name: Name | None = None


class CalledFunction(WireModel):
    """A function and what it was given. `parsed_arguments` say the same again; the SDK's helpers add them."""

    name: str
    arguments: str
    parsed_arguments: Any = None


class CalledCustom(WireModel):
    """A custom tool and what it was given."""

    name: str
    input: str


class _Call(WireModel):
    id: CallId
    index: int | None = None
    """The place among the calls, which the SDK's streams leave in them."""


class FunctionCall(_Call):
    """The model called a function."""

    type: Literal["function"]
    function: CalledFunction


class CustomCall(_Call):
    """The model called a custom tool."""

    type: Literal["custom"]
    custom: CalledCustom


Call: TypeAlias = Annotated[
    Annotated[FunctionCall, Tag("<function>")] | Annotated[CustomCall, Tag("<custom>")], by("type")
]


class AssistantMessage(WireModel):
    """What the model answered, with all that a completion's message holds.

    `annotations` are about sources, of which this server's answers have none; `parsed` says the content again.
    """

    role: Literal["assistant"]
    content: AssistantContent | None = None
    refusal: str | None = None
    tool_calls: Annotated[Array[Call], Field(min_length=1)] | None = None
    name: Name | None = None
    annotations: list[Any] | None = None
    parsed: Any = None
    audio: NotOffered = None
    function_call: NotOffered = None


class ToolMessage(WireModel):
    """What a tool gave back."""

    role: Literal["tool"]
    tool_call_id: str
    content: Content


ChatMessage: TypeAlias = Annotated[
    Annotated[InputMessage, Tag("<developer>")]
    | Annotated[InputMessage, Tag("<system>")]
    | Annotated[InputMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[ToolMessage, Tag("<tool>")],
    by("role"),
]
