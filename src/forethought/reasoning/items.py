"""Writes the items of a turn one after another, so that their events keep the laws of `events` by construction."""

import uuid
from dataclasses import dataclass, field
from typing import assert_never

from forethought.logs import Hidden
from forethought.model.conversation import Message, Thinking, ToolCall
from forethought.reasoning.events import (
    Event,
    ItemAdded,
    ItemDone,
    ItemKind,
    ItemStatus,
    OutputItem,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
)


@dataclass(slots=True)
class _Draft:
    """The item that is being written."""

    index: int
    kind: ItemKind
    name: str
    call_id: str
    custom: bool
    content: list[str] = field(default_factory=list[str], repr=False)

    def item(self) -> OutputItem:
        text = "".join(self.content)
        match self.kind:
            case "thinking":
                return Thinking(text)
            case "message":
                return Message.of("assistant", text)
            case "tool_call":
                return ToolCall(self.call_id, self.name, text, self.custom)
            case _:
                assert_never(self.kind)


class ItemWriter:
    """At most one item is open at a time; beginning another one closes it."""

    def __init__(self) -> None:
        self._draft: _Draft | None = None
        self._count = 0
        self.answered = False

    @property
    def kind(self) -> ItemKind | None:
        """What is being written now."""
        return self._draft.kind if self._draft else None

    @property
    def tool(self) -> str | None:
        """The name of the tool that is being called now."""
        return self._draft.name if self._draft and self._draft.kind == "tool_call" else None

    def begin(self, kind: ItemKind, name: str = "", *, custom: bool = False) -> list[Event]:
        """Closes the open item, adds another. A tool call has a `name`, and gets an id of its own."""
        closed = self.close("completed")
        call_id = f"call_{uuid.uuid4().hex[:24]}" if kind == "tool_call" else ""
        self._draft = _Draft(self._count, kind, name, call_id, custom)
        self._count += 1
        return [*closed, ItemAdded(self._draft.index, kind, call_id or None, name or None, custom)]

    def write(self, kind: ItemKind, text: str, logprobs: tuple[TokenLogprob, ...] = ()) -> list[Event]:
        """Adds to the open item, or to a new one when none of this kind is open."""
        events: list[Event] = []
        if self.kind != kind:
            events = self.begin(kind)
        draft = self._draft
        if draft is None or not text:
            return events
        draft.content.append(text)
        match kind:
            case "message":
                events.append(TextDelta(draft.index, text, logprobs))
            case "thinking":
                events.append(ThinkingDelta(draft.index, Hidden(text)))
            case "tool_call":
                events.append(ToolCallDelta(draft.index, text))
            case _:
                assert_never(kind)
        return events

    def close(self, status: ItemStatus) -> list[Event]:
        """Ends the open item, if there is one."""
        draft, self._draft = self._draft, None
        if draft is None:
            return []
        self.answered |= draft.kind != "thinking" and status == "completed"
        return [ItemDone(draft.index, draft.item(), status)]
