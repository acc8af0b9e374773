"""The scripted engine: says what its script says, by the rules of a real engine."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.protocol import Engine, EngineEvent, Finished, Limits, Request, ThinkingBudget, TokenEvent
from forethought.engine.script import End, Fail, Hang, Pause, Playback, Say, Script, Step, in_turn
from forethought.engine.scripted import ScriptedEngine
from forethought.errors import (
    CheckpointError,
    ContextLengthError,
    EngineDown,
    ForethoughtError,
    GrammarError,
    QueueFull,
    RequestError,
)

T = TypeVar("T")

STOP, THINK, THOUGHT = 0, 1, 2
DOWN = EngineDown("The engine process died.", "Ask again.")


def request(
    id: str = "r", *, most: int = 100, thinking: ThinkingBudget | None = None, stops: tuple[int, ...] = (STOP,)
) -> Request:
    return Request(id, (7, 8, 9), Limits(most, stops, thinking=thinking))


def budget(tokens: int, *, open_at_start: bool = True, reserve: int = 0) -> ThinkingBudget:
    return ThinkingBudget(tokens, THINK, (THOUGHT,), open_at_start, reserve)


def run(script: Script, body: Callable[[ScriptedEngine], Awaitable[T]], **options: Any) -> T:
    async def main() -> T:
        engine = ScriptedEngine(script, **options)
        await engine.start()
        return await body(engine)

    return asyncio.run(main())


def play(*steps: Step, of: Request | None = None, **options: Any) -> tuple[list[int], Finished]:
    """The tokens of one request, and how it ended."""

    async def body(engine: ScriptedEngine) -> list[EngineEvent]:
        return [event async for event in engine.submit(of or request())]

    *tokens, last = run(lambda _: steps, body, **options)
    assert isinstance(last, Finished)
    assert last.completion_tokens == len(tokens)
    return [event.token_id for event in tokens if isinstance(event, TokenEvent)], last


def test_it_is_an_engine() -> None:
    engine: Engine = ScriptedEngine(in_turn(()))
    assert engine.digest.startswith("sha256:")


def test_it_says_what_the_script_says_and_then_stops() -> None:
    tokens, last = play(Say((5, 6)), Say((7,)))
    assert tokens == [5, 6, 7, STOP]
    assert last == Finished("stop_token", prompt_tokens=3, cached_tokens=0, completion_tokens=4)


def test_a_stop_token_ends_the_request_wherever_the_script_has_it() -> None:
    assert play(Say((5, STOP, 6)))[0] == [5, STOP]


def test_without_stop_tokens_a_script_that_is_over_just_ends() -> None:
    tokens, last = play(Say((5,)), of=request(stops=()))
    assert (tokens, last.reason) == ([5], "stop_token")


def test_the_token_limit_and_the_context_end_a_script_without_end() -> None:
    def counting(_: Request) -> Iterator[Step]:
        while True:
            yield Say((5,))

    async def body(engine: ScriptedEngine) -> list[list[EngineEvent]]:
        return [[event async for event in engine.submit(request(most=most))] for most in (4, 1000)]

    short, long = run(counting, body, context_length=20)
    assert (len(short), short[-1].reason) == (5, "max_tokens")  # type: ignore[union-attr]
    assert (len(long), long[-1].reason) == (18, "context")  # type: ignore[union-attr]


@pytest.mark.parametrize("reason", ["grammar", "context", "error"])
def test_an_end_may_be_of_any_kind(reason: Any) -> None:
    _, last = play(Say((5,)), End(reason, "it burned" if reason == "error" else None, cached_tokens=2))
    assert last == Finished(reason, 3, 2, 1, error="it burned" if reason == "error" else None)


def test_thinking_beyond_its_budget_is_left_out_of_thinking_and_answer() -> None:
    tokens, last = play(Say((11, 12, 13, 14, THOUGHT, 21, 22)), of=request(thinking=budget(2)))
    assert tokens == [11, 12, THOUGHT, 21, 22, STOP]
    assert (last.thinking_tokens, last.thinking_closed) == (2, "budget")


def test_a_forced_end_says_that_it_is_forced() -> None:
    async def body(engine: ScriptedEngine) -> list[EngineEvent]:
        return [event async for event in engine.submit(request(thinking=budget(1)))]

    events = run(in_turn([Say((11, 12, THOUGHT, 21))]), body)
    assert [event.forced for event in events if isinstance(event, TokenEvent)] == [False, True, False, False]


def test_near_the_token_limit_thinking_is_closed_for_an_answer() -> None:
    tokens, last = play(Say((*range(10, 40), THOUGHT, 41, 42, 43)), of=request(most=6, thinking=budget(99, reserve=2)))
    assert tokens == [10, 11, 12, THOUGHT, 41, 42]
    assert (last.reason, last.thinking_closed) == ("max_tokens", "limit")


def test_a_stop_inside_the_thinking_ends_the_thinking_only() -> None:
    tokens, last = play(Say((11, STOP, 21)), of=request(thinking=budget(9)))
    assert tokens == [11, THOUGHT, 21, STOP]
    assert last.thinking_closed == "stop"


def test_an_end_of_several_tokens_is_forced_whole() -> None:
    two = ThinkingBudget(1, THINK, (3, THOUGHT))
    assert play(Say((11, 12, 3, THOUGHT, 21)), of=request(thinking=two))[0] == [11, 3, THOUGHT, 21, STOP]
    assert play(Say((STOP, 21)), of=request(thinking=two))[0] == [3, THOUGHT, 21, STOP]


def test_a_script_that_only_thinks_is_made_to_answer_nothing() -> None:
    def brooding(_: Request) -> Iterator[Step]:
        while True:
            yield Say((11,))

    async def body(engine: ScriptedEngine) -> list[EngineEvent]:
        return [event async for event in engine.submit(request(thinking=budget(3)))]

    *tokens, last = run(brooding, body)
    assert [event.token_id for event in tokens] == [11, 11, 11, THOUGHT, STOP]  # type: ignore[union-attr]
    assert last.reason == "stop_token"  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [EngineDown("dead"), QueueFull("full"), GrammarError("bad")])
def test_what_the_script_raises_refuses_the_request(error: ForethoughtError) -> None:
    def refusing(_: Request) -> Iterable[Step]:
        raise error

    async def body(engine: ScriptedEngine) -> None:
        with pytest.raises(type(error)):
            engine.submit(request())
        assert engine.metrics().running == 0

    run(refusing, body)


@pytest.mark.parametrize("how", ["step", "generator"])
def test_a_failure_before_the_first_event_takes_its_place(how: str) -> None:
    def generator() -> Iterator[Step]:
        yield Pause(0.001)
        raise DOWN

    async def body(engine: ScriptedEngine) -> None:
        stream = engine.submit(request())
        with pytest.raises(EngineDown):
            await anext(stream)
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert engine.metrics().running == 0

    run(lambda _: [Fail(DOWN)] if how == "step" else generator(), body)


def test_a_failure_later_on_is_an_end() -> None:
    tokens, last = play(Say((5, 6)), Fail(DOWN))
    assert (tokens, last.reason, last.error) == ([5, 6], "error", str(DOWN))


def test_a_request_that_hangs_ends_when_it_is_cancelled() -> None:
    async def body(engine: ScriptedEngine) -> list[EngineEvent]:
        stream = engine.submit(request())
        first = await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.wait({waiting}, timeout=0)
        assert not waiting.done()
        engine.cancel("r")
        return [first, await waiting, *[event async for event in stream]]

    assert run(in_turn([Say((5,)), Hang()]), body) == [TokenEvent(5), Finished("cancelled", 3, 0, 1)]


@given(after=st.integers(0, 6))
def test_a_request_can_be_cancelled_after_any_event(after: int) -> None:
    async def body(engine: ScriptedEngine) -> list[EngineEvent]:
        stream, events = engine.submit(request()), list[EngineEvent]()
        if not after:
            engine.cancel("r")
        async for event in stream:
            events.append(event)
            if len(events) == after:
                engine.cancel("r")
        assert engine.metrics().cancelled == (after < 4)
        return events

    *tokens, last = run(in_turn([Say((5, 6, 7))]), body)
    assert [event.token_id for event in tokens] == [5, 6, 7, STOP][: len(tokens)]  # type: ignore[union-attr]
    # What had ended when it was cancelled ended as it did.
    assert last.reason == ("cancelled" if after < 4 else "stop_token")  # type: ignore[union-attr]


def test_a_stream_that_is_closed_or_forgotten_frees_its_request() -> None:
    async def body(engine: ScriptedEngine) -> None:
        closed, forgotten = engine.submit(request("a")), engine.submit(request("b"))
        assert engine.metrics().running == 2
        await closed.aclose()
        await closed.aclose()
        assert [event async for event in closed] == []
        del forgotten
        gc.collect()
        assert (engine.metrics().running, engine.metrics().cancelled) == (0, 1)
        engine.submit(request("a"))

    run(in_turn([Hang()]), body)


def test_closing_wakes_a_reader() -> None:
    async def body(engine: ScriptedEngine) -> None:
        stream = engine.submit(request())
        waiting = asyncio.ensure_future(anext(stream, None))
        await asyncio.sleep(0)
        await stream.aclose()
        assert await waiting is None

    run(in_turn([Hang()]), body)


def test_a_wait_can_be_cancelled_and_taken_up_again() -> None:
    async def body(engine: ScriptedEngine) -> list[EngineEvent]:
        stream = engine.submit(request())
        for _ in range(3):
            waiting = asyncio.ensure_future(anext(stream))
            await asyncio.wait({waiting}, timeout=0)
            waiting.cancel()
            await asyncio.wait({waiting})
        return [event async for event in stream]

    events = run(in_turn([Pause(0.01), Say((5,), every=0.001)]), body)
    assert [event.token_id for event in events[:-1]] == [5, STOP]  # type: ignore[union-attr]


def test_when_a_token_is_due_follows_from_the_script_and_not_from_its_reader() -> None:
    steps = (Pause(2.0), Say((5, 6), every=1.0), Pause(0.5), Say((7,)))
    playback = Playback(request(), steps, context_length=100, began=100.0)
    due: list[float] = []
    event: EngineEvent | None = None
    while not isinstance(event, Finished):
        due.append(playback.due())
        event = playback.take()
    assert due == [103.0, 104.0, 104.5, 104.5, 104.5]  # the last two: the stop token and the end


def test_requests_that_wait_for_the_same_tick_are_woken_together() -> None:
    async def body(engine: ScriptedEngine) -> int:
        armed = 0
        loop = asyncio.get_running_loop()
        call_at = loop.call_at

        def counting(*args: Any, **options: Any) -> asyncio.TimerHandle:
            nonlocal armed
            armed += 1
            return call_at(*args, **options)

        loop.call_at = counting  # type: ignore[method-assign]
        streams = [engine.submit(request(str(n))) for n in range(50)]
        await asyncio.gather(*(anext(stream) for stream in streams))
        return armed

    assert run(in_turn([Say((5,), every=0.05)]), body, tick=0.5) <= 2


def test_concurrent_requests_take_turns() -> None:
    said: list[str] = []

    async def read(engine: ScriptedEngine, id: str) -> None:
        async for _ in engine.submit(request(id)):
            said.append(id)

    async def body(engine: ScriptedEngine) -> None:
        await asyncio.gather(read(engine, "a"), read(engine, "b"))

    run(in_turn([Say((5, 6))]), body)
    assert said == ["a", "b"] * 4


def test_a_table_of_scripts_answers_one_request_after_another_and_the_last_goes_on() -> None:
    async def body(engine: ScriptedEngine) -> list[int]:
        firsts = [await anext(engine.submit(request(str(n)))) for n in range(4)]
        return [event.token_id for event in firsts if isinstance(event, TokenEvent)]

    assert run(in_turn([Say((5,))], iter([Say((6,))])), body) == [5, 6, 6, 6]


def test_log_probabilities_come_when_they_are_asked_for() -> None:
    asked = Request("r", (7,), Limits(10, (STOP,)), logprobs=2)

    async def body(engine: ScriptedEngine) -> EngineEvent:
        return await anext(engine.submit(asked))

    token = run(in_turn([Say((5,))]), body)
    assert isinstance(token, TokenEvent)
    assert token.logprob is not None
    assert [one for one, _ in token.top_logprobs] == [5, 0]
    assert token.logprob == token.top_logprobs[0][1] > token.top_logprobs[1][1]


def test_what_no_engine_takes_is_refused_in_the_same_words() -> None:
    async def body(engine: ScriptedEngine) -> None:
        stream = engine.submit(request())
        with pytest.raises(RequestError, match="in flight"):
            engine.submit(request())
        with pytest.raises(ContextLengthError):
            engine.submit(Request("long", (1,) * 8192, Limits(1)))
        with pytest.raises(RequestError, match="stop strings"):
            engine.submit(Request("strings", (1,), Limits(1, stop_strings=("a",))))
        with pytest.raises(CheckpointError, match="no tensor w"):
            await engine.update_weights({"w": torch.zeros(1)})
        await stream.aclose()

    run(in_turn([Hang()]), body)


def test_it_takes_requests_between_its_start_and_its_end_only() -> None:
    async def body() -> None:
        engine = ScriptedEngine(in_turn([Hang()]))
        with pytest.raises(EngineDown, match="not been started"):
            engine.submit(request())
        assert not engine.ready
        await engine.start()
        assert engine.ready
        stream = engine.submit(request())
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await engine.close()
        await engine.close()
        assert await waiting == Finished("cancelled", 3, 0, 0)
        with pytest.raises(EngineDown, match="closed"):
            engine.submit(request())
        with pytest.raises(EngineDown, match="closed"):
            await engine.start()

    asyncio.run(body())


tokens = st.lists(st.integers(0, 6), max_size=12).map(tuple)
steps = st.lists(
    st.one_of(
        st.builds(Say, tokens),
        st.builds(End, st.sampled_from(["grammar", "error", "context"])),
        st.builds(Fail, st.just(DOWN)),
    ),
    max_size=4,
)
budgets = st.none() | st.builds(
    ThinkingBudget,
    st.integers(0, 6),
    st.just(THINK),
    st.sampled_from([(THOUGHT,), (3, THOUGHT)]),
    st.booleans(),
    st.integers(0, 4),
)


@given(steps=steps, most=st.integers(1, 12), thinking=budgets, context=st.integers(4, 20))
def test_any_script_is_played_by_the_rules(
    steps: list[Step], most: int, thinking: ThinkingBudget | None, context: int
) -> None:
    asked = request(most=most, thinking=thinking)
    try:
        said, last = play(*steps, of=asked, context_length=context)
    except EngineDown:
        return
    assert len(said) <= min(most, context - 3)
    assert STOP not in said[:-1]
    assert (last.reason == "stop_token") == (STOP in said)
    if last.reason == "max_tokens":
        assert len(said) == most
    if thinking is not None:
        assert last.thinking_tokens <= max(thinking.max_tokens, 0)


def test_the_same_script_gives_the_same_events() -> None:
    script = [Say((11, 12, 13)), Pause(0.001), Say((THOUGHT, 5)), Fail(DOWN)]
    assert play(*script, of=request(thinking=budget(2))) == play(*script, of=request(thinking=budget(2)))
