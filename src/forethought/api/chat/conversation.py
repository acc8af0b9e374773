"""The messages of a chat become the conversation that the model sees.

What a format is for is told in front of all messages. A participant's name stands before what it says. Thinking is not
passed through this API, so none is among the items.
"""

from collections.abc import Iterator

from forethought.api.chat.create import CreateChatCompletion
from forethought.api.chat.messages import (
    AssistantContent,
    AssistantMessage,
    Call,
    ChatMessage,
    Content,
    CustomCall,
    FunctionCall,
    InputMessage,
    RefusalPart,
    ToolMessage,
)
from forethought.api.errors import ApiError, invalid
from forethought.api.formats import told
from forethought.api.tools import tool_definitions
from forethought.model.conversation import Conversation, Item, Message, Text, ToolCall, ToolResult


def conversation_of(request: CreateChatCompletion) -> Conversation:
    """The conversation that a request stands for; its effort is for the turn to set.

    Raises:
        ApiError: a 400 for calls without tool messages and tool messages without calls, for an assistant's message
            that says nothing, and for tools that cannot be offered.
    """
    tools = tool_definitions(request.tools or ())
    purpose = told(request.response_format)
    items: list[Item] = [] if purpose is None else [Message.of("developer", purpose)]
    pending = PendingCalls()
    for place, message in enumerate(request.messages):
        if not isinstance(message, ToolMessage):
            pending.check_answered(place)
        items += _items(message, place, pending)
    pending.check_answered(len(request.messages) - 1)
    return Conversation(tuple(items), tools)


class PendingCalls:
    """Which tool calls wait for their tool messages: those of one assistant message, until the next other message.

    It follows the messages of a chat in order. Its refusals are OpenAI's, which clients know by their words.
    """

    def __init__(self) -> None:
        self._open: dict[str, ToolCall] = {}

    def called(self, call: ToolCall, place: int) -> ToolCall:
        """A call was made, in the message at `place`. Raises `ApiError` when another one there has its id."""
        if call.call_id in self._open:
            message = f"Duplicate value for 'tool_call_id' of '{call.call_id:.100}' in message[{place}]."
            raise _refusal(message, f"messages[{place}].tool_calls")
        self._open[call.call_id] = call
        return call

    def answered(self, call_id: str, place: int) -> None:
        """A tool message came. Raises `ApiError` when no call waits for it."""
        if self._open.pop(call_id, None) is None:
            message = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            raise _refusal(f"Invalid parameter: {message}", f"messages[{place}].role")

    def check_answered(self, place: int) -> None:
        """No more tool messages come. `place` is that of the message that came instead, or would have.

        Raises:
            ApiError: calls still wait.
        """
        if self._open:
            raise _refusal(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                "'tool_call_id'. The following tool_call_ids did not have response messages: "
                f"{', '.join(self._open):.1000}",
                f"messages[{place}].role",
            )


def _items(message: ChatMessage, place: int, pending: PendingCalls) -> Iterator[Item]:
    match message:
        case InputMessage():
            role = "user" if message.role == "user" else "developer"
            yield Message(role, _named(message.name, _texts(message.content)))
        case AssistantMessage():
            said = _said(message)
            if any(text.text for text in said) or not message.tool_calls:
                yield Message("assistant", _named(message.name, _checked(said, place)))
            for call in message.tool_calls or ():
                yield pending.called(_call(call), place)
        case ToolMessage():
            pending.answered(message.tool_call_id, place)
            yield ToolResult(message.tool_call_id, _texts(message.content))


def _said(message: AssistantMessage) -> tuple[Text, ...]:
    """The texts of an assistant's message, those of a refusal included; none when its content is null."""
    content = () if message.content is None else _texts(message.content)
    return content if message.refusal is None else (*content, Text(message.refusal))


def _checked(said: tuple[Text, ...], place: int) -> tuple[Text, ...]:
    """Refuses a message with neither content nor calls."""
    if not said:
        message = f"Invalid type for 'messages[{place}].content': expected a string or an array, but got null instead."
        raise invalid(message, f"messages[{place}].content", "invalid_type")
    return said


def _named(name: str | None, said: tuple[Text, ...]) -> tuple[Text, ...]:
    return said if name is None else (Text(f"{name}: "), *said)


def _texts(content: Content | AssistantContent) -> tuple[Text, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(Text(part.refusal if isinstance(part, RefusalPart) else part.text) for part in content)


def _call(call: Call) -> ToolCall:
    match call:
        case FunctionCall():
            return ToolCall(call.id, call.function.name, call.function.arguments)
        case CustomCall():
            return ToolCall(call.id, call.custom.name, call.custom.input, custom=True)


def _refusal(message: str, param: str) -> ApiError:
    return invalid(message, param, "invalid_value")
