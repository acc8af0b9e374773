"""A turn's events keep their laws, whatever the model writes and wherever the engine breaks."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought import logs
from forethought.engine.protocol import EngineEvent, Finished, Limits, Request, StopReason, TokenEvent
from forethought.errors import EngineDown, EngineError, GrammarError, GrammarFailed, RequestError
from forethought.logs import Hidden
from forethought.model.conversation import Thinking, ToolCall
from forethought.model.renderer import protocol as pieces
from forethought.model.renderer.protocol import Malformed, Piece, ThinkingEnd, ToolCallEnd, ToolCallStart
from forethought.reasoning.answer import Answer
from forethought.reasoning.answer_text import LogprobQueue, StopCutter
from forethought.reasoning.assembly import Assembly
from forethought.reasoning.events import (
    Event,
    ItemAdded,
    ItemDone,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    TurnDone,
    TurnError,
    Usage,
)
from forethought.reasoning.turn import Turn
from turn_laws import answer, check_laws, done

Script = list[list[Piece]]
"""What each token of an output stands for."""

SAID = pieces.TextDelta
THOUGHT = pieces.ThinkingDelta
ARGUMENTS = pieces.ToolCallDelta


class ScriptedParser:
    """Reads token n as the n-th entry of a script; `tail` is what `finish` gives, if all of it was read."""

    def __init__(self, script: Script, tail: list[Piece]) -> None:
        self._script, self._tail = script, tail
        self._read = 0

    def feed(self, token_ids: Iterable[int]) -> list[Piece]:
        tokens = list(token_ids)
        self._read += len(tokens)
        return [piece for token in tokens for piece in self._script[token]]

    def finish(self) -> list[Piece]:
        return self._tail if self._read == len(self._script) else []


class ScriptedStream:
    """Gives events one by one, or `together`; an exception in the script is raised in its place."""

    def __init__(self, events: Iterable[EngineEvent | Exception], *, together: bool = False) -> None:
        self._events = list(events)
        self._together = together
        self.closed = False
        self.cancelled = False

    def __aiter__(self) -> "ScriptedStream":
        return self

    async def __anext__(self) -> EngineEvent:
        if self.cancelled and self._events and not isinstance(self._events[0], Finished):
            self._events = [replace(FINISHED, reason="cancelled")]
        if not self._events or self.closed:
            raise StopAsyncIteration
        event = self._events.pop(0)
        if isinstance(event, Exception):
            raise event
        return event

    def ready(self) -> list[EngineEvent]:
        events: list[EngineEvent] = []
        while self._together and self._events and not isinstance(self._events[0], Exception):
            events.append(self._events.pop(0))
        return events

    async def aclose(self) -> None:
        self.closed = True


class ScriptedEngine:
    """Answers every request with the same events. Only what a turn calls."""

    def __init__(self, events: Iterable[EngineEvent | Exception], *, together: bool = False) -> None:
        self.stream = ScriptedStream(events, together=together)

    def submit(self, request: Request) -> ScriptedStream:
        return self.stream

    def cancel(self, request_id: str) -> None:
        self.stream.cancelled = True


FINISHED = Finished("stop_token", prompt_tokens=10, cached_tokens=4, completion_tokens=7, thinking_tokens=3)


@dataclass
class Scene:
    """A turn over a scripted model and engine."""

    script: Script
    tail: list[Piece]
    end: list[EngineEvent | Exception]
    stop: tuple[str, ...] = ()
    logprobs: bool = False
    together: bool = False

    def turn(self) -> tuple[Turn, ScriptedEngine]:
        assembly = Assembly(
            ScriptedParser(self.script, self.tail),
            StopCutter(self.stop),
            LogprobQueue(lambda token: b"%d" % token),
            frozenset({"add", "look"}),
            "max_output_tokens",
        )
        tokens = [TokenEvent(n, logprob=-float(n) if self.logprobs else None) for n in range(len(self.script))]
        engine = ScriptedEngine([*tokens, *self.end], together=self.together)
        request = Request("turn_1", prompt_ids=tuple(range(10)), limits=Limits(100))
        return Turn(engine, request, assembly), engine  # type: ignore[arg-type]

    def play(self) -> list[Event]:
        async def collect() -> list[Event]:
            return [event async for event in self.turn()[0]]

        return asyncio.run(collect())


def play(*script: Piece, reason: StopReason = "stop_token", stop: tuple[str, ...] = ()) -> list[Event]:
    """The events of an output in which each token is one piece."""
    return Scene([[piece] for piece in script], [], [replace(FINISHED, reason=reason)], stop).play()


def items(events: list[Event]) -> list[tuple[Any, str]]:
    return [(event.item, event.status) for event in events if isinstance(event, ItemDone)]


# What a model can write: the pieces of calls and thinking come in the order in which a parser gives them.
words = st.text("ab\n", min_size=1, max_size=4)
call_bodies = st.lists(words, max_size=3)


@st.composite
def calls(draw: st.DrawFn) -> list[Piece]:
    name = draw(st.sampled_from(["add", "look", "not offered"]))
    body = draw(call_bodies)
    end = draw(st.sampled_from([[ToolCallEnd(0, "".join(body))], [Malformed("junk")]]))
    custom = draw(st.booleans())
    return [ToolCallStart(0, name, custom), *(ARGUMENTS(0, part) for part in body), *end]


thoughts = st.builds(
    lambda parts, end: [*map(THOUGHT, parts), *end], call_bodies, st.sampled_from([[ThinkingEnd()], []])
)
texts = st.builds(lambda parts: [SAID(part) for part in parts], call_bodies)
outputs = st.lists(st.one_of(thoughts, texts, calls(), st.just([Malformed("junk")])), max_size=5)
ends = st.sampled_from(
    [
        *([replace(FINISHED, reason=r, error="it burned" if r == "error" else None)] for r in StopReason.__args__),
        [],  # a stream that just ends
        [EngineDown("The engine process died.", "Ask again.")],
        [ZeroDivisionError("a bug")],
    ]
)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    flat = [piece for part in draw(outputs) for piece in part]
    cuts = draw(st.lists(st.integers(0, len(flat)), max_size=6).map(sorted))
    grouped = [flat[a:b] for a, b in zip([0, *cuts], [*cuts, len(flat)], strict=True)]
    last = draw(st.integers(0, len(grouped) - 1))
    stop = draw(st.sampled_from([(), ("ab",), ("b\na", "aa")]))
    return Scene(grouped[:last], grouped[last], draw(ends), stop, together=draw(st.booleans()))


@given(scenes())
def test_the_events_of_any_output_with_any_end_keep_the_laws(scene: Scene) -> None:
    try:
        events = scene.play()
    except (EngineDown, GrammarFailed):
        assert not scene.script, "a refusal comes in place of the first event only"
    else:
        check_laws(events)


@given(scenes(), st.integers(0, 8))
def test_a_turn_cancelled_anywhere_keeps_the_laws(scene: Scene, after: int) -> None:
    async def cancelled() -> list[Event]:
        turn, _ = scene.turn()
        events: list[Event] = []
        async for event in turn:
            events.append(event)
            if len(events) == after:
                turn.cancel()
        return events

    scene.end = [FINISHED]
    check_laws(asyncio.run(cancelled()))


@given(scenes())
def test_a_closed_turn_frees_its_request_and_has_no_more_events(scene: Scene) -> None:
    async def closed() -> None:
        turn, engine = scene.turn()
        await turn.aclose()
        assert engine.stream.closed
        assert [event async for event in turn] == []

    asyncio.run(closed())


def test_thinking_comes_before_the_answer_and_hidden() -> None:
    assert play(THOUGHT("hm"), THOUGHT("m"), ThinkingEnd(), SAID("Four"), SAID(".")) == [
        ItemAdded(0, "thinking"),
        ThinkingDelta(0, Hidden("hm")),
        ThinkingDelta(0, Hidden("m")),
        ItemDone(0, Thinking("hmm"), "completed"),
        ItemAdded(1, "message"),
        TextDelta(1, "Four"),
        TextDelta(1, "."),
        ItemDone(1, answer("Four."), "completed"),
        TurnDone("completed", Usage(10, 4, 7, 3)),
    ]


def test_the_events_of_a_thinking_turn_print_none_of_it() -> None:
    assert "secret" not in repr(play(THOUGHT("secret"), ThinkingEnd(), SAID("Four")))


def test_parallel_calls_get_ids_of_their_own() -> None:
    first, second = (
        item
        for item, _ in items(
            play(
                ToolCallStart(0, "add"), ARGUMENTS(0, "{}"), ToolCallEnd(0, "{}"),
                ToolCallStart(1, "look"), ARGUMENTS(1, "{}"), ToolCallEnd(1, "{}"),
            )
        )
    )  # fmt: skip
    assert (first.name, second.name) == ("add", "look")
    assert first.call_id != second.call_id


def test_a_call_that_is_no_call_fails_the_turn_and_stops_the_engine() -> None:
    turn, engine = Scene([[SAID("I will look.")], [Malformed("<junk>")], [SAID("never read")]], [], [FINISHED]).turn()
    result = asyncio.run(turn.answer())
    assert items(list(result.items)) == [(answer("I will look."), "completed")]
    assert result.done.status == "failed"
    assert result.done.error is not None
    assert result.done.error.code == "malformed_tool_call"
    assert "<junk>" not in repr(result)
    assert engine.stream.cancelled
    with pytest.raises(EngineError, match="tool call"):
        result.checked()


def test_a_call_of_a_custom_tool_is_announced_as_one() -> None:
    events = play(ToolCallStart(0, "look", custom=True), ARGUMENTS(0, "for it"), ToolCallEnd(0, "for it"))
    check_laws(events)
    added, done_ = (event for event in events if isinstance(event, ItemAdded | ItemDone))
    assert isinstance(added, ItemAdded)
    assert (added.kind, added.name, added.custom) == ("tool_call", "look", True)
    assert isinstance(done_, ItemDone)
    assert isinstance(done_.item, ToolCall)
    assert (done_.item.arguments, done_.item.custom) == ("for it", True)


def test_a_call_of_a_tool_that_was_not_offered_fails_the_turn_without_an_item() -> None:
    events = play(ToolCallStart(0, "rm"), ARGUMENTS(0, "{}"), ToolCallEnd(0, "{}"))
    assert [type(event) for event in events] == [TurnDone]
    assert done(events).status == "failed"


def test_a_call_that_the_token_limit_cut_is_incomplete_and_nobodys_mistake() -> None:
    begun: Script = [[ToolCallStart(0, "add")], [ARGUMENTS(0, '{"a": 1')]]
    events = Scene(begun, [Malformed('{"a": 1')], [replace(FINISHED, reason="max_tokens")]).play()
    assert [status for _, status in items(events)] == ["incomplete"]
    assert (done(events).status, done(events).incomplete_reason) == ("incomplete", "max_output_tokens")
    assert Answer.of(events).tool_calls == ()
    assert Answer.of(events).history == ()


def test_an_answer_that_the_token_limit_cut_is_incomplete() -> None:
    events = play(SAID("Once upon a"), reason="max_tokens")
    assert items(events) == [(answer("Once upon a"), "incomplete")]
    assert Answer.of(events).history == (answer("Once upon a"),)


def test_a_model_that_stops_while_it_thinks_has_not_answered() -> None:
    events = play(THOUGHT("hm"))
    assert items(events) == [(Thinking("hm"), "incomplete")]
    assert (done(events).status, done(events).incomplete_reason) == ("incomplete", "no_answer")


def test_a_model_that_says_nothing_gives_an_empty_message() -> None:
    assert items(play()) == [(answer(""), "completed")]
    assert items(play(THOUGHT("hm"), ThinkingEnd()))[-1] == (answer(""), "completed")


def test_the_engines_failure_is_the_turns() -> None:
    failed = replace(FINISHED, reason="error", error="The engine process died.")
    events = Scene([[SAID("Fo")]], [], [failed]).play()
    assert items(events) == [(answer("Fo"), "incomplete")]
    assert done(events).error == TurnError("engine_error", "The engine process died.")


def test_a_bug_of_ours_fails_the_turn_and_is_logged_without_its_message(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `caplog` listens at the root logger; the command line keeps our lines from it.
    monkeypatch.setattr(logging.getLogger(logs.ROOT), "propagate", True)
    caplog.set_level(logging.WARNING, logs.ROOT)

    class Broken(ScriptedParser):
        def feed(self, token_ids: Iterable[int]) -> list[Piece]:
            raise KeyError("secret thought")

    scene = Scene([[SAID("Fo")]], [], [FINISHED])
    turn, engine = scene.turn()
    turn._assembly._parser = Broken([], [])  # type: ignore[attr-defined]
    result = asyncio.run(turn.answer())
    assert result.done.error is not None
    assert result.done.error.code == "internal_error"
    assert engine.stream.cancelled
    record = caplog.records[0]
    assert (record.levelname, record.getMessage()) == ("ERROR", "turn broke")
    assert "KeyError" in record.__dict__["trace"]
    assert "secret thought" not in f"{caplog.text} {record.__dict__}"


def test_a_refusal_takes_the_place_of_the_first_event() -> None:
    refused = GrammarError("The schema cannot be compiled.", "Mend it.")
    with pytest.raises(GrammarError):
        Scene([], [], [refused]).play()


def test_a_wait_for_the_next_event_can_be_cancelled_and_taken_up_again() -> None:
    class Slow(ScriptedStream):
        gate: asyncio.Event

        async def __anext__(self) -> EngineEvent:
            await self.gate.wait()
            return await super().__anext__()

    async def impatient() -> list[Event]:
        turn, engine = Scene([[SAID("Four")]], [], [FINISHED]).turn()
        turn._stream = slow = Slow(engine.stream._events)  # type: ignore[attr-defined]
        slow.gate = asyncio.Event()
        waiting = asyncio.ensure_future(anext(turn))
        await asyncio.wait({waiting}, timeout=0)
        waiting.cancel()
        await asyncio.wait({waiting})
        slow.gate.set()
        return [event async for event in turn]

    events = asyncio.run(impatient())
    check_laws(events)
    assert Answer.of(events).text == "Four"


def test_a_stop_string_is_cut_off_wherever_its_pieces_fall() -> None:
    for script in ("one END two", *(["one ", "END", " two"], ["one E", "N", "D two"], list("one END two"))):
        events = play(*map(SAID, [script] if isinstance(script, str) else script), stop=("END",))
        assert Answer.of(events).text == "one "
        assert done(events).status == "completed"


def test_a_stop_string_in_thinking_or_in_a_call_does_not_stop() -> None:
    arguments = '{"a": "END"}'
    events = play(
        THOUGHT("END"), ThinkingEnd(), SAID("so E"), ToolCallStart(0, "add"), ARGUMENTS(0, arguments),
        ToolCallEnd(0, arguments), SAID("ND"), stop=("END",),
    )  # fmt: skip
    assert [item for item, _ in items(events)][1:2] == [answer("so E")]
    assert Answer.of(events).text == "so END"
    check_laws(events)


@given(st.text("ab", max_size=12), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_a_cut_does_not_depend_on_how_the_text_is_split(text: str, strings: list[str], data: st.DataObject) -> None:
    def cut(parts: Iterable[str]) -> str:
        stops = StopCutter(tuple(strings))
        return "".join([*map(stops.feed, parts), stops.flush()])

    points = data.draw(st.lists(st.integers(0, len(text)), max_size=5).map(sorted))
    split = [text[a:b] for a, b in zip([0, *points], [*points, len(text)], strict=True)]
    assert cut(split) == cut([text]) == cut(text)
    assert not any(string in cut([text]) for string in strings)


def test_log_probabilities_are_those_of_the_visible_text_only() -> None:
    script: Script = [[THOUGHT("hm")], [ThinkingEnd()], [SAID("Fo")], [], [SAID("ur END")]]
    events = Scene(script, [], [FINISHED], stop=("END",), logprobs=True).play()
    shown = [(event.text, event.logprobs) for event in events if isinstance(event, TextDelta)]
    assert shown == [
        ("Fo", (TokenLogprob(b"2", -2.0),)),
        ("ur ", (TokenLogprob(b"3", -3.0), TokenLogprob(b"4", -4.0))),
    ]


@given(scenes())
def test_no_log_probability_is_lost_or_told_twice(scene: Scene) -> None:
    scene.logprobs, scene.end = True, [FINISHED]
    told = [entry.token_bytes for event in scene.play() if isinstance(event, TextDelta) for entry in event.logprobs]
    assert told == sorted(set(told), key=told.index)
    hidden = {n for n, entry in enumerate(scene.script) if entry and not any(isinstance(p, SAID) for p in entry)}
    assert not hidden & {int(name) for name in told}


def test_events_without_an_end_are_no_answer() -> None:
    with pytest.raises(RequestError):
        Answer.of(play(SAID("Four"))[:-1])
