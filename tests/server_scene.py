"""Models to serve whose engine replays a script, under a real renderer."""

import threading
from collections.abc import Iterable
from pathlib import Path

from fastapi import FastAPI

from forethought.api.app import create_app
from forethought.api.content_keys import ContentKeys
from forethought.api.options import ServerOptions
from forethought.api.served import ServedModel
from forethought.engine.protocol import Engine, Request
from forethought.engine.script import Say, Script, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Item, Message, Thinking
from forethought.reasoning.reasoner import Reasoner

ALIAS = "forethought-mini"
SNAPSHOT = "forethought-mini-2026-11-23"
CANARY = "zebra in the chain of thought"
ANSWER = "Four, said the model."


def served(checkpoint: Path, engine: Engine, *, thinks: bool = True, lenient: bool = False) -> ServedModel:
    """The tiny checkpoint's renderer over an engine."""
    return ServedModel(
        alias=ALIAS,
        snapshot=SNAPSHOT,
        created=1_795_392_000,
        reasoner=Reasoner(Checkpoint.open(checkpoint), engine),
        keys=ContentKeys.ephemeral(),
        thinks=thinks,
        lenient=lenient,
    )


def writes(checkpoint: Path, *items: Item, every: float = 0.0) -> Say:
    """The step in which the model writes these items; by default it thinks of the canary, and answers."""
    said = items or (Thinking(CANARY), Message.of("assistant", ANSWER))
    return Say(tuple(Checkpoint.open(checkpoint).renderer.render_output(said)), every)


def begins(checkpoint: Path) -> Say:
    """The step in which the model thinks, and begins to answer."""
    return Say(writes(checkpoint).token_ids[:-1])


class House:
    """An application over one model, and the engine behind it. `submitted` is set by its first request."""

    def __init__(
        self, checkpoint: Path, script: Script, options: ServerOptions | None = None, context_length: int = 8192
    ) -> None:
        self.submitted = threading.Event()

        def noticed(request: Request) -> Iterable[Step]:
            self.submitted.set()
            return script(request)

        self.engine = ScriptedEngine(noticed, context_length=context_length)
        self.app: FastAPI = create_app([served(checkpoint, self.engine)], options or ServerOptions(ping_seconds=60))

    @property
    def running(self) -> int:
        """Requests in flight in the engine."""
        return self.engine.metrics().running


def always(*steps: Step) -> Script:
    """Every request is answered by the same steps."""
    return lambda request: steps
