"""The messages of a chat as the conversation that the model sees."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._utils import transform
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import (
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionMessageParam,
    ParsedChatCompletionMessage,
)

from chat_scene import QUESTION, Scene
from forethought.api.chat.conversation import conversation_of
from forethought.api.chat.create import parse_create
from forethought.api.errors import ApiError
from forethought.model.conversation import Conversation, FreeInput, Item, Message, Text, ToolCall, ToolResult
from scripted_turns import COMPLETED, call, message

USER = {"role": "user", "content": "Hello"}
CALLED = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
WRITTEN = {"id": "call_2", "type": "custom", "custom": {"name": "write", "input": "any text"}}


def conversation(*messages: Any, **parameters: Any) -> Conversation:
    return conversation_of(parse_create({**QUESTION, "messages": list(messages), **parameters}))


def items(*messages: Any, **parameters: Any) -> tuple[Item, ...]:
    return conversation(*messages, **parameters).items


def refusal(*messages: Any) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        conversation(*messages)
    assert caught.value.status == 400
    return caught.value.error


def assistant(*calls: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, **fields} | ({"tool_calls": list(calls)} if calls else {})


def tool(call_id: str, content: Any = "21 °C") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


@pytest.mark.parametrize(
    ("role", "seen"),
    [("user", "user"), ("developer", "developer"), ("system", "developer"), ("assistant", "assistant")],
)
def test_a_message_is_said_by_its_role_and_system_means_developer(role: str, seen: Any) -> None:
    assert items({"role": role, "content": "Hello"}) == (Message.of(seen, "Hello"),)


@pytest.mark.parametrize("role", ["user", "developer", "system", "assistant"])
def test_parts_stay_parts(role: str) -> None:
    parts = [{"type": "text", "text": "He"}, {"type": "text", "text": "llo"}]
    (seen,) = items({"role": role, "content": parts})
    assert isinstance(seen, Message)
    assert seen.parts == (Text("He"), Text("llo"))


@pytest.mark.parametrize("role", ["user", "developer", "assistant"])
def test_a_name_stands_before_what_its_bearer_says(role: Any) -> None:
    (seen,) = items({"role": role, "content": "Hello", "name": "Ada"})
    assert isinstance(seen, Message)
    assert seen.text == "Ada: Hello"


def test_a_refusal_is_something_that_the_assistant_said() -> None:
    said = Message.of("assistant", "I will not.")
    assert items(assistant(refusal="I will not.")) == (said,)
    assert items(assistant(content=[{"type": "refusal", "refusal": "I will not."}])) == (said,)


def test_calls_and_what_they_gave_back_are_items() -> None:
    seen = items(USER, assistant(CALLED, WRITTEN), tool("call_2", "done"), tool("call_1"))
    assert seen[1:] == (
        ToolCall("call_1", "look", "{}"),
        ToolCall("call_2", "write", "any text", custom=True),
        ToolResult("call_2", (Text("done"),)),
        ToolResult("call_1", (Text("21 °C"),)),
    )


def test_what_is_said_before_a_call_is_kept_unless_it_is_empty() -> None:
    said, *_ = items(assistant(CALLED, content="Let me look."), tool("call_1"))
    assert said == Message.of("assistant", "Let me look.")
    first, *_ = items(assistant(CALLED, content=""), tool("call_1"))
    assert isinstance(first, ToolCall)


def test_an_empty_answer_is_one() -> None:
    assert items(assistant(content="")) == (Message.of("assistant", ""),)


@pytest.mark.parametrize("fields", [{}, {"refusal": None, "tool_calls": None}])
def test_an_assistant_that_says_nothing_is_refused(fields: dict[str, Any]) -> None:
    error = refusal(USER, assistant(**fields))
    assert (error["param"], error["code"]) == ("messages[1].content", "invalid_type")


def test_what_a_format_is_for_is_told_first() -> None:
    described = {"name": "place", "description": "A town.", "schema": {"type": "object"}}
    first, *rest = items(USER, response_format={"type": "json_schema", "json_schema": described})
    assert first == Message.of("developer", "Response format place: A town.")
    assert rest == [Message.of("user", "Hello")]


def test_tools_are_offered() -> None:
    custom = {"type": "custom", "custom": {"name": "write"}}
    function = {"type": "function", "function": {"name": "look"}}
    tools = conversation(USER, tools=[function, custom]).tools
    assert [(tool.name, tool.custom) for tool in tools] == [("look", None), ("write", FreeInput())]


NO_CALL = "Invalid parameter: messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
NO_RESULT = (
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
    "The following tool_call_ids did not have response messages: "
)


@pytest.mark.parametrize(
    ("messages", "place"),
    [
        ([tool("call_1")], 0),
        ([USER, tool("call_1")], 1),
        ([assistant(CALLED), tool("call_3")], 1),
        ([assistant(CALLED), tool("call_1"), tool("call_1")], 2),
        ([assistant(CALLED), tool("call_1"), USER, tool("call_1")], 3),
    ],
)
def test_a_tool_message_without_its_call_is_refused(messages: list[Any], place: int) -> None:
    error = refusal(*messages)
    assert (error["message"], error["param"]) == (NO_CALL, f"messages[{place}].role")


@pytest.mark.parametrize(
    ("messages", "missing", "place"),
    [
        ([assistant(CALLED)], "call_1", 0),
        ([assistant(CALLED), USER], "call_1", 1),
        ([assistant(CALLED), USER, tool("call_1")], "call_1", 1),
        ([assistant(CALLED, WRITTEN), tool("call_1")], "call_2", 1),
        ([assistant(CALLED, WRITTEN)], "call_1, call_2", 0),
        ([assistant(CALLED), assistant(WRITTEN), tool("call_1"), tool("call_2")], "call_1", 1),
    ],
)
def test_a_call_without_its_tool_message_is_refused(messages: list[Any], missing: str, place: int) -> None:
    error = refusal(*messages)
    assert (error["message"], error["param"]) == (NO_RESULT + missing, f"messages[{place}].role")


def test_two_calls_of_a_message_have_two_ids() -> None:
    error = refusal(USER, assistant(CALLED, CALLED))
    assert error["message"] == "Duplicate value for 'tool_call_id' of 'call_1' in message[1]."


def test_a_later_message_may_use_an_id_again() -> None:
    exchange = [USER, assistant(CALLED), tool("call_1")]
    assert len(items(*exchange, *exchange)) == 6


@given(
    st.lists(
        st.sampled_from([USER, assistant(CALLED), assistant(WRITTEN, content="a"), tool("call_1"), tool("call_2")])
    )
)
def test_messages_in_any_order_are_a_conversation_or_refused(messages: list[Any]) -> None:
    try:
        seen = items(*messages)
    except ApiError:
        return
    called = [item.call_id for item in seen if isinstance(item, ToolCall)]
    assert called == [item.call_id for item in seen if isinstance(item, ToolResult)]


SAID = [*message(0, "Let me look."), *call(1, '{"city":', '"Rome"}'), COMPLETED]
SEEN = (Message.of("assistant", "Let me look."), ToolCall("call_1", "look", '{"city":"Rome"}'))


def test_a_message_goes_back_as_it_came() -> None:
    came = Scene.of(SAID).final()["choices"][0]["message"]
    assert items(came, tool("call_1"))[:2] == SEEN
    assert (
        items(_sent(ChatCompletion.model_validate(Scene.of(SAID).final()).choices[0].message), tool("call_1"))[:2]
        == SEEN
    )


def test_a_message_goes_back_as_the_sdks_helpers_leave_it() -> None:
    state = ChatCompletionStreamState[None]()
    for chunk in Scene.of(SAID).chunks():
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    streamed = state.get_final_completion().choices[0].message
    assert isinstance(streamed, ParsedChatCompletionMessage)
    assert items(_sent(streamed), tool("call_1"))[:2] == SEEN


def _sent(message: Any) -> Any:
    """What the SDK sends of a message object of its own."""
    return transform(message, ChatCompletionMessageParam)
