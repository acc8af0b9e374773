"""The input of a response becomes a conversation: who said what, and which calls go with which outputs."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from forethought.api.content_keys import ContentKeys
from forethought.api.errors import ApiError
from forethought.api.responses.conversation import conversation_of
from forethought.api.responses.create import parse_create
from forethought.api.served import LOCAL_TENANT
from forethought.logs import Hidden
from forethought.model.conversation import (
    Conversation,
    FreeInput,
    Item,
    Message,
    RegexInput,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)

USER = {"role": "user", "content": "Hello"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "nothing"}
CUSTOM_CALL = {"type": "custom_tool_call", "call_id": "call_2", "name": "write", "input": "a"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "call_2", "output": "written"}
THOUGHT = "the canary sings"


@dataclass
class Served:
    """What the input wants to know of a model."""

    digest: str = "sha256:0123456789abcdef"
    keys: ContentKeys = field(default_factory=ContentKeys.ephemeral)

    def seal(self, item_id: str, text: str = THOUGHT, tenant: str = LOCAL_TENANT) -> str:
        return self.keys.seal(Hidden(text), tenant=tenant, model=self.digest, item_id=item_id)


def conversation(wire: Any, served: Served | None = None, **parameters: Any) -> Conversation:
    request = parse_create({"model": "forethought-mini", "input": wire, **parameters})
    return conversation_of(request, request.input, served or Served(), LOCAL_TENANT)  # type: ignore[arg-type]


def items(*wire: Any, served: Served | None = None) -> tuple[Item, ...]:
    return conversation(list(wire), served).items


def refusal(*wire: Any, served: Served | None = None, **parameters: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        conversation(list(wire), served, **parameters)
    assert caught.value.status == 400
    return caught.value


def reasoning(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], **fields}


def test_a_text_is_a_message_of_the_user() -> None:
    assert conversation("Hello").items == (Message.of("user", "Hello"),)


@pytest.mark.parametrize(
    ("role", "part", "said_by"),
    [
        ("user", {"type": "input_text", "text": "Hello"}, "user"),
        ("developer", {"type": "input_text", "text": "Hello"}, "developer"),
        ("system", {"type": "input_text", "text": "Hello"}, "developer"),
        ("assistant", {"type": "output_text", "text": "Hello"}, "assistant"),
        ("assistant", {"type": "refusal", "refusal": "Hello"}, "assistant"),
    ],
)
def test_a_message_is_said_by_its_role_in_texts_or_parts(role: str, part: dict[str, str], said_by: Any) -> None:
    said = Message.of(said_by, "Hello")
    assert items({"role": role, "content": "Hello"}) == (said,)
    assert items({"type": "message", "role": role, "content": [part]}) == (said,)
    assert items({"role": role, "content": [part, part]}) == (Message(said_by, (Text("Hello"), Text("Hello"))),)


def test_instructions_are_a_developers_message_in_front_of_all_others() -> None:
    developer = {"role": "developer", "content": "Be kind."}
    assert conversation([developer, USER], instructions="Be brief.").items == (
        Message.of("developer", "Be brief."),
        Message.of("developer", "Be kind."),
        Message.of("user", "Hello"),
    )


def test_the_model_is_told_what_a_format_is_for() -> None:
    text_format = {"type": "json_schema", "name": "sum", "description": "The sum of two numbers.", "schema": {}}
    told = conversation("Add.", instructions="Be brief.", text={"format": text_format}).items
    assert told[1] == Message.of("developer", "Response format sum: The sum of two numbers.")
    del text_format["description"]
    assert len(conversation("Add.", text={"format": text_format}).items) == 1


def test_instructions_alone_are_enough_and_nothing_is_not() -> None:
    assert conversation([], instructions="Say hello.").items == (Message.of("developer", "Say hello."),)
    assert refusal().param == "input"


def test_tools_are_told_with_what_they_take() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"type": "function", "name": "look", "description": "Looks.", "parameters": schema, "strict": True},
        {"type": "function", "name": "nod"},
        {"type": "custom", "name": "write", "description": "Writes."},
        {"type": "custom", "name": "spell", "format": {"type": "grammar", "syntax": "regex", "definition": "a+"}},
    ]
    assert conversation("Hello", tools=tools).tools == (
        ToolDefinition("look", "Looks.", schema, strict=True),
        ToolDefinition("nod", strict=True),
        ToolDefinition("write", "Writes.", custom=FreeInput()),
        ToolDefinition("spell", custom=RegexInput("a+")),
    )


def test_calls_and_outputs_of_both_kinds_become_calls_and_results() -> None:
    parts = [{"type": "input_text", "text": "no"}, {"type": "input_text", "text": "thing"}]
    assert items(USER, CALL, CUSTOM_CALL, CUSTOM_OUTPUT, {**OUTPUT, "output": parts}) == (
        Message.of("user", "Hello"),
        ToolCall("call_1", "look", "{}"),
        ToolCall("call_2", "write", "a", custom=True),
        ToolResult("call_2", (Text("written"),)),
        ToolResult("call_1", (Text("no"), Text("thing"))),
    )


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ([USER, OUTPUT], "No tool call found for function call output with call_id call_1."),
        ([OUTPUT, CALL], "No tool call found for function call output with call_id call_1."),
        ([USER, CUSTOM_OUTPUT], "No tool call found for custom tool call output with call_id call_2."),
        (
            [CALL, {**CUSTOM_OUTPUT, "call_id": "call_1"}],
            "No tool call found for custom tool call output with call_id call_1.",
        ),
        ([USER, CALL], "No tool output found for function call call_1."),
        ([CALL, USER], "No tool output found for function call call_1."),
        ([CUSTOM_CALL, USER], "No tool output found for custom tool call call_2."),
        ([CALL, CALL, OUTPUT], "Duplicate function call found with call_id call_1."),
        ([CALL, OUTPUT, CALL, OUTPUT], "Duplicate function call found with call_id call_1."),
        ([CALL, OUTPUT, OUTPUT], "Duplicate function call output found with call_id call_1."),
        (
            [CALL, {**OUTPUT, "name": "write"}],
            "The output with call_id call_1 is not that of the tool it names.",
        ),
    ],
)
def test_a_call_without_its_output_and_an_output_without_its_call_are_refused(wire: list[Any], message: str) -> None:
    error = refusal(*wire)
    assert (error.message, error.param) == (message, "input")


def test_each_turn_may_number_its_calls_anew() -> None:
    assert len(items(USER, CALL, OUTPUT, USER, CALL, OUTPUT)) == 6


def test_an_output_may_come_after_the_user_has_spoken() -> None:
    assert len(items(USER, CALL, USER, OUTPUT)) == 4


def test_reasoning_is_opened_by_its_key_and_shown_to_the_model_alone() -> None:
    served = Served()
    opened = items(USER, reasoning(encrypted_content=served.seal("rs_1")), CALL, OUTPUT, served=served)
    assert opened[1] == Thinking(THOUGHT)
    assert THOUGHT not in repr(opened)


def test_reasoning_without_its_content_says_nothing() -> None:
    assert items(USER, reasoning(encrypted_content=None, content=[], status="completed")) == (
        Message.of("user", "Hello"),
    )


@pytest.mark.parametrize("how", ["another tenant", "another model", "another item", "another key", "not ours"])
@pytest.mark.parametrize("ended", [False, True])
def test_foreign_reasoning_is_refused_wherever_it_stands(how: str, ended: bool) -> None:
    served = Served()
    blob = {
        "another tenant": served.seal("rs_1", tenant="somebody"),
        "another model": Served("forethought-maxi", served.keys).seal("rs_1"),
        "another item": served.seal("rs_2"),
        "another key": Served().seal("rs_1"),
        "not ours": "gAAAAABn",
    }[how]
    wire = [USER, reasoning(encrypted_content=blob), {"role": "assistant", "content": "Hi"}]
    error = refusal(*wire, *([USER] if ended else []), served=served)
    assert error.code == "invalid_encrypted_content"
    assert THOUGHT not in error.message


def test_output_items_are_passed_back_as_an_sdk_dumps_them() -> None:
    text = {"type": "output_text", "text": "Four.", "annotations": [], "logprobs": None}
    message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": None}
    call = {**CALL, "id": "fc_1", "status": "completed", "namespace": None, "caller": None, "async": None}
    custom = {**CUSTOM_CALL, "id": "ctc_1", "namespace": None, "caller": None}
    thought = reasoning(summary=[{"type": "summary_text", "text": "**Adding**"}], content=None, status=None)
    assert items(USER, thought, {**message, "content": [text]}, call, custom, OUTPUT, CUSTOM_OUTPUT)[1:4] == (
        Message.of("assistant", "Four."),
        ToolCall("call_1", "look", "{}"),
        ToolCall("call_2", "write", "a", custom=True),
    )
