"""An answer while it is made: what the streams of both APIs have in common.

The events of turns become wire objects. Whoever does not stream reads the same objects and takes the whole at their
end, so the two cannot differ. Whatever breaks, the last object says so, and who waits gets the same as an HTTP error.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

from forethought.api.errors import ApiError, broken
from forethought.api.turns import Turns
from forethought.errors import ForethoughtError
from forethought.logs import get_logger
from forethought.reasoning.events import Event

WireObject = dict[str, Any]
Refusal = Callable[[ForethoughtError], ApiError]

log = get_logger(__name__)


class WireStream(AsyncIterator[WireObject], ABC):
    """The objects of an answer, for one reader.

    Whoever does not read to the end closes the stream, which cancels the turns. A wait for the next object may be
    cancelled and taken up again: nothing is lost.
    """

    def __init__(self, answer_id: str, turns: Turns, refusal: Refusal) -> None:
        """`refusal` is what the client is told of an error of ours."""
        self._id = answer_id
        self._turns = turns
        self._refusal = refusal
        self._ready: deque[WireObject] = deque()
        self._over = False
        self._failure: ApiError | None = broken()
        self.usage: WireObject = {}
        """The tokens used, once it is over and they are known."""

    async def begin(self) -> None:
        """Gives the engine a moment to refuse the request, and raises what it refuses with."""
        await self._turns.begin()

    async def __anext__(self) -> WireObject:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        return self._ready.popleft()

    def ready(self) -> list[WireObject]:
        """Takes the objects behind the one that was just read which need not be waited for."""
        objects = list(self._ready)
        self._ready.clear()
        return objects

    async def final(self) -> WireObject:
        """Runs to the end; the whole answer.

        Raises:
            ApiError: there is none: the engine, the model or the server failed.
        """
        async for _ in self:
            pass
        if self._failure is not None:
            raise self._failure
        return self._whole()

    async def aclose(self) -> None:
        """Cancels the turns that are not over; there are no more objects. Can be called twice."""
        self._over = True
        self._ready.clear()
        await self._turns.aclose()

    @abstractmethod
    def _take(self, place: int, event: Event) -> None:
        """Makes ready what an event of the turn at `place` brings.

        Raises:
            ApiError, GrammarFailed: the turn failed.
        """

    @abstractmethod
    def _tell(self, failure: ApiError, *, unforeseen: bool) -> None:
        """Makes ready what ends an answer that failed; `unforeseen` is what nobody below has a word for."""

    @abstractmethod
    def _whole(self) -> WireObject:
        """What who waits is given at the end."""

    def _complete(self) -> None:
        """There is an answer, and nothing more to come."""
        self._over = True
        self._failure = None

    async def _advance(self) -> None:
        """Makes more objects ready."""
        try:
            place, events = await anext(self._turns)
            for event in events:
                self._take(place, event)
        except ApiError as failure:
            await self._fail(failure)
        except ForethoughtError as error:
            await self._fail(self._refusal(error))
        except Exception as error:  # noqa: BLE001 (the boundary of a request: its failure becomes its last object)
            log.error("answer broke", error=error, answer=self._id)
            await self._fail(broken(), unforeseen=True)

    async def _fail(self, failure: ApiError, *, unforeseen: bool = False) -> None:
        """One turn that fails takes the others with it: an answer with holes in it would pass for a whole one."""
        self._over = True
        self._failure = failure
        self._tell(failure, unforeseen=unforeseen)
        await self._turns.aclose()
