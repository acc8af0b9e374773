"""Whether the client is still there. What is done for one that has left ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from starlette.types import Receive


class ClientLeft(Exception):
    """The client closed its connection before it had its answer."""


class Presence:
    """Watches one connection, from the time when the body of its request has been read. Use as `async with`."""

    def __init__(self, receive: Receive) -> None:
        self._left = asyncio.create_task(_departure(receive))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._left.cancel()

    async def during(self, work: Coroutine[Any, Any, None]) -> None:
        """Does `work` for the client. Raises `ClientLeft`, and cancels the work, when it leaves before the end.

        The work yields nothing, so that nothing is lost when it ends in the moment in which its waiter is cancelled:
        what it opens it closes itself.
        """
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task, self._left}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientLeft
            task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
