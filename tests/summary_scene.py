"""A turn that thinks, and the summariser that follows it, both on one scripted engine."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from forethought.engine.protocol import Request
from forethought.engine.script import Say, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.errors import EngineDown
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message, Thinking
from forethought.reasoning.events import Event, SummaryPartDone
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary import Detail, SummarizedTurn, Summarizer, SummaryDetail, SummarySettings
from turn_laws import answer, check_laws

T = TypeVar("T")

PARAGRAPH = "Now I weigh one more way to look at it, and it leads me a little further than the last.\n\n"
THINKING = PARAGRAPH * 40
PART = "**Weighing the ways**\n\nSeveral approaches are compared."
COARSE = Detail(600, 9, sentences=(1, 2), sentence=(5, 80), max_tokens=200)
UNHURRIED = SummarySettings(part_seconds=60, final_seconds=60)

DOWN = EngineDown("The engine process died.", "Ask again.")


def thinker(directory: Path) -> Checkpoint:
    """The checkpoint in a directory, declaring that it thinks."""
    opened = Checkpoint.open(directory)
    return replace(opened, capabilities=opened.capabilities.model_copy(update={"thinks": True}))


@dataclass
class Scene:
    """A turn that thinks, and what its summariser does for each segment. Both run on one scripted engine."""

    checkpoint: Checkpoint
    thinking: str = THINKING
    summariser: Callable[[Request], Iterable[Step]] | None = None
    settings: SummarySettings = UNHURRIED
    detail: SummaryDetail = "auto"
    end: tuple[Step, ...] = ()
    asked: list[Request] = field(default_factory=list)

    def say(self, text: str) -> Say:
        stop = self.checkpoint.renderer.stop_token_ids[0]
        return Say((*self.checkpoint.tokenizer.encode(text), stop))

    def script(self, request: Request) -> Iterable[Step]:
        if request.priority == 0:
            output = self.checkpoint.renderer.render_output((Thinking(self.thinking), answer("Four.")))
            return (Say(output),) if not self.end else (Say(output[: len(output) // 2]), *self.end)
        self.asked.append(request)
        return self.summariser(request) if self.summariser else (self.say(PART),)

    def follow(self, engine: ScriptedEngine, **options: Any) -> SummarizedTurn:
        reasoner = Reasoner(self.checkpoint, engine)
        asked = Conversation((Message.of("user", "What is two and two?"),), budget=100_000)
        turn = reasoner.turn(asked, **options)
        return Summarizer(reasoner, self.settings).follow(turn, self.detail)

    def run(self, body: Callable[[ScriptedEngine], Awaitable[T]]) -> T:
        """Runs a body on the engine, and looks that nothing is left behind."""

        async def main() -> T:
            engine = ScriptedEngine(self.script, context_length=200_000)
            await engine.start()
            result = await body(engine)
            assert engine.metrics().running == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        return asyncio.run(main())

    def play(self) -> list[Event]:
        async def collect(engine: ScriptedEngine) -> list[Event]:
            return [event async for event in self.follow(engine)]

        events = self.run(collect)
        check_laws(events)
        return events

    def prompts(self) -> list[str]:
        """What the summariser was asked."""
        return [self.checkpoint.tokenizer.decode(request.prompt_ids) for request in self.asked]


def parts(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.text, event.status) for event in events if isinstance(event, SummaryPartDone)]
