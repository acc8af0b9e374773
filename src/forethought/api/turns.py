"""The turns behind an answer, one for each choice, as one stream; and what the end of one means to a client.

Both APIs read them here, so that both take the same ends for a failure: a turn that brought no answer has failed,
whoever's fault it was. An answer that is none would pass for an empty one; an error is seen, and clients try again.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from forethought.api.errors import SERVER, ApiError, unavailable
from forethought.errors import GrammarFailed
from forethought.reasoning.events import Event, TurnDone, TurnError

REFUSAL_SECONDS = 0.5
"""How long the start of an answer waits for a refusal of the engine. They come at once or not at all."""


class TurnEvents(Protocol):
    """A turn, with summaries or without."""

    async def __anext__(self) -> Event: ...

    def ready(self) -> list[Event]:
        """Takes the events behind the one that was just read which need not be waited for."""
        ...

    async def aclose(self) -> None:
        """Ends the turn and frees what it holds. Can be called twice."""
        ...


class Turns(AsyncIterator[tuple[int, list[Event]]]):
    """Events as they come: those of one turn that need not be waited for, with its place. Ends with the last turn.

    For one reader. All turns are added before the first event is read. A wait for the next events may be cancelled and
    taken up again: nothing is lost.
    """

    def __init__(self) -> None:
        self._turns: list[TurnEvents] = []
        self._live: set[int] = set()
        self._waits: dict[int, asyncio.Task[Event | None]] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, turn: TurnEvents) -> None:
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
            (place,) = self._live  # most answers have one choice: no need for a task
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
        try:
            await asyncio.gather(*self._waits.values(), return_exceptions=True)
        finally:
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


def failure_of(done: TurnDone) -> ApiError | None:
    """Why a turn brought no answer; None when it brought one, be it cut off by a limit.

    Raises:
        GrammarFailed: the request's own grammar could not be followed to the end.
    """
    match done:
        case (
            TurnDone(status="completed")
            | TurnDone(status="incomplete", incomplete_reason="max_output_tokens" | "context")
        ):
            return None
        case TurnDone(status="incomplete"):
            return ApiError(500, "The model stopped before it answered. Ask again.", type=SERVER, code="no_answer")
        case TurnDone(status="failed", error=TurnError("grammar_failed") as error):
            # Who began the answer knows which part of the request it is about.
            raise GrammarFailed(error.message, error.remedy)
        case TurnDone(status="failed", error=TurnError() as error):
            return ApiError(500, f"{error.message} {error.remedy}".strip(), type=SERVER, code=error.code)
        case _:
            return unavailable("The server ended this answer before it was complete. Ask again.", "cancelled")
