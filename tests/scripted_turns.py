"""Turns that are written down beforehand, for tests of what the APIs make of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from forethought.errors import EngineError
from forethought.logs import Hidden
from forethought.model.conversation import Thinking, ToolCall
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
    TurnDone("incomplete", USAGE, "no_answer"),
]


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
