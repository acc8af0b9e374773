"""One turn while it happens: an async iterator of events over one request of an engine."""

import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Self

from forethought.engine.protocol import Engine, EngineEvent, Finished, Request
from forethought.errors import ForethoughtError, GrammarFailed
from forethought.logs import get_logger
from forethought.reasoning.answer import Answer
from forethought.reasoning.assembly import Assembly
from forethought.reasoning.events import Event, TurnDone, TurnError, Usage

log = get_logger(__name__)


class Turn(AsyncIterator[Event]):
    """The events of a turn, for one reader; `forethought.reasoning.events` states their laws.

    The request is queued when the turn is made. A refusal that only the engine can tell (a schema it cannot compile,
    say) is raised in place of the first event; after that a failure is a `TurnDone`. Whoever does not read a turn to
    its end closes it (`aclose`, or `async with turn:`). A wait for the next event may be cancelled and taken up again:
    nothing is lost.
    """

    def __init__(self, engine: Engine, request: Request, assembly: Assembly) -> None:
        """Raises what `Engine.submit` raises."""
        self.request_id = request.id
        self._engine = engine
        self._prompt_tokens = len(request.prompt_ids)
        self._assembly = assembly
        self._tokens = 0
        self._ready: deque[Event] = deque()
        self._over = False
        self._stream = engine.submit(request)

    async def __anext__(self) -> Event:
        while not self._ready:
            if self._over:
                raise StopAsyncIteration
            try:
                self._take(await anext(self._stream))
                for event in self._stream.ready():
                    self._take(event)
            except StopAsyncIteration:
                self._fail(TurnError("engine_error", "The engine ended a stream without saying why.", "Ask again."))
            except ForethoughtError as error:
                if self._tokens == 0:
                    self._over = True
                    raise
                self._fail(TurnError("engine_error", error.message, error.remedy))
            except Exception as error:  # noqa: BLE001 (the boundary of a request: its failure becomes data)
                log.error("turn broke", error=error, turn=self.request_id)
                self._engine.cancel(self.request_id)
                self._fail(TurnError("internal_error", "A part of Forethought failed.", "Report what the log says."))
        return self._ready.popleft()

    def ready(self) -> list[Event]:
        """Takes the events behind the one that was just read which need not be waited for."""
        events = list(self._ready)
        self._ready.clear()
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
        """Ends the turn; its reader still gets the events up to a `TurnDone` with the status "cancelled"."""
        self._engine.cancel(self.request_id)

    async def aclose(self) -> None:
        """Frees the request; there are no more events."""
        self._over = True
        self._ready.clear()
        await self._stream.aclose()

    def _take(self, event: EngineEvent) -> None:
        """Turns what the engine said into events that are ready to be read."""
        if isinstance(event, Finished):
            if event.reason == "grammar_failed" and not self._tokens:
                raise GrammarFailed(event.error or "The grammar failed.")
            self._over = True
            self._ready.extend(self._assembly.finish(event))
            self._log_end()
        else:
            self._tokens += 1
            self._ready.extend(self._assembly.feed(event))
            if self._assembly.settled:
                self._engine.cancel(self.request_id)

    def _fail(self, error: TurnError) -> None:
        self._over = True
        self._ready.extend(self._assembly.fail(error, Usage(self._prompt_tokens, output_tokens=self._tokens)))
        self._log_end()

    def _log_end(self) -> None:
        done = self._ready[-1]
        if isinstance(done, TurnDone):
            log.info(
                "turn done",
                turn=self.request_id,
                status=done.status,
                reason=done.incomplete_reason or (done.error and done.error.code) or "-",
                thinking_closed=done.thinking_closed or "-",
                input=done.usage.input_tokens,
                cached=done.usage.cached_tokens,
                output=done.usage.output_tokens,
                reasoning=done.usage.reasoning_tokens,
            )


@dataclass(frozen=True, slots=True)
class PreparedTurn:
    """A turn that can be queued, once or several times; `Reasoner.prepare` makes it."""

    engine: Engine
    request: Request
    assembly: Callable[[], Assembly]

    def submit(self, seed: int | None = None) -> Turn:
        """Queues it, with this seed if one is given. Belongs into an event loop.

        Raises:
            RequestError: the engine refuses it.
            QueueFull: the engine has no room.
            EngineDown: the engine is not running.
        """
        sampling = self.request.sampling if seed is None else replace(self.request.sampling, seed=seed)
        request = replace(self.request, id=f"turn_{uuid.uuid4().hex}", sampling=sampling)
        return Turn(self.engine, request, self.assembly())
