"""The input of a response becomes the conversation that the model sees.

Instructions are a developer's message in front of all others, and what a format is for is told behind them. Reasoning
is opened here, so that a foreign or broken blob is refused wherever it stands; the renderer keeps what belongs to the
turn in progress and leaves out the rest.
"""

from typing import TYPE_CHECKING

from forethought.api.errors import ApiError, invalid
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


class CallLedger:
    """Which tool calls have their output: each has exactly one, somewhere behind it.

    It follows the items of an input in order. A `call_id` names one call between two messages of the user; some clients
    begin anew with each turn. Its refusals are OpenAI's, which clients know by their words.
    """

    def __init__(self) -> None:
        self._open: dict[str, ToolCall] = {}
        self._answered: set[str] = set()

    def user_spoke(self) -> None:
        """A turn begins: ids of answered calls may be used again."""
        self._answered.clear()

    def called(self, call: ToolCall) -> ToolCall:
        """A call was made. Raises `ApiError` when its id is taken."""
        if call.call_id in self._open or call.call_id in self._answered:
            raise _refusal(f"Duplicate {_kind(call.custom)} found with call_id {call.call_id}.")
        self._open[call.call_id] = call
        return call

    def answered(self, call_id: str, *, custom: bool, name: str | None = None) -> None:
        """A call gave something back. Raises `ApiError` when there is no such call, or it has its output already."""
        call = self._open.get(call_id)
        if call is None and call_id in self._answered:
            raise _refusal(f"Duplicate {_kind(custom)} output found with call_id {call_id}.")
        if call is None or call.custom != custom:
            raise _refusal(f"No tool call found for {_kind(custom)} output with call_id {call_id}.")
        if name not in (None, call.name):
            raise _refusal(f"The output with call_id {call_id} is not that of the tool it names.")
        del self._open[call_id]
        self._answered.add(call_id)

    def check_answered(self) -> None:
        """The input is over. Raises `ApiError` for a call without output."""
        for call in self._open.values():
            raise _refusal(f"No tool output found for {_kind(call.custom)} {call.call_id}.")


def _texts(content: InputContent | OutputContent) -> tuple[Text, ...]:
    if isinstance(content, str):
        return (Text(content),)
    return tuple(Text(_text(part)) for part in content)


def _text(part: InputText | OutputText | Refusal) -> str:
    return part.refusal if isinstance(part, Refusal) else part.text


def _kind(custom: bool) -> str:
    return "custom tool call" if custom else "function call"


def _refusal(message: str) -> ApiError:
    return invalid(message, "input", "invalid_value")
