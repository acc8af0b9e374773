"""What the engine process and its parent say to each other: length-prefixed pickles over a private socket pair.

Both ends are this package at the same version, and nobody else can reach the socket, so pickle is safe here and
carries requests, tensors of images and our own exceptions as they are. What is sent often is small: requests go by
number, and all events of a step travel in one message, a plain token as two integers.
"""

import pickle
import struct
from pathlib import Path
from typing import Any, NamedTuple

from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import EngineEvent, Finished, Request, TokenEvent
from forethought.engine.spec import EngineSpec
from forethought.errors import ForethoughtError

LENGTH = struct.Struct("!Q")

PackedEvent = tuple[Any, ...]
"""(number, Finished), (number, token_id) or (number, token_id, forced, logprob, top_logprobs)."""


class Start(NamedTuple):
    """Build the core, then apply the weight updates in these directories. The first message to a child."""

    spec: EngineSpec
    updates: tuple[Path, ...]


class Add(NamedTuple):
    """Run a request, from now on called `number`."""

    number: int
    request: Request


class Cancel(NamedTuple):
    """End request `number`."""

    number: int


class Update(NamedTuple):
    """Replace the tensors by those in `directory`."""

    directory: Path


class Ready(NamedTuple):
    """The core is built and updated. The answer to `Start`."""

    digest: str
    context_length: int


class Failed(NamedTuple):
    """The core cannot be built. The other answer to `Start`, and the last message."""

    error: ForethoughtError


class Refused(NamedTuple):
    """Request `number` was not taken."""

    number: int
    error: ForethoughtError


class Updated(NamedTuple):
    """The weights are replaced and this is their digest, or are not and this is why. The answer to `Update`."""

    digest: str
    error: ForethoughtError | None


class Stepped(NamedTuple):
    """What a step yielded (perhaps nothing), and the metrics after it. Also the sign of life of the child."""

    events: list[PackedEvent]
    metrics: EngineMetrics


ToChild = Start | Add | Cancel | Update
FromChild = Ready | Failed | Refused | Updated | Stepped


def pack_event(number: int, event: EngineEvent) -> PackedEvent:
    """An event of request `number` as it travels."""
    if isinstance(event, Finished):
        return number, event
    if event.forced or event.logprob is not None:
        return number, event.token_id, event.forced, event.logprob, event.top_logprobs
    return number, event.token_id


def unpack_event(packed: PackedEvent) -> EngineEvent:
    """The inverse of `pack_event`; the number is `packed[0]`."""
    body = packed[1]
    return body if isinstance(body, Finished) else TokenEvent(*packed[1:])


def frame(message: ToChild | FromChild) -> bytes:
    """A message as bytes on the socket."""
    body = pickle.dumps(message, protocol=5)
    return LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts the bytes of a socket into messages, however they arrive."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The messages that these bytes complete."""
        self._buffer += data
        messages: list[Any] = []
        start = 0
        while len(self._buffer) - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer, start)
            end = start + LENGTH.size + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view:
                messages.append(pickle.loads(view[start + LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return messages
