"""What is known of one request while it is served: for its log line, and for the headers of its response."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from forethought.api.parts import new_id

if TYPE_CHECKING:
    from starlette.types import Scope

    from forethought.api.served import ServedModel

KEY = "forethought.record"
CLIENT_ID_CHARACTERS = 512
PATH_CHARACTERS = 200


@dataclass(slots=True)
class RequestRecord:
    """Filled by whoever learns something. `status` is 0 until a response has begun."""

    method: str
    path: str
    client_request_id: str | None
    id: str = field(default_factory=lambda: new_id("req"))
    begun: float = field(default_factory=time.perf_counter)
    status: int = 0
    route: str | None = None
    model: str | None = None
    streamed: bool = False
    left: bool = False
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def begin(cls, scope: Scope) -> RequestRecord:
        """The record of the request in `scope`, from now on to be found there."""
        record = cls(scope["method"], scope["path"], _client_request_id(scope))
        scope[KEY] = record
        return record

    @classmethod
    def of(cls, scope: Scope) -> RequestRecord:
        """The record that was begun for this scope."""
        return cast(RequestRecord, scope[KEY])

    @property
    def milliseconds(self) -> int:
        """Since the request was heard."""
        return round((time.perf_counter() - self.begun) * 1000)

    def concerns(self, served: ServedModel) -> None:
        """The request is for this model."""
        self.model = served.snapshot

    def fields(self) -> dict[str, object]:
        """What the access log says. The path of an unknown route is all that is said of its content."""
        fields: dict[str, object] = {
            "request": self.id,
            "method": self.method,
            "route": self.route,
            "status": self.status,
            "ms": self.milliseconds,
        }
        if self.route is None:
            fields["path"] = self.path[:PATH_CHARACTERS]
        if self.client_request_id is not None:
            fields["client_request"] = self.client_request_id
        if self.model is not None:
            fields |= {"model": self.model, "streamed": self.streamed}
        if self.left:
            fields["left"] = True
        return fields | _tokens(self.usage)


def _tokens(usage: Mapping[str, Any]) -> dict[str, int]:
    """The numbers of tokens in the `usage` of either API."""
    if not usage:
        return {}
    given, made = ("input", "output") if "input_tokens" in usage else ("prompt", "completion")
    return {
        "input_tokens": usage[f"{given}_tokens"],
        "output_tokens": usage[f"{made}_tokens"],
        "reasoning_tokens": usage[f"{made}_tokens_details"]["reasoning_tokens"],
    }


def _client_request_id(scope: Scope) -> str | None:
    """The client's own id for the request, if it is one that can stand in a log."""
    named = [value for name, value in scope["headers"] if name == b"x-client-request-id"]
    if len(named) != 1 or len(named[0]) > CLIENT_ID_CHARACTERS:
        return None
    text = named[0].decode("latin-1")
    return text if text and text.isascii() and text.isprintable() else None
