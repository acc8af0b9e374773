"""While the client is there its work is done; when it leaves, or whoever serves it is cancelled, the work is ended and
has closed what it opened."""

import asyncio
from typing import Any

import pytest

from forethought.api.presence import ClientLeft, Presence


class Work:
    """Begins, and goes on until it is let go; `closed` when it has ended, however."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.closed = False

    async def do(self) -> None:
        try:
            self.begun.set()
            await self.let_go.wait()
        finally:
            await asyncio.sleep(0)
            self.closed = True


class Client:
    """The receiving end of a connection."""

    def __init__(self) -> None:
        self.leaves = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.leaves.wait()
        return {"type": "http.disconnect"}


async def serve(client: Client, work: Work) -> None:
    async with Presence(client.receive) as presence:
        await presence.during(work.do())


def test_work_for_a_client_that_stays_is_done_to_its_end() -> None:
    async def main() -> None:
        client, work = Client(), Work()
        work.let_go.set()
        await serve(client, work)
        assert work.closed

    asyncio.run(main())


def test_work_for_a_client_that_leaves_is_ended_and_closed() -> None:
    async def main() -> None:
        client, work = Client(), Work()
        serving = asyncio.create_task(serve(client, work))
        await work.begun.wait()
        client.leaves.set()
        with pytest.raises(ClientLeft):
            await serving
        assert work.closed

    asyncio.run(main())


@pytest.mark.parametrize("ended", [False, True])
def test_work_is_closed_when_whoever_serves_is_cancelled_even_in_the_moment_of_its_end(ended: bool) -> None:
    async def main() -> None:
        client, work = Client(), Work()
        serving = asyncio.create_task(serve(client, work))
        await work.begun.wait()
        if ended:
            work.let_go.set()
            while not work.closed:
                await asyncio.sleep(0)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert work.closed

    asyncio.run(main())
