"""Whole JSON responses, written straight to ASGI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic_core import to_json

if TYPE_CHECKING:
    from starlette.types import Send

    from forethought.api.errors import ApiError

JSON = b"application/json"


async def send_json(send: Send, content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
    """Sends one JSON document."""
    await send_bytes(send, to_json(content), JSON, status, headers)


async def send_error(send: Send, error: ApiError) -> None:
    """Sends a refusal or failure as OpenAI's clients expect it."""
    await send_json(send, error.body, error.status, error.headers)


async def send_bytes(
    send: Send, body: bytes, media_type: bytes, status: int = 200, headers: Mapping[str, str] | None = None
) -> None:
    """Sends one body of known length."""
    head = [(b"content-type", media_type), (b"content-length", str(len(body)).encode())]
    head += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
