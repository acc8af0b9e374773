"""What is said of routes and methods that are not offered, in OpenAI's form."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pydantic_core import to_json
from starlette.responses import Response

from forethought.api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

PATH_CHARACTERS = 200
STORES_NOTHING = "This server stores nothing: send the whole conversation with each request."
_STORED = re.compile(
    r"(/openai)?/v1/("
    r"responses/[^/]+(/cancel|/input_items)?|responses/compact|chat/completions/[^/]+(/messages)?"
    r"|(conversations|files|uploads|vector_stores|containers|batches)(/.*)?)"
)


def refusal(method: str, path: str, status: int) -> ApiError:
    """The error for a request that no route takes: 404, or 405 when only the method is wrong."""
    shown = path[:PATH_CHARACTERS]
    if status == 405:
        hint = f" {STORES_NOTHING}" if method == "GET" and path.endswith(("/responses", "/chat/completions")) else ""
        return ApiError(405, f"Not allowed to {method} on {shown}.{hint}", code="method_not_allowed")
    if _STORED.fullmatch(path):
        message = f"{method} {shown} is not offered. {STORES_NOTHING}"
        return ApiError(404, message, type="not_found_error", code="not_offered")
    message = f"Unknown request URL: {method} {shown}. The API is described under /docs."
    return ApiError(404, message, type="not_found_error", code="unknown_url")


async def refuse(request: Request, error: Exception) -> Response:
    """The handler of Starlette's `HTTPException`, which its router raises."""
    status: int = getattr(error, "status_code", 404)
    headers: Mapping[str, str] = getattr(error, "headers", None) or {}
    body = to_json(refusal(request.method, request.scope["path"], status).body)
    return Response(body, status, dict(headers), "application/json")
