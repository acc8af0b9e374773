"""How callers without an event loop wait for an engine's thread: for as long as it shows signs of life."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from forethought.engine.protocol import Completion, EngineEvent, Finished, Request, TokenEvent
from forethought.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from forethought.settings import EngineSettings

WATCH_SECONDS = 1.0


class Pulse:
    """Signs of life. The engine's thread `beat`s after each step and each update, and says that it is `replacing`
    weights; any number of threads watch."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._beats = 0
        self.replacing = False

    def beat(self) -> None:
        """Something has ended."""
        self._beats += 1

    def outwait(self, done: Callable[[float], bool]) -> None:
        """Returns when `done`, which waits for so many seconds, says so.

        A tick counts for what it should have lasted: a machine that slept is no proof against the engine.

        Raises:
            EngineError: there was no beat for longer than a step, or an update, may take.
        """
        tick = min(WATCH_SECONDS, self._settings.step_timeout / 10)
        seen, silent = self._beats, 0.0
        while not done(tick):
            silent = silent + tick if self._beats == seen else 0.0
            seen = self._beats
            what, setting = ("update", "start_timeout") if self.replacing else ("step", "step_timeout")
            patience: float = getattr(self._settings, setting)
            if silent >= patience:
                remedy = f"Close the engine and make a new one; raise engine.{setting} if it only needs longer."
                raise EngineError(f"No {what} has ended within {patience:g} s.", remedy)


class Gathering:
    """Collects the events of several requests for a caller that waits for all of them."""

    def __init__(self, requests: Iterable[Request]) -> None:
        self._tokens: dict[str, list[TokenEvent]] = {request.id: [] for request in requests}
        self._finished: dict[str, Finished] = {}
        self.done = threading.Event()

    def put(self, request_id: str, event: EngineEvent) -> None:
        """The next event of a request."""
        if isinstance(event, TokenEvent):
            self._tokens[request_id].append(event)
            return
        self._finished[request_id] = event
        if len(self._finished) == len(self._tokens):
            self.done.set()

    def completions(self) -> list[Completion]:
        """When all have finished: in the order of the requests."""
        return [Completion(id_, tuple(tokens), self._finished[id_]) for id_, tokens in self._tokens.items()]
