"""A live summary: parts in order while the model thinks, about segment after segment, and nothing quoted in them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from forethought.engine.scripted import ScriptedEngine
from forethought.errors import SettingsError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message, Thinking
from forethought.reasoning.events import (
    Event,
    ItemDone,
    SummaryDelta,
    SummaryEvent,
    SummaryPartAdded,
    SummaryPartDone,
    ThinkingDelta,
)
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary import Summarizer, SummaryDetail, SummarySettings
from summary_scene import COARSE, PARAGRAPH, PART, THINKING, UNHURRIED, Scene, parts, thinker
from turn_laws import answer, check_laws, done


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return thinker(tiny_checkpoint)


def own(events: list[Event]) -> list[Event]:
    """The events of the turn itself."""
    return [event for event in events if not isinstance(event, SummaryEvent)]


def test_parts_come_in_order_while_the_model_still_thinks(checkpoint: Checkpoint) -> None:
    events = Scene(checkpoint).play()
    assert len(parts(events)) >= 2
    assert set(parts(events)) == {(PART, "completed")}
    first = next(n for n, event in enumerate(events) if isinstance(event, SummaryPartDone))
    last_thought = max(n for n, event in enumerate(events) if isinstance(event, ThinkingDelta))
    assert first < last_thought


def test_a_part_begins_with_its_title_and_streams_by_the_sentence(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    pieces = ("**A title**", "\n\nIt has 2.5 parts.", " No more follow?", " Done.")
    scene.summariser = lambda _: [scene.say("".join(pieces))]
    events = scene.play()
    begun = next(n for n, event in enumerate(events) if isinstance(event, SummaryPartAdded))
    deltas = [event.text for event in events[begun:] if isinstance(event, SummaryDelta)]
    assert tuple(deltas[: len(pieces)]) == pieces


def test_a_sentence_that_makes_a_part_longer_than_half_of_its_segment_is_left_out(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, settings=replace(UNHURRIED, details={"auto": replace(COARSE, max_tokens=400)}))
    short = "**A title**\n\nIt begins."
    scene.summariser = lambda _: [scene.say(f"{short} It is {'7' * 120}. The end.")]
    assert set(parts(scene.play())) == {(short, "completed")}
    scene.summariser = lambda _: [scene.say(f"**A title**\n\nIt is {'7' * 120}. The end.")]
    assert set(parts(scene.play())) == {(f"**A title**\n\nIt is {'7' * 120}.", "completed")}


def test_the_turns_own_events_are_those_of_the_turn_alone(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)

    async def alone(engine: ScriptedEngine) -> list[Event]:
        turn = Reasoner(checkpoint, engine).turn(
            Conversation((Message.of("user", "What is two and two?"),), budget=100_000)
        )
        return [event async for event in turn]

    assert own(scene.play()) == scene.run(alone)


def test_the_summarisers_tokens_are_not_the_clients(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    used = done(scene.play()).usage
    output = checkpoint.renderer.render_output((Thinking(THINKING), answer("Four.")))
    assert used.output_tokens == len(output)


def test_the_summariser_reads_each_segment_in_a_conversation_of_its_own(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.play()
    assert all("two and two" not in prompt for prompt in scene.prompts())
    assert sum(prompt.count(PARAGRAPH.strip()) for prompt in scene.prompts()) == 40
    for request in scene.asked:
        assert request.priority > 0
        assert request.limits.thinking is None
        assert request.limits.max_tokens == 128
        assert request.grammar is not None
        assert request.grammar.kind == "lark"
        assert request.grammar.start_after is None


def test_a_summary_may_be_written_by_another_model(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)

    async def elsewhere(engine: ScriptedEngine) -> list[Event]:
        other = ScriptedEngine(lambda request: [scene.say(PART)])
        await other.start()
        turn = Reasoner(checkpoint, engine).turn(Conversation((Message.of("user", "Hm?"),), budget=100_000))
        followed = Summarizer(Reasoner(checkpoint, other), UNHURRIED).follow(turn, "concise")
        events = [event async for event in followed]
        assert other.metrics().requests == len(parts(events)) == 2
        return events

    check_laws(scene.run(elsewhere))
    assert scene.asked == []


def test_finer_detail_means_more_parts_from_the_same_thinking(checkpoint: Checkpoint) -> None:
    details: tuple[SummaryDetail, ...] = ("concise", "auto", "detailed")
    counts = [len(parts(Scene(checkpoint, detail=detail).play())) for detail in details]
    assert counts[0] < counts[1] < counts[2]


def test_however_long_the_thinking_the_parts_are_bounded(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, thinking=PARAGRAPH * 600, settings=replace(UNHURRIED, details={"auto": COARSE}))
    assert len(parts(scene.play())) == COARSE.most_parts


def test_a_segment_that_does_not_fit_the_summarisers_context_is_cut(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)

    async def narrow(engine: ScriptedEngine) -> int:
        other = ScriptedEngine(scene.script, context_length=1600)
        await other.start()
        turn = Reasoner(checkpoint, engine).turn(Conversation((Message.of("user", "Hm?"),), budget=100_000))
        events = [event async for event in Summarizer(Reasoner(checkpoint, other), UNHURRIED).follow(turn, "auto")]
        return len(parts(events))

    assert scene.run(narrow) == len(scene.asked) >= 2
    assert all(len(request.prompt_ids) < 1600 for request in scene.asked)


def test_a_turn_that_does_not_think_has_no_summary(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, summariser=lambda _: pytest.fail("there is nothing to summarise"))

    async def answered(engine: ScriptedEngine) -> list[Event]:
        reasoner = Reasoner(checkpoint, ScriptedEngine(lambda request: [scene.say("Four.")]))
        await reasoner.engine.start()
        turn = reasoner.turn(Conversation((Message.of("user", "Hm?"),)), think=False)
        return [event async for event in Summarizer(reasoner).follow(turn, "auto")]

    assert [event.item for event in scene.run(answered) if isinstance(event, ItemDone)] == [answer("Four.")]


def test_blank_thinking_has_no_summary(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, thinking=" \n")
    assert parts(scene.play()) == []
    assert scene.asked == []


@pytest.mark.parametrize(("before", "status"), [(" It begins.", "completed"), ("", "incomplete")])
def test_a_part_that_would_quote_ends_before_the_sentence_that_does(
    checkpoint: Checkpoint, before: str, status: str
) -> None:
    scene = Scene(checkpoint)
    title = "**A title**"
    shown = f"{title}\n\n{before.strip()}".strip()
    scene.summariser = lambda _: [scene.say(f"{title}\n\n{before.strip()} {PARAGRAPH * 3}")]
    found = parts(scene.play())
    assert len(found) >= 2
    assert set(found) == {(shown, status)}


def test_no_summary_has_what_only_the_thinking_has(checkpoint: Checkpoint) -> None:
    canary = "the gate code is seven four one nine kestrel amber lantern forty"
    scene = Scene(checkpoint, thinking=f"{PARAGRAPH * 8}{canary}\n\n{PARAGRAPH * 8}")
    scene.summariser = lambda request: [scene.say(f"**Codes**\n\n{canary}.")]
    shown = "".join(event.text for event in scene.play() if isinstance(event, SummaryDelta))
    assert "kestrel" not in shown


def test_a_part_that_was_cut_by_its_length_is_incomplete(checkpoint: Checkpoint) -> None:
    settings = replace(UNHURRIED, details={"auto": replace(COARSE, max_tokens=len(PART) - 10)})
    texts = parts(Scene(checkpoint, settings=settings).play())
    assert texts
    assert all(status == "incomplete" and PART.startswith(text) and text for text, status in texts)


def test_a_summariser_that_keeps_no_shape_shows_nothing(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.summariser = lambda _: [scene.say("No title at all, just talk.")]
    assert parts(scene.play()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: SummarySettings(part_seconds=0),
        lambda: SummarySettings(final_seconds=-1),
        lambda: replace(COARSE, segment=0),
        lambda: replace(COARSE, sentences=(2, 1)),
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: Callable[[], object]) -> None:
    with pytest.raises(SettingsError):
        wrong()
