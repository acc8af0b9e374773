"""The engine in this process: streams for event loops, blocking calls for the others, and an end for every request."""

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from forethought.engine.core import EngineCore
from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Completion, Engine, EngineEvent, Finished, Grammar, Request, TokenEvent
from forethought.errors import (
    CheckpointError,
    ContextLengthError,
    EngineDown,
    EngineError,
    GrammarError,
    QueueFull,
    RequestError,
)
from forethought.model.checkpoint import Checkpoint
from forethought.settings import EngineSettings, Settings
from runner_double import TOKENIZER, VOCAB, HashRunner, complete, make_core, make_request

PROMPT = list(range(40))


class Gate(HashRunner):
    """The double, held back: each step waits until the test lets it through."""

    def __init__(self) -> None:
        super().__init__(64)
        self.open = threading.Event()
        self.entered = threading.Event()

    def forward(self, batch: Any) -> torch.Tensor:
        self.entered.set()
        assert self.open.wait(20)
        return super().forward(batch)


def make_engine(core: EngineCore | None = None, **settings: object) -> NativeEngine:
    core = core or make_core(**settings)[0]  # type: ignore[arg-type]
    everything = Settings(engine=EngineSettings.model_validate(settings))
    return NativeEngine(cast(Checkpoint, None), everything, build=lambda *_: core)


def gated(**settings: object) -> tuple[NativeEngine, Gate]:
    gate = Gate()
    return make_engine(EngineCore(gate, TOKENIZER, EngineSettings.model_validate(settings), 512), **settings), gate


def expected(request: Request) -> tuple[int, ...]:
    return complete(make_core()[0], request)[0].token_ids


def with_engine(test: Callable[[NativeEngine], Awaitable[None]], engine: NativeEngine | None = None) -> None:
    async def main() -> None:
        running = engine or make_engine()
        await running.start()
        try:
            await asyncio.wait_for(test(running), 30)
        finally:
            await running.close()

    asyncio.run(main())


async def read(stream: AsyncIterator[EngineEvent]) -> list[EngineEvent]:
    return [event async for event in stream]


def as_completion(request: Request, events: list[EngineEvent]) -> Completion:
    *tokens, finished = events
    assert isinstance(finished, Finished)
    return Completion(request.id, tuple(cast(list[TokenEvent], tokens)), finished)


def test_it_is_an_engine() -> None:
    engine: Engine = make_engine()
    assert engine


def test_many_streams_at_once_say_what_each_would_alone() -> None:
    async def test(engine: NativeEngine) -> None:
        requests = [make_request(f"r{i}", [i, *PROMPT], 12) for i in range(30)]
        streams = [engine.submit(request) for request in requests]
        for request, events in zip(requests, await asyncio.gather(*map(read, streams)), strict=True):
            completion = as_completion(request, events)
            assert completion.token_ids == expected(request)
            assert completion.finished.reason == "max_tokens"

    with_engine(test)


def test_refusals_are_raised_by_submit() -> None:
    async def test(engine: NativeEngine) -> None:
        good = make_request("r", PROMPT, 2)
        for change, error in (
            ({"prompt_ids": ()}, RequestError),
            ({"prompt_ids": (1,) * 600}, ContextLengthError),
            ({"grammar": Grammar("regex", "(")}, GrammarError),
        ):
            with pytest.raises(error):
                engine.submit(replace(good, **change))  # type: ignore[arg-type]
        assert len(await read(engine.submit(good))) == 3

    with_engine(test)


def test_the_queue_is_bounded_and_ids_are_unique() -> None:
    engine, gate = gated(max_queued=2, max_running=1)

    async def test(engine: NativeEngine) -> None:
        streams = [engine.submit(make_request("running", PROMPT, 2))]
        await asyncio.to_thread(gate.entered.wait, 20)
        # While the gate is shut: once it is open, a request may be over before the next line.
        with pytest.raises(RequestError, match="in flight"):
            engine.submit(make_request("running", PROMPT, 2))
        streams += [engine.submit(make_request(f"r{i}", PROMPT, 2)) for i in range(2)]
        with pytest.raises(QueueFull, match="2 requests are waiting"):
            engine.submit(make_request("one too many", PROMPT, 2))
        assert engine.metrics().queued == 2
        gate.open.set()
        assert all(len(events) == 3 for events in await asyncio.gather(*map(read, streams)))

    with_engine(test, engine)


def test_cancelling_ends_the_stream_and_frees_the_memory() -> None:
    async def test(engine: NativeEngine) -> None:
        stream = engine.submit(make_request("r", PROMPT, 450))
        assert isinstance(await anext(stream), TokenEvent)
        engine.cancel("r")
        engine.cancel("unknown")
        events = await read(stream)
        assert isinstance(events[-1], Finished)
        assert events[-1].reason == "cancelled"
        assert engine.metrics().free_blocks == 64

    with_engine(test)


@pytest.mark.parametrize("leave", ["close", "forget"])
def test_a_stream_that_is_left_cancels_its_request(leave: str) -> None:
    engine, gate = gated()

    async def test(engine: NativeEngine) -> None:
        stream = engine.submit(make_request("r", PROMPT, 400))
        await asyncio.to_thread(gate.entered.wait, 20)
        if leave == "close":
            await stream.aclose()
            await stream.aclose()
        else:
            del stream
            gc.collect()
            await asyncio.sleep(0)
        gate.open.set()
        other = await read(engine.submit(make_request("other", [1], 3)))
        assert len(other) == 4
        metrics = engine.metrics()
        assert (metrics.cancelled, metrics.running, metrics.free_blocks) == (1, 0, 64)

    with_engine(test, engine)


def test_a_new_request_may_use_the_id_of_one_whose_stream_is_still_held() -> None:
    async def test(engine: NativeEngine) -> None:
        old = engine.submit(make_request("r", PROMPT, 1))
        await read(old)
        new = engine.submit(make_request("r", PROMPT, 5))
        await old.aclose()
        assert as_completion(make_request("r", PROMPT), await read(new)).finished.reason == "max_tokens"

    with_engine(test)


def test_closing_ends_what_is_in_flight() -> None:
    engine, gate = gated()

    async def main() -> None:
        await engine.start()
        streams = [engine.submit(make_request(f"r{i}", PROMPT, 300)) for i in range(3)]
        await asyncio.to_thread(gate.entered.wait, 20)
        closing = asyncio.create_task(engine.close())
        while not engine._closing:
            await asyncio.sleep(0)
        gate.open.set()
        await closing
        await engine.close()
        for stream in streams:
            events = await read(stream)
            assert isinstance(events[-1], Finished)
            assert events[-1].reason == "cancelled"
            assert events[-1].completion_tokens == len(events) - 1
        with pytest.raises(EngineDown, match="closed"):
            engine.submit(make_request("late", PROMPT))
        with pytest.raises(EngineDown, match="closed"):
            await engine.start()

    asyncio.run(main())


def test_nothing_works_before_the_start() -> None:
    engine = make_engine()
    for attempt in (lambda: engine.digest, lambda: engine.context_length, engine.metrics, lambda: engine.generate([])):
        with pytest.raises(EngineDown, match="not been started"):
            attempt()


def test_a_start_that_fails_can_be_tried_again() -> None:
    attempts: list[int] = []

    def build(*_: object) -> EngineCore:
        attempts.append(1)
        if len(attempts) == 1:
            raise CheckpointError("The weights are missing.", "Pull them.")
        return make_core()[0]

    engine = NativeEngine(cast(Checkpoint, None), Settings(), build=build)
    with pytest.raises(CheckpointError):
        engine.open()
    with engine:
        assert engine.digest == "sha256:double"
        assert engine.context_length == 512


def test_a_core_that_breaks_ends_every_stream() -> None:
    core = make_core()[0]

    def broken() -> list[tuple[str, EngineEvent]]:
        raise AssertionError("a bug")

    async def test(engine: NativeEngine) -> None:
        stream = engine.submit(make_request("r", PROMPT, 400))
        await anext(stream)
        core.step = broken  # type: ignore[method-assign]
        events = await read(stream)
        assert isinstance(events[-1], Finished)
        assert events[-1].reason == "error"
        assert "a bug" in (events[-1].error or "")
        with pytest.raises(EngineDown, match="a bug"):
            engine.submit(make_request("next", PROMPT))

    with_engine(test, make_engine(core))


def test_new_weights_take_effect_between_steps() -> None:
    async def test(engine: NativeEngine) -> None:
        request = make_request("r", PROMPT, 4)
        await read(engine.submit(request))
        await engine.update_weights({"salt": torch.tensor(99)})
        completion = as_completion(request, await read(engine.submit(request)))
        fresh, runner = make_core()
        runner.salt = 99
        assert completion == complete(fresh, request)[0]
        assert engine.digest != "sha256:double"
        with pytest.raises(CheckpointError):
            await engine.update_weights({"pepper": torch.tensor(1)})
        assert await read(engine.submit(request))

    with_engine(test)


def test_generating_without_an_event_loop() -> None:
    with make_engine(max_queued=4, max_running=3) as engine:
        requests = [make_request(f"r{i}", [i % VOCAB, *PROMPT], 6) for i in range(20)]
        completions = engine.generate(requests)
        assert [completion.request_id for completion in completions] == [request.id for request in requests]
        assert [completion.token_ids for completion in completions] == [expected(request) for request in requests]
        assert engine.generate([]) == []


def test_generating_refuses_before_it_begins() -> None:
    with make_engine() as engine:
        good = make_request("good", PROMPT, 2)
        with pytest.raises(RequestError, match="'good' is in flight"):
            engine.generate([good, good])
        with pytest.raises(ContextLengthError):
            engine.generate([good, make_request("long", [1] * 600)])
        assert engine.metrics().requests == 0


def test_a_failure_while_generating_is_data() -> None:
    core, runner = make_core()
    runner.poison = 7
    with make_engine(core) as engine:
        bad, good = engine.generate([make_request("bad", [1, 7], 3), make_request("good", PROMPT, 3)])
    assert bad.finished.reason == "error"
    assert good.finished.reason == "max_tokens"


def test_closing_lets_go_of_who_waits_for_completions() -> None:
    engine, gate = gated()
    engine.open()
    result: list[Completion] = []
    waiting = threading.Thread(target=lambda: result.extend(engine.generate([make_request("r", PROMPT, 300)])))
    waiting.start()
    assert gate.entered.wait(20)
    closing = threading.Thread(target=engine.shutdown)
    closing.start()
    while not engine._closing:
        closing.join(0.001)
    gate.open.set()
    for thread in (closing, waiting):
        thread.join(20)
    assert result[0].finished.reason == "cancelled"


def test_who_waits_for_completions_hears_of_a_step_that_hangs() -> None:
    engine, gate = gated(step_timeout=0.5)
    with engine:
        with pytest.raises(EngineError, match=r"No step has ended within 0.5 s\. Close.*engine\.step_timeout"):
            engine.generate([make_request("r", PROMPT, 300)])
        gate.open.set()
        assert engine.generate([make_request("next", PROMPT, 3)])[0].finished.reason == "max_tokens"
        assert engine.metrics().cancelled == 1


def test_many_steps_may_take_longer_than_one() -> None:
    core, _ = make_core()
    step = core.step

    def slow() -> list[tuple[str, EngineEvent]]:
        threading.Event().wait(0.02)
        return step()

    core.step = slow  # type: ignore[method-assign]
    with make_engine(core, step_timeout=0.5) as engine:
        assert engine.generate([make_request("r", PROMPT, 60)])[0].finished.reason == "max_tokens"


def test_an_update_behind_a_step_that_hangs_is_given_up_and_never_made() -> None:
    engine, gate = gated(step_timeout=0.5)
    with engine:

        def ask() -> None:
            with pytest.raises(EngineError, match="No step has ended"):
                engine.generate([make_request("r", PROMPT, 1)])

        waiting = threading.Thread(target=ask)
        waiting.start()
        assert gate.entered.wait(20)
        with pytest.raises(EngineError, match="No step has ended"):
            engine.replace_weights({"salt": torch.tensor(99)})
        waiting.join(20)
        gate.open.set()
        assert engine.generate([make_request("next", PROMPT, 3)])[0].finished.reason == "max_tokens"
        assert gate.salt == 0


def test_an_update_that_hangs_says_so() -> None:
    core, _ = make_core()
    release = threading.Event()

    def hang(_: object) -> None:
        assert release.wait(20)

    core.update_weights = hang  # type: ignore[method-assign]
    with make_engine(core, step_timeout=0.5, start_timeout=0.7) as engine:
        with pytest.raises(EngineError, match=r"No update has ended within 0.7 s.*engine\.start_timeout"):
            engine.replace_weights({"salt": torch.tensor(99)})
        release.set()
        assert engine.generate([make_request("next", PROMPT, 3)])[0].finished.reason == "max_tokens"


def test_a_step_that_outlasts_the_engine_is_ignored() -> None:
    engine, gate = gated(step_timeout=0.1)

    async def main() -> None:
        await engine.start()
        stream = engine.submit(make_request("r", PROMPT, 300))
        await asyncio.to_thread(gate.entered.wait, 20)
        await engine.close()
        (finished,) = await read(stream)
        assert isinstance(finished, Finished)
        assert finished.reason == "cancelled"
        gate.open.set()
        assert engine._thread
        await asyncio.to_thread(engine._thread.join, 20)
        assert not engine._thread.is_alive()
        with pytest.raises(EngineDown, match="closed"):
            engine.submit(make_request("late", PROMPT))

    asyncio.run(main())


def test_an_engine_that_breaks_after_it_was_closed_is_closed() -> None:
    engine, gate = gated(step_timeout=0.1)

    async def main() -> None:
        await engine.start()
        stream = engine.submit(make_request("r", PROMPT, 300))
        await asyncio.to_thread(gate.entered.wait, 20)
        core = engine._core
        assert core
        await engine.close()
        core.step = cast(Any, None)
        gate.open.set()
        assert engine._thread
        await asyncio.to_thread(engine._thread.join, 20)
        assert len(await read(stream)) == 1
        with pytest.raises(EngineDown, match="closed"):
            engine.submit(make_request("late", PROMPT))

    asyncio.run(main())


def test_a_late_cancel_does_not_end_a_new_request_with_the_same_id() -> None:
    engine, gate = gated()
    deliver = engine._deliver
    results: list[Completion] = []
    asked = threading.Event()
    new = threading.Thread(target=lambda: results.extend(engine.generate([make_request("r", PROMPT, 5)])))

    def deliver_and_ask_again(events: Any) -> None:
        deliver(events)
        if not asked.is_set() and events:
            new.start()
            while not engine._arrivals:
                new.join(0.001)
            asked.set()

    engine._deliver = deliver_and_ask_again  # type: ignore[method-assign]
    with engine:
        old = threading.Thread(target=lambda: engine.generate([make_request("r", PROMPT, 1)]))
        old.start()
        assert gate.entered.wait(20)
        engine.cancel("r")
        gate.open.set()
        assert asked.wait(20)
        for thread in (old, new):
            thread.join(20)
    assert results[0].finished.reason == "max_tokens"


def test_two_event_loops_share_an_engine() -> None:
    with make_engine() as engine:

        def use(name: str) -> None:
            async def main() -> list[EngineEvent]:
                return await read(engine.submit(make_request(name, PROMPT, 20)))

            results[name] = asyncio.run(main())

        results: dict[str, list[EngineEvent]] = {}
        threads = [threading.Thread(target=use, args=(name,)) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(results["one"]) == len(results["two"]) == 21


def test_a_loop_that_is_gone_does_not_disturb_the_others() -> None:
    engine, gate = gated()
    with engine:
        holder: list[object] = []

        async def main() -> None:
            holder.append(engine.submit(make_request("orphan", PROMPT, 400)))

        asyncio.run(main())
        gate.open.set()
        assert engine.generate([make_request("r", PROMPT, 30)])[0].finished.reason == "max_tokens"
        assert engine.metrics().cancelled == 1


def test_a_real_checkpoint_end_to_end(tiny_checkpoint: Path) -> None:
    settings = Settings(engine=EngineSettings(runner="torch", cache_tokens=1024))
    checkpoint = Checkpoint.open(tiny_checkpoint)
    prompt = checkpoint.tokenizer.encode("the model thinks")
    with NativeEngine(checkpoint, settings) as engine:
        requests = [make_request(f"r{i}", prompt, 10, grammar=Grammar("regex", "[a-z ]{5}")) for i in range(3)]
        completions = engine.generate(requests)
        assert engine.digest.startswith("sha256:")
    assert all(len(checkpoint.tokenizer.decode(completion.token_ids)) == 5 for completion in completions)
