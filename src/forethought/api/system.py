"""The routes around the APIs: what models there are, whether the server lives, and what it says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from forethought.api.docs_page import docs_page
from forethought.api.replies import send_bytes, send_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

    from forethought.api.catalog import Catalog
    from forethought.api.engines import Engines

PAGE_POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}


class ListModels:
    """`GET /v1/models`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, self._catalog.entries())


class RetrieveModel:
    """`GET /v1/models/{model}`, for either of its names."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, self._catalog.entry(scope["path_params"]["model"]))


class Health:
    """`GET /healthz`: the process lives, whatever its engines do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, {"status": "ok"})


class Readiness:
    """`GET /readyz`: 200 when a request would be computed now, 503 with the reason when not."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = self._engines.state
        await send_json(send, {"status": state}, 200 if state == "ready" else 503)


class Document:
    """`GET /openapi.json`."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, self._document())


class DocsPage:
    """`GET /docs`: the same for people, in one page that loads nothing from elsewhere."""

    def __init__(self, document: Callable[[], dict[str, Any]]) -> None:
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = docs_page(self._document()).encode()
        await send_bytes(send, page, b"text/html; charset=utf-8", headers=PAGE_POLICY)
