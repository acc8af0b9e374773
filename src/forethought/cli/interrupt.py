"""Ctrl-C ends an answer or a training in good order, not the program."""

import asyncio
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager


@contextmanager
def interrupting(stop: Callable[[], object]) -> Generator[None]:
    """Has Ctrl-C call `stop` for the time of the block, in the running event loop."""
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)


@contextmanager
def interrupting_at_once(stop: Callable[[], object]) -> Generator[None]:
    """Has Ctrl-C and SIGTERM call `stop` for the time of the block, whatever the main thread computes: the event loop's
    own handlers would wait until it has."""

    def heed(number: int, frame: object) -> None:
        stop()

    before = {number: signal.signal(number, heed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
