"""The turns of a completion, one for each choice, as one stream of events."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from forethought.reasoning.events import Event, TurnDone
from forethought.reasoning.turn import Turn

REFUSAL_SECONDS = 0.5
"""How long the start of a completion waits for a refusal of the engine. They come at once or not at all."""


class Turns(AsyncIterator[tuple[int, Event]]):
    """Events as they come, each with the place of its turn, for one reader. Ends with the last turn.

    All turns are added before the first event is read. A wait for the next event may be cancelled and taken up again:
    nothing is lost.
    """

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._live: set[int] = set()
        self._waits: dict[int, asyncio.Task[Event | None]] = {}
        self._ready: deque[tuple[int, Event]] = deque()

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, turn: Turn) -> None:
        """One more turn, which is closed with the others."""
        self._live.add(len(self._turns))
        self._turns.append(turn)

    async def begin(self) -> None:
        """Gives the engine a moment to refuse the request. Raises what it refuses with."""
        await self._wait(REFUSAL_SECONDS)
        for wait in self._waits.values():
            if wait.done() and (refusal := wait.exception()) is not None:
                raise refusal

    async def __anext__(self) -> tuple[int, Event]:
        """Raises what a turn raises, and `RuntimeError` when one ends without a `TurnDone`."""
        while not self._ready:
            if not self._live:
                raise StopAsyncIteration
            if len(self._live) == 1 and not self._waits:
                (place,) = self._live  # most completions have one choice: no need for a task
                self._take(place, await self._event(place))
            else:
                await self._wait(None)
                for place in sorted(place for place, wait in self._waits.items() if wait.done()):
                    self._take(place, self._waits.pop(place).result())
        return self._ready.popleft()

    async def aclose(self) -> None:
        """Cancels the turns that are not over; there are no more events. Can be called twice."""
        self._live.clear()
        self._ready.clear()
        for wait in self._waits.values():
            wait.cancel()
        await asyncio.gather(*self._waits.values(), return_exceptions=True)
        await asyncio.gather(*(turn.aclose() for turn in self._turns))

    async def _wait(self, seconds: float | None) -> None:
        """Until one of the turns has something to say."""
        for place in self._live - self._waits.keys():
            self._waits[place] = asyncio.create_task(self._event(place))
        await asyncio.wait(self._waits.values(), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _event(self, place: int) -> Event | None:
        return await anext(self._turns[place], None)

    def _take(self, place: int, event: Event | None) -> None:
        if event is None:
            raise RuntimeError("a turn ended without saying so")
        if isinstance(event, TurnDone):
            self._live.remove(place)
        self._ready.append((place, event))
