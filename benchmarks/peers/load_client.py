"""The client of `front_end.py`: many streams at once, read by a program that does as little as it can meanwhile.

While the load runs, bytes are only kept with the moment at which they were read. What they say is looked at
afterwards: every stream must hold all its tokens and end as it should.

Job:    {"port", "path", "bodies": [JSON text], "tokens": of each stream, "words": empty when a real model answers,
         "stamped", "core", "limit": seconds}
Events: {"event": "load", ...} with what `figures` returns, {"event": "done"}
"""

import asyncio
import gc
import json
import time
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from serving import begin, keep_to
from stamps import Stamps

try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

PERCENTILES = (50, 99)
LAST_CHUNK = b"0\r\n\r\n"
MIDDLE = (0.1, 0.9)
"""Speed is measured between these shares of all events, where all streams run."""


class Stream(asyncio.Protocol):
    """One connection with one request."""

    def __init__(self, running: "Running") -> None:
        self.running = running
        self.sent = 0.0
        self.over = False
        self.moments: list[float] = []
        self.pieces: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self.transport = transport

    def send(self, request: bytes) -> None:
        """Sends the request."""
        self.sent = time.monotonic()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self.moments.append(time.monotonic())
        self.pieces.append(data)
        if data.endswith(LAST_CHUNK):
            self.over = True
            self.running.ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        if not self.over:
            self.running.lost(exc)


class Running:
    """How many streams are not over."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.over = asyncio.get_running_loop().create_future()

    def ended(self) -> None:
        """One more is over."""
        self.count -= 1
        if not self.count and not self.over.done():
            self.over.set_result(None)

    def lost(self, error: Exception | None) -> None:
        """A connection was closed in the middle of a stream."""
        if not self.over.done():
            self.over.set_exception(ConnectionError(f"the server closed a connection ({error})"))


@dataclass
class Answer:
    """What came over one stream: for each event with text, when it was read and its words; the tokens it was said to
    have."""

    sent: float
    first_event: float
    moments: list[float]
    words: list[list[str]]
    tokens: int


async def load(job: dict[str, Any]) -> tuple[list[Stream], float]:
    """Opens all connections, then sends all requests at once and reads to the end.

    Also returns the share of a core that this took.
    """
    loop, bodies = asyncio.get_running_loop(), job["bodies"]
    running = Running(len(bodies))
    streams: list[Stream] = []
    for _ in bodies:
        _, stream = await loop.create_connection(lambda: Stream(running), "127.0.0.1", job["port"])
        streams.append(stream)
    requests = [request(job, body.encode()) for body in bodies]
    began, used = time.monotonic(), time.process_time()
    for stream, text in zip(streams, requests, strict=True):
        stream.send(text)
    try:
        await asyncio.wait_for(running.over, job["limit"])
    except TimeoutError:
        raise TimeoutError(f"{running.count} streams were not over after {job['limit']} s") from None
    share = (time.process_time() - used) / (time.monotonic() - began)
    for stream in streams:
        stream.transport.abort()
    return streams, share


def request(job: dict[str, Any], body: bytes) -> bytes:
    """A request as bytes."""
    head = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return f"POST {job['path']} HTTP/1.1\r\n{lines}\r\n".encode() + body


def read(stream: Stream) -> Answer:
    """What the bytes of a stream say. Raises `ValueError` when they say that it failed."""
    events = list(body_events(stream))
    answer = Answer(stream.sent, events[0][0], [], [], 0)
    for moment, event in events:
        data = event.partition(b"data: ")[2]
        if not data or data.startswith(b"[DONE]"):
            continue
        document = json.loads(data)
        answer.tokens = tokens(document) or answer.tokens
        if text := delta(document):
            answer.moments.append(moment)
            answer.words.append(text.split(" ")[1:])
    return answer


def check(answer: Answer, count: int) -> None:
    """Raises `ValueError` unless every token of the script came, and was counted."""
    came = sum(map(len, answer.words))
    if not came == answer.tokens == count:
        raise ValueError(f"a stream has {came} tokens, says that it has {answer.tokens}, and should have {count}")


def body_events(stream: Stream) -> Iterator[tuple[float, bytes]]:
    """The events in the body, each with the moment at which its last byte was read."""
    raw = b"".join(stream.pieces)
    head = raw.index(b"\r\n\r\n") + 4
    if b" 200 " not in raw[:16] or b"chunked" not in raw[:head].lower():
        raise ValueError(f"the server refused: {raw[:1000]!r}")
    read_up_to = list(accumulate(map(len, stream.pieces)))
    event = b""
    at = head
    while True:
        line = raw.index(b"\r\n", at)
        size = int(raw[at:line], 16)
        if not size:
            return
        at = line + 2
        end = at + size
        while at < end:
            stop = raw.find(b"\n\n", at, end)
            upto = end if stop < 0 else stop + 2
            event += raw[at:upto]
            at = upto
            if event.endswith(b"\n\n"):
                yield stream.moments[bisect_left(read_up_to, upto)], event
                event = b""
        at += 2


def tokens(document: dict[str, Any]) -> int:
    """The tokens of the answer that an event of either API reports; 0 when it reports none."""
    usage = (document.get("response") or document).get("usage") or {}
    return usage.get("output_tokens") or usage.get("completion_tokens") or 0


def delta(document: dict[str, Any]) -> str:
    """The text that an event of either API adds to the answer."""
    if document.get("type") == "response.output_text.delta":
        return document["delta"]
    if document.get("choices"):
        return document["choices"][0]["delta"].get("content") or ""
    if document.get("error") is not None:
        raise ValueError(f"a stream failed: {document['error']}")
    return ""


def figures(job: dict[str, Any], answers: list[Answer]) -> dict[str, Any]:
    """What the load has shown: events and tokens per second, times to the first event, added latencies."""
    moments = sorted(moment for answer in answers for moment in answer.moments)
    first, last = (moments[round(share * (len(moments) - 1))] for share in MIDDLE)
    within = [
        len(words)
        for answer in answers
        for moment, words in zip(answer.moments, answer.words, strict=True)
        if first <= moment < last
    ]
    return {
        "seconds": moments[-1] - min(answer.sent for answer in answers),
        "tokens": sum(answer.tokens for answer in answers),
        "events_per_second": len(within) / (last - first),
        "tokens_per_second": sum(within) / (last - first),
        "first_event": percentiles([answer.first_event - answer.sent for answer in answers]),
        "latency": percentiles(latencies(Stamps(job["words"]), answers)) if job["stamped"] else None,
    }


def latencies(stamps: Stamps, answers: list[Answer]) -> list[float]:
    """From the emission of each token to the moment at which it was read, while all streams ran."""
    emitted = [list(stamps.moments((w for words in a.words for w in words), a.sent)) for a in answers]
    begun, over = max(moments[0] for moments in emitted), min(moments[-1] for moments in emitted)
    return [
        reading - emission
        for answer, emissions in zip(answers, emitted, strict=True)
        for reading, emission in zip(readings(answer), emissions, strict=True)
        if begun <= emission <= over
    ]


def readings(answer: Answer) -> Iterator[float]:
    """When each token was read."""
    for moment, words in zip(answer.moments, answer.words, strict=True):
        for _ in words:
            yield moment


def percentiles(values: list[float]) -> dict[str, float] | None:
    """`{"p50", "p99"}`; None where there are no values."""
    ordered = sorted(values)
    return {f"p{p}": ordered[round(p / 100 * (len(ordered) - 1))] for p in PERCENTILES} if ordered else None


def main() -> None:
    """Runs the load and reports it."""
    job, emit = begin()
    keep_to(job["core"])
    gc.disable()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            streams, share = runner.run(load(job))
            answers = [read(stream) for stream in streams]
            if job["words"]:
                for answer in answers:
                    check(answer, job["tokens"])
            emit("load", client_share=share, **figures(job, answers))
            emit("done")
        except (OSError, ValueError, TimeoutError) as error:
            emit("failed", message=f"{type(error).__name__}: {error}"[:300])


if __name__ == "__main__":
    main()
