"""The engine in a process of its own, over a core that counts: what is answered, what is refused, and what happens
when the process dies, hangs, or loses its parent."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest
import torch

import engine_double as double
from forethought.engine import process
from forethought.engine.child import ChildProcess
from forethought.engine.process import ProcessEngine
from forethought.engine.protocol import EngineEvent, EventStream, Finished, Limits, Request, TokenEvent
from forethought.engine.spec import EngineSpec
from forethought.engine.wire import Add, FromChild, Start, Stepped
from forethought.errors import (
    CheckpointError,
    ContextLengthError,
    EngineDown,
    EngineError,
    GrammarError,
    QueueFull,
    RequestError,
)
from forethought.settings import EngineSettings, Settings

TESTS = Path(__file__).parent


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EngineSpec]:
    """Makes specs of the counting core; keywords are engine settings."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "digest").write_text("sha256:1")

    def make(factory: str = "build", **engine: object) -> EngineSpec:
        settings = Settings(engine=EngineSettings(**engine))  # pyright: ignore[reportArgumentType]
        return EngineSpec(tmp_path, None, settings, f"engine_double:{factory}")

    return make


@contextlib.asynccontextmanager
async def running(spec: EngineSpec) -> AsyncIterator[ProcessEngine]:
    engine = ProcessEngine(spec)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


def ask(id: str, what: int = double.COUNT, max_tokens: int = 3, logprobs: int | None = None) -> Request:
    return Request(id, (what, 0), Limits(max_tokens), logprobs=logprobs)


async def read(stream: EventStream) -> list[EngineEvent]:
    return [event async for event in stream]


async def answer(engine: ProcessEngine, request: Request) -> list[EngineEvent]:
    return await read(engine.submit(request))


def counted(count: int) -> list[EngineEvent]:
    """What a request for `count` tokens is answered."""
    return [*(TokenEvent(i) for i in range(count)), Finished("max_tokens", 2, 0, count, thinking_tokens=1)]


def engine_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "forethought.engine.worker" in child.cmdline()]


def send_signal(number: signal.Signals) -> int:
    (child,) = engine_processes()
    child.send_signal(number)
    return child.pid


async def begin(engine: ProcessEngine, count: int, what: int = double.FOREVER) -> list[EventStream]:
    """Streams that have had their first token and do not end by themselves."""
    streams = [engine.submit(ask(f"endless {i}", what, max_tokens=10**9)) for i in range(count)]
    for stream in streams:
        await anext(stream)
    return streams


def last(events: list[EngineEvent]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def scenario(body: Callable[[], Awaitable[None]]) -> None:
    """Runs a test's coroutine, and sees to it that nothing is left behind."""
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await body()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(bounded())
    assert engine_processes() == []
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= before


# --- What is answered


def test_a_request_is_answered_token_by_token_and_then_finished(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            assert (engine.digest, engine.context_length) == ("sha256:1", 128)
            assert await answer(engine, ask("a")) == counted(3)

    scenario(body)


def test_streams_that_run_together_do_not_mix(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            answers = await asyncio.gather(*(answer(engine, ask(str(i), max_tokens=i)) for i in range(1, 65)))
            assert answers == [counted(i) for i in range(1, 65)]

    scenario(body)


def test_log_probabilities_and_forced_tokens_arrive_as_they_were(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            events = await answer(engine, ask("a", max_tokens=1, logprobs=2))
            assert events[0] == TokenEvent(0, forced=True, logprob=-0.5, top_logprobs=((0, -0.5), (1, -1.5)))

    scenario(body)


def test_a_stream_that_nobody_reads_holds_up_nobody(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            unread = engine.submit(ask("unread", max_tokens=500))
            assert await answer(engine, ask("read")) == counted(3)
            assert await read(unread) == counted(500)

    scenario(body)


def test_a_reader_that_was_interrupted_can_go_on(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            stream = engine.submit(ask("a"))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(stream), 0)
            assert await read(stream) == counted(3)

    scenario(body)


# --- What is refused


def test_what_only_the_process_can_tell_is_raised_by_the_stream_and_the_rest_goes_on(
    spec: Callable[..., EngineSpec],
) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
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


def test_a_prompt_that_fills_the_context_is_refused_at_once(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            with pytest.raises(ContextLengthError, match="128"):
                engine.submit(Request("a", (0,) * 128, Limits(1)))

    scenario(body)


def test_an_id_in_flight_is_refused_at_once(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            stream = engine.submit(ask("a"))
            with pytest.raises(RequestError, match="id a is in flight"):
                engine.submit(ask("a"))
            await read(stream)
            assert await answer(engine, ask("a")) == counted(3)

    scenario(body)


def test_a_full_queue_says_so_at_once(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec(max_running=1, max_queued=2)) as engine:
            streams = [engine.submit(ask(str(i))) for i in range(3)]
            with pytest.raises(QueueFull, match="3 requests"):
                engine.submit(ask("one too many"))
            for stream in streams:
                assert await read(stream) == counted(3)

    scenario(body)


def test_an_engine_that_is_not_started_or_closed_says_so(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        engine = ProcessEngine(spec())
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


# --- What is cancelled


def test_a_cancelled_request_finishes_and_an_unknown_id_is_ignored(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            (stream,) = await begin(engine, 1)
            engine.cancel("unknown")
            engine.cancel("endless 0")
            finished = last(await read(stream))
            assert (finished.reason, finished.thinking_tokens) == ("cancelled", 1)

    scenario(body)


@pytest.mark.parametrize("way", ["closed", "forgotten"])
def test_a_stream_that_is_closed_or_forgotten_cancels_its_request(spec: Callable[..., EngineSpec], way: str) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
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


def test_closing_the_engine_cancels_what_is_in_flight(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            streams = [*await begin(engine, 3), engine.submit(ask("new", double.FOREVER))]
            await engine.close()
            await engine.close()
            assert [last(await read(stream)).reason for stream in streams] == ["cancelled"] * 4

    scenario(body)


def test_closing_ends_a_process_that_is_stuck_in_a_step(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            await begin(engine, 1, double.HANG)

    scenario(body)


# --- What happens when the process dies


def test_after_kill_9_all_streams_end_with_an_error_and_the_next_request_is_answered(
    spec: Callable[..., EngineSpec],
) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            streams = await begin(engine, 32)
            killed = send_signal(signal.SIGKILL)
            async with asyncio.timeout(2):
                ends = [last(await read(stream)) for stream in streams]
            assert {end.reason for end in ends} == {"error"}
            assert all(end.error and "killed by SIGKILL" in end.error for end in ends)
            # The engine is not back yet: this one waits.
            assert engine.metrics().restarts == 0
            waiting = engine.submit(ask("next"))
            assert engine.metrics().queued == 1
            assert await read(waiting) == counted(3)
            assert engine.metrics().restarts == 1
            assert killed not in [child.pid for child in engine_processes()]

    scenario(body)


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        (double.EXIT, "exit status 3"),
        (double.SEGFAULT, "killed by SIGSEGV"),
        (double.RAISE, "exit status 1"),
    ],
)
def test_a_crash_is_named_and_survived(spec: Callable[..., EngineSpec], what: int, cause: str) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            finished = last(await answer(engine, ask("crash", what)))
            assert finished.reason == "error"
            assert finished.error is not None
            assert cause in finished.error
            assert await answer(engine, ask("next")) == counted(3)

    scenario(body)


def test_tokens_before_a_crash_are_delivered_and_counted(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            (stream,) = await begin(engine, 1)
            send_signal(signal.SIGKILL)
            events = await read(stream)
            assert events[:-1] == [TokenEvent(i) for i in range(1, len(events))]
            assert last(events).completion_tokens == len(events)

    scenario(body)


@pytest.mark.parametrize("way", ["hangs", "is stopped"])
def test_a_process_that_is_silent_over_its_work_is_replaced(spec: Callable[..., EngineSpec], way: str) -> None:
    async def body() -> None:
        async with running(spec(step_timeout=0.5)) as engine:
            (stream,) = await begin(engine, 1, double.HANG if way == "hangs" else double.FOREVER)
            if way == "is stopped":
                send_signal(signal.SIGSTOP)
            end = last(await read(stream))
            assert end.reason == "error"
            assert end.error is not None
            assert "did not finish a step within 0.5 s" in end.error
            assert await answer(engine, ask("next")) == counted(3)

    scenario(body)


def test_many_slow_commands_are_not_taken_for_a_hang(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec(step_timeout=1.0)) as engine:
            requests = [ask(str(i), double.SLOW_ADD) for i in range(5)]
            assert await asyncio.gather(*(answer(engine, one) for one in requests)) == [counted(3)] * 5

    scenario(body)


def test_a_pause_of_the_whole_machine_is_not_blamed_on_the_process(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec(step_timeout=1.0)) as engine:
            (stream,) = await begin(engine, 1)
            send_signal(signal.SIGSTOP)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await read(stream)  # what was on its way when the machine stopped
            threading.Event().wait(1.0)  # the event loop stands still with the process
            send_signal(signal.SIGCONT)
            for _ in range(100):
                assert isinstance(await anext(stream), TokenEvent)
            assert engine.metrics().restarts == 0

    scenario(body)


def test_a_process_that_cannot_come_back_is_given_up_with_its_last_words(
    spec: Callable[..., EngineSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PAUSES", (0.0, 0.01))

    async def body() -> None:
        async with running(spec("build_once")) as engine:
            await answer(engine, ask("crash", double.EXIT))
            waiting = engine.submit(ask("waiting"))
            with pytest.raises(EngineDown, match=r"given up after 3 failures.*exit status 9.*never again"):
                await anext(waiting)
            with pytest.raises(EngineDown, match="given up"):
                engine.submit(ask("late"))
            with pytest.raises(EngineDown, match="given up"):
                await engine.update_weights({"w": torch.ones(1)})

    scenario(body)


def test_an_engine_that_was_given_up_can_be_started_again(
    spec: Callable[..., EngineSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PAUSES", ())

    async def body() -> None:
        async with running(spec("build_once")) as engine:
            await answer(engine, ask("crash", double.EXIT))
            with pytest.raises(EngineDown):
                await answer(engine, ask("waiting"))
            (tmp_path / "built").unlink()
            await engine.start()
            assert await answer(engine, ask("next")) == counted(3)

    scenario(body)


def test_a_process_that_comes_back_with_other_weights_is_refused(
    spec: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            (tmp_path / "digest").write_text("sha256:2")
            await answer(engine, ask("crash", double.EXIT))
            with pytest.raises(EngineDown, match=r"sha256:2.*sha256:1"):
                await answer(engine, ask("next"))

    scenario(body)


def test_nothing_is_left_over_by_twenty_kills(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            me, counts = psutil.Process(), []
            for kill in range(21):
                streams = await begin(engine, 8)
                send_signal(signal.SIGKILL)
                assert {last(await read(stream)).reason for stream in streams} == {"error"}
                assert await answer(engine, ask(f"next {kill}")) == counted(3)
                gc.collect()
                counts.append((me.num_fds(), me.num_threads(), len(asyncio.all_tasks()), len(engine_processes())))
            assert set(counts[1:]) == {counts[1]}
            assert engine.metrics().restarts == 21

    scenario(body)


# --- How it starts


def test_a_checkpoint_that_cannot_be_loaded_is_the_starters_error(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        engine = ProcessEngine(spec("build_missing"))
        with pytest.raises(CheckpointError, match=r"There is no checkpoint\. Pull it\."):
            await engine.start()
        await engine.close()

    scenario(body)


def test_a_process_that_dies_while_it_starts_leaves_its_last_words(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        engine = ProcessEngine(spec("build_broken"))
        with pytest.raises(EngineDown, match=r"exit status 9 while it started.*the library is of the wrong kind"):
            await engine.start()
        await engine.close()

    scenario(body)


def test_a_process_that_takes_too_long_to_start_is_killed(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        engine = ProcessEngine(spec("build_never", start_timeout=0.1))
        with pytest.raises(EngineDown, match=r"not ready within 0\.1 s"):
            await engine.start()
        await engine.close()

    scenario(body)


def test_a_start_that_is_interrupted_leaves_no_process(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        engine = ProcessEngine(spec("build_never"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.start(), 0.2)
        await engine.close()

    scenario(body)


# --- Its weights


def test_new_weights_are_in_force_after_the_update_and_after_a_restart(
    spec: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            await engine.update_weights({"w": torch.ones(2), "v": torch.ones(1)})
            await engine.update_weights({"w": torch.ones(3)})
            assert engine.digest == "sha256:1+v=1+w=2+w=3"
            await answer(engine, ask("crash", double.EXIT))
            assert await answer(engine, ask("next")) == counted(3)
            assert engine.digest == "sha256:1+v=1+w=2+w=3"
            assert engine.metrics().restarts == 1
        assert not list(tmp_path.glob("forethought-weights-*"))

    scenario(body)


def test_of_weights_that_were_replaced_no_copy_is_kept(spec: Callable[..., EngineSpec], tmp_path: Path) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            for value in (1.0, 2.0, 3.0):
                await engine.update_weights({"w": torch.tensor([value])})
            assert len(list(tmp_path.glob("forethought-weights-*/*"))) == 1

    scenario(body)


def test_weights_that_do_not_fit_are_refused_and_change_nothing(
    spec: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            with pytest.raises(CheckpointError, match="no tensor of that name"):
                await engine.update_weights({"unknown": torch.ones(1)})
            assert engine.digest == "sha256:1"
            assert await answer(engine, ask("next")) == counted(3)
            assert not list(tmp_path.glob("forethought-weights-*/*"))

    scenario(body)


def test_an_update_that_kills_the_process_is_not_applied_again(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            with pytest.raises(EngineDown, match="those before are in force"):
                await engine.update_weights({"deadly": torch.ones(1)})
            assert await answer(engine, ask("next")) == counted(3)
            assert engine.digest == "sha256:1"

    scenario(body)


# --- Its place in the world


PARENT = """
import asyncio, sys, threading
from pathlib import Path
import engine_double as double
from forethought.engine.child import ChildProcess
from forethought.engine.process import ProcessEngine
from forethought.engine.protocol import Limits, Request
from forethought.engine.spec import EngineSpec
from forethought.settings import Settings

async def main():
    engine = ProcessEngine(EngineSpec(Path(sys.argv[1]), None, Settings(), "engine_double:build"))
    await engine.start()
    await anext(engine.submit(Request("a", (double.FOREVER, 0), Limits(10**9))))
    if sys.argv[2] == "hung":
        await anext(engine.submit(Request("b", (double.HANG, 0), Limits(2))))
    print(engine._child.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["working", "hung", "stopped"])
def test_the_process_dies_with_a_parent_that_is_killed(spec: Callable[..., EngineSpec], state: str) -> None:
    command = [sys.executable, "-c", PARENT, str(spec().directory), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if state == "stopped":
            if sys.platform != "linux":
                pytest.skip("only the kernel can end a process that does not run, and only Linux does")
            child.suspend()
            while child.status() != psutil.STATUS_STOPPED:
                pass
        parent.kill()
        assert psutil.wait_procs([child], timeout=10) == ([child], [])


def test_the_process_ends_by_itself_when_its_parent_hangs_up(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        hung = asyncio.Event()

        def receive(message: FromChild) -> None:
            if isinstance(message, Stepped) and message.events:
                hung.set()

        child = await ChildProcess.spawn(receive)
        await child.greet(Start(spec(), ()), timeout=60)
        child.send(Add(1, ask("stuck", double.HANG)))
        await hung.wait()
        assert await child.stop(grace=10) == "ended with exit status 0"

    scenario(body)


def test_a_process_of_the_process_does_not_keep_it_from_being_replaced(
    spec: Callable[..., EngineSpec], tmp_path: Path
) -> None:
    async def body() -> None:
        async with running(spec("build_with_grandchild")) as engine:
            grandchild = psutil.Process(int((tmp_path / "grandchild").read_text()))
            try:
                await answer(engine, ask("crash", double.EXIT))
                assert grandchild.is_running()  # it holds the standard output of the process that died
                assert await answer(engine, ask("next")) == counted(3)
            finally:
                grandchild.kill()

    scenario(body)


def test_a_ctrl_c_in_the_terminal_does_not_reach_the_process(spec: Callable[..., EngineSpec]) -> None:
    async def body() -> None:
        async with running(spec()):
            (child,) = engine_processes()
            assert os.getsid(child.pid) == child.pid != os.getsid(0)

    scenario(body)


def test_what_the_process_logs_is_logged_here(
    spec: Callable[..., EngineSpec], caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with running(spec()) as engine:
            await answer(engine, ask("crash", double.EXIT))
            await answer(engine, ask("next"))

    scenario(body)
    records = [(record.levelno, record.name, record.getMessage()) for record in caplog.records]
    assert (logging.WARNING, "forethought.engine_double", "leaving") in records
    fields = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "engine process lost"]
    assert [one["how"] for one in fields] == ["ended with exit status 3"]
