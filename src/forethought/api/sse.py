"""Server-sent events: a stream of event objects, written to ASGI as it comes.

Each event is written as soon as it is there; those that are there together are one write. A stream that is silent gets
comments (`: ping`), so that nobody between server and client takes it for dead. A stream that breaks still ends in a
terminal event, and every stream ends in `data: [DONE]`.

Nothing is buffered here: while the client does not read, `send` does not return, and the events wait where they come
from, bounded by the tokens that the request may have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import to_json

from forethought import logs
from forethought.api.errors import broken

if TYPE_CHECKING:
    from starlette.types import Send

Event = Mapping[str, Any]

HEAD = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
)
PING = b": ping\n\n"
DONE = b"data: [DONE]\n\n"
TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
BROKEN = broken().error
LINE_ENDS = tuple((chr(code).encode(), f"\\u{code:04x}".encode()) for code in (0x85, 0x2028, 0x2029))

log = logs.get_logger(__name__)


class Events(Protocol):
    """What is written: events as they come."""

    def __aiter__(self) -> AsyncIterator[Event]: ...

    def ready(self) -> Sequence[Event]:
        """Takes the events behind the one that was just read which need not be waited for."""
        ...


class Framing(Protocol):
    """How one API writes its events. One for each stream."""

    def frame(self, event: Event) -> bytes:
        """An event as it goes over the wire."""
        ...

    def failure(self) -> bytes:
        """The terminal event of a stream that broke; nothing if it has had one."""
        ...


class ResponsesFraming:
    """Responses: `event:` names the type, `data:` holds the object."""

    def __init__(self) -> None:
        self._last: Event = {"type": "", "sequence_number": -1}

    def frame(self, event: Event) -> bytes:
        """`event: response.created`, then the object."""
        self._last = event
        return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), _one_line(event))

    def failure(self) -> bytes:
        """An `error`, flat as the SDK reads it and nested as Open Responses has it."""
        if self._last["type"] in TERMINAL:
            return b""
        flat = {name: BROKEN[name] for name in ("code", "message", "param")}
        number = self._last["sequence_number"] + 1
        return self.frame({"type": "error", "sequence_number": number, **flat, "error": BROKEN})


class ChatFraming:
    """Chat Completions: `data:` alone. There, what ends a broken stream is an object with an `error`."""

    def frame(self, event: Event) -> bytes:
        """The chunk."""
        return b"data: %b\n\n" % _one_line(event)

    def failure(self) -> bytes:
        """The error object, which the SDK raises."""
        return self.frame({"error": BROKEN})


def _one_line(event: Event) -> bytes:
    """An event as JSON that is one line to everyone: Unicode has line ends that JSON leaves as they are and the
    standard of server-sent events does not know, but at which many clients (Python's `str.splitlines`, httpx) cut."""
    data = to_json(event)
    if not data.isascii():
        for character, escaped in LINE_ENDS:
            data = data.replace(character, escaped)
    return data


class EventWriter:
    """Writes one stream."""

    def __init__(self, send: Send, framing: Framing, ping_seconds: float) -> None:
        self._send = send
        self._framing = framing
        self._ping_seconds = ping_seconds
        self._time = asyncio.get_running_loop().time
        self._wrote = self._time()
        self._writing = False

    async def write(self, events: Events) -> None:
        """Writes all events, and whatever is missing at the end of a stream that breaks."""
        await self._send({"type": "http.response.start", "status": 200, "headers": list(HEAD)})
        pinging = asyncio.create_task(self._ping())
        try:
            await self._write_events(events)
        finally:
            pinging.cancel()
        await self._send({"type": "http.response.body", "body": DONE, "more_body": False})

    async def _write_events(self, events: Events) -> None:
        frame = self._framing.frame
        framed: list[bytes] = []
        try:
            async for event in events:
                framed.append(frame(event))
                framed.extend(map(frame, events.ready()))
                data = b"".join(framed)
                framed.clear()
                await self._write(data)
        except Exception as error:  # noqa: BLE001 (the boundary of a request: its failure becomes its last event)
            log.error("stream broke", error=error)
            if data := b"".join([*framed, self._framing.failure()]):
                await self._write(data)

    async def _write(self, data: bytes) -> None:
        self._writing = True
        await self._send({"type": "http.response.body", "body": data, "more_body": True})
        self._writing = False
        self._wrote = self._time()

    async def _ping(self) -> None:
        """Breaks every silence. A client that does not read is not silent, it is slow."""
        while True:
            await asyncio.sleep(self._wrote + self._ping_seconds - self._time())
            if self._time() - self._wrote >= self._ping_seconds:
                if self._writing:
                    self._wrote = self._time()
                else:
                    await self._write(PING)
