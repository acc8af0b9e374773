"""The items of a conversation, arranged as the messages that chat formats know.

Chat formats put what an assistant thinks, says and calls into one message, and know nothing of thinking that belongs
to an earlier turn. Both renderers get that view from here, so that they agree on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from forethought.errors import RenderError
from forethought.model.conversation import Image, Item, Message, Thinking, ToolCall, ToolResult
from forethought.model.renderer.tool import check_tool_name, is_json_object

AssistantItem = Message | Thinking | ToolCall


@dataclass(frozen=True, slots=True)
class AssistantTurn:
    """One assistant message: its items in the order in which they were generated."""

    items: tuple[AssistantItem, ...]

    @property
    def thinking(self) -> Thinking | None:
        """What it thought, if that is known."""
        return next((item for item in self.items if isinstance(item, Thinking)), None)

    @property
    def message(self) -> Message | None:
        """What it said."""
        return next((item for item in self.items if isinstance(item, Message)), None)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The tools it called."""
        return tuple(item for item in self.items if isinstance(item, ToolCall))


@dataclass(frozen=True, slots=True)
class ToolTurn:
    """One tool result. `call` is what it answers, the `number`-th call (from 1) since the user spoke."""

    result: ToolResult
    call: ToolCall
    number: int


Turn = Message | AssistantTurn | ToolTurn


def turns(items: tuple[Item, ...], *, think: bool) -> Iterator[Turn]:
    """The messages of a conversation, in order.

    Thinking from before the last user message is left out; with `think` off all of it is. An assistant message
    holds, in this order, at most one thinking, at most one text and any number of calls.

    Raises:
        RenderError: nothing to render; a tool result without its call; two calls of one turn with the same id; a
            tool's name that is none.
    """
    if not items:
        raise RenderError("The conversation is empty.", "Give it at least one message.")
    first_thinking = _last_user_index(items) if think else len(items)
    calls: dict[str, tuple[int, ToolCall]] = {}
    number = 0
    turn_ids: set[str] = set()
    said: list[AssistantItem] = []
    for index, item in enumerate(items):
        if isinstance(item, Thinking) and index < first_thinking:
            continue
        by_assistant = isinstance(item, (Thinking, ToolCall)) or (
            isinstance(item, Message) and item.role == "assistant"
        )
        if said and (not by_assistant or _opens_message(item, said)):
            yield AssistantTurn(tuple(said))
            said = []
        if isinstance(item, ToolResult):
            if item.call_id not in calls:
                raise RenderError(
                    f"The tool result for call {item.call_id!r} has no call.", "Put the call before its result."
                )
            call_number, call = calls[item.call_id]
            yield ToolTurn(item, call, call_number)
        elif isinstance(item, Message) and item.role != "assistant":
            if item.role == "user":
                number = 0
                turn_ids.clear()
            yield item
        else:
            if isinstance(item, ToolCall):
                number += 1
                if item.call_id in turn_ids:
                    raise RenderError(
                        f"Two tool calls of one turn have the id {item.call_id!r}.", "Give each call its own id."
                    )
                turn_ids.add(item.call_id)
                calls[item.call_id] = number, item
                check_tool_name(item.name)
            said.append(item)
    if said:
        yield AssistantTurn(tuple(said))


def output_items(items: tuple[Item, ...]) -> tuple[AssistantItem, ...]:
    """The items, if a model can have written them. Raises `RenderError`."""
    written: list[AssistantItem] = []
    for item in items:
        match item:
            case Thinking():
                written.append(item)
            case ToolCall(_, name, arguments, custom):
                if not custom and not is_json_object(arguments):
                    raise RenderError(f"The arguments of a call to {name} are no JSON object.", "Leave the call out.")
                check_tool_name(name)
                written.append(item)
            case Message("assistant", parts) if all(not isinstance(part, Image) for part in parts):
                written.append(item)
            case _:
                raise RenderError(
                    f"A model's output cannot hold this {type(item).__name__}.",
                    "Give thinking, assistant's text and tool calls only.",
                )
    return tuple(written)


def _opens_message(item: Item, said: list[AssistantItem]) -> bool:
    """Whether this item of the assistant cannot join the message in progress."""
    if isinstance(item, Thinking):
        return True
    return isinstance(item, Message) and not all(isinstance(before, Thinking) for before in said)


def _last_user_index(items: tuple[Item, ...]) -> int:
    users = (index for index, item in enumerate(items) if isinstance(item, Message) and item.role == "user")
    return max(users, default=0)
