"""A live summary: parts in order while the model thinks, in time, never fatal, and nothing of the thinking itself."""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought import logs
from forethought.engine.protocol import Request
from forethought.engine.script import Fail, Hang, Pause, Say, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.errors import EngineDown, ForethoughtError, GrammarError, QueueFull, RequestError, SettingsError
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
    TurnDone,
)
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary import Detail, SummarizedTurn, Summarizer, SummaryDetail, SummarySettings
from turn_laws import answer, check_laws, done

T = TypeVar("T")

PARAGRAPH = "Now I weigh one more way to look at it, and it leads me a little further than the last.\n\n"
THINKING = PARAGRAPH * 40
PART = "**Weighing the ways**\n\nSeveral approaches are compared."
COARSE = Detail(600, 9, sentences=(1, 2), sentence=(5, 80), max_tokens=200)
UNHURRIED = SummarySettings(part_seconds=60, final_seconds=60)

DOWN = EngineDown("The engine process died.", "Ask again.")


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    opened = Checkpoint.open(tiny_checkpoint)
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


def test_a_part_begins_with_its_title_and_streams(checkpoint: Checkpoint) -> None:
    events = Scene(checkpoint).play()
    begun = next(n for n, event in enumerate(events) if isinstance(event, SummaryPartAdded))
    first = next(event for event in events[begun:] if isinstance(event, SummaryDelta))
    assert first.text.startswith("**Weighing the ways**")
    assert sum(isinstance(event, SummaryDelta) for event in events) > 2 * len(parts(events))


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
        assert request.grammar.kind == "regex"
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


def copying(scene: Scene) -> Callable[[Request], Iterable[Step]]:
    return lambda request: [scene.say(f"**A title**\n\nIt begins. {PARAGRAPH * 3}")]


def test_a_part_that_would_quote_ends_before_the_quotation(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.summariser = copying(scene)
    found = parts(scene.play())
    assert len(found) >= 2
    for text, status in found:
        assert status == "incomplete"
        assert text.startswith("**A title**\n\nIt begin")
        assert len(text) < len("**A title**\n\nIt begins. Now I weigh")


def test_no_summary_has_what_only_the_thinking_has(checkpoint: Checkpoint) -> None:
    canary = "the gate code is seven four one nine kestrel amber lantern forty"
    scene = Scene(checkpoint, thinking=f"{PARAGRAPH * 8}{canary}\n\n{PARAGRAPH * 8}")
    scene.summariser = lambda request: [scene.say(f"**Codes**\n\n{canary}.")]
    shown = "".join(event.text for event in scene.play() if isinstance(event, SummaryDelta))
    assert "kestrel" not in shown


@pytest.mark.parametrize("error", [DOWN, QueueFull("full"), GrammarError("bad"), RequestError("no")])
@pytest.mark.parametrize("when", ["at submit", "first", "later"])
def test_a_summariser_that_fails_never_fails_the_turn(
    checkpoint: Checkpoint, error: ForethoughtError, when: str
) -> None:
    scene = Scene(checkpoint)

    def failing(request: Request) -> Iterable[Step]:
        if when == "at submit":
            raise error
        begun = [Say(scene.say(PART).token_ids[:-10])] if when == "later" else []
        return [*begun, Fail(error)]

    scene.summariser = failing
    events = scene.play()
    assert done(events).status == "completed"
    statuses = {status for _, status in parts(events)}
    assert statuses == ({"incomplete"} if when == "later" else set())


def test_after_a_part_that_failed_the_next_one_takes_its_number(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.summariser = lambda _: [Fail(DOWN)] if len(scene.asked) == 1 else [scene.say(PART)]
    events = scene.play()
    assert len(scene.asked) == len(parts(events)) + 1
    assert set(parts(events)) == {(PART, "completed")}


def test_a_part_that_was_cut_by_its_length_is_incomplete(checkpoint: Checkpoint) -> None:
    settings = replace(UNHURRIED, details={"auto": replace(COARSE, max_tokens=len(PART) - 10)})
    texts = parts(Scene(checkpoint, settings=settings).play())
    assert texts
    assert all(status == "incomplete" and PART.startswith(text) and text for text, status in texts)


def test_a_part_that_takes_too_long_is_cut_off_and_the_next_one_has_its_own_time(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, settings=SummarySettings(part_seconds=0.05, final_seconds=60))

    def slow_at_first(_: Request) -> Iterable[Step]:
        begun = scene.say(PART).token_ids[:-10]
        return [Say(begun), Hang()] if len(scene.asked) == 1 else [scene.say(PART)]

    scene.summariser = slow_at_first
    found = parts(scene.play())
    assert [status for _, status in found][:2] == ["incomplete", "completed"]
    assert PART.startswith(found[0][0])


@pytest.mark.parametrize("begun", [False, True])
def test_once_the_thinking_is_over_the_answer_waits_no_longer_than_its_time_box(
    checkpoint: Checkpoint, begun: bool
) -> None:
    scene = Scene(checkpoint, settings=SummarySettings(part_seconds=60, final_seconds=0.01))
    scene.summariser = lambda _: [*([Say(scene.say(PART).token_ids[:-10])] if begun else []), Hang()]
    events = scene.play()
    assert done(events).status == "completed"
    assert [status for _, status in parts(events)] == ["incomplete"] * begun


def test_a_summariser_that_keeps_no_shape_shows_nothing(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.summariser = lambda _: [scene.say("No title at all, just talk.")]
    assert parts(scene.play()) == []


def test_a_turn_that_fails_while_it_thinks_keeps_the_laws_and_its_summary(checkpoint: Checkpoint) -> None:
    events = Scene(checkpoint, end=(Fail(DOWN),)).play()
    assert done(events).status == "failed"
    assert parts(events)


def test_a_refusal_takes_the_place_of_the_first_event(checkpoint: Checkpoint) -> None:
    async def refused(engine: ScriptedEngine) -> None:
        engine._script = lambda _: [Fail(GrammarError("The schema cannot be compiled."))]  # type: ignore[attr-defined]
        followed = Scene(checkpoint).follow(engine)
        with pytest.raises(GrammarError):
            await anext(followed)
        with pytest.raises(StopAsyncIteration):
            await anext(followed)

    Scene(checkpoint).run(refused)


@pytest.mark.parametrize("after", [0, 1, 100, 1500])
def test_a_closed_turn_frees_the_requests_of_both(checkpoint: Checkpoint, after: int) -> None:
    scene = Scene(checkpoint, summariser=lambda _: [Say((5,) * 20), Hang()])

    async def closed(engine: ScriptedEngine) -> None:
        async with scene.follow(engine) as followed:
            for _ in range(after):
                await anext(followed)
        assert [event async for event in followed] == []

    scene.run(closed)


@pytest.mark.parametrize("after", [1, 100, 1500])
def test_a_cancelled_turn_ends_lawfully_with_what_was_summarised(checkpoint: Checkpoint, after: int) -> None:
    scene = Scene(checkpoint)
    begun = scene.say(PART).token_ids[:-10]
    scene.summariser = lambda _: [Say(begun), Hang()]

    async def cancelled(engine: ScriptedEngine) -> list[Event]:
        events: list[Event] = []
        followed = scene.follow(engine)
        async for event in followed:
            events.append(event)
            if len(events) == after:
                followed.cancel()
        return events

    events = scene.run(cancelled)
    check_laws(events)
    assert done(events).status == "cancelled"
    assert all(status == "incomplete" for _, status in parts(events))


def test_a_wait_for_the_next_event_can_be_cancelled_and_taken_up_again(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)

    async def impatient(engine: ScriptedEngine) -> list[Event]:
        followed, events = scene.follow(engine), list[Event]()
        while not (events and isinstance(events[-1], TurnDone)):
            waiting = asyncio.ensure_future(anext(followed))
            await asyncio.wait({waiting}, timeout=0)
            waiting.cancel()
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                events.append(waiting.result())
        return events

    events = scene.run(impatient)
    check_laws(events)


def test_a_reader_that_waits_is_woken_when_the_turn_is_closed(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, end=(Hang(),))

    async def woken(engine: ScriptedEngine) -> None:
        followed = scene.follow(engine)
        reading = asyncio.ensure_future(collect(followed))
        while not engine.metrics().generated_tokens:
            await asyncio.sleep(0)
        await followed.aclose()
        await reading

    async def collect(followed: SummarizedTurn) -> list[Event]:
        return [event async for event in followed]

    scene.run(woken)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, at the level that says most."""
    root = logging.getLogger(logs.ROOT)
    before = (list(root.handlers), root.level, root.propagate)
    stream = io.StringIO()
    logs.configure("info", stream=stream)
    yield stream
    root.handlers[:], root.propagate = before[0], before[2]
    root.setLevel(before[1])


def test_a_bug_in_the_summary_ends_the_summary_only_and_its_log_quotes_nothing(
    checkpoint: Checkpoint, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object, text: str) -> None:
        raise KeyError(text)

    monkeypatch.setattr("forethought.reasoning.summary_verbatim.Thought.learn", broken)
    events = Scene(checkpoint).play()
    assert done(events).status == "completed"
    assert parts(events) == []
    assert "summary broke" in log.getvalue()
    assert "weigh" not in log.getvalue()


def test_neither_thinking_nor_summary_is_logged(checkpoint: Checkpoint, log: io.StringIO) -> None:
    Scene(checkpoint).play()
    assert "turn done" in log.getvalue()
    assert "eigh" not in log.getvalue()


def test_nothing_prints_the_thinking(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, end=(Hang(),), summariser=lambda _: [Hang()])

    async def printed(engine: ScriptedEngine) -> str:
        async with scene.follow(engine) as followed:
            for _ in range(1000):
                await anext(followed)
            summary = followed._summary  # type: ignore[attr-defined]
            assert summary is not None
            return f"{vars(followed)} {vars(summary)} {asyncio.all_tasks()}"

    assert "weigh" not in scene.run(printed)


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


BEHAVIOURS = ["says", "copies", "hangs", "fails", "refuses", "stammers", "late", "silent"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    words=st.lists(st.sampled_from(["so ", "I weigh ", "it.\n\n", "\n", "12 + 7 ", "和"]), max_size=200),
    does=st.lists(st.sampled_from(BEHAVIOURS), min_size=1, max_size=6),
    detail=st.sampled_from(["concise", "auto", "detailed"]),
    leave=st.none() | st.tuples(st.sampled_from(["cancel", "close"]), st.integers(0, 400)),
    broken=st.booleans(),
)
def test_whatever_happens_the_laws_hold_and_nothing_is_left_behind(
    checkpoint: Checkpoint,
    words: list[str],
    does: list[Any],
    detail: SummaryDetail,
    leave: tuple[str, int] | None,
    broken: bool,
) -> None:
    fine = Detail(60, 5, sentences=(1, 1), sentence=(5, 80), max_tokens=60)
    settings = SummarySettings(0.005, 0.005, details=dict.fromkeys(("concise", "auto", "detailed"), fine))
    end = (Fail(DOWN),) if broken else ()
    scene = Scene(checkpoint, "".join(words), settings=settings, detail=detail, end=end)

    def summarise(request: Request) -> Iterable[Step]:
        match does[len(scene.asked) % len(does)]:
            case "says":
                return [scene.say(PART)]
            case "copies":
                return [scene.say(f"**Title**\n\n{''.join(words)}")]
            case "hangs":
                return [Say(scene.say(PART).token_ids[:-9]), Hang()]
            case "fails":
                return [Say(scene.say(PART).token_ids[:-9]), Fail(DOWN)]
            case "refuses":
                raise QueueFull("full")
            case "late":
                return [Pause(0.002), scene.say(PART)]
            case "stammers":
                return [scene.say("** ** \n\n*")]
            case _:
                return []

    scene.summariser = summarise

    async def left(engine: ScriptedEngine) -> list[Event] | None:
        events: list[Event] = []
        async with scene.follow(engine) as followed:
            async for event in followed:
                events.append(event)
                if leave is not None and len(events) > leave[1]:
                    if leave[0] == "close":
                        return None
                    followed.cancel()
        return events

    try:
        events = scene.run(left)
    except EngineDown:
        return
    if events is not None:
        check_laws(events)
