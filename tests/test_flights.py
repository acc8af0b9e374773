"""Requests in flight: what waits for a process waits for so long, and no stream is left without an end."""

import asyncio

import pytest

from forethought.engine.flights import Flight, Flights
from forethought.engine.protocol import EngineEvent, Finished, Limits, Request, TokenEvent
from forethought.engine.stream import RequestStream
from forethought.engine.wire import pack_event
from forethought.errors import EngineDown, RequestError


def request(id: str) -> Request:
    return Request(id, (1, 2, 3), Limits(10))


async def read(flight: Flight) -> list[EngineEvent]:
    return [event async for event in RequestStream(flight.inbox, lambda: None)]


def test_a_request_that_no_process_comes_for_is_refused_in_time() -> None:
    async def body() -> None:
        flights = Flights(patience=0.01)
        flight = flights.admit(request("a"))
        flights.wait(flight)
        with pytest.raises(EngineDown, match=r"did not come back within 0\.01 s"):
            await read(flight)
        assert len(flights) == 0

    asyncio.run(body())


def test_a_request_that_was_sent_does_not_expire() -> None:
    async def body() -> None:
        flights = Flights(patience=0)
        flight = flights.admit(request("a"))
        flights.wait(flight)
        flights.send(flight)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (flights.owed, flights.waiting, len(flights)) == (True, [], 1)

    asyncio.run(body())


def test_a_lost_process_ends_what_it_was_sent_and_nothing_else() -> None:
    async def body() -> None:
        flights = Flights(patience=60)
        sent, waiting = flights.admit(request("a")), flights.admit(request("b"))
        flights.send(sent)
        flights.wait(waiting)
        assert flights.deliver([pack_event(sent.number, TokenEvent(5))]) == 0
        assert flights.lose("It died.") == 1
        assert await read(sent) == [TokenEvent(5), Finished("error", 3, 0, 1, error="It died.")]
        assert flights.waiting == [waiting]
        flights.end("cancelled")
        assert await read(waiting) == [Finished("cancelled", 3, 0, 0)]
        assert len(flights) == 0

    asyncio.run(body())


def test_what_waits_is_turned_away_when_no_process_will_come() -> None:
    async def body() -> None:
        flights = Flights(patience=60)
        flight = flights.admit(request("a"))
        flights.wait(flight)
        flights.turn_away("It is gone.", "Mend it.")
        with pytest.raises(EngineDown, match=r"It is gone\. Mend it\."):
            await read(flight)

    asyncio.run(body())


def test_an_id_is_free_again_after_its_flight() -> None:
    async def body() -> None:
        flights = Flights(patience=60)
        flight = flights.admit(request("a"))
        with pytest.raises(RequestError):
            flights.admit(request("a"))
        assert flights.deliver([pack_event(flight.number, Finished("max_tokens", 3, 0, 10))]) == 1
        assert flights.admit(request("a")).number != flight.number

    asyncio.run(body())


def test_a_stream_has_one_reader() -> None:
    async def body() -> None:
        flight = Flights(patience=60).admit(request("a"))
        first = asyncio.create_task(read(flight))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one consumer"):
            await read(flight)
        flight.inbox.put(Finished("cancelled", 3, 0, 0))
        assert len(await first) == 1

    asyncio.run(body())
