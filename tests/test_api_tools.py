"""Tools, choices and formats on the wire of both APIs come to the same definitions, choices and formats."""

from typing import Any

import pytest
from pydantic import TypeAdapter

from forethought.api.errors import ApiError
from forethought.api.formats import ChatResponseFormat, TextFormatParam, output_format, told
from forethought.api.tools import (
    ChatToolChoiceParam,
    ChatToolList,
    ToolChoiceParam,
    ToolList,
    tool_choice,
    tool_definitions,
)
from forethought.api.wire import WireModel, parse
from forethought.model.conversation import FreeInput, LarkInput, RegexInput, ToolDefinition
from forethought.reasoning.format import FreeText, JsonSchema
from forethought.reasoning.tool_choice import AllowedTools, ForcedTool

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
DEFINITIONS = (ToolDefinition("add", "Adds.", SCHEMA, strict=True), ToolDefinition("write", custom=FreeInput()))


class Request(WireModel):
    """Tools and a choice, in Responses."""

    tools: ToolList | None = None
    tool_choice: ToolChoiceParam | None = None


class ChatRequest(WireModel):
    """Tools and a choice, in Chat Completions."""

    tools: ChatToolList | None = None
    tool_choice: ChatToolChoiceParam | None = None


def flat(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as Responses writes it, from what Chat Completions writes."""
    kind = tool["type"]
    fields = dict(tool[kind])
    if isinstance(fields.get("format"), dict):
        fields["format"] = {"type": fields["format"]["type"], **fields["format"].get("grammar", {})}
    return {"type": kind, **fields}


@pytest.mark.parametrize(
    ("tool", "definition"),
    [
        (
            {
                "type": "function",
                "function": {"name": "add", "description": "Adds.", "parameters": SCHEMA, "strict": True},
            },
            DEFINITIONS[0],
        ),
        ({"type": "function", "function": {"name": "nod", "parameters": None, "strict": False}}, ToolDefinition("nod")),
        ({"type": "custom", "custom": {"name": "write"}}, DEFINITIONS[1]),
        ({"type": "custom", "custom": {"name": "write", "format": {"type": "text"}}}, DEFINITIONS[1]),
        (
            {
                "type": "custom",
                "custom": {
                    "name": "spell",
                    "description": "Spells.",
                    "format": {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a+"}},
                },
            },
            ToolDefinition("spell", "Spells.", custom=RegexInput("a+")),
        ),
        (
            {
                "type": "custom",
                "custom": {
                    "name": "spell",
                    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": 'start: "a"'}},
                },
            },
            ToolDefinition("spell", custom=LarkInput('start: "a"')),
        ),
    ],
)
def test_both_apis_define_the_same_tool(tool: dict[str, Any], definition: ToolDefinition) -> None:
    assert tool_definitions(parse(ChatRequest, {"tools": [tool]}).tools or ()) == (definition,)
    assert tool_definitions(parse(Request, {"tools": [flat(tool)]}).tools or ()) == (definition,)


@pytest.mark.parametrize(
    ("responses", "chat", "choice"),
    [
        (None, None, "auto"),
        ("auto", "auto", "auto"),
        ("none", "none", "none"),
        ("required", "required", "required"),
        ({"type": "function", "name": "add"}, {"type": "function", "function": {"name": "add"}}, ForcedTool("add")),
        ({"type": "custom", "name": "write"}, {"type": "custom", "custom": {"name": "write"}}, ForcedTool("write")),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "add"}, {"type": "custom", "name": "write"}],
            },
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "function", "function": {"name": "add"}},
                        {"type": "custom", "custom": {"name": "write"}},
                    ],
                },
            },
            AllowedTools("required", ("add", "write")),
        ),
    ],
)
def test_both_apis_make_the_same_choice(responses: Any, chat: Any, choice: Any) -> None:
    assert tool_choice(parse(Request, {"tool_choice": responses}).tool_choice, DEFINITIONS) == choice
    assert tool_choice(parse(ChatRequest, {"tool_choice": chat}).tool_choice, DEFINITIONS) == choice


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "function", "name": "subtract"},
        {"type": "function", "name": "write"},
        {"type": "custom", "name": "add"},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "subtract"}]},
    ],
)
def test_a_tool_that_was_not_offered_cannot_be_chosen(choice: Any) -> None:
    with pytest.raises(ApiError, match="not found in 'tools' parameter") as caught:
        tool_choice(parse(Request, {"tool_choice": choice}).tool_choice, DEFINITIONS)
    assert caught.value.param == "tool_choice"


def test_a_call_cannot_be_required_where_no_tool_is() -> None:
    with pytest.raises(ApiError, match="must be specified with 'tools' parameter"):
        tool_choice("required", ())
    assert tool_choice("none", ()) == "none"


def test_two_tools_cannot_have_one_name() -> None:
    tools = [{"type": "function", "name": "add"}, {"type": "custom", "name": "add"}]
    with pytest.raises(ApiError, match="unique"):
        tool_definitions(parse(Request, {"tools": tools}).tools or ())


@pytest.mark.parametrize("kind", ["string", ["object", "null"], 7])
def test_arguments_are_an_object(kind: Any) -> None:
    tools = [{"type": "function", "name": "nod"}, {"type": "function", "name": "add", "parameters": {"type": kind}}]
    with pytest.raises(ApiError) as caught:
        tool_definitions(parse(Request, {"tools": tools}).tools or ())
    assert (caught.value.param, caught.value.code) == ("tools[1].parameters", "invalid_function_parameters")


def test_a_request_offers_a_bounded_number_of_tools() -> None:
    tools = [{"type": "function", "name": f"tool_{n}"} for n in range(129)]
    with pytest.raises(ApiError) as caught:
        parse(Request, {"tools": tools})
    assert (caught.value.param, caught.value.code) == ("tools", "array_above_max_length")


@pytest.mark.parametrize(
    ("responses", "chat", "expected"),
    [
        ({"type": "text"}, {"type": "text"}, FreeText()),
        ({"type": "json_object"}, {"type": "json_object"}, JsonSchema({"type": "object"})),
        (
            {"type": "json_schema", "name": "sum", "schema": SCHEMA, "strict": True},
            {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA, "strict": True}},
            JsonSchema(SCHEMA),
        ),
    ],
)
def test_both_apis_ask_for_the_same_format(responses: Any, chat: Any, expected: Any) -> None:
    for adapter, wire in ((TypeAdapter(TextFormatParam), responses), (TypeAdapter(ChatResponseFormat), chat)):
        parsed = adapter.validate_python(wire)
        assert output_format(parsed) == expected
        assert told(parsed) is None
    assert output_format(None) == FreeText()


def test_a_chat_format_without_a_schema_is_any_object() -> None:
    wire = {"type": "json_schema", "json_schema": {"name": "sum", "description": "A sum."}}
    parsed = TypeAdapter(ChatResponseFormat).validate_python(wire)
    assert output_format(parsed) == JsonSchema({"type": "object"})
    assert told(parsed) == "Response format sum: A sum."


@pytest.mark.parametrize(
    ("parameters", "strict", "binds"),
    [
        (SCHEMA, None, True),
        (SCHEMA, True, True),
        (SCHEMA, False, False),
        (None, None, True),
        ({"type": "object", "not": {}}, None, False),
        ({"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}, None, False),
    ],
)
def test_a_function_of_responses_is_strict_unless_it_says_otherwise_or_cannot_be(
    parameters: Any, strict: bool | None, binds: bool
) -> None:
    tool = {"type": "function", "name": "add", "parameters": parameters, "strict": strict}
    for given in (tool, {name: value for name, value in tool.items() if value is not None}):
        tools = parse(Request, {"tools": [given]}).tools
        assert tools is not None
        assert [definition.strict for definition in tool_definitions(tools)] == [binds]


@pytest.mark.parametrize(("strict", "binds"), [(None, False), (True, True), (False, False)])
def test_a_function_of_chat_is_strict_only_if_it_says_so(strict: bool | None, binds: bool) -> None:
    function = {"name": "add", "parameters": SCHEMA, "strict": strict}
    tools = parse(ChatRequest, {"tools": [{"type": "function", "function": function}]}).tools
    assert tools is not None
    assert [definition.strict for definition in tool_definitions(tools)] == [binds]
