"""Summaries by a real (random, tiny) model on the real engine: the shape holds, and the levels of detail differ."""

import json
import re
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.engine.grammar import GrammarCompiler, GrammarState, allowed_tokens
from forethought.engine.protocol import Grammar
from forethought.engine.script import Say
from forethought.engine.scripted import ScriptedEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message, Thinking
from forethought.model.layout import CONFIG, MANIFEST
from forethought.reasoning.events import Event, SummaryDelta, SummaryPartAdded, SummaryPartDone
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary import SummarizedTurn, Summarizer, SummaryDetail, SummarySettings
from forethought.reasoning.summary_part import PartText, PartWriter
from forethought.reasoning.summary_prompt import EXAMPLE_SENTENCES, fitting, summary_conversation, summary_shape
from forethought.reasoning.summary_settings import DETAILS, Detail
from forethought.reasoning.summary_verbatim import Gate, Thought, Units
from forethought.reasoning.summary_words import terms, units
from forethought.tasks.summary_check import foreign_terms, sentences_of
from turn_laws import answer, check_laws

T = TypeVar("T")
Run = Callable[[Callable[[Reasoner], Awaitable[T]]], T]

THINKING = "Now I weigh one more way to look at it, and it leads me a little further than the last.\n\n" * 40
PART = re.compile(r"\*\*\S+( \S+){0,5}\*\*\n\n\S+( \S+)*[.!?。！？]")


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


def test_every_part_keeps_the_shape_and_more_detail_means_more_parts(run: Run[dict[str, list[str]]]) -> None:
    async def all_details(reasoner: Reasoner) -> dict[str, list[str]]:
        texts: dict[str, list[str]] = {}
        patient: dict[SummaryDetail, Detail] = {
            name: replace(detail, max_tokens=1000) for name, detail in DETAILS.items()
        }
        for detail in DETAILS:
            followed = await thinking_aloud(reasoner, detail, SummarySettings(60, 60, details=patient))
            events: list[Event] = [event async for event in followed]
            check_laws(events)
            texts[detail] = [event.text for event in events if isinstance(event, SummaryPartDone)]
        return texts

    texts = run(all_details)
    assert all(PART.fullmatch(text) for parts in texts.values() for text in parts)
    assert len(texts["concise"]) < len(texts["auto"]) < len(texts["detailed"])


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


def shape(checkpoint: Checkpoint, segment: str, detail: SummaryDetail) -> GrammarState:
    """That of a part about a segment, before its first token."""
    compiler = GrammarCompiler(checkpoint.tokenizer, checkpoint.tokenizer.vocab_size, threads=1)
    source = summary_shape(segment, DETAILS[detail]).grammar
    return compiler.compile(Grammar("lark", source), checkpoint.renderer.stop_token_ids)


def tokens_after(checkpoint: Checkpoint, state: GrammarState) -> set[int]:
    """Those that the shape allows now."""
    masks = np.zeros((1, checkpoint.tokenizer.vocab_size // 32 + 1), np.int32)
    state.fill(masks, 0)
    assert state.allow(masks[0], checkpoint.tokenizer.vocab_size)
    return set(np.flatnonzero(allowed_tokens(masks[0], checkpoint.tokenizer.vocab_size)).tolist())


def takes(checkpoint: Checkpoint, segment: str, detail: SummaryDetail, text: str) -> bool:
    """Whether the shape lets a text through, to its end."""
    state = shape(checkpoint, segment, detail)
    for token in checkpoint.tokenizer.encode(text):
        if token not in tokens_after(checkpoint, state):
            return False
        state.observe(token)
    return checkpoint.renderer.stop_token_ids[0] in tokens_after(checkpoint, state)


@pytest.mark.parametrize("detail", list(DETAILS))
def test_where_words_have_no_spaces_the_form_alone_is_bound(checkpoint: Checkpoint, detail: SummaryDetail) -> None:
    segment = "和を求める。"
    example = summary_conversation(segment, DETAILS[detail]).items[2]
    assert isinstance(example, Message)
    assert takes(checkpoint, segment, detail, example.text)
    assert not takes(checkpoint, segment, detail, example.text.replace("**", ""))


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("Löwe has x = 7 and 2.5 at 10:30", True),
        ("The sum is found (löwe) and get_time gives 7", True),
        ("The sum is found (Löwe's) and get_time gives 7", False),
        ("Here it is found that x is 77 and it is checked", False),
        ("Here it is found that x is 2 and it is checked", False),
        ("Here it is found that x is -7 and it is checked", False),
        ("Here it is found that x is -3 and it is checked", True),
        ("Here it is found that x is 3 and it is checked", False),
        ("Here it is found that x - 7 and it is checked", True),
        ("Here it is found that x-7=10:30 and it is checked", True),
        ("Here the lion is found and it is checked", False),
    ],
)
def test_a_part_names_nothing_that_is_not_in_its_segment(checkpoint: Checkpoint, said: str, fits: bool) -> None:
    segment = "So x is 7, née Löwe: 2.5 at 10:30 with get_time, or x=-3?" + " So it is." * 9
    text = f"**Checking it**\n\n{said}."
    assert takes(checkpoint, segment, "auto", text) == fits
    assert (not foreign_terms(segment, text)) == fits
    assert not takes(checkpoint, segment, "auto", text.replace("Checking", "Lion"))


def test_a_part_has_no_currency_that_is_not_in_its_segment(checkpoint: Checkpoint) -> None:
    segment = "It is €7." + " So it is." * 15
    assert takes(checkpoint, segment, "auto", "**Checking it**\n\nHere the sum is €7.")
    assert not takes(checkpoint, segment, "auto", "**Checking it**\n\nHere the sum is £7.")


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("The result is 7, 8, 9.", True),
        ("The result is 7, 8, 9, 10.", False),
        ("The result is 7, 8, 9 and 10.", True),
        ("The result is found with ann, bob, cid, dan, eve and fay.", True),
        ("The result is found and it is checked.", False),
        ("The result is found and it is checked. It is 7.", True),
        ("The result is found and it is checked. It is the result.", False),
        ("The result is 12345678.", True),
        ("The result is 123456789.", False),
    ],
)
def test_a_part_names_something_and_no_long_rows(checkpoint: Checkpoint, said: str, fits: bool) -> None:
    segment = "So 7, 8, 9, 10 and ann, bob, cid, dan, eve, fay: 12345678, 123456789." + " So it is." * 12
    assert takes(checkpoint, segment, "auto", f"**Checking it**\n\n{said}") == fits
    assert takes(checkpoint, "So it is. " * 12, "auto", "**Checking it**\n\nThe result is found.")


@pytest.mark.parametrize("detail", list(DETAILS))
def test_a_short_segment_has_one_sentence_and_a_short_example(
    checkpoint: Checkpoint, run: Run[Event], detail: SummaryDetail
) -> None:
    segment = "I add 27 and 19: 27 + 19 = 46. So the sum is 46."
    fitted = fitting(segment, DETAILS[detail])
    assert fitted.sentences == (1, 1)
    example = summary_conversation(segment, fitted).items[2]
    assert isinstance(example, Message)
    assert len(units(example.text)) <= len(units(segment)) // 2 < len(units(EXAMPLE_SENTENCES[0]))
    assert fitting(segment * 2, DETAILS[detail]) == fitting("和を求める。", DETAILS[detail]) == DETAILS[detail]

    async def part(reasoner: Reasoner) -> Event:
        events: list[Event] = []
        text = PartText(0, 0, len(units(segment)) // 2, events.append)
        gate = Gate(Thought(Units(checkpoint.tokenizer)))
        await PartWriter(reasoner, SummarySettings(60, 60)).write(segment, DETAILS[detail], gate, text)
        return events[-1]

    done = run(part)
    assert isinstance(done, SummaryPartDone)
    assert done.status == "completed"
    assert sentences_of(done.text) == 1


@settings(deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(" .,:=_()-'’ab37éİßÅ²", max_size=30), st.randoms(use_true_random=False))
def test_what_the_shape_lets_through_is_in_the_segment(checkpoint: Checkpoint, segment: str, random: Random) -> None:
    state = shape(checkpoint, segment, "auto")
    tokens: list[int] = []
    for _ in range(120):
        token = random.choice(sorted(tokens_after(checkpoint, state)))
        if token in checkpoint.renderer.stop_token_ids:
            assert bool(terms(checkpoint.tokenizer.decode(tokens))) or not terms(segment)
            break
        tokens.append(token)
        state.observe(token)
    whole, _, _ = checkpoint.tokenizer.decode(tokens).rpartition(" ")
    assert foreign_terms(segment, whole) == []
