"""A completion while it is made: the events of its turns become chunks.

Whoever does not stream reads the same events and gets the completion at their end, so the two cannot differ. There is
no completion that failed: what fails ends the stream with an object that holds an `error`, which the SDK raises.
"""

from collections import deque
from collections.abc import AsyncIterator

from forethought.api.chat.choice import ChoiceWriter
from forethought.api.chat.document import CompletionDocument, WireObject, wire_usage
from forethought.api.chat.turns import Turns
from forethought.api.errors import RETRY_AFTER_SECONDS, SERVER, ApiError, api_error
from forethought.errors import ForethoughtError
from forethought.logs import get_logger
from forethought.reasoning.events import Event, TurnDone, TurnError, Usage

log = get_logger(__name__)


class ChatStream(AsyncIterator[WireObject]):
    """The chunks of a completion, for one reader; the last one may be an error.

    Whoever does not read to the end closes the stream, which cancels the turns. A wait for the next chunk may be
    cancelled and taken up again: nothing is lost.
    """

    def __init__(self, document: CompletionDocument, turns: Turns) -> None:
        self._document = document
        self._turns = turns
        self._choices = [ChoiceWriter(index) for index in range(len(turns))]
        self._usages: list[Usage] = []
        self._failure: ApiError | None = None
        self._over = False
        self.usage: WireObject = {}
        """The tokens used, once it is over."""
        self._ready = deque(document.chunk(choice.begin()) for choice in self._choices)

    async def __anext__(self) -> WireObject:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            await self._advance()
        return self._ready.popleft()

    def ready(self) -> list[WireObject]:
        """Takes the chunks behind the one that was just read which need not be waited for."""
        chunks = list(self._ready)
        self._ready.clear()
        return chunks

    async def final(self) -> WireObject:
        """Runs to the end; the completion.

        Raises:
            ApiError: there is none: the engine, the model or the server failed.
        """
        async for _ in self:
            pass
        if self._failure is not None:
            raise self._failure
        return self._document.completion([choice.finished() for choice in self._choices], self._usages)

    async def aclose(self) -> None:
        """Cancels the turns that are not over; there are no more chunks. Can be called twice."""
        self._over = True
        self._ready.clear()
        await self._turns.aclose()

    async def _advance(self) -> None:
        """Makes more chunks ready."""
        try:
            place, events = await anext(self._turns)
            for event in events:
                self._take(place, event)
        except ApiError as error:
            await self._fail(error)
        except ForethoughtError as error:
            await self._fail(api_error(error))
        except Exception as error:  # noqa: BLE001 (the boundary of a request: its failure becomes its last chunk)
            log.error("completion broke", error=error, completion=self._document.id)
            message = "The server failed while it answered. Please try again."
            await self._fail(ApiError(500, message, type=SERVER, code="internal_error"))

    def _take(self, place: int, event: Event) -> None:
        if isinstance(event, TurnDone):
            if (failure := _failure(event)) is not None:
                raise failure
            self._usages.append(event.usage)
        self._ready.extend(self._document.chunk(delta) for delta in self._choices[place].write(event))
        if len(self._usages) == len(self._choices):
            self._over = True
            self.usage = wire_usage(self._usages)
            self._ready.extend(self._document.usage_chunks(self._usages))

    async def _fail(self, failure: ApiError) -> None:
        """One choice that fails takes the others with it: an answer with holes in it would pass for a whole one."""
        self._over = True
        self._failure = failure
        self._ready.append(failure.body)
        await self._turns.aclose()


def _failure(done: TurnDone) -> ApiError | None:
    """Why a turn brought no answer; None when it brought one, be it cut off."""
    match done:
        case TurnDone(status="completed" | "incomplete"):
            return None
        case TurnDone(status="failed", error=TurnError() as error):
            return ApiError(500, f"{error.message} {error.remedy}".strip(), type=SERVER, code=error.code)
        case _:
            message = "The server ended this completion before it was complete. Ask again."
            retry = {"retry-after": str(RETRY_AFTER_SECONDS)}
            return ApiError(503, message, type=SERVER, code="cancelled", headers=retry)
