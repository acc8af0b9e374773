"""Attempts on a scripted engine, and a family with a tool whose answers are needed."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import TypeVar

import pytest

from forethought.engine.protocol import Request
from forethought.engine.script import Say, Script, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import (
    Conversation,
    Effort,
    Item,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from forethought.reasoning.reasoner import Reasoner
from forethought.tasks import registry
from forethought.tasks.family import Family, only_message, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict, wrong

T = TypeVar("T")


class Lookup(Family):
    """The number behind a door is known to the tool only."""

    name = "lookup"
    description = "Ask the tool, then say what it said."
    levels = ("a", "b", "c")

    def draw(self, rng: Random, level: int) -> Draft:
        number = rng.randint(10 ** (level + 2), 10 ** (level + 3) - 1)
        asked = Conversation((Message.of("user", f"Which number has door {number}?"),), (ToolDefinition("ask"),))
        return Draft(asked, number + 1, str(number))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        call = ToolCall("c", "ask", "{}")
        asking = Thinking("I ask. " * {"low": 1, "medium": 2, "high": 3}[effort])
        said = Message.of("assistant", str(problem.gold))
        return asking, call, *self.respond(problem, (call,)), Thinking("So."), said

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        told = [place for place, item in enumerate(transcript) if isinstance(item, ToolResult)]
        said = only_message(transcript[told[0] + 1 :]) if told else wrong("did not ask")
        return said if isinstance(said, Verdict) else same_text(said, str(problem.gold))

    def respond(self, problem: Problem, transcript: Transcript) -> tuple[ToolResult, ...]:
        last = transcript[-1] if transcript else None
        return (ToolResult(last.call_id, (Text(str(problem.gold)),)),) if isinstance(last, ToolCall) else ()


def register(monkeypatch: pytest.MonkeyPatch, *families: Family) -> None:
    """Makes these the only families."""
    known = {family.name: family for family in families}
    monkeypatch.setattr(registry, "families", lambda: known)


def says(checkpoint: Checkpoint, *items: Item) -> Say:
    """An output of these items. One that thinks continues a prompt that ends inside the thinking."""
    return Say(checkpoint.renderer.render_output(items))


def answers(checkpoint: Checkpoint, text: str, thinking: str | None = None) -> Say:
    said = Message.of("assistant", text)
    return says(checkpoint, said) if thinking is None else says(checkpoint, Thinking(thinking), said)


def called(name: str, **arguments: object) -> ToolCall:
    return ToolCall("call", name, json.dumps(arguments))


def play(
    checkpoint: Checkpoint,
    script: Script | Iterable[Step],
    body: Callable[[Reasoner], Awaitable[T]],
    *,
    context_length: int = 8192,
) -> T:
    """Runs a body on a scripted engine, and looks that nothing is left behind."""
    answered: Script = script if callable(script) else (lambda request: steps)
    steps = () if callable(script) else tuple(script)

    async def main() -> T:
        engine = ScriptedEngine(answered, context_length=context_length)
        await engine.start()
        result = await body(Reasoner(checkpoint, engine))
        assert engine.metrics().running == 0
        return result

    return asyncio.run(main())


def keeping(requests: list[Request], script: Script) -> Script:
    """The script, and what it was asked."""

    def noted(request: Request) -> Iterable[Step]:
        requests.append(request)
        return script(request)

    return noted
