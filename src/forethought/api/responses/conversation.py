"""The input of a response becomes the conversation that the model sees.

Instructions are a developer's message in front of all others, and what a format is for is told behind them. Reasoning
is opened here, so that a foreign or broken blob is refused wherever it stands; the renderer keeps what belongs to the
turn in progress and leaves out the rest.
"""

from typing import TYPE_CHECKING

from forethought.api.errors import invalid
from forethought.api.formats import told
from forethought.api.responses.create import PromptRequest
from forethought.api.responses.input_items import (
    CustomToolCall,
    CustomToolCallOutput,
    FunctionCall,
    FunctionCallOutput,
    Input,
    InputContent,
    InputItem,
    InputMessage,
    InputText,
    OutputContent,
    OutputMessage,
    OutputText,
    Reasoning,
    Refusal,
)
from forethought.api.responses.ledger import CallLedger
from forethought.api.tools import tool_definitions
from forethought.model.conversation import Conversation, Item, Message, Text, Thinking, ToolCall, ToolResult

if TYPE_CHECKING:
    from forethought.api.served import ServedModel


def conversation_of(request: PromptRequest, wire: Input, served: "ServedModel", tenant: str) -> Conversation:
    """The conversation that a request and its input stand for; the effort is for the turn to set.

    Raises:
        ApiError: a 400 for calls without outputs and outputs without calls, for reasoning that is not this tenant's
            and this model's, and for tools that cannot be offered.
    """
    tools = tool_definitions(request.tools or ())
    preamble = (request.instructions, told(request.text and request.text.format))
    items: list[Item] = [Message.of("developer", text) for text in preamble if text is not None]
    items += InputReader(served, tenant).read(wire)
    if not items:
        raise invalid("The input is empty: give it at least one item.", "input", "empty_array")
    return Conversation(tuple(items), tools)


class InputReader:
    """Turns wire items into items, one after another."""

    def __init__(self, served: "ServedModel", tenant: str) -> None:
        self._served = served
        self._tenant = tenant
        self._ledger = CallLedger()

    def read(self, wire: Input) -> list[Item]:
        """All items. Raises `ApiError`."""
        if isinstance(wire, str):
            return [Message.of("user", wire)]
        items = [item for entry in wire if (item := self._item(entry)) is not None]
        self._ledger.check_answered()
        return items

    def _item(self, entry: InputItem) -> Item | None:
        match entry:
            case InputMessage():
                if entry.role == "user":
                    self._ledger.user_spoke()
                return Message("user" if entry.role == "user" else "developer", _texts(entry.content))
            case OutputMessage():
                return Message("assistant", _texts(entry.content))
            case Reasoning():
                return self._thinking(entry)
            case FunctionCall():
                return self._ledger.called(ToolCall(entry.call_id, entry.name, entry.arguments))
            case CustomToolCall():
                return self._ledger.called(ToolCall(entry.call_id, entry.name, entry.input, custom=True))
            case FunctionCallOutput():
                self._ledger.answered(entry.call_id, custom=False, name=entry.name)
                return ToolResult(entry.call_id, _texts(entry.output))
            case CustomToolCallOutput():
                self._ledger.answered(entry.call_id, custom=True)
                return ToolResult(entry.call_id, _texts(entry.output))

    def _thinking(self, entry: Reasoning) -> Thinking | None:
        """What the item holds for the model: nothing without its encrypted content."""
        if entry.encrypted_content is None:
            return None
        hidden = self._served.keys.open(
            entry.encrypted_content, tenant=self._tenant, model=self._served.digest, item_id=entry.id
        )
        return Thinking(hidden.reveal())


def _texts(content: InputContent | OutputContent) -> tuple[Text, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(Text(_text(part)) for part in content)


def _text(part: InputText | OutputText | Refusal) -> str:
    return part.refusal if isinstance(part, Refusal) else part.text
