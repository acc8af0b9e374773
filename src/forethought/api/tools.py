"""Tools on the wire: what both APIs say of function and custom tools, and of the choice among them.

Responses writes a tool flat, Chat Completions puts the same fields under `function` or `custom`. Both become the
definitions that prompts are made of, and the choice that binds the output.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag

from forethought.api.errors import invalid
from forethought.api.wire import Array, JsonObject, NotOffered, OnlyFalse, WireModel, by, by_shape
from forethought.model.conversation import CustomInput, FreeInput, LarkInput, RegexInput, ToolDefinition
from forethought.reasoning.output_grammar import can_bind
from forethought.reasoning.tool_choice import AllowedTools, ForcedTool, ToolChoice

ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=128)]
GrammarSyntax = Literal["lark", "regex"]
Mode = Literal["none", "auto", "required"]

MOST_TOOLS = 128
"""Tools that a request may offer, or name in its choice."""


class FunctionDefinition(WireModel):
    """A function. Arguments of a `strict` one follow its schema; of another one they are any JSON object."""

    name: ToolName
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None

    @cached_property
    def binds(self) -> bool:
        """Whether it is strict: only if it says so."""
        return bool(self.strict)

    def definition(self, param: str) -> ToolDefinition:
        """The tool as a prompt knows it. Raises `ApiError` for parameters that are no object."""
        kind = (self.parameters or {}).get("type", "object")
        if kind != "object":
            raise invalid(
                f"Invalid schema for function '{self.name}': schema must be a JSON Schema of 'type: \"object\"', "
                f"got 'type: {kind!a:.100}'.",
                f"{param}.parameters",
                "invalid_function_parameters",
            )
        return ToolDefinition(self.name, self.description or "", self.parameters, self.binds)


class TextInput(WireModel):
    """Free text."""

    type: Literal["text"]

    @property
    def input(self) -> CustomInput:
        """The format as the output's grammar knows it."""
        return FreeInput()


class Grammar(WireModel):
    """A language, in lark's notation or as a regular expression."""

    syntax: GrammarSyntax
    definition: str

    @property
    def input(self) -> CustomInput:
        """The format as the output's grammar knows it."""
        return RegexInput(self.definition) if self.syntax == "regex" else LarkInput(self.definition)


class GrammarInput(Grammar):
    """A grammar as Responses writes it."""

    type: Literal["grammar"]


class ChatGrammarInput(WireModel):
    """A grammar as Chat Completions writes it."""

    type: Literal["grammar"]
    grammar: Grammar

    @property
    def input(self) -> CustomInput:
        """The format as the output's grammar knows it."""
        return self.grammar.input


CustomFormat = Annotated[Annotated[TextInput, Tag("<text>")] | Annotated[GrammarInput, Tag("<grammar>")], by("type")]
ChatCustomFormat = Annotated[
    Annotated[TextInput, Tag("<text>")] | Annotated[ChatGrammarInput, Tag("<grammar>")], by("type")
]


class CustomDefinition(WireModel):
    """A tool whose input is text, in Chat Completions' form."""

    name: ToolName
    description: str | None = None
    format: ChatCustomFormat | None = None


class _ResponsesTool(WireModel):
    """What OpenAI's newer models can do with a tool of Responses; here, each is offered for what is the case anyway."""

    allowed_callers: Array[Literal["direct"]] | None = None
    defer_loading: OnlyFalse | None = None
    async_: Annotated[OnlyFalse | None, Field(alias="async")] = None


class FunctionTool(FunctionDefinition, _ResponsesTool):
    """A function, in Responses. Without `strict` it is strict, as OpenAI has it, if its schema is one that can bind
    the arguments; the response says whether it was."""

    type: Literal["function"]
    output_schema: NotOffered = None

    @cached_property
    def binds(self) -> bool:
        """Whether it is strict."""
        return can_bind(self.parameters) if self.strict is None else self.strict


class CustomTool(_ResponsesTool):
    """A custom tool, in Responses."""

    type: Literal["custom"]
    name: ToolName
    description: str | None = None
    format: CustomFormat | None = None


class ChatFunctionTool(WireModel):
    """A function, in Chat Completions."""

    type: Literal["function"]
    function: FunctionDefinition


class ChatCustomTool(WireModel):
    """A custom tool, in Chat Completions."""

    type: Literal["custom"]
    custom: CustomDefinition


Tool: TypeAlias = Annotated[
    Annotated[FunctionTool, Tag("<function>")] | Annotated[CustomTool, Tag("<custom>")], by("type")
]
ChatTool: TypeAlias = Annotated[
    Annotated[ChatFunctionTool, Tag("<function>")] | Annotated[ChatCustomTool, Tag("<custom>")], by("type")
]


class NamedTool(WireModel):
    """A tool by its name: the choice of it in Responses, and a member of `allowed_tools`."""

    type: Literal["function", "custom"]
    name: str


class AllowedToolsChoice(WireModel):
    """Only these of the tools may be called, in Responses."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[Array[NamedTool], Field(min_length=1, max_length=MOST_TOOLS)]


class Name(WireModel):
    """What Chat Completions puts around a name."""

    name: str


class ChatFunctionChoice(WireModel):
    """A function by its name, in Chat Completions."""

    type: Literal["function"]
    function: Name


class ChatCustomChoice(WireModel):
    """A custom tool by its name, in Chat Completions."""

    type: Literal["custom"]
    custom: Name


ChatNamedTool = Annotated[
    Annotated[ChatFunctionChoice, Tag("<function>")] | Annotated[ChatCustomChoice, Tag("<custom>")], by("type")
]


class ChatAllowedTools(WireModel):
    """What Chat Completions puts around the tools that may be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[Array[ChatNamedTool], Field(min_length=1, max_length=MOST_TOOLS)]


class ChatAllowedToolsChoice(WireModel):
    """Only these of the tools may be called, in Chat Completions."""

    type: Literal["allowed_tools"]
    allowed_tools: ChatAllowedTools


ToolList = Annotated[Array[Tool], Field(max_length=MOST_TOOLS)]
ChatToolList = Annotated[Array[ChatTool], Field(max_length=MOST_TOOLS)]

_CHOICE_SHAPES = by_shape("a string or an object")
_Choice = Annotated[
    Annotated[NamedTool, Tag("<function>")]
    | Annotated[NamedTool, Tag("<custom>")]
    | Annotated[AllowedToolsChoice, Tag("<allowed_tools>")],
    by("type"),
]
_ChatChoice = Annotated[
    Annotated[ChatFunctionChoice, Tag("<function>")]
    | Annotated[ChatCustomChoice, Tag("<custom>")]
    | Annotated[ChatAllowedToolsChoice, Tag("<allowed_tools>")],
    by("type"),
]
ToolChoiceParam: TypeAlias = Annotated[
    Annotated[Mode, Tag("<string>")] | Annotated[_Choice, Tag("<object>")], _CHOICE_SHAPES
]
ChatToolChoiceParam: TypeAlias = Annotated[
    Annotated[Mode, Tag("<string>")] | Annotated[_ChatChoice, Tag("<object>")], _CHOICE_SHAPES
]


def tool_definitions(tools: Sequence[Tool | ChatTool]) -> tuple[ToolDefinition, ...]:
    """The tools as prompts know them, in order.

    Raises:
        ApiError: two of them have one name, or a function's parameters are no object.
    """
    definitions: dict[str, ToolDefinition] = {}
    for index, tool in enumerate(tools):
        definition = _definition(tool, f"tools[{index}]")
        if definition.name in definitions:
            raise invalid(f"Tool names must be unique, and two are '{definition.name}'.", "tools", "invalid_value")
        definitions[definition.name] = definition
    return tuple(definitions.values())


def tool_choice(choice: ToolChoiceParam | ChatToolChoiceParam | None, tools: tuple[ToolDefinition, ...]) -> ToolChoice:
    """The choice as a turn takes it; `auto` when there is none.

    Raises:
        ApiError: it demands a tool that was not offered.
    """
    match choice:
        case None:
            return "auto"
        case str():
            if choice == "required" and not tools:
                message = "Tool choice 'required' must be specified with 'tools' parameter."
                raise invalid(message, "tool_choice", "invalid_value")
            return choice
        case AllowedToolsChoice():
            return AllowedTools(choice.mode, tuple(_offered(tool, tools) for tool in choice.tools))
        case ChatAllowedToolsChoice():
            allowed = choice.allowed_tools
            return AllowedTools(allowed.mode, tuple(_offered(tool, tools) for tool in allowed.tools))
        case _:
            return ForcedTool(_offered(choice, tools))


def _definition(tool: Tool | ChatTool, param: str) -> ToolDefinition:
    match tool:
        case FunctionTool():
            return tool.definition(param)
        case ChatFunctionTool():
            return tool.function.definition(f"{param}.function")
        case CustomTool():
            custom = tool
        case ChatCustomTool():
            custom = tool.custom
    input_format = custom.format.input if custom.format is not None else FreeInput()
    return ToolDefinition(custom.name, custom.description or "", custom=input_format)


def _offered(choice: NamedTool | ChatFunctionChoice | ChatCustomChoice, tools: tuple[ToolDefinition, ...]) -> str:
    """The name of a tool that was chosen, if there is one of that name and kind."""
    match choice:
        case NamedTool():
            name = choice.name
        case ChatFunctionChoice():
            name = choice.function.name
        case ChatCustomChoice():
            name = choice.custom.name
    if not any(tool.name == name and (tool.custom is not None) == (choice.type == "custom") for tool in tools):
        raise invalid(f"Tool choice '{name:.100}' not found in 'tools' parameter.", "tool_choice", "invalid_value")
    return name
