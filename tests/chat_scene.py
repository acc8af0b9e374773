"""A served model whose turns are written down beforehand, for tests of the Chat Completions API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from forethought.api.chat import ChatStream, parse_create, start
from forethought.errors import EngineError
from forethought.logs import Hidden
from forethought.model.conversation import Conversation, Thinking, ToolCall
from forethought.reasoning.events import (
    Event,
    ItemAdded,
    ItemDone,
    ItemStatus,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    TurnDone,
    TurnError,
    Usage,
)
from turn_laws import answer

USAGE = Usage(input_tokens=10, cached_tokens=4, output_tokens=7, reasoning_tokens=3)
COMPLETED = TurnDone("completed", USAGE)
CANARY = "the canary sings"
ENDS_BADLY: list[TurnDone | Exception] = [
    TurnDone("failed", USAGE, error=TurnError("malformed_tool_call", "What the model wrote is no call.")),
    TurnDone("failed", USAGE, error=TurnError("engine_error", "The engine died.", "Ask again.")),
    TurnDone("cancelled", USAGE),
    EngineError("The engine is no more."),
    ValueError(CANARY),
]
QUESTION: dict[str, Any] = {"model": "forethought-mini", "messages": [{"role": "user", "content": "Hello"}]}


class Pause:
    """Others may go first."""


class Silence:
    """Nothing comes for ever."""


Script = Sequence[Event | Exception | Pause | Silence]


@dataclass
class ScriptedTurn:
    """Gives the events up to the next pause together; an exception in the script is raised in its place."""

    script: list[Event | Exception | Pause | Silence]
    closed: bool = False

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self.closed and self.script:
            if isinstance(self.script[0], Silence):
                await asyncio.Event().wait()
            entry = self.script.pop(0)
            if isinstance(entry, Exception):
                raise entry
            if not isinstance(entry, Pause | Silence):
                return entry
            await asyncio.sleep(0)
        raise StopAsyncIteration

    def ready(self) -> list[Event]:
        """What comes before anything breaks or is waited for."""
        events: list[Event] = []
        while self.script and not isinstance(self.script[0], Exception | Pause | Silence):
            events.append(self.script.pop(0))
        return events

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class ScriptedReasoner:
    """Answers with the scripts, in order, and remembers what was asked. A script may be a refusal."""

    scripts: list[Script | Exception]
    conversation: Conversation = field(default_factory=lambda: Conversation(()))
    options: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    turns: list[ScriptedTurn] = field(default_factory=list)

    @property
    def engine(self) -> ScriptedReasoner:
        return self

    def prepare(self, conversation: Conversation, **options: Any) -> ScriptedReasoner:
        self.conversation = conversation
        self.options = options
        return self

    def submit(self, seed: int | None = None) -> ScriptedTurn:
        self.asked.append(self.options | {"seed": seed})
        script = self.scripts[len(self.asked) - 1]
        if isinstance(script, Exception):
            raise script
        self.turns.append(ScriptedTurn(list(script)))
        return self.turns[-1]


@dataclass
class Scene:
    """A model, with what it will say."""

    reasoner: ScriptedReasoner
    thinks: bool = True
    lenient: bool = False
    snapshot: str = "forethought-mini-2026-11-23"
    digest: str = "sha256:0123456789abcdef"

    @classmethod
    def of(cls, *scripts: Script | Exception, thinks: bool = True, lenient: bool = False) -> Scene:
        return cls(ScriptedReasoner(list(scripts)), thinks, lenient)

    @classmethod
    def answering(cls, *, thinks: bool = True, lenient: bool = False) -> Scene:
        """A model that gives one answer to whatever is asked, sixteen times."""
        return cls.of(*([[*message(0, "Four."), COMPLETED]] * 16), thinks=thinks, lenient=lenient)

    async def start(self, **parameters: Any) -> ChatStream:
        return await start(self, parse_create(QUESTION | parameters), "local")  # type: ignore[arg-type]

    def chunks(self, **parameters: Any) -> list[dict[str, Any]]:
        """What a stream gives."""

        async def collect() -> list[dict[str, Any]]:
            return [chunk async for chunk in await self.start(stream=True, **parameters)]

        return asyncio.run(collect())

    def final(self, **parameters: Any) -> dict[str, Any]:
        """What who waits is given."""

        async def collect() -> dict[str, Any]:
            return await (await self.start(**parameters)).final()

        return asyncio.run(collect())


def thinking(index: int, *texts: str, status: ItemStatus = "completed") -> list[Event]:
    deltas = [ThinkingDelta(index, Hidden(text)) for text in texts]
    return [ItemAdded(index, "thinking"), *deltas, ItemDone(index, Thinking("".join(texts)), status)]


def message(
    index: int, *texts: str, status: ItemStatus = "completed", logprobs: tuple[TokenLogprob, ...] = ()
) -> list[Event]:
    deltas = [TextDelta(index, text, logprobs) for text in texts]
    return [ItemAdded(index, "message"), *deltas, ItemDone(index, answer("".join(texts)), status)]


def call(index: int, *texts: str, custom: bool = False, status: ItemStatus = "completed") -> list[Event]:
    call_id = f"call_{index}"
    deltas = [ToolCallDelta(index, text) for text in texts]
    item = ToolCall(call_id, "look", "".join(texts), custom)
    return [ItemAdded(index, "tool_call", call_id, "look", custom), *deltas, ItemDone(index, item, status)]
