"""The threads in which a request is made ready for the engine: JSON becomes a conversation, a conversation tokens.

A large request takes seconds to prepare, a usual one milliseconds. The large ones have few threads of their own, so
that any number of them keeps no other request waiting. How long a prompt is only its tokens say, so one that cannot fit
is counted to its end too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import cpu_count
from typing import Any, ParamSpec, Protocol, TypeVar

LARGE_BYTES = 64 * 2**10
"""A body above this is a large request; below it, the longest context of a small model has room."""

P = ParamSpec("P")
Result = TypeVar("Result")


class InThread(Protocol):
    """Calls a function in a thread, as `asyncio.to_thread` does. What is cancelled before it begins never begins."""

    def __call__(
        self, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, Result]: ...


class Threads:
    """One set for the whole server."""

    def __init__(self) -> None:
        # The engine needs the cores more.
        self._large = ThreadPoolExecutor(max(1, (cpu_count() or 1) // 8), "forethought-large-request")

    def for_body(self, size: int) -> InThread:
        """The threads for a request whose body has so many bytes."""
        return self._in_large if size > LARGE_BYTES else asyncio.to_thread

    async def read(self, size: int, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        """What takes microseconds for a small body, and so a thread only for a large one."""
        if size > LARGE_BYTES:
            return await self._in_large(function, *args, **kwargs)
        return function(*args, **kwargs)

    def close(self) -> None:
        """What has not begun never does."""
        self._large.shutdown(wait=False, cancel_futures=True)

    async def _in_large(self, function: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._large, partial(function, *args, **kwargs))
