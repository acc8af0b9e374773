"""HTTP/1.1 on a socket: uvicorn's, with the limits that a hostile or broken client would otherwise find missing.

Heads are bounded in size and time, connections in number. A client that leaves its answer unread for too long is cut
off: its generation would otherwise hold a place for ever. A body that was refused is still read for a while and
dropped, so that the client gets to see the refusal. What cannot be parsed is refused in OpenAI's form, too.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic_core import to_json
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from forethought.api.errors import RETRY_AFTER_SECONDS, SERVER, ApiError, invalid
from forethought.api.options import ConnectionLimits

_H2C = re.compile(rb"(?<=\r\n)upgrade:[ \t]*h2c[ \t]*\r\n", re.IGNORECASE)


class HttpProtocol(HttpToolsProtocol):
    """One connection. `limited` makes the class for a server."""

    limits: ClassVar[ConnectionLimits]
    fixed_headers: ClassVar[Mapping[str, str]]
    """Of every response that is not the application's; the application's has its own."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the loop."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.connections:
            retry = {"retry-after": str(RETRY_AFTER_SECONDS)}
            message = "The server has too many connections open. Try again later."
            self._refuse(ApiError(503, message, type=SERVER, code="too_many_connections", headers=retry))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        for timer in (self._head_timer, self._write_timer, self._linger_timer):
            _stop(timer)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        if self._in_head:
            self._head_bytes += len(data)
            if not self.cycle or self.cycle.response_complete:
                self._expect_head()  # or else a request is being answered, and a line break behind it is nothing
            data = _without_h2c(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > self.limits.head_bytes and not self.transport.is_closing():
            limit = self.limits.head_bytes
            message = f"The request line and headers are larger than the {limit} bytes they may have."
            self._refuse(ApiError(431, message, code="headers_too_large"))

    def on_message_begin(self) -> None:
        """Called by the parser at the first byte of a request."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Called by the parser."""
        if self.parser is not None and self.parser.should_upgrade():
            message = "Upgrades are not offered: this server speaks HTTP/1.1, without WebSocket."
            self._refuse(invalid(message, code="upgrade_not_offered"))
            return
        self._in_head, self._head_bytes = False, 0
        _stop(self._head_timer)
        self._head_timer = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser at the end of a request's body."""
        super().on_message_complete()
        self._in_head = True
        _stop(self._linger_timer)
        self._linger_timer = None

    def on_response_complete(self) -> None:
        """Called when a response has been written."""
        super().on_response_complete()
        if not self._in_head and not self.transport.is_closing():
            self._linger_timer = self.loop.call_later(self.limits.linger_seconds, self.transport.close)

    def pause_writing(self) -> None:
        """Called by the transport when the client does not read what has been written."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Called by the transport when the client has read most of it."""
        super().resume_writing()
        _stop(self._write_timer)
        self._write_timer = None

    def send_400_response(self, msg: str) -> None:
        """Called when what came in is no HTTP."""
        self._refuse(invalid("The request is not valid HTTP/1.1.", code="invalid_http"))

    def _expect_head(self) -> None:
        """Sets the time by which the head must be complete, once for each head."""
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.limits.head_seconds, self._head_late)

    def _head_late(self) -> None:
        if self._head_bytes == 0:
            self.transport.close()  # opened and never used, as browsers do
            return
        message = f"The request line and headers did not arrive within {self.limits.head_seconds:g} s."
        self._refuse(ApiError(408, message, code="request_timeout"))

    def _refuse(self, error: ApiError) -> None:
        """Closes the connection, and says why unless that would end up in the middle of another answer."""
        if self.transport.is_closing():
            return
        if not self.cycle or self.cycle.response_complete or not self.cycle.response_started:
            body = to_json(error.body)
            head = {
                "content-type": "application/json",
                "content-length": str(len(body)),
                "connection": "close",
                **self.fixed_headers,
                **error.headers,
            }
            lines = b"".join(f"{name}: {value}\r\n".encode() for name, value in head.items())
            self.transport.write(STATUS_LINE[error.status] + lines + b"\r\n" + body)
        self.transport.close()


def limited(limits: ConnectionLimits, headers: Mapping[str, str]) -> type[HttpProtocol]:
    """The protocol with these limits and headers. (uvicorn takes a class and makes the connections itself.)"""
    return type("LimitedHttpProtocol", (HttpProtocol,), {"limits": limits, "fixed_headers": headers})


def _without_h2c(data: bytes) -> bytes:
    """What came in, without an offer to go on in HTTP/2, which Java's client makes and a server may pass over. (The
    parser would take it, and read no body.)"""
    if b"h2c" not in data:
        return data
    head, end, rest = data.partition(b"\r\n\r\n")
    return _H2C.sub(b"", head + b"\r\n", count=1).removesuffix(b"\r\n") + end + rest


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
