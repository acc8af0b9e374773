"""Ctrl-C ends an answer, not the program."""

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
