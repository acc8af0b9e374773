"""The engines behind the models, from the start of the server to its end.

They load in the background: the server listens at once, and says by `/readyz` when it can answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from forethought import logs
from forethought.api.errors import unavailable

if TYPE_CHECKING:
    from forethought.api.served import ServedModel

State = Literal["loading", "ready", "failed", "down", "closing"]
"""`failed`: one could not be loaded. `down`: one restarts, or was given up."""

LOADING_SECONDS = 30
"""How long a request waits for the engines."""

Follower = Callable[[Exception | None], None]

log = logs.get_logger(__name__)


class Engines:
    """Starts and ends them; models that share an engine share its life."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._engines = list({id(engine): engine for served in models for engine in served.engines}.values())
        self._starting: asyncio.Task[None] | None = None
        self._followers: list[Follower] = []
        self._state: State = "loading"

    @property
    def state(self) -> State:
        """Of all together."""
        if self._state == "ready" and not all(engine.ready for engine in self._engines):
            return "down"
        return self._state

    def on_loaded(self, follower: Follower) -> None:
        """Has `follower` called once they are loaded, or with the error when one cannot be."""
        self._followers.append(follower)

    def start(self) -> None:
        """Begins to load them, in the running event loop."""
        self._starting = asyncio.create_task(self._start(), name="forethought-engines")

    async def loaded(self) -> None:
        """Waits while they load, for a time: who asks at once is answered, a little later.

        Raises:
            ApiError: they still load, or could not be loaded.
        """
        if self._starting is not None and not self._starting.done():
            await asyncio.wait({self._starting}, timeout=LOADING_SECONDS)
        if self._state == "loading":
            raise unavailable("The model is still being loaded.", "model_loading")
        if self._state == "failed":
            raise unavailable("The model could not be loaded.", "model_not_loaded")

    def drain(self) -> None:
        """From now on `state` says that the server is about to end."""
        self._state = "closing"

    async def close(self) -> None:
        """Ends the engines. Turns in flight are "cancelled", so their streams still end in order."""
        self.drain()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        await asyncio.gather(*(engine.close() for engine in self._engines))

    async def _start(self) -> None:
        failure: Exception | None = None
        try:
            await asyncio.gather(*(engine.start() for engine in self._engines))
            self._state = "ready"
        except Exception as error:  # noqa: BLE001 (the boundary to all who wait: they must hear of it, whatever it is)
            log.error("a model cannot be loaded", error=error)
            self._state, failure = "failed", error
        for follower in self._followers:
            follower(failure)
