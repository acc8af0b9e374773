"""What tests of the engine's process share: engines over the counting core, requests, and the process itself."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil

import engine_double as double
from forethought.engine.process import ProcessEngine
from forethought.engine.protocol import EngineEvent, EventStream, Finished, Limits, Request, TokenEvent
from forethought.engine.spec import EngineSpec

SpecMaker = Callable[..., EngineSpec]
"""Makes specs of the counting core: the name of a factory in `engine_double`, and engine settings as keywords."""


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
