"""Summaries by a real (random, tiny) model on the real engine: the shape holds, and the levels of detail differ."""

import json
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from forethought.engine.grammar import GrammarCompiler
from forethought.engine.protocol import Grammar
from forethought.engine.script import Say
from forethought.engine.scripted import ScriptedEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message, Thinking
from forethought.model.layout import CONFIG, MANIFEST
from forethought.reasoning.events import Event, SummaryDelta, SummaryPartAdded, SummaryPartDone
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary import SummarizedTurn, Summarizer, SummaryDetail, SummarySettings
from forethought.reasoning.summary_prompt import summary_conversation, summary_shape
from forethought.reasoning.summary_settings import DETAILS
from turn_laws import answer, check_laws

T = TypeVar("T")
Run = Callable[[Callable[[Reasoner], Awaitable[T]]], T]

THINKING = "Now I weigh one more way to look at it, and it leads me a little further than the last.\n\n" * 40
PART = re.compile(r"\*\*\S+( \S+){0,5}\*\*\n\n(\S+( \S+)*)")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """The tiny checkpoint with room for the summariser's instructions. It thinks."""
    directory = tmp_path_factory.mktemp("roomy") / "checkpoint"
    shutil.copytree(tiny_checkpoint, directory)
    for name, change in (
        (CONFIG, {"max_position_embeddings": 4096}),
        (MANIFEST, {"capabilities": {"thinks": True, "context_length": 4096}}),
    ):
        path = directory / name
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return Checkpoint.open(directory)


async def thinking_aloud(reasoner: Reasoner, detail: SummaryDetail, settings: SummarySettings) -> SummarizedTurn:
    """A turn with known thinking, which the reasoner summarises."""
    output = reasoner.checkpoint.renderer.render_output((Thinking(THINKING), answer("Four.")))
    scripted = ScriptedEngine(lambda _: [Say(output)], context_length=100_000)
    await scripted.start()
    asked = Conversation((Message.of("user", "What is two and two?"),), budget=50_000)
    return Summarizer(reasoner, settings).follow(Reasoner(reasoner.checkpoint, scripted).turn(asked), detail)


def test_every_part_keeps_the_shape_and_more_detail_means_more_and_longer_parts(run: Run[dict[str, list[str]]]) -> None:
    async def all_details(reasoner: Reasoner) -> dict[str, list[str]]:
        texts: dict[str, list[str]] = {}
        for detail in DETAILS:
            followed = await thinking_aloud(reasoner, detail, SummarySettings(60, 60))
            events: list[Event] = [event async for event in followed]
            check_laws(events)
            texts[detail] = [event.text for event in events if isinstance(event, SummaryPartDone)]
        return texts

    texts = run(all_details)
    assert all(PART.fullmatch(text) for parts in texts.values() for text in parts)
    counts, lengths = (
        [measure(texts[detail]) for detail in ("concise", "auto", "detailed")]
        for measure in (len, lambda parts: sum(map(len, parts)) / len(parts))
    )
    assert counts[0] < counts[1] < counts[2]
    assert lengths[0] < lengths[1] < lengths[2]


def test_a_closed_turn_leaves_no_request_of_the_summariser(run: Run[None]) -> None:
    async def closed(reasoner: Reasoner) -> None:
        async with await thinking_aloud(reasoner, "detailed", SummarySettings(60, 60)) as followed:
            async for event in followed:
                if isinstance(event, SummaryPartAdded | SummaryDelta):
                    break
        # One more request, so that the engine has made the step in which it hears of the cancellation.
        await reasoner.turn(Conversation((Message.of("user", "Hm?"),)), think=False, max_output_tokens=2).answer()
        metrics = reasoner.engine.metrics()
        assert (metrics.running, metrics.queued, metrics.cancelled) == (0, 0, 1)

    run(closed)


@pytest.mark.parametrize("detail", list(DETAILS))
@pytest.mark.parametrize("segment", ["Plain.", "So x is 7 — née Löwe.", "和を求める。"])
def test_the_shape_of_every_detail_compiles_and_takes_the_example(
    checkpoint: Checkpoint, detail: SummaryDetail, segment: str
) -> None:
    shape = summary_shape(segment, DETAILS[detail])
    compiler = GrammarCompiler(checkpoint.tokenizer, checkpoint.tokenizer.vocab_size, threads=1)
    state = compiler.compile(Grammar("regex", shape.pattern))
    example = summary_conversation(segment, DETAILS[detail]).items[2]
    assert isinstance(example, Message)
    for token in checkpoint.tokenizer.encode(example.text):
        state.observe(token)
