"""A few of the requests that `make accept-fuzz` makes by the thousand; and what is wrong is found."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conformance.house import House
from forethought.model.checkpoint import Checkpoint
from fuzzing import fuzz
from server_house import serving


def test_every_answer_is_one_that_the_document_names(tiny_checkpoint: Path) -> None:
    with serving(House(Checkpoint.open(tiny_checkpoint)).app) as running:
        findings = fuzz(running.url, examples=8, seed=0, coverage=False, paths="^/v1/")
    assert findings.examples == []
    assert findings.requests > 30
    assert {"200", "400"} <= findings.statuses.keys() <= {"200", "400", "404"}


class Liar:
    """Middleware: answers under some paths as if the answer were another one, or in part."""

    def __init__(self, app: ASGIApp, lies: Mapping[str, int | tuple[bytes, bytes]]) -> None:
        self._app = app
        self._lies = lies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lie = self._lies.get(scope.get("path", ""))

        async def told(message: Message) -> None:
            match lie:
                case int() if "status" in message:
                    await send(message | {"status": lie})
                case (old, new) if "body" in message:
                    await send(message | {"body": message["body"].replace(old, new.ljust(len(old)))})
                case _:
                    await send(message)

        await self._app(scope, receive, told)


LIES: Mapping[str, int | tuple[bytes, bytes]] = {
    "/openapi.json": (b'"required":["model"],"title":"CountInputTokens"', b'"title":"CountInputTokens"'),
    "/healthz": 500,
    "/readyz": (b'"ready"', b'"ruddy"'),
    "/v1/models": 201,
    "/v1/responses": (b"content_index", b"content_inbox"),
    "/v1/chat/completions": (b'"stop"', b'"tire"'),
    "/openai/v1/responses/input_tokens": 200,
}


@pytest.fixture(scope="module")
def found_out(tiny_checkpoint: Path) -> set[tuple[str, str]]:
    """The failures of a server that lies, by path and check."""
    house = House(Checkpoint.open(tiny_checkpoint))
    house.app.add_middleware(Liar, lies=LIES)
    with serving(house.app) as running:
        paths = "^(/healthz|/readyz|/v1/[^{]*|/openai/v1/responses/input_tokens)$"
        findings = fuzz(running.url, examples=10, seed=0, coverage=False, paths=paths)
    assert all(one["request"].startswith("curl") for one in findings.examples)
    return {(one["operation"].split()[1], one["check"]) for one in findings.examples}


@pytest.mark.parametrize(
    ("path", "check"),
    [
        ("/healthz", "not_a_server_error"),
        ("/v1/models", "status_code_conformance"),
        ("/readyz", "response_schema_conformance"),
        ("/v1/responses", "response_schema_conformance"),
        ("/v1/responses", "whole_stream"),
        ("/v1/chat/completions", "response_schema_conformance"),
        ("/v1/chat/completions", "whole_stream"),
        ("/openai/v1/responses/input_tokens", "negative_data_rejection"),
        ("/v1/responses/input_tokens", "no_refusal_of_form"),
    ],
)
def test_a_lie_is_found(found_out: set[tuple[str, str]], path: str, check: str) -> None:
    assert (path, check) in found_out
