"""The output of a response so far: takes the events of a turn, gives those that the client sees."""

from forethought.api.responses.output_items import (
    CallItem,
    MessageItem,
    OutputItem,
    ReasoningItem,
    Seal,
    WireEvent,
    WireItem,
)
from forethought.reasoning.events import Event, ItemAdded, ItemDone, TextDelta, ThinkingDelta, TurnDone


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
