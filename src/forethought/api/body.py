"""The JSON body of a request: read in pieces, within limits, and refused with its reason when it is not clean.

Two readers of one document must not see two things: keys that appear twice, NaN, and numbers that no float holds are
refused, not guessed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import math
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from forethought.api.errors import RETRY, ApiError, invalid
from forethought.api.presence import ClientLeft

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

    from forethought.api.options import ServerOptions

SHOWN_KEY_CHARACTERS = 64
UTF_8 = "utf-8"


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a request, for `parse`."""

    data: bytes

    @property
    def size(self) -> int:
        """How many they are."""
        return len(self.data)


class BodyReader:
    """Reads bodies; one for the whole server, so that all of them together stay within a limit."""

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self.held = 0
        """Bytes of all requests in flight, those included that have arrived in part."""

    @asynccontextmanager
    async def read(self, scope: Scope, receive: Receive) -> AsyncGenerator[Body]:
        """The body, which counts as held until the end of the block.

        Raises:
            ApiError: it is too large (413), too slow (408) or of another type (415), or too much is held for others
                (429).
            ClientLeft: the client closed the connection.
        """
        headers: dict[bytes, bytes] = dict(scope["headers"])
        _check_type(headers)
        self._check_size(_declared_size(headers))
        pieces: list[bytes] = []
        size = 0
        try:
            await self._arrive(receive, pieces)
            size = sum(map(len, pieces))
            body = Body(b"".join(pieces))
            pieces.clear()
            yield body
        finally:
            self.held -= size or sum(map(len, pieces))

    async def _arrive(self, receive: Receive, pieces: list[bytes]) -> None:
        try:
            async with asyncio.timeout(self._options.body_seconds):
                await self._collect(receive, pieces)
        except TimeoutError:
            message = f"The body did not arrive within {self._options.body_seconds:g} s."
            raise ApiError(408, message, code="request_timeout", headers={"connection": "close"}) from None

    async def _collect(self, receive: Receive, pieces: list[bytes]) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientLeft
            piece: bytes = message.get("body", b"")
            size += len(piece)
            self._check_size(size)
            self._check_room(len(piece))
            self.held += len(piece)
            pieces.append(piece)
            more = message.get("more_body", False)

    def _check_size(self, size: int) -> None:
        limit = self._options.max_body_bytes
        if size > limit:
            raise ApiError(413, f"The body is larger than the {limit} bytes it may have.", code="request_too_large")

    def _check_room(self, more: int) -> None:
        if self.held + more > self._options.max_buffered_bytes:
            message = "Too many large requests are in flight. Try again later."
            raise ApiError(429, message, type="rate_limit_error", code="rate_limit_exceeded", headers=RETRY)


def parse(body: bytes) -> object:
    """Reads JSON (RFC 8259, in UTF-8, at most 200 levels deep). Raises `ApiError` 400 with what is wrong and where."""
    try:
        # The first reader checks what the second takes for granted (UTF-8, depth, surrogates), and is the fast one.
        with _uncollected():
            document: object = from_json(body, allow_inf_nan=False, cache_strings=False)
            json.loads(body, object_pairs_hook=_unique, parse_float=_finite)
    except ValueError as error:
        raise invalid(f"We could not parse the JSON body of your request: {error}.", code="invalid_json") from None
    return document


@contextmanager
def _uncollected() -> Generator[None]:
    """Has no garbage looked for meanwhile: going through a million fresh lists again and again takes seconds."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the key {twice[:SHOWN_KEY_CHARACTERS]!r} appears twice in one object")
    return document


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _check_type(headers: dict[bytes, bytes]) -> None:
    declared = Message()
    declared["content-type"] = headers.get(b"content-type", b"").decode("latin-1")
    if declared.get_content_type() != "application/json":
        raise ApiError(415, "Send the body as `Content-Type: application/json`.", code="unsupported_media_type")
    if str(declared.get_content_charset(UTF_8)) not in (UTF_8, "utf8"):
        raise ApiError(415, "Send the body in UTF-8: JSON has no other charset.", code="unsupported_charset")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        raise ApiError(415, "Send the body without a Content-Encoding.", code="unsupported_content_encoding")


def _declared_size(headers: dict[bytes, bytes]) -> int:
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > 18:
        raise invalid("The Content-Length is not a size.", code="invalid_content_length")
    return int(declared)
