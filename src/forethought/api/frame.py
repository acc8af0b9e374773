"""The outermost middleware: what every request has, whatever becomes of it.

An id, the headers that say who answered, a response even when something breaks, and one line in the access log: who
asked for what, how it ended and what it cost, and nothing of what was said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forethought import logs
from forethought.api.errors import SERVER, ApiError
from forethought.api.presence import ClientLeft
from forethought.api.record import RequestRecord
from forethought.api.replies import send_error

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from forethought.api.options import ServerOptions

OPENAI_VERSION = "2020-10-01"
"""Of OpenAI's REST API, which both APIs here follow."""
CLIENT_LEFT = 499
"""What is logged in place of a status when nobody was there to get one."""
ACCESS_LOGGER = "forethought.access"

log = logs.get_logger(__name__)
access = logs.get_logger(ACCESS_LOGGER)


def fixed_headers(options: ServerOptions) -> dict[str, str]:
    """What every response says, those included that never get as far as the application."""
    headers = {"openai-version": OPENAI_VERSION, "cache-control": "no-store", "x-content-type-options": "nosniff"}
    return headers | {"x-forethought-ungated": "true"} if options.ungated else headers


class Frame:
    """Middleware around all others."""

    def __init__(self, app: ASGIApp, options: ServerOptions) -> None:
        self._app = app
        self._headers = fixed_headers(options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = RequestRecord.begin(scope)

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._head(record)]
            await send(message)

        try:
            await self._answer(scope, receive, framed, record)
        finally:
            record.status = record.status or CLIENT_LEFT
            access.info("request", **record.fields())

    async def _answer(self, scope: Scope, receive: Receive, send: Send, record: RequestRecord) -> None:
        """The boundary of a request. When a response breaks off that has begun, its connection is closed."""
        try:
            await self._app(scope, receive, send)
            return
        except ClientLeft:
            record.left = True
            return
        except ApiError as refusal:
            error = refusal
        except Exception as broken:  # noqa: BLE001 (the boundary of a request: its failure becomes a response)
            log.error("request broke", error=broken, request=record.id)
            message = "The server had an error while processing your request. Please try again."
            error = ApiError(500, message, type=SERVER, code="internal_error")
        if record.status == 0:
            await send_error(send, error)

    def _head(self, record: RequestRecord) -> list[tuple[bytes, bytes]]:
        """What every response says. A header that the response has itself is not repeated here by anyone."""
        headers = {
            "x-request-id": record.id,
            "openai-processing-ms": str(record.milliseconds),
            **self._headers,
            **record.headers,
        }
        return [(name.encode(), value.encode()) for name, value in headers.items()]
