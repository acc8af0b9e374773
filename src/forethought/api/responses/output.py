"""The output of a response while it is written: takes the events of a turn, gives those that the client sees.

Each item knows the events that announce it, extend it and end it.

The ids and indexes of an item's events, and the item as it stands in the finished response, come from one place, so
that they agree whatever is written.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from forethought.api.parts import new_id, wire_logprob
from forethought.logs import Hidden
from forethought.model.conversation import Thinking
from forethought.reasoning.events import (
    Event,
    ItemAdded,
    ItemDone,
    ItemStatus,
    SummaryDelta,
    SummaryPartAdded,
    SummaryPartDone,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    TurnDone,
)

WireEvent = dict[str, Any]
WireItem = dict[str, Any]
Seal = Callable[[Hidden, str], str]
"""Encrypts the thinking of the item with this id."""

Part = TextDelta | ToolCallDelta | SummaryPartAdded | SummaryDelta | SummaryPartDone
"""What an item is made of, and the client may see."""


class OutputItem(ABC):
    """One item while it is written. `index` is its place in the output."""

    def __init__(self, prefix: str, index: int) -> None:
        self.id = new_id(prefix)
        self.index = index

    def begin(self) -> list[WireEvent]:
        """The events that announce the item, still empty."""
        return [{"type": "response.output_item.added", "output_index": self.index, "item": self.begun()}]

    @abstractmethod
    def begun(self) -> WireItem:
        """The item with nothing in it."""

    @abstractmethod
    def extend(self, part: Part) -> list[WireEvent]:
        """The events that a part of it brings."""

    def end(self, done: ItemDone) -> tuple[WireItem, list[WireEvent]]:
        """The finished item, and the events that end it."""
        item, events = self.finish(done)
        events.append({"type": "response.output_item.done", "output_index": self.index, "item": item})
        return item, events

    @abstractmethod
    def finish(self, done: ItemDone) -> tuple[WireItem, list[WireEvent]]:
        """The finished item, and the events that end its content."""

    def event(self, kind: str, **fields: Any) -> WireEvent:
        """An event about this item's content."""
        return {"type": f"response.{kind}", "item_id": self.id, "output_index": self.index, **fields}


class ReasoningItem(OutputItem):
    """What the model thought: shown as a summary, if at all, and carried encrypted, if asked for."""

    def __init__(self, index: int, seal: Seal | None) -> None:
        super().__init__("rs", index)
        self._seal = seal
        self._summary: list[WireItem] = []

    def begun(self) -> WireItem:
        return {"id": self.id, "type": "reasoning", "summary": [], "status": "in_progress"}

    def extend(self, part: Part) -> list[WireEvent]:
        match part:
            case SummaryPartAdded():
                empty = {"type": "summary_text", "text": ""}
                return [self.event("reasoning_summary_part.added", summary_index=part.part, part=empty)]
            case SummaryDelta():
                return [self.event("reasoning_summary_text.delta", summary_index=part.part, delta=part.text)]
            case SummaryPartDone():
                written = {"type": "summary_text", "text": part.text}
                self._summary.append(written)
                cut_off = {"status": "incomplete"} if part.status == "incomplete" else {}
                return [
                    self.event("reasoning_summary_text.done", summary_index=part.part, text=part.text),
                    self.event("reasoning_summary_part.done", summary_index=part.part, part=written, **cut_off),
                ]
            case _:
                return []

    def finish(self, done: ItemDone) -> tuple[WireItem, list[WireEvent]]:
        item: WireItem = {"id": self.id, "type": "reasoning", "summary": self._summary}
        if self._seal is not None and isinstance(done.item, Thinking):
            item["encrypted_content"] = self._seal(Hidden(done.item.text), self.id)
        return item | {"status": done.status}, []


class MessageItem(OutputItem):
    """The answer: one text, whose annotations nobody makes yet."""

    def __init__(self, index: int) -> None:
        super().__init__("msg", index)
        self._text: list[str] = []
        self._logprobs: list[WireItem] = []

    def begin(self) -> list[WireEvent]:
        return [*super().begin(), self.event("content_part.added", content_index=0, part=_output_text("", []))]

    def begun(self) -> WireItem:
        return self._item("in_progress", [])

    def extend(self, part: Part) -> list[WireEvent]:
        if not isinstance(part, TextDelta):
            return []
        logprobs = [wire_logprob(entry) for entry in part.logprobs]
        self._text.append(part.text)
        self._logprobs += logprobs
        return [self.event("output_text.delta", content_index=0, delta=part.text, logprobs=logprobs)]

    def finish(self, done: ItemDone) -> tuple[WireItem, list[WireEvent]]:
        text = "".join(self._text)
        part = _output_text(text, self._logprobs)
        return self._item(done.status, [part]), [
            self.event("output_text.done", content_index=0, text=text, logprobs=self._logprobs),
            self.event("content_part.done", content_index=0, part=part),
        ]

    def _item(self, status: ItemStatus | str, content: list[WireItem]) -> WireItem:
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


class CallItem(OutputItem):
    """A tool call. What a function is given are `arguments`, what a custom tool is given is `input`."""

    def __init__(self, added: ItemAdded) -> None:
        super().__init__("ctc" if added.custom else "fc", added.index)
        self._custom = added.custom
        self._field = "input" if added.custom else "arguments"
        self._kind = "custom_tool_call" if added.custom else "function_call"
        self._called = {"call_id": added.call_id, "name": added.name}
        self._written: list[str] = []

    def begun(self) -> WireItem:
        return self._item("in_progress", "")

    def extend(self, part: Part) -> list[WireEvent]:
        if not isinstance(part, ToolCallDelta):
            return []
        self._written.append(part.arguments)
        return [self.event(f"{self._kind}_{self._field}.delta", delta=part.arguments)]

    def finish(self, done: ItemDone) -> tuple[WireItem, list[WireEvent]]:
        written = "".join(self._written)
        # Older SDKs want the name of a function here.
        name = {} if self._custom else {"name": self._called["name"]}
        ended = self.event(f"{self._kind}_{self._field}.done", **name, **{self._field: written})
        return self._item(done.status, written), [ended]

    def _item(self, status: ItemStatus | str, written: str) -> WireItem:
        return {"id": self.id, "type": self._kind, "status": status, **self._called, self._field: written}


class OutputWriter:
    """Writes the items one after another, as the laws of a turn say they come."""

    def __init__(self, seal: Seal | None) -> None:
        """`seal` encrypts thinking; None when the client did not ask for it."""
        self._seal = seal
        self._open: OutputItem | None = None
        self.items: list[WireItem] = []
        """The finished items."""

    def write(self, event: Event) -> list[WireEvent]:
        """What the client sees of an event. Raises `RuntimeError` when the turn breaks its laws."""
        match event:
            case TextDelta():
                return self._current.extend(event)
            case ItemAdded():
                self._open = self._begun(event)
                return self._open.begin()
            case ItemDone():
                item, events = self._current.end(event)
                self.items.append(item)
                self._open = None
                return events
            case ThinkingDelta() | TurnDone():
                return []
            case _:
                return self._current.extend(event)

    @property
    def _current(self) -> OutputItem:
        if self._open is None:
            raise RuntimeError("no item of the turn is open")
        return self._open

    def _begun(self, added: ItemAdded) -> OutputItem:
        match added.kind:
            case "thinking":
                return ReasoningItem(added.index, self._seal)
            case "message":
                return MessageItem(added.index)
            case "tool_call":
                return CallItem(added)


def _output_text(text: str, logprobs: Sequence[WireItem]) -> WireItem:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}
