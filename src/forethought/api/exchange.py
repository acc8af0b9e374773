"""One generation over HTTP, the same for both APIs: a body comes in, a document or a stream of events goes out.

Everything that can be refused is refused before the first byte of the response, so that the HTTP status says it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast
from urllib.parse import parse_qsl

from forethought.api.body import Body, parse
from forethought.api.errors import invalid
from forethought.api.presence import Presence
from forethought.api.record import RequestRecord
from forethought.api.replies import send_json
from forethought.api.served import LOCAL_TENANT, ServedModel
from forethought.api.sse import Events, EventWriter, Framing
from forethought.api.threads import InThread, Threads

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from forethought.api.admission import Admission
    from forethought.api.body import BodyReader
    from forethought.api.catalog import Catalog
    from forethought.api.engines import Engines
    from forethought.api.options import ServerOptions

DEPLOYMENT = "deployment"
API_VERSION = "api-version"
API_VERSION_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?|v1|preview|latest"
"""What Azure calls its versions. All of them are the same here."""


class WireRequest(Protocol):
    """What every request says."""

    @property
    def model(self) -> str:
        """A name of a served model."""
        ...

    @property
    def stream(self) -> bool | None:
        """Whether the answer comes as events."""
        ...


class AnswerStream(Events, Protocol):
    """An answer in the making: events for who streams, one document for who waits."""

    @property
    def usage(self) -> Mapping[str, Any]:
        """The tokens used, once it is over; empty before, or when nobody knows."""
        ...

    async def final(self) -> dict[str, Any]:
        """Waits for the end. Raises `ApiError` when the engine failed."""
        ...

    async def aclose(self) -> None:
        """Ends the generation. Can be called twice."""
        ...


RequestT = TypeVar("RequestT", bound=WireRequest)


@dataclass(frozen=True, slots=True)
class Api(Generic[RequestT]):
    """One of the two APIs: how it reads a request, begins to answer it, and writes the events."""

    parse: Callable[[object], RequestT]
    start: Callable[[ServedModel, RequestT, str, InThread], Awaitable[AnswerStream]]
    framing: Callable[[], Framing]
    choices: Callable[[RequestT], int]
    """How many generations a request asks for."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What all exchanges share."""

    options: ServerOptions
    catalog: Catalog
    admission: Admission
    bodies: BodyReader
    threads: Threads
    engines: Engines


class Exchange(Generic[RequestT]):
    """The ASGI application of a route that generates."""

    def __init__(self, desk: Desk, api: Api[RequestT]) -> None:
        self._desk = desk
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._desk.bodies.read(scope, receive) as body, Presence(receive) as presence:
            await presence.during(self._answer(scope, body, send))

    async def _answer(self, scope: Scope, body: Body, send: Send) -> None:
        desk, record = self._desk, RequestRecord.of(scope)
        document = await desk.threads.read(body.size, parse, body.data)
        # Only then: a body that drips in must not take the place of a request that could be answered.
        with desk.admission.place(record) as place:
            named = _with_deployment(document, scope["path_params"].get(DEPLOYMENT))
            request = await desk.threads.read(body.size, self._api.parse, named)
            place.widen(self._api.choices(request))
            served = desk.catalog.find(request.model)
            record.concerns(served)
            await desk.engines.loaded()
            answer = await self._api.start(served, request, LOCAL_TENANT, desk.threads.for_body(body.size))
            try:
                await self._send(answer, record, bool(request.stream), send)
            finally:
                await answer.aclose()

    async def _send(self, answer: AnswerStream, record: RequestRecord, streamed: bool, send: Send) -> None:
        record.streamed = streamed
        try:
            if streamed:
                await EventWriter(send, self._api.framing(), self._desk.options.ping_seconds).write(answer)
            else:
                await send_json(send, await answer.final())
        finally:
            record.usage = answer.usage


class Count:
    """The ASGI application of a route that answers at once, with a document about a request."""

    def __init__(self, desk: Desk, count: Callable[[ServedModel, object], Mapping[str, Any]]) -> None:
        self._desk = desk
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._desk.bodies.read(scope, receive) as body, Presence(receive) as presence:
            await presence.during(self._answer(scope, body, send))

    async def _answer(self, scope: Scope, body: Body, send: Send) -> None:
        desk, record = self._desk, RequestRecord.of(scope)
        read = await desk.threads.read(body.size, parse, body.data)
        with desk.admission.place(record):
            document = cast("dict[str, object]", read) if isinstance(read, dict) else {}
            named = document.get("model")
            if named is None:
                raise invalid("Missing required parameter: 'model'.", "model", "missing_required_parameter")
            if not isinstance(named, str):
                raise invalid("Invalid type for 'model': expected a string.", "model", "invalid_type")
            served = desk.catalog.find(named)
            record.concerns(served)
            await desk.engines.loaded()
            # In a thread, like the preparation of an answer: long inputs take long to become tokens.
            await send_json(send, await desk.threads.for_body(body.size)(self._count, served, document))


def check_query(query: bytes, allowed: tuple[str, ...]) -> None:
    """Refuses what would be ignored in a query string. Raises `ApiError`."""
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in allowed:
            raise invalid(f"Unknown query parameter: '{name[:64]}'.", name[:64], "unknown_parameter")
        if name == API_VERSION and re.fullmatch(API_VERSION_PATTERN, value) is None:
            raise invalid("Invalid 'api-version': expected a date such as 2024-10-21.", name, "invalid_value")


def _with_deployment(body: object, deployment: str | None) -> object:
    """On a deployment's route the path names the model; the body may only agree."""
    if deployment is None or not isinstance(body, dict):
        return body
    document = cast("dict[str, object]", body)
    if document.get("model", deployment) != deployment:
        message = f"The body asks for another model than the deployment `{deployment}`. Leave `model` out."
        raise invalid(message, "model", "model_mismatch")
    return document | {"model": deployment}
