"""Who may talk to the server: whoever holds its key or, where there is none, programs on this machine.

Without a key a web page must not be able to speak for its reader. Pages of other origins can send no JSON (there is no
CORS here, and bodies of other types are refused), and a page whose name was rebound to this machine betrays itself in
the `Host` header.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import re
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

from forethought.api.errors import ApiError
from forethought.errors import SettingsError
from forethought.settings import API_KEY_VARIABLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

Headers = Iterable[tuple[bytes, bytes]]

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", "/docs"})
"""What nobody needs a key for: it says nothing of models or clients."""

NO_KEY = "You didn't provide an API key. Send it in the header `Authorization: Bearer …` or `api-key: …`."
WRONG_KEY = "Incorrect API key provided."
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:[0-9]{1,5})?")


class ApiKey:
    """The one key that clients present. Only its hash is kept."""

    __slots__ = ("_digest",)

    def __init__(self, key: str) -> None:
        """Raises `SettingsError` for one that no client could send."""
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise SettingsError(
                f"{API_KEY_VARIABLE} holds no key that a header could carry.",
                "Set it to printable ASCII characters without spaces, or unset it.",
            )
        self._digest = sha256(key.encode()).digest()

    @classmethod
    def from_environment(cls) -> ApiKey | None:
        """The key in the environment, taken out of it: no process that is started later inherits it."""
        key = os.environ.pop(API_KEY_VARIABLE, None)
        return None if key is None else cls(key)

    def matches(self, presented: bytes) -> bool:
        """Whether this is the key. Takes the same time for every wrong one."""
        return hmac.compare_digest(sha256(presented).digest(), self._digest)

    def __repr__(self) -> str:
        return "<api key>"


class KeyGuard:
    """Middleware: refuses requests that do not carry the key."""

    def __init__(self, app: ASGIApp, key: ApiKey) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            self._check(scope["headers"])
        await self._app(scope, receive, send)

    def _check(self, headers: Headers) -> None:
        """Every key that was presented must be the one."""
        presented = list(_presented(headers))
        if not presented:
            raise _unauthorized(NO_KEY)
        if not all(map(self._key.matches, presented)):
            raise _unauthorized(WRONG_KEY)


class HostGuard:
    """Middleware: refuses requests that were meant for another host than this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not names_this_machine(scope["headers"]):
            message = "The Host header does not name this machine. Without an API key, the server only answers to it."
            raise ApiError(403, message, type="permission_error", code="foreign_host")
        await self._app(scope, receive, send)


def names_this_machine(headers: Headers) -> bool:
    """Whether there is exactly one `Host`, and it is `localhost` or a loopback address."""
    hosts = [value for name, value in headers if name == b"host"]
    match = _HOST.fullmatch(hosts[0].decode("latin-1").lower()) if len(hosts) == 1 else None
    return match is not None and is_loopback(match[1].strip("[]"))


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _presented(headers: Headers) -> Iterable[bytes]:
    for name, value in headers:
        if name == b"api-key":
            yield value.strip()
        elif name == b"authorization":
            scheme, _, credentials = value.strip().partition(b" ")
            yield credentials.strip() if scheme.lower() == b"bearer" else b""


def _unauthorized(message: str) -> ApiError:
    return ApiError(
        401,
        message,
        type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
