"""The table of routes: each path with its method, what answers it, and what the OpenAPI document says of it.

Routes and document come from this one table, so the document has no route that is not there, and misses none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from starlette.routing import Route

from forethought.api import chat, responses
from forethought.api.auth import OPEN_PATHS
from forethought.api.exchange import API_VERSION, DEPLOYMENT, Api, Count, Desk, Exchange, check_query
from forethought.api.record import RequestRecord
from forethought.api.sse import ChatFraming, ResponsesFraming
from forethought.api.system import DocsPage, Document, Health, ListModels, Readiness, RetrieveModel

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from forethought.api.engines import Engines

Kind = Literal["responses", "input_tokens", "chat", "models", "model", "health", "readiness", "document", "docs"]
"""What `openapi.py` describes; several paths may be the same thing."""

OPENAI = "/v1"
AZURE = "/openai/v1"
AZURE_DATED = "/openai"
AZURE_DEPLOYMENT = f"/openai/deployments/{{{DEPLOYMENT}}}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path."""

    kind: Kind
    method: Literal["GET", "POST"]
    path: str
    app: ASGIApp
    query: tuple[str, ...] = ()

    @property
    def deployed(self) -> bool:
        """Whether the path names the model."""
        return f"{{{DEPLOYMENT}}}" in self.path

    @property
    def open(self) -> bool:
        """Whether it needs no key."""
        return self.path in OPEN_PATHS

    @property
    def route(self) -> Route:
        """As the router takes it."""
        return Route(self.path, _Operating(self), methods=[self.method])


class _Operating:
    """Refuses unknown query parameters, and has the record say which route it is."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        RequestRecord.of(scope).route = self._operation.path
        check_query(scope["query_string"], self._operation.query)
        await self._operation.app(scope, receive, send)


def operations(desk: Desk, engines: Engines, document: Callable[[], dict[str, Any]]) -> Sequence[Operation]:
    """All of them."""
    generate = Exchange(desk, Api(responses.parse_create, responses.start, ResponsesFraming, lambda _: 1))
    count = Count(desk, responses.count_input_tokens)
    complete = Exchange(desk, Api(chat.parse_create, chat.start, ChatFraming, attrgetter("choices")))
    table: list[Operation] = []
    for prefix, query in ((OPENAI, ()), (AZURE, (API_VERSION,)), (AZURE_DATED, (API_VERSION,))):
        table += [
            Operation("responses", "POST", f"{prefix}/responses", generate, query),
            Operation("input_tokens", "POST", f"{prefix}/responses/input_tokens", count, query),
            Operation("chat", "POST", f"{prefix}/chat/completions", complete, query),
            Operation("models", "GET", f"{prefix}/models", ListModels(desk.catalog), query),
            Operation("model", "GET", f"{prefix}/models/{{model}}", RetrieveModel(desk.catalog), query),
        ]
    return (
        *table,
        Operation("chat", "POST", f"{AZURE_DEPLOYMENT}/chat/completions", complete, (API_VERSION,)),
        Operation("health", "GET", "/healthz", Health()),
        Operation("readiness", "GET", "/readyz", Readiness(engines)),
        Operation("document", "GET", "/openapi.json", Document(document)),
        Operation("docs", "GET", "/docs", DocsPage(document)),
    )
