"""An engine that replays scripts instead of computing. For tests and load figures only: nothing in the product makes
one.

It keeps the `Engine` protocol to the letter, with two exceptions. Grammars do not bind a script: it says what the
grammar would have allowed, and `End("grammar")`. Stop strings are refused, because this engine knows no text.

Time runs by the script, not by its reader: a token is due at a moment that follows from the script alone, so a slow
reader finds many at once, as with a real engine. There are no tasks, and one timer wakes all who wait for one tick.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Self
from weakref import WeakValueDictionary

from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import EngineEvent, Finished, Request
from forethought.engine.refusals import CLOSED, NOT_STARTED, id_in_flight
from forethought.engine.request_check import check_length
from forethought.engine.script import Playback, Script
from forethought.errors import CheckpointError, EngineDown, ForethoughtError, RequestError

if TYPE_CHECKING:
    import torch


class Ticks:
    """A clock that wakes all who wait for the same `seconds` with one timer. For one event loop."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}

    def at(self, due: float) -> asyncio.Future[None]:
        """Done at the first tick that is not before `due` (on the loop's clock); never, when that is infinite."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        if due < math.inf:
            tick = math.ceil(due / self._seconds)
            if tick not in self._waiting:
                self._waiting[tick] = []
                loop.call_at(tick * self._seconds, self._wake, tick)
            self._waiting[tick].append(future)
        return future

    def _wake(self, tick: int) -> None:
        for future in self._waiting.pop(tick):
            if not future.done():
                future.set_result(None)


class ScriptedStream:
    """The events of one request, for one reader: an `EventStream`.

    They are made as they are read. A wait for the next one may be cancelled and taken up again: nothing is lost.
    """

    __slots__ = (
        "__weakref__",
        "_cancelled",
        "_ended",
        "_metrics",
        "_over",
        "_playback",
        "_reached",
        "_ticks",
        "_waiter",
    )

    def __init__(self, playback: Playback, ticks: Ticks, metrics: EngineMetrics, ended: Callable[[str], None]) -> None:
        self._playback = playback
        self._ticks = ticks
        self._metrics = metrics
        self._ended = ended
        self._waiter: asyncio.Future[None] | None = None
        self._reached = -math.inf
        self._cancelled = False
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EngineEvent:
        if not (self._over or self._cancelled):
            due = self._playback.due()
            await self._until(due)
            self._reached = due
        # Time passed: it may have been cancelled or closed meanwhile.
        if self._over:
            raise StopAsyncIteration
        return self._take()

    def ready(self) -> list[EngineEvent]:
        """What has become due meanwhile. (What is due at the same time as the event before it comes in the next turn
        of the loop.)"""
        events: list[EngineEvent] = []
        now = asyncio.get_running_loop().time()
        while not (self._over or self._cancelled) and self._reached < (due := self._playback.due()) <= now:
            self._reached = due
            events.append(self._take())
        return events

    def _take(self) -> EngineEvent:
        try:
            event = self._playback.cancelled() if self._cancelled else self._playback.take()
        except ForethoughtError:
            self._end()
            raise
        if isinstance(event, Finished):
            self._end(cancelled=event.reason == "cancelled")
        else:
            self._metrics.generated_tokens += 1
        return event

    def cancel(self) -> None:
        """What comes next is a `Finished` with "cancelled"."""
        self._cancelled = True
        self._wake()

    async def aclose(self) -> None:
        """Cancels the request if it has not finished. Can be called twice."""
        if not self._over:
            self._end(cancelled=True)
            self._wake()

    async def _until(self, due: float) -> None:
        if due <= asyncio.get_running_loop().time():
            # A token never comes in the same turn of the loop as the one before it: others get theirs.
            await asyncio.sleep(0)
            return
        if self._waiter is not None:
            raise RuntimeError("A stream has one consumer; this one is being read by another task.")
        self._waiter = self._ticks.at(due)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, *, cancelled: bool = False) -> None:
        self._over = True
        self._ended(self._playback.request.id)
        if cancelled:
            self._metrics.cancelled += 1
        else:
            self._metrics.finished += 1


class ScriptedEngine:
    """An `Engine` whose requests are answered by a script. It lives in one event loop.

    Args:
        script: what each request is answered with; `script.in_turn` makes one of a table.
        tick: the grain of time, in seconds. Tokens that are due within it come in one batch, like those of a step.
    """

    def __init__(
        self,
        script: Script,
        *,
        context_length: int = 8192,
        digest: str = f"sha256:{0:064x}",
        tick: float = 0.001,
    ) -> None:
        self.digest = digest
        self.context_length = context_length
        self._script = script
        self._ticks = Ticks(tick)
        self._metrics = EngineMetrics()
        self._down: tuple[str, str] | None = NOT_STARTED
        # Weak: a stream that its reader forgets is a request that ends.
        self._streams: WeakValueDictionary[str, ScriptedStream] = WeakValueDictionary()

    @property
    def ready(self) -> bool:
        """Whether a request would be answered now."""
        return self._down is None

    async def start(self) -> None:
        """Takes requests from now on. Raises `EngineDown` once it has been closed."""
        if self._down == CLOSED:
            raise EngineDown(*CLOSED)
        self._down = None

    async def close(self) -> None:
        """Ends requests in flight ("cancelled"). Can be called twice."""
        self._down = CLOSED
        for stream in list(self._streams.values()):
            stream.cancel()

    def submit(self, request: Request) -> ScriptedStream:
        """Starts the script of a request. Raises what the script's function raises, and `EngineDown`,
        `ContextLengthError` and `RequestError` as every engine does."""
        if self._down is not None:
            raise EngineDown(*self._down)
        check_length(request, self.context_length)
        if request.limits.stop_strings:
            raise RequestError("A scripted engine knows no text to look for stop strings in.", "Leave them out.")
        if request.id in self._streams:
            raise id_in_flight(request.id)
        began = asyncio.get_running_loop().time()
        playback = Playback(request, self._script(request), self.context_length, began)
        stream = ScriptedStream(playback, self._ticks, self._metrics, self._forget)
        self._streams[request.id] = stream
        self._metrics.requests += 1
        return stream

    def cancel(self, request_id: str) -> None:
        """Ends a request with "cancelled". Unknown ids are ignored."""
        if stream := self._streams.get(request_id):
            stream.cancel()

    async def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Raises `CheckpointError`: there are none."""
        raise CheckpointError(f"A scripted engine has no tensor {', '.join(tensors)}.", "Use a real engine.")

    def metrics(self) -> EngineMetrics:
        """A snapshot."""
        return replace(self._metrics, running=len(self._streams))

    def _forget(self, request_id: str) -> None:
        self._streams.pop(request_id, None)
