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
from forethought.api.chat.pending import PendingCalls
from forethought.api.errors import invalid
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
