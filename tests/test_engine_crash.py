"""What happens when the engine process dies, hangs, or changes: whoever waits hears of it, and another takes over."""

import asyncio
import gc
import logging
import signal
import threading
from pathlib import Path

import psutil
import pytest
import torch

import engine_double as double
from forethought import logs
from forethought.engine import process
from forethought.engine.protocol import TokenEvent
from forethought.errors import EngineDown
from process_scenario import (
    SpecMaker,
    answer,
    ask,
    begin,
    counted,
    engine_processes,
    last,
    read,
    running,
    scenario,
    send_signal,
)


def test_after_kill_9_all_streams_end_with_an_error_and_the_next_request_is_answered(
    counting_spec: SpecMaker,
) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            streams = await begin(engine, 32)
            killed = send_signal(signal.SIGKILL)
            async with asyncio.timeout(2):
                ends = [last(await read(stream)) for stream in streams]
            assert {end.reason for end in ends} == {"error"}
            assert {end.error for end in ends} == {
                "The engine process was killed by SIGKILL. Ask again: it restarts by itself."
            }
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
def test_a_crash_is_named_and_survived(counting_spec: SpecMaker, what: int, cause: str) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            finished = last(await answer(engine, ask("crash", what)))
            assert finished.reason == "error"
            assert finished.error is not None
            assert cause in finished.error
            assert await answer(engine, ask("next")) == counted(3)

    scenario(body)


def test_tokens_before_a_crash_are_delivered_and_counted(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            (stream,) = await begin(engine, 1)
            send_signal(signal.SIGKILL)
            events = await read(stream)
            assert events[:-1] == [TokenEvent(i) for i in range(1, len(events))]
            assert last(events).completion_tokens == len(events)

    scenario(body)


@pytest.mark.parametrize("way", ["hangs", "is stopped"])
def test_a_process_that_is_silent_over_its_work_is_replaced(
    counting_spec: SpecMaker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(logging.getLogger(logs.ROOT), "propagate", True)

    async def body() -> None:
        async with running(counting_spec(step_timeout=0.5)) as engine:
            (stream,) = await begin(engine, 1, double.HANG if way == "hangs" else double.FOREVER)
            if way == "is stopped":
                send_signal(signal.SIGSTOP)
            end = last(await read(stream))
            assert end.reason == "error"
            assert end.error is not None
            assert "did not finish a step within 0.5 s" in end.error
            # What whoever runs it can do about it stands in the log, not in the answer.
            assert "engine.step_timeout" not in end.error
            remedies = [each.__dict__["fields"]["remedy"] for each in caplog.records if "lost" in each.message]
            assert remedies
            assert all("engine.step_timeout" in remedy for remedy in remedies)
            assert await answer(engine, ask("next")) == counted(3)

    scenario(body)


def test_many_slow_commands_are_not_taken_for_a_hang(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec(step_timeout=1.0)) as engine:
            requests = [ask(str(i), double.SLOW_ADD) for i in range(5)]
            assert await asyncio.gather(*(answer(engine, one) for one in requests)) == [counted(3)] * 5

    scenario(body)


def test_a_pause_of_the_whole_machine_is_not_blamed_on_the_process(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec(step_timeout=1.0)) as engine:
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
    counting_spec: SpecMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PAUSES", (0.0, 0.01))

    async def body() -> None:
        async with running(counting_spec("build_once")) as engine:
            await answer(engine, ask("crash", double.EXIT))
            waiting = engine.submit(ask("waiting"))
            with pytest.raises(EngineDown, match=r"given up after 3 failures.*exit status 9.*never again.*doctor"):
                await anext(waiting)
            with pytest.raises(EngineDown, match="given up"):
                engine.submit(ask("late"))
            with pytest.raises(EngineDown, match="given up"):
                await engine.update_weights({"w": torch.ones(1)})

    scenario(body)


def test_an_engine_that_was_given_up_can_be_started_again(
    counting_spec: SpecMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "PAUSES", ())

    async def body() -> None:
        async with running(counting_spec("build_once")) as engine:
            await answer(engine, ask("crash", double.EXIT))
            with pytest.raises(EngineDown):
                await answer(engine, ask("waiting"))
            (tmp_path / "built").unlink()
            await engine.start()
            assert await answer(engine, ask("next")) == counted(3)

    scenario(body)


def test_a_process_that_comes_back_with_other_weights_is_refused(counting_spec: SpecMaker, tmp_path: Path) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            (tmp_path / "digest").write_text("sha256:2")
            await answer(engine, ask("crash", double.EXIT))
            with pytest.raises(EngineDown, match=r"sha256:2.*sha256:1"):
                await answer(engine, ask("next"))

    scenario(body)


def test_nothing_is_left_over_by_twenty_kills(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
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
