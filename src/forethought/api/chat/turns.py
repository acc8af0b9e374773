"""The turns of a completion, one for each choice, as one stream."""

import asyncio
from collections.abc import AsyncIterator

from forethought.reasoning.events import Event, TurnDone
from forethought.reasoning.turn import Turn

REFUSAL_SECONDS = 0.5
"""How long the start of a completion waits for a refusal of the engine. They come at once or not at all."""


class Turns(AsyncIterator[tuple[int, list[Event]]]):
    """Events as they come: those of one turn that need not be waited for, with its place. Ends with the last turn.

    For one reader. All turns are added before the first event is read. A wait for the next events may be cancelled and
    taken up again: nothing is lost.
    """

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        self._live: set[int] = set()
        self._waits: dict[int, asyncio.Task[Event | None]] = {}

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

    async def __anext__(self) -> tuple[int, list[Event]]:
        """Raises what a turn raises, and `RuntimeError` when one ends without a `TurnDone`."""
        if not self._live:
            raise StopAsyncIteration
        if len(self._live) == 1 and not self._waits:
            (place,) = self._live  # most completions have one choice: no need for a task
            return self._taken(place, await anext(self._turns[place], None))
        while not (come := [place for place, wait in self._waits.items() if wait.done()]):
            await self._wait(None)
        place = min(come)
        return self._taken(place, self._waits.pop(place).result())

    async def aclose(self) -> None:
        """Cancels the turns that are not over; there are no more events. Can be called twice."""
        self._live.clear()
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

    def _taken(self, place: int, first: Event | None) -> tuple[int, list[Event]]:
        if first is None:
            raise RuntimeError("a turn ended without saying so")
        events = [first, *self._turns[place].ready()]
        if isinstance(events[-1], TurnDone):
            self._live.remove(place)
        return place, events
