"""A response while it is made: the events of a turn become OpenAI's, numbered, from `created` to one terminal event.

Whoever does not stream reads the same events and keeps the last one, so the two cannot differ. What fails becomes the
terminal event: a turn that the engine or the model let down is `response.failed`, and when a part of this room breaks
the stream ends with `error`.
"""

import asyncio
import secrets
import string
from collections import deque
from collections.abc import AsyncIterator
from typing import Protocol

from forethought.api.errors import RETRY_AFTER_SECONDS, SERVER, ApiError, api_error
from forethought.api.responses.document import ResponseDocument, WireDocument
from forethought.api.responses.output import OutputWriter
from forethought.api.responses.output_items import Seal, WireEvent
from forethought.errors import ForethoughtError
from forethought.logs import get_logger
from forethought.reasoning.events import Event, TurnDone, TurnError, Usage

log = get_logger(__name__)

REFUSAL_SECONDS = 0.5
"""How long the start of a response waits for a refusal of the engine. They come at once or not at all."""

PADDED_LENGTH = 32
"""An obfuscated delta and its padding have a multiple of this many characters."""


class TurnEvents(Protocol):
    """A turn, with summaries or without."""

    async def __anext__(self) -> Event: ...

    def ready(self) -> list[Event]:
        """Takes the events behind the one that was just read which need not be waited for."""
        ...

    async def aclose(self) -> None:
        """Ends the turn and frees what it holds. Can be called twice."""
        ...


class ResponseStream(AsyncIterator[WireEvent]):
    """The events of a response, for one reader; the last one is terminal, whatever breaks.

    Whoever does not read to the end closes the stream, which cancels the turn. A wait for the next event may be
    cancelled and taken up again: nothing is lost.
    """

    def __init__(
        self, document: ResponseDocument, events: TurnEvents, seal: Seal | None, *, obfuscated: bool = False
    ) -> None:
        self._document = document
        self._events = events
        self._obfuscated = obfuscated
        self._output = OutputWriter(seal)
        self._first: asyncio.Task[Event | None] | None = None
        self._ready: deque[WireEvent] = deque()
        self._count = 0
        self._over = False
        self._outcome: WireDocument | ApiError = _broken()
        self.usage: WireDocument = {}
        """The tokens used, once it is over and they are known."""
        for kind in ("response.created", "response.in_progress"):
            self._put({"type": kind, "response": document.snapshot("in_progress", [])})

    async def begin(self) -> None:
        """Gives the engine a moment to refuse the request, and raises what it refuses with."""
        self._first = asyncio.create_task(self._event())
        await asyncio.wait({self._first}, timeout=REFUSAL_SECONDS)
        if self._first.done() and (refusal := self._first.exception()) is not None:
            raise refusal

    async def __anext__(self) -> WireEvent:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        return self._ready.popleft()

    def ready(self) -> list[WireEvent]:
        """Takes the events behind the one that was just read which need not be waited for."""
        events = list(self._ready)
        self._ready.clear()
        return events

    async def final(self) -> WireDocument:
        """Runs to the end; the response as the terminal event has it.

        Raises:
            ApiError: there is no response to speak of: the engine, or the server, failed.
        """
        async for _ in self:
            pass
        if isinstance(self._outcome, ApiError):
            raise self._outcome
        return self._outcome

    async def aclose(self) -> None:
        """Cancels the turn, if it is not over; there are no more events. Can be called twice."""
        self._over = True
        self._ready.clear()
        try:
            if self._first is not None:
                self._first.cancel()
                await asyncio.gather(self._first, return_exceptions=True)
        finally:
            await self._events.aclose()

    async def _advance(self) -> None:
        """Makes more events ready."""
        try:
            self._take(await anext(self._events) if self._first is None else await self._begun(self._first))
            for event in self._events.ready():
                self._take(event)
        except ForethoughtError as error:
            self._fail(str(error), None, api_error(error))
        except Exception as error:  # noqa: BLE001 (the boundary of a request: its failure becomes its last event)
            log.error("response broke", error=error, response=self._document.id)
            failure = _broken()
            # The SDK reads the error flat, Open Responses has it nested.
            flat = {"code": failure.code, "message": failure.message, "param": None}
            self._end({"type": "error", **flat, "error": failure.error}, failure)
            await self._events.aclose()

    def _take(self, event: Event) -> None:
        for wire in self._output.write(event):
            self._put(wire)
        if isinstance(event, TurnDone):
            self._finish(event)

    async def _begun(self, first: asyncio.Task[Event | None]) -> Event:
        """The turn's first event, which is being waited for already."""
        event = await asyncio.shield(first)
        self._first = None
        if event is None:
            raise RuntimeError("the turn ended without saying so")
        return event

    async def _event(self) -> Event | None:
        return await anext(self._events, None)

    def _finish(self, done: TurnDone) -> None:
        """The terminal event of a turn that came to its end."""
        items, usage = self._output.items, done.usage
        match done:
            case TurnDone(status="completed"):
                document = self._document.snapshot("completed", items, usage)
                self._end({"type": "response.completed", "response": document}, document)
            case TurnDone(status="incomplete", incomplete_reason="max_output_tokens" | "context"):
                # OpenAI has one word for both limits.
                document = self._document.snapshot("incomplete", items, usage, incomplete_reason="max_output_tokens")
                self._end({"type": "response.incomplete", "response": document}, document)
            case TurnDone(status="incomplete"):
                self._fail("The model stopped before it answered. Ask again.", usage)
            case TurnDone(status="failed", error=TurnError("malformed_tool_call") as error):
                self._fail(f"{error.message} {error.remedy}", usage)
            case TurnDone(status="failed", error=TurnError() as error):
                message = f"{error.message} {error.remedy}".strip()
                self._fail(message, usage, ApiError(500, message, type=SERVER, code=error.code))
            case _:
                message = "The server ended this response before it was complete. Ask again."
                retry = {"retry-after": str(RETRY_AFTER_SECONDS)}
                self._fail(message, usage, ApiError(503, message, type=SERVER, code="cancelled", headers=retry))

    def _fail(self, message: str, usage: Usage | None, failure: ApiError | None = None) -> None:
        """`failure` is what whoever does not stream gets; without one it is the failed response."""
        codes = {400: "invalid_prompt", 429: "rate_limit_exceeded"}
        code = codes.get(failure.status, "server_error") if failure else "server_error"
        error = {"code": code, "message": message}
        document = self._document.snapshot("failed", self._output.items, usage, error=error)
        self._end({"type": "response.failed", "response": document}, failure or document)

    def _end(self, event: WireEvent, outcome: WireDocument | ApiError) -> None:
        self._put(event)
        self.usage = event.get("response", {}).get("usage") or {}
        self._outcome = outcome
        self._over = True

    def _put(self, event: WireEvent) -> None:
        """Numbers an event and makes it ready."""
        event["sequence_number"] = self._count
        self._count += 1
        if self._obfuscated and "delta" in event:
            event["obfuscation"] = _padding(event["delta"])
        self._ready.append(event)


def _broken() -> ApiError:
    return ApiError(500, "The server failed while it answered. Please try again.", type=SERVER, code="internal_error")


def _padding(delta: str) -> str:
    return "".join(secrets.choice(string.ascii_letters) for _ in range(-len(delta) % PADDED_LENGTH))
