"""The engine process as a process: how it starts, how it ends, and what it leaves."""

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import engine_double as double
from forethought.engine.child import ChildProcess
from forethought.engine.process import ProcessEngine
from forethought.engine.wire import Add, FromChild, Start, Stepped
from forethought.errors import CheckpointError, EngineDown
from process_scenario import SpecMaker, answer, ask, counted, engine_processes, running, scenario


def test_a_checkpoint_that_cannot_be_loaded_is_the_starters_error(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        engine = ProcessEngine(counting_spec("build_missing"))
        with pytest.raises(CheckpointError, match=r"There is no checkpoint\. Pull it\."):
            await engine.start()
        await engine.close()

    scenario(body)


def test_a_process_that_dies_while_it_starts_leaves_its_last_words(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        engine = ProcessEngine(counting_spec("build_broken"))
        with pytest.raises(EngineDown, match=r"exit status 9 while it started.*the library is of the wrong kind"):
            await engine.start()
        await engine.close()

    scenario(body)


def test_a_process_that_takes_too_long_to_start_is_killed(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        engine = ProcessEngine(counting_spec("build_never", start_timeout=0.1))
        with pytest.raises(EngineDown, match=r"not ready within 0\.1 s.*engine\.start_timeout.*forethought doctor"):
            await engine.start()
        await engine.close()

    scenario(body)


def test_a_start_that_is_interrupted_leaves_no_process(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        engine = ProcessEngine(counting_spec("build_never"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.start(), 0.2)
        await engine.close()

    scenario(body)


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
def test_the_process_dies_with_a_parent_that_is_killed(counting_spec: SpecMaker, state: str) -> None:
    command = [sys.executable, "-c", PARENT, str(counting_spec().directory), state]
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


def test_the_process_ends_by_itself_when_its_parent_hangs_up(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        hung = asyncio.Event()

        def receive(message: FromChild) -> None:
            if isinstance(message, Stepped) and message.events:
                hung.set()

        child = await ChildProcess.spawn(receive)
        await child.greet(Start(counting_spec(), ()), timeout=60)
        child.send(Add(1, ask("stuck", double.HANG)))
        await hung.wait()
        assert await child.stop(grace=10) == "ended with exit status 0"

    scenario(body)


def test_a_process_of_the_process_does_not_keep_it_from_being_replaced(
    counting_spec: SpecMaker, tmp_path: Path
) -> None:
    async def body() -> None:
        async with running(counting_spec("build_with_grandchild")) as engine:
            grandchild = psutil.Process(int((tmp_path / "grandchild").read_text()))
            try:
                await answer(engine, ask("crash", double.EXIT))
                assert grandchild.is_running()  # it holds the standard output of the process that died
                assert await answer(engine, ask("next")) == counted(3)
            finally:
                grandchild.kill()

    scenario(body)


def test_a_ctrl_c_in_the_terminal_does_not_reach_the_process(counting_spec: SpecMaker) -> None:
    async def body() -> None:
        async with running(counting_spec()):
            (child,) = engine_processes()
            assert os.getsid(child.pid) == child.pid != os.getsid(0)

    scenario(body)


def test_what_the_process_logs_is_logged_here(counting_spec: SpecMaker, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with running(counting_spec()) as engine:
            await answer(engine, ask("crash", double.EXIT))
            await answer(engine, ask("next"))

    scenario(body)
    records = [(record.levelno, record.name, record.getMessage()) for record in caplog.records]
    assert (logging.WARNING, "forethought.engine_double", "leaving") in records
    fields = [vars(record)["fields"] for record in caplog.records if record.getMessage() == "engine process lost"]
    assert [one["how"] for one in fields] == ["ended with exit status 3"]
