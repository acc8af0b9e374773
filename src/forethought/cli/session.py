"""A loaded model behind a command: the checkpoint here, the engine in a process of its own.

Loading begins when the session is made and goes on beside the event loop, so that a prompt is on the screen long
before the weights are in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from forethought.errors import ForethoughtError
from forethought.settings import Settings

if TYPE_CHECKING:
    from forethought.engine.process import ProcessEngine
    from forethought.model.checkpoint import Checkpoint
    from forethought.reasoning.reasoner import Reasoner


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a session has when it has loaded."""

    checkpoint: Checkpoint
    engine: ProcessEngine
    reasoner: Reasoner


class Session:
    """One model, from the start of its loading to its end. Use as `async with Session(settings) as session`."""

    def __init__(self, settings: Settings, on_failure: Callable[[ForethoughtError], None] | None = None) -> None:
        """`on_failure` is told at once when the model cannot be loaded, even while nobody waits for it."""
        self.settings = settings
        self._on_failure = on_failure
        self._engine: ProcessEngine | None = None
        self._loading = asyncio.create_task(self._load(), name="forethought-load")
        self._loading.add_done_callback(self._loaded)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    @property
    def loaded(self) -> Loaded | None:
        """What has been loaded; None while it loads, or when it could not be."""
        done = self._loading.done() and not self._loading.cancelled() and self._loading.exception() is None
        return self._loading.result() if done else None

    @property
    def state(self) -> str:
        """`loading`, `ready` or `failed`, for a status line."""
        if not self._loading.done():
            return "loading"
        return "ready" if self.loaded else "failed"

    async def ready(self) -> Loaded:
        """Waits until the model can answer. The wait may be cancelled; the loading goes on.

        Raises:
            CheckpointError: it cannot be loaded.
            EngineError: the engine does not start.
        """
        return await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Ends the engine process, or its start."""
        self._loading.cancel()
        await asyncio.wait({self._loading})
        if self._engine is not None:
            await self._engine.close()

    def _loaded(self, task: asyncio.Task[Loaded]) -> None:
        error = None if task.cancelled() else task.exception()
        if self._on_failure is not None and isinstance(error, ForethoughtError):
            self._on_failure(error)

    async def _load(self) -> Loaded:
        checkpoint = await asyncio.to_thread(_open, self.settings)
        from forethought.engine.process import ProcessEngine
        from forethought.engine.spec import EngineSpec
        from forethought.reasoning.reasoner import Reasoner

        spec = EngineSpec(checkpoint.directory, checkpoint.adapter, self.settings)
        self._engine = engine = ProcessEngine(spec)
        await engine.start()
        return Loaded(checkpoint, engine, Reasoner(checkpoint, engine))


def _open(settings: Settings) -> Checkpoint:
    # In a thread, imports included: they take longer than a person waits for a prompt.
    from forethought.model.registry import resolve

    return resolve(settings.model, settings)
