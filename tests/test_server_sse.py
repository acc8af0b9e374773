"""Streams over the wire: one write an event, comments in silence, and an end in order whatever breaks."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from forethought.api.sse import ChatFraming, EventWriter, Framing, ResponsesFraming

Event = dict[str, Any]
Coming = AsyncIterator[Event]
PING = b": ping\n\n"
SECRET = "the user is probably twelve"


class Stream:
    """Events that come one by one, or `together` with the first."""

    def __init__(self, events: Coming, together: Iterable[Event] = ()) -> None:
        self._events = events
        self._together = list(together)

    def __aiter__(self) -> Coming:
        return self._events

    def ready(self) -> list[Event]:
        together, self._together = self._together, []
        return together


class Client:
    """Takes what is sent while it `reads`."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.complete = False
        self.reads = asyncio.Event()
        self.reads.set()

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            assert dict(message["headers"])[b"content-type"].startswith(b"text/event-stream")
            return
        self.writes.append(message["body"])
        self.complete = not message.get("more_body", False)


def written(
    events: Callable[[], Coming], framing: Framing, ping_seconds: float = 60.0, together: Iterable[Event] = ()
) -> list[bytes]:
    """What a client gets that reads at once."""

    async def main() -> list[bytes]:
        client = Client()
        await EventWriter(client.send, framing, ping_seconds).write(Stream(events(), together))
        assert client.complete
        assert len(asyncio.all_tasks()) <= 2  # this one, and a ping that is being cancelled
        return client.writes

    return asyncio.run(main())


async def replayed(events: Iterable[dict[str, Any]]) -> Coming:
    for event in events:
        yield event


RESPONSE = [
    {"type": "response.created", "sequence_number": 0, "response": {"usage": None}},
    {"type": "response.output_text.delta", "sequence_number": 1, "delta": "naïve\n\u2028 data: x\n\nevent: y"},
    {"type": "response.completed", "sequence_number": 2, "response": {"usage": {"output_tokens": 3}}},
]


def test_each_event_of_a_response_is_one_write_that_names_its_type() -> None:
    *events, done = written(lambda: replayed(RESPONSE), ResponsesFraming())
    assert done == b"data: [DONE]\n\n"
    for event, write in zip(RESPONSE, events, strict=True):
        name, data, *rest = write.decode().split("\n")
        assert name == f"event: {event['type']}"
        assert json.loads(data.removeprefix("data: ")) == event
        assert rest == ["", ""], "no content can begin a line of its own"


def test_each_chunk_of_a_completion_is_one_write_of_data_alone() -> None:
    chunks = [{"choices": [{"delta": {"content": "a\nb"}}]}, {"choices": [], "usage": {"total_tokens": 3}}]
    *events, done = written(lambda: replayed(chunks), ChatFraming())
    assert done == b"data: [DONE]\n\n"
    assert [json.loads(write.removeprefix(b"data: ")) for write in events] == chunks


async def breaking(events: Iterable[dict[str, Any]]) -> Coming:
    async for event in replayed(events):
        yield event
    raise RuntimeError(SECRET)


def test_a_response_that_breaks_ends_in_one_error_of_both_shapes() -> None:
    *_, error, done = written(lambda: breaking(RESPONSE[:2]), ResponsesFraming())
    name, data = error.decode().split("\n")[:2]
    event = json.loads(data.removeprefix("data: "))
    assert name == "event: error"
    assert event["sequence_number"] == 2
    assert event["error"]["message"] == event["message"]
    assert set(event) >= {"code", "message", "param", "error", "type"}
    assert done == b"data: [DONE]\n\n"
    assert SECRET.encode() not in error


def test_a_response_that_breaks_after_its_end_has_no_second_one() -> None:
    assert len(written(lambda: breaking(RESPONSE), ResponsesFraming())) == len(RESPONSE) + 1


def test_a_completion_that_breaks_ends_in_an_error() -> None:
    error, done = written(lambda: breaking([]), ChatFraming())
    assert json.loads(error.removeprefix(b"data: "))["error"]["type"] == "server_error"
    assert done == b"data: [DONE]\n\n"


def test_an_event_that_cannot_be_written_breaks_the_stream_in_order() -> None:
    unwritable = [*RESPONSE[:1], {"type": "response.output_text.delta", "sequence_number": 1, "delta": object()}]
    *_, error, done = written(lambda: replayed(unwritable), ResponsesFraming())
    assert error.startswith(b"event: error\n")
    assert done == b"data: [DONE]\n\n"


def test_no_text_ends_a_line() -> None:
    text = "a\u0085b\u2028c\u2029d\r\ne\x0bf\x1cg \u00e4"
    event = {"type": "response.output_text.delta", "sequence_number": 1, "delta": text}
    first, *_ = written(lambda: replayed([event, RESPONSE[-1]]), ResponsesFraming())
    name, data, *rest = first.decode().splitlines()
    assert (name, rest) == ("event: response.output_text.delta", [""])
    assert json.loads(data.removeprefix("data: ")) == event


def test_events_that_are_there_together_are_one_write() -> None:
    one_by_one = written(lambda: replayed(RESPONSE), ResponsesFraming())
    assert written(lambda: replayed(RESPONSE[:1]), ResponsesFraming(), together=RESPONSE[1:]) == [
        b"".join(one_by_one[:-1]),
        one_by_one[-1],
    ]


def test_an_event_that_cannot_be_written_takes_none_of_those_before_it() -> None:
    together = [RESPONSE[1], {"type": "response.output_text.delta", "sequence_number": 2, "delta": object()}]
    first, _, *_ = written(lambda: replayed(RESPONSE), ResponsesFraming())
    broken, done = written(lambda: replayed(RESPONSE[:1]), ResponsesFraming(), together=together)
    kinds = [line.removeprefix(b"event: ") for line in broken.split(b"\n") if line.startswith(b"event: ")]
    assert broken.startswith(first)
    assert kinds == [b"response.created", b"response.output_text.delta", b"error"]
    assert done == b"data: [DONE]\n\n"


def test_a_silent_stream_gets_comments() -> None:
    async def main() -> None:
        client = Client()

        async def silent() -> Coming:
            yield RESPONSE[0]
            while client.writes.count(PING) < 3:
                await asyncio.sleep(0)
            yield RESPONSE[2]

        await EventWriter(client.send, ResponsesFraming(), ping_seconds=0.01).write(Stream(silent()))
        assert client.writes[1:4] == [PING] * 3
        assert client.writes[-1] == b"data: [DONE]\n\n"

    asyncio.run(main())


def test_a_busy_stream_gets_none() -> None:
    async def busy() -> Coming:
        end = asyncio.get_running_loop().time() + 0.3
        while asyncio.get_running_loop().time() < end:
            yield RESPONSE[1]
            await asyncio.sleep(0)

    assert PING not in written(busy, ResponsesFraming(), ping_seconds=0.1)


def test_a_client_that_does_not_read_holds_up_its_events_and_gets_no_pings() -> None:
    async def main() -> None:
        client, made = Client(), 0

        async def endless() -> Coming:
            nonlocal made
            while True:
                yield RESPONSE[1]
                made += 1
                if made == 5:
                    client.reads.clear()

        writing = asyncio.create_task(EventWriter(client.send, ResponsesFraming(), 0.01).write(Stream(endless())))
        end = asyncio.get_running_loop().time() + 0.1
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0)
        assert (made, len(client.writes)) == (5, 5), "nothing is read ahead"
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    asyncio.run(main())
