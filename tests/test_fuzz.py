"""A few of the requests that `make accept-fuzz` makes by the thousand; and what is wrong is found."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conformance.house import House
from forethought.model.checkpoint import Checkpoint
from fuzzing import fuzz
from server_house import serving


@pytest.fixture
def house(tiny_checkpoint: Path) -> House:
    return House(Checkpoint.open(tiny_checkpoint))


def test_every_answer_is_one_that_the_document_names(house: House) -> None:
    with serving(house.app) as running:
        findings = fuzz(running.url, examples=12, seed=0, coverage=False, paths="^/v1/")
    assert findings.examples == []
    assert findings.requests > 40
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


OPTIONAL = (b'"required":["model"],"title":"CountInputTokens"', b'"title":"CountInputTokens"')


@pytest.mark.parametrize(
    ("path", "lies", "check"),
    [
        ("/healthz", {"/healthz": 500}, "not_a_server_error"),
        ("/v1/models", {"/v1/models": 201}, "status_code_conformance"),
        ("/v1/models", {"/v1/models": (b"created", b"crafted")}, "response_schema_conformance"),
        ("/v1/responses", {"/v1/responses": (b"content_index", b"content_inbox")}, "response_schema_conformance"),
        ("/v1/chat/completions", {"/v1/chat/completions": (b"delta", b"dilta")}, "response_schema_conformance"),
        ("/v1/responses", {"/v1/responses": 200}, "negative_data_rejection"),
        ("/v1/responses/input_tokens", {"/openapi.json": OPTIONAL}, "no_refusal_of_form"),
        ("/v1/responses", {"/v1/responses": (b'"delta":"F', b'"delta":"f')}, "whole_stream"),
        ("/v1/chat/completions", {"/v1/chat/completions": (b'"stop"', b'"tire"')}, "whole_stream"),
    ],
)
def test_an_answer_that_the_document_does_not_name_is_found(
    house: House, path: str, lies: Mapping[str, int | tuple[bytes, bytes]], check: str
) -> None:
    house.app.add_middleware(Liar, lies=lies)
    with serving(house.app) as running:
        findings = fuzz(running.url, examples=16, seed=0, coverage=False, paths=f"^{path}$")
    found = [one for one in findings.examples if one["check"] == check]
    assert found
    assert found[0]["request"].startswith("curl")
