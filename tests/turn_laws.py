"""The laws of a turn's events (`forethought.reasoning.events`), as a check."""

import pytest

from forethought.model.conversation import Message, Thinking, ToolCall
from forethought.reasoning.events import (
    Event,
    ItemAdded,
    ItemDone,
    SummaryDelta,
    SummaryPartAdded,
    SummaryPartDone,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    TurnDone,
)


def answer(text: str) -> Message:
    return Message.of("assistant", text)


def done(events: list[Event]) -> TurnDone:
    assert isinstance(events[-1], TurnDone)
    return events[-1]


def check_laws(events: list[Event]) -> None:
    open_index: int | None = None
    added: list[ItemAdded] = []
    deltas: list[str] = []
    statuses: list[str] = []
    parts = 0
    part: list[str] | None = None
    for event in events[:-1]:
        match event:
            case ItemAdded(index):
                assert open_index is None, "an item begins after the one before it is done"
                assert index == len(added), "items are numbered in order"
                open_index, deltas, parts = index, [], 0
                added.append(event)
            case ThinkingDelta(index, hidden):
                assert (index, added[-1].kind) == (open_index, "thinking")
                deltas.append(hidden.reveal())
            case TextDelta(index, text):
                assert (index, added[-1].kind) == (open_index, "message")
                deltas.append(text)
            case ToolCallDelta(index, arguments):
                assert (index, added[-1].kind) == (open_index, "tool_call")
                deltas.append(arguments)
            case SummaryPartAdded(index, number):
                assert (index, added[-1].kind) == (open_index, "thinking")
                assert (part, number) == (None, parts), "parts follow one another, numbered in order"
                part = []
            case SummaryDelta(index, number, text):
                assert part is not None
                assert (index, number) == (open_index, parts)
                assert text, "no delta is empty"
                part.append(text)
            case SummaryPartDone(index, number, text, status):
                assert part is not None
                assert (index, number, text) == (open_index, parts, "".join(part))
                part, parts = None, parts + 1
            case ItemDone(index, item, status):
                assert index == open_index
                assert part is None, "an item ends after its summary"
                statuses.append(status)
                check_item(added[-1], item, "".join(deltas))
                open_index = None
            case TurnDone():
                pytest.fail("a turn ended twice")
    assert open_index is None, "every item is done"
    assert all(deltas), "no delta is empty"
    last = done(events)
    assert last.status in ("completed", "incomplete", "failed", "cancelled")
    assert (last.error is not None) == (last.status == "failed")
    assert (last.incomplete_reason is not None) == (last.status == "incomplete")
    if last.status == "completed":
        assert set(statuses) == {"completed"}
        assert any(event.kind != "thinking" for event in added)
    assert "incomplete" not in statuses[:-1], "only the last item can have been cut off"


def check_item(begun: ItemAdded, item: object, content: str) -> None:
    match begun.kind:
        case "thinking":
            assert item == Thinking(content)
        case "message":
            assert item == answer(content)
        case "tool_call":
            assert begun.call_id is not None
            assert begun.name is not None
            assert item == ToolCall(begun.call_id, begun.name, content, begun.custom)
