"""What it costs to have the engine in a process of its own: CPU time per step, in the child and in the parent.

    python benchmarks/engine_process.py

The core is the counting one of the tests, which computes nothing and waits 2 ms a step; every stream is read by a task
of its own. The child's figure holds the core's own loop, printed for comparison ("core alone").
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
os.environ["PYTHONPATH"] = str(TESTS)

import engine_double as double  # noqa: E402
from forethought.engine.process import ProcessEngine  # noqa: E402
from forethought.engine.protocol import EventStream, Limits, Request  # noqa: E402
from forethought.engine.spec import EngineSpec  # noqa: E402
from forethought.settings import Settings  # noqa: E402

SECONDS = 3.0
STREAMS = (1, 8, 32, 128)


def endless(number: int) -> Request:
    """A request that goes on until it is cancelled."""
    return Request(f"request-{number:032d}", (double.FOREVER, 0), Limits(10**9))


async def read(stream: EventStream) -> None:
    """Takes every event and does nothing with it."""
    async for _ in stream:
        pass


def cpu_seconds(process: psutil.Process) -> float:
    """CPU time of a process so far."""
    times = process.cpu_times()
    return times.user + times.system


def core_alone(streams: int) -> float:
    """CPU microseconds of one step of the double by itself."""
    core = double.CountingCore("")
    for number in range(streams):
        core.add(endless(number))
    began, steps = time.process_time(), 300
    for _ in range(steps):
        core.step()
    return (time.process_time() - began) / steps * 1e6


async def measure(engine: ProcessEngine, streams: int) -> tuple[float, float, float]:
    """Steps per second, and CPU microseconds per step of the child and of the parent."""
    (child,) = psutil.Process().children()
    readers = [asyncio.create_task(read(engine.submit(endless(number)))) for number in range(streams)]
    await asyncio.sleep(0.5)
    steps, ours, theirs, began = engine.metrics().steps, time.process_time(), cpu_seconds(child), time.perf_counter()
    await asyncio.sleep(SECONDS)
    steps = engine.metrics().steps - steps
    ours, theirs = time.process_time() - ours, cpu_seconds(child) - theirs
    seconds = time.perf_counter() - began
    for number in range(streams):
        engine.cancel(endless(number).id)
    await asyncio.gather(*readers)
    return steps / seconds, theirs / steps * 1e6, ours / steps * 1e6


async def main() -> None:
    """Prints a table."""
    print("streams  steps/s  child µs/step  core alone µs/step  parent µs/step  parent µs/token")
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "digest").write_text("sha256:0")
        engine = ProcessEngine(EngineSpec(Path(directory), None, Settings(), "engine_double:build"))
        await engine.start()
        for streams in STREAMS:
            rate, child, parent = await measure(engine, streams)
            alone = core_alone(streams)
            print(f"{streams:7}  {rate:7.0f}  {child:13.0f}  {alone:18.0f}  {parent:14.0f}  {parent / streams:15.2f}")
        await engine.close()


asyncio.run(main())
