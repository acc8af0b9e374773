"""Server-sent events as bytes: the frame of each, in the one form in which the server writes them."""

import json
from typing import Any

DONE = "data: [DONE]"


def read_events(raw: bytes, *, named: bool) -> list[dict[str, Any]]:
    """The objects of a whole stream, which ends in `[DONE]`. With `named`, each says its type twice."""
    assert raw.endswith(b"\n\n"), "no event is cut off"
    *blocks, done = [block for block in raw.decode().removesuffix("\n\n").split("\n\n") if block != ": ping"]
    assert done == DONE
    assert DONE not in blocks
    return [_event(block, named=named) for block in blocks]


def _event(block: str, *, named: bool) -> dict[str, Any]:
    *name, data = block.split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert data.startswith("data: {")
    assert name == ([f"event: {event['type']}"] if named else [])
    return event
