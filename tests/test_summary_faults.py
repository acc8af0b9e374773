"""What may go wrong with a summary: it fails, it is late, its reader leaves. The turn goes on, and nothing is left."""

import asyncio
import io
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought import logs
from forethought.engine.protocol import Request
from forethought.engine.script import Fail, Hang, Pause, Say, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.errors import EngineDown, ForethoughtError, GrammarError, QueueFull, RequestError
from forethought.model.checkpoint import Checkpoint
from forethought.reasoning.events import Event, TurnDone
from forethought.reasoning.summary import Detail, SummarizedTurn, SummaryDetail, SummarySettings
from summary_scene import DOWN, PART, Scene, parts, thinker
from turn_laws import check_laws, done


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return thinker(tiny_checkpoint)


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


def test_a_part_that_takes_too_long_is_cut_off_and_the_next_one_has_its_own_time(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, settings=SummarySettings(part_seconds=1, final_seconds=60))

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
