"""The engine in a process of its own: what is answered, refused and cancelled. Over a core that counts, and at last
over the real one."""

import asyncio
import gc
import signal
from pathlib import Path

import pytest

import engine_double as double
from forethought.engine.native import NativeEngine
from forethought.engine.process import ProcessEngine
from forethought.engine.protocol import Grammar, Limits, Request, Sampling, TokenEvent
from forethought.engine.spec import EngineSpec
from forethought.errors import ContextLengthError, EngineDown, EngineError, GrammarError, QueueFull, RequestError
from forethought.model.checkpoint import Checkpoint
from forethought.settings import EngineSettings, Settings
from process_scenario import SpecMaker, answer, ask, begin, counted, last, read, running, scenario, send_signal


def test_a_request_is_answered_token_by_token_and_then_finished(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            assert (engine.digest, engine.context_length) == ("sha256:1", 128)
            assert await answer(engine, ask("a")) == counted(3)

    scenario(body)


def test_streams_that_run_together_do_not_mix(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            answers = await asyncio.gather(*(answer(engine, ask(str(i), max_tokens=i)) for i in range(1, 65)))
            assert answers == [counted(i) for i in range(1, 65)]

    scenario(body)


def test_log_probabilities_and_forced_tokens_arrive_as_they_were(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            events = await answer(engine, ask("a", max_tokens=1, logprobs=2))
            assert events[0] == TokenEvent(0, forced=True, logprob=-0.5, top_logprobs=((0, -0.5), (1, -1.5)))

    scenario(body)


def test_a_stream_that_nobody_reads_holds_up_nobody(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            unread = engine.submit(ask("unread", max_tokens=500))
            assert await answer(engine, ask("read")) == counted(3)
            assert await read(unread) == counted(500)

    scenario(body)


def test_a_reader_that_was_interrupted_can_go_on(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            stream = engine.submit(ask("a"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0)
            assert await read(stream) == counted(3)

    scenario(body)


def test_what_only_the_process_can_tell_is_raised_by_the_stream_and_the_rest_goes_on(
    counting_spec: SpecMaker,
) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            refused = engine.submit(ask("bad grammar", double.REFUSE))
            broken = engine.submit(ask("a bug", double.BREAK_ADD))
            fine = engine.submit(ask("fine"))
            with pytest.raises(GrammarError, match="cannot be compiled"):
                await anext(refused)
            with pytest.raises(EngineError, match="KeyError"):
                await anext(broken)
            assert await read(fine) == counted(3)
            assert await read(refused) == []

    scenario(body)


def test_a_prompt_that_fills_the_context_is_refused_at_once(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            with pytest.raises(ContextLengthError, match="128"):
                engine.submit(Request("a", (0,) * 128, Limits(1)))

    scenario(body)


def test_an_id_in_flight_is_refused_at_once(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            stream = engine.submit(ask("a"))
            with pytest.raises(RequestError, match="id 'a' is in flight"):
                engine.submit(ask("a"))
            await read(stream)
            assert await answer(engine, ask("a")) == counted(3)

    scenario(body)


def test_a_full_queue_says_so_at_once(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec(max_running=1, max_queued=2)) as engine:
            streams = [engine.submit(ask(str(i))) for i in range(3)]
            with pytest.raises(QueueFull, match="2 requests are waiting"):
                engine.submit(ask("one too many"))
            for stream in streams:
                assert await read(stream) == counted(3)

    scenario(body)


def test_an_engine_that_is_not_started_or_closed_says_so(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        engine = ProcessEngine(counting_spec())
        with pytest.raises(EngineDown, match="not been started"):
            engine.submit(ask("a"))
        with pytest.raises(EngineDown, match="not been started"):
            _ = engine.digest
        await engine.close()
        with pytest.raises(EngineDown, match="closed"):
            await engine.start()
        with pytest.raises(EngineDown, match="closed"):
            await engine.update_weights({})

    scenario(body)


def test_a_cancelled_request_finishes_and_an_unknown_id_is_ignored(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            (stream,) = await begin(engine, 1)
            engine.cancel("unknown")
            engine.cancel("endless 0")
            finished = last(await read(stream))
            assert (finished.reason, finished.thinking_tokens) == ("cancelled", 1)

    scenario(body)


@pytest.mark.parametrize("way", ["closed", "forgotten"])
def test_a_stream_that_is_closed_or_forgotten_cancels_its_request(counting_spec: SpecMaker, way: str) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            streams = await begin(engine, 1)
            if way == "closed":
                await streams[0].aclose()
                assert await read(streams[0]) == []
            streams.clear()
            gc.collect()
            await asyncio.sleep(0)  # what the collector asked for happens in the loop
            assert await answer(engine, ask("next")) == counted(3)
            assert engine.metrics().running == 0

    scenario(body)


def test_closing_the_engine_cancels_what_is_in_flight(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            streams = [*await begin(engine, 3), engine.submit(ask("new", double.FOREVER))]
            await engine.close()
            await engine.close()
            assert [last(await read(stream)).reason for stream in streams] == ["cancelled"] * 4

    scenario(body)


def test_closing_ends_a_process_that_is_stuck_in_a_step(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            await begin(engine, 1, double.HANG)

    scenario(body)


def test_the_real_core_answers_in_its_process_as_it_does_in_ours(tiny_checkpoint: Path) -> None:
    settings = Settings(engine=EngineSettings(runner="torch", dtype="float32", cache_tokens=1024))
    checkpoint = Checkpoint.open(tiny_checkpoint)
    sampled = [
        Request(str(seed), (1, 2, 3, seed), Limits(20), Sampling(seed=seed), logprobs=2 if seed % 2 else None)
        for seed in range(8)
    ]

    async def body() -> None:
        async with running(EngineSpec(tiny_checkpoint, None, settings)) as engine:
            answers = await asyncio.gather(*(answer(engine, request) for request in sampled))
            with pytest.raises(GrammarError):
                await answer(engine, Request("bad", (1,), Limits(5), grammar=Grammar("regex", "(")))
            with NativeEngine(checkpoint, settings) as native:
                assert engine.digest == native.digest
                assert engine.context_length == native.context_length
                completions = native.generate(sampled)
            assert [one[:-1] for one in answers] == [list(completion.tokens) for completion in completions]
            assert [last(one).completion_tokens for one in answers] == [20] * 8
            tensors = {name: tensor + 1 for name, tensor in checkpoint.tensors().items()}
            await engine.update_weights(tensors)
            updated, digest = await answer(engine, sampled[1]), engine.digest
            send_signal(signal.SIGKILL)
            while last(again := await answer(engine, sampled[1])).reason == "error":
                pass  # it was sent before the death was noticed
            assert updated[:-1] != answers[1][:-1]
            assert again == updated
            assert engine.digest == digest

    scenario(body)
