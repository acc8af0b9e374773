"""A turn with a live summary: the turn's own events, and those of the summary between them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

from forethought.model.conversation import Thinking
from forethought.reasoning.answer import Answer
from forethought.reasoning.events import Event, ItemAdded, ItemDone, ThinkingDelta
from forethought.reasoning.summary_live import LiveSummary
from forethought.reasoning.summary_part import PartWriter
from forethought.reasoning.summary_settings import Detail
from forethought.reasoning.summary_verbatim import Units
from forethought.reasoning.turn import Turn


class SummarizedTurn(AsyncIterator[Event]):
    """The events of a turn and of its summary, for one reader; `forethought.reasoning.events` states their laws.

    It is read and closed like the `Turn` that it takes over, and raises the same in place of the first event. The end
    of a thinking item, and all that follows, waits until its summary is finished or has no more time. A failure of the
    summariser is never the turn's.
    """

    def __init__(self, turn: Turn, writer: PartWriter, detail: Detail, units: Units) -> None:
        """Made by `Summarizer.follow`."""
        self.request_id = turn.request_id
        self._turn = turn
        self._writer = writer
        self._detail = detail
        self._units = units
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._summary: LiveSummary | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False
        self._over = False

    async def __anext__(self) -> Event:
        if self._over:
            raise StopAsyncIteration
        if self._task is None:
            self._task = asyncio.create_task(self._read())
            self._task.add_done_callback(lambda _: self._events.put_nowait(None))
        event = await self._events.get()
        if event is not None and not self._over:
            return event
        if not self._over:
            self._over = True
            self._task.result()  # raises what the turn raised in place of its first event
        raise StopAsyncIteration

    def ready(self) -> list[Event]:
        """Takes the events behind the one that was just read which need not be waited for."""
        events: list[Event] = []
        while not (self._over or self._events.empty()):
            event = self._events.get_nowait()
            if event is None:
                self._events.put_nowait(None)  # the end is for whoever waits
                break
            events.append(event)
        return events

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def answer(self) -> Answer:
        """Waits for the end and collects the events."""
        async with self:
            return Answer.of([event async for event in self])

    def cancel(self) -> None:
        """Ends the turn and its summary; the reader still gets the events up to a `TurnDone` with "cancelled"."""
        self._cancelled = True
        self._turn.cancel()
        if self._summary is not None:
            self._summary.cancel()

    async def aclose(self) -> None:
        """Frees the requests of turn and summary; there are no more events. Can be called twice."""
        self._over = True
        # All of them first, without a wait: whoever closes may itself be cancelled on the way.
        self.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._summary is not None:
            await self._summary.aclose()
        await self._turn.aclose()

    async def _read(self) -> None:
        """Reads the turn ahead of its reader, so that its thinking is summarised as it comes."""
        async for event in self._turn:
            if isinstance(event, ItemDone) and isinstance(event.item, Thinking) and self._summary is not None:
                await self._summary.finish(self._writer.settings.final_seconds)
            self._events.put_nowait(event)
            match event:
                case ItemAdded(index, "thinking") if not self._cancelled:
                    emit = self._events.put_nowait
                    self._summary = LiveSummary(index, self._writer, self._detail, self._units, emit)
                case ThinkingDelta(text=text) if self._summary is not None:
                    self._summary.feed(text)
                case _:
                    pass
