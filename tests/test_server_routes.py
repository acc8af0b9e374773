"""Routes and methods: which there are, how others are refused, and what every response says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forethought.api.options import ServerOptions
from server_house import Running, serving
from server_scene import ALIAS, SNAPSHOT, House, always, writes

ASKED: dict[str, Any] = {"model": ALIAS, "input": "Two and two?"}
MESSAGES: dict[str, Any] = {"messages": [{"role": "user", "content": "Two and two?"}]}


@pytest.fixture(scope="module")
def running(tiny_checkpoint: Path) -> Iterator[Running]:
    with serving(House(tiny_checkpoint, always(writes(tiny_checkpoint))).app) as running:
        yield running


def deployed(running: Running, deployment: str, body: dict[str, Any], version: str = "2024-10-21") -> httpx.Response:
    path = f"/openai/deployments/{deployment}/chat/completions"
    return httpx.post(running.url + path, json=body, params={"api-version": version})


def test_a_deployment_s_path_names_the_model_and_the_body_may_only_agree(running: Running) -> None:
    assert deployed(running, ALIAS, MESSAGES).status_code == 200
    assert deployed(running, SNAPSHOT, MESSAGES | {"model": SNAPSHOT}).status_code == 200
    other = deployed(running, ALIAS, MESSAGES | {"model": "gpt-4o"})
    assert (other.status_code, other.json()["error"]["code"]) == (400, "model_mismatch")
    unknown = deployed(running, "gpt-4o", MESSAGES)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert deployed(running, ALIAS, MESSAGES, version="yesterday").json()["error"]["param"] == "api-version"


def test_a_query_parameter_that_would_be_ignored_is_refused(running: Running) -> None:
    refused = httpx.post(f"{running.url}/v1/responses?beta=true", json=ASKED)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "beta")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/responses/resp_1"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", "/v1/responses/resp_1/cancel"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("POST", "/v1/responses/compact"),
        ("GET", "/v1/chat/completions/chatcmpl-1"),
        ("GET", "/openai/v1/chat/completions/chatcmpl-1/messages"),
        ("POST", "/v1/conversations"),
        ("GET", "/v1/conversations/conv_1/items"),
        ("POST", "/v1/files"),
        ("GET", "/v1/batches"),
    ],
)
def test_a_route_of_stored_objects_says_that_nothing_is_stored(running: Running, method: str, path: str) -> None:
    answer = httpx.request(method, running.url + path)
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert "stores nothing" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/embeddings", "/v1/responses/", "/V1/responses", "/v1//responses"])
def test_an_unknown_route_is_a_404_in_openai_s_form(running: Running, path: str) -> None:
    answer = httpx.get(running.url + path)
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/responses", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/models/x", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_one(
    running: Running, method: str, path: str, allowed: str
) -> None:
    answer = httpx.request(method, running.url + path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert ", ".join(sorted(answer.headers["allow"].split(", "))) == allowed


def test_every_response_says_who_answered_and_that_nobody_has_admitted_the_model(running: Running) -> None:
    ids: set[str] = set()
    for answer in (
        httpx.get(f"{running.url}/healthz"),
        httpx.get(f"{running.url}/nowhere"),
        httpx.post(f"{running.url}/v1/responses", json=ASKED),
        httpx.post(f"{running.url}/v1/responses", json=ASKED | {"stream": True}),
        httpx.post(f"{running.url}/v1/responses", content=b"{", headers={"content-type": "application/json"}),
        httpx.get(f"{running.url}/v1/models", headers={"host": "evil.com"}),
    ):
        assert answer.headers["x-forethought-ungated"] == "true"
        assert answer.headers["openai-version"]
        assert int(answer.headers["openai-processing-ms"]) >= 0
        ids.add(answer.headers["x-request-id"])
    assert len(ids) == 6


def test_generations_say_how_many_more_there_may_be(running: Running) -> None:
    answer = httpx.post(f"{running.url}/v1/responses", json=ASKED)
    limit, remaining = (int(answer.headers[f"x-ratelimit-{name}-requests"]) for name in ("limit", "remaining"))
    assert (limit, remaining) == (ServerOptions().max_requests, limit - 1)
    assert "x-ratelimit-limit-requests" not in httpx.get(f"{running.url}/v1/models").headers
