"""The application that is measured, with what a request brought to light: answer, events, and what the engine got."""

import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from asgi_client import Answer, send
from forethought.api.app import create_app
from forethought.api.content_keys import ContentKeys
from forethought.api.options import ServerOptions
from forethought.api.served import LOCAL_TENANT, ServedModel
from forethought.engine.protocol import Request
from forethought.engine.script import Say, Script, Step
from forethought.engine.scripted import ScriptedEngine, ScriptedStream
from forethought.logs import Hidden
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Item, Message, Thinking
from forethought.reasoning.reasoner import Reasoner

THOUGHT = "It asks for a sum, so let me count on my fingers. " * 2
ANSWER = "Four, said the model."
SUMMARY = "**Adding two numbers**\n\nTwo small numbers are put together."
KINDS: dict[str, dict[str, bool]] = {
    "default": {"thinks": True},
    "lenient": {"thinks": True, "lenient": True},
    "unthinking": {"thinks": False},
}
"""The models by what they do."""
MOVING = frozenset({"id", "item_id", "call_id", "created", "created_at", "completed_at"})
SECRET = frozenset({"encrypted_content", "obfuscation"})
"""What differs whenever it is made: only whether it is there can be compared."""


@dataclass(frozen=True)
class Sealed:
    """Stands in a body for thinking that the model which is asked has sealed for an item."""

    thinking: str
    item_id: str


@dataclass(frozen=True)
class Run:
    """A request, and all that came of it."""

    answer: Answer
    requests: tuple[Request, ...]
    """What the engine was asked for; summaries left out."""
    prompt: str

    @property
    def status(self) -> int:
        """Of the answer."""
        return self.answer.status

    @property
    def error(self) -> dict[str, Any]:
        """Why it was refused."""
        return self.answer.json()["error"]

    @property
    def streamed(self) -> bool:
        """Whether events came."""
        return self.answer.media_type == "text/event-stream"

    @property
    def document(self) -> dict[str, Any]:
        """The document, or that of the last event that has one."""
        if not self.streamed:
            return self.answer.json()
        return next(event["response"] for event in reversed(self.answer.events) if "response" in event)

    @property
    def request(self) -> Request:
        """What the engine was asked for, if only once."""
        (request,) = self.requests
        return request

    @property
    def likeness(self) -> object:
        """Equal for two runs that nobody could tell apart."""
        if self.streamed:
            said: object = {(event.get("type"), *sorted(event)) for event in self.answer.events}
        else:
            said = _still(self.answer.json())
        return self.status, said, [replace(request, id="") for request in self.requests]


class House:
    """An application with a model of each kind. Its engine writes what `script` says and, where it is to summarise
    thinking, what `summary` says."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._asked: list[Request] = []
        self.script: Script = self.answering
        self.summary: tuple[Step, ...] = (self.writes(Message.of("assistant", SUMMARY)),)
        self.engine = Recorder(lambda request: self.summary if request.priority else self.script(request), self._asked)
        kinds = KINDS | {"other": KINDS["default"]}
        self.models = {kind: self._served(kind, ContentKeys.ephemeral(), **flags) for kind, flags in kinds.items()}
        self.models["broken"] = self._served("broken", NoKeys.ephemeral(), **KINDS["default"])
        self.app: FastAPI = create_app(list(self.models.values()), ServerOptions(ping_seconds=60))

    def answering(self, request: Request) -> Iterable[Step]:
        """The model thinks, if it may, and answers."""
        thinking = request.limits.thinking
        thinks = thinking is not None and thinking.open_at_start
        return [self.writes(*([Thinking(THOUGHT)] if thinks else []), Message.of("assistant", ANSWER))]

    def writes(self, *items: Item) -> Say:
        """The step in which the model writes these items."""
        return Say(tuple(self._checkpoint.renderer.render_output(items)))

    async def post(self, path: str, kind: str, body: Mapping[str, Any]) -> Run:
        """Sends a body to the model of a kind, unless it names another one."""
        self._asked.clear()
        served = self.models[kind]
        answer = await send(self.app, "POST", path, {"model": served.alias} | _sealed(body, served))
        asked = tuple(self._asked)
        prompt = self._checkpoint.tokenizer.decode(asked[0].prompt_ids) if asked else ""
        return Run(answer, asked, prompt)

    def _served(self, kind: str, keys: ContentKeys, *, thinks: bool, lenient: bool = False) -> ServedModel:
        return ServedModel(
            alias=f"forethought-{kind}",
            snapshot=f"forethought-{kind}-2026-11-23",
            created=1_795_392_000,
            reasoner=Reasoner(self._checkpoint, self.engine),
            keys=keys,
            thinks=thinks,
            lenient=lenient,
        )


class NoKeys(ContentKeys):
    """A bug."""

    def seal(self, text: Hidden, *, tenant: str, model: str, item_id: str) -> str:
        raise RuntimeError("a bug")


class Recorder(ScriptedEngine):
    """A scripted engine that keeps what it was asked for."""

    def __init__(self, script: Script, asked: list[Request]) -> None:
        super().__init__(script)
        self._kept = asked

    def submit(self, request: Request) -> ScriptedStream:
        """As every engine."""
        if not request.priority:
            self._kept.append(request)
        return super().submit(request)


@asynccontextmanager
async def open_house(checkpoint: Path) -> AsyncIterator[House]:
    """A house whose engine runs."""
    house = House(Checkpoint.open(checkpoint))
    async with house.app.router.lifespan_context(house.app):
        await house.engine.start()
        yield house


def _sealed(body: Any, served: ServedModel) -> Any:
    match body:
        case Sealed(thinking, item_id):
            return served.keys.seal(Hidden(thinking), tenant=LOCAL_TENANT, model=served.digest, item_id=item_id)
        case dict():
            return {name: _sealed(value, served) for name, value in body.items()}
        case list():
            return [_sealed(value, served) for value in body]
        case _:
            return body


def _still(value: Any) -> Any:
    """A document without what differs from one to the next."""
    match value:
        case dict():
            kept = {name: one for name, one in value.items() if name not in MOVING}
            return {name: one is not None if name in SECRET else _still(one) for name, one in kept.items()}
        case list():
            return [_still(one) for one in value]
        case str():
            return re.sub(r"\b(resp|msg|rs|fc|ctc|call|chatcmpl)[-_][0-9a-zA-Z]{8,}", r"\1", value)
        case _:
            return value
