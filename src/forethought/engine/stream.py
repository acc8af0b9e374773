"""A stream of events between an engine that feeds it and the one consumer that reads it."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Self

from forethought.engine.protocol import EngineEvent, TokenEvent


class Inbox:
    """The feeding end. What is put after the end is dropped.

    It has no bound of its own: a request yields at most `Limits.max_tokens` events and one `Finished`.
    """

    __slots__ = ("_error", "_events", "_waiter", "open", "tokens")

    def __init__(self) -> None:
        self.open = True
        self.tokens = 0
        self._events: deque[EngineEvent] = deque()
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: EngineEvent) -> None:
        """The next event. `Finished` is the last."""
        if not self.open:
            return
        if isinstance(event, TokenEvent):
            self.tokens += 1
        else:
            self.open = False
        self._events.append(event)
        self._wake()

    def refuse(self, error: Exception) -> None:
        """Ends the stream; `error` is raised after the events that are already there."""
        if self.open:
            self.open = False
            self._error = error
            self._wake()

    def discard(self) -> None:
        """Ends the stream; what was not read is dropped."""
        self.open = False
        self._events.clear()
        self._wake()

    async def get(self) -> EngineEvent:
        """The next event. Raises `StopAsyncIteration` after the last one."""
        while not self._events:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            if not self.open:
                raise StopAsyncIteration
            if self._waiter is not None:
                raise RuntimeError("A stream has one consumer; this one is being read by another task.")
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._events.popleft()

    def take(self) -> list[EngineEvent]:
        """All events that are there."""
        events = list(self._events)
        self._events.clear()
        return events

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class RequestStream:
    """The reading end: an `EventStream`.

    A consumer that is cancelled while it waits may go on reading later (to send a keep-alive, say). A stream that
    is closed, or forgotten before its end, cancels its request.
    """

    __slots__ = ("_cancel", "_inbox", "_loop")

    def __init__(self, inbox: Inbox, cancel: Callable[[], None]) -> None:
        self._inbox = inbox
        self._cancel = cancel
        self._loop = asyncio.get_running_loop()

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Coroutine[Any, Any, EngineEvent]:
        return self._inbox.get()

    def ready(self) -> list[EngineEvent]:
        """What has come meanwhile."""
        return self._inbox.take()

    async def aclose(self) -> None:
        """Cancels the request if it has not finished. Can be called twice."""
        unfinished = self._inbox.open
        self._inbox.discard()
        if unfinished:
            self._cancel()

    def __del__(self) -> None:
        # The collector may run in any thread, and after the loop is gone.
        if self._inbox.open and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._cancel)
