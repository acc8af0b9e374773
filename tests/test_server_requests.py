"""The life of a request: logged without its content, cancelled when its client leaves, ended in order when a part of
the house breaks."""

import io
import itertools
import json
import logging
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from forethought import logs
from forethought.api.frame import ACCESS_LOGGER
from forethought.api.options import ConnectionLimits, ServerOptions
from forethought.api.server import Listening
from forethought.engine.protocol import Request
from forethought.engine.script import Fail, Hang, Say, Script, Step
from forethought.errors import EngineDown, EngineError, QueueFull
from server_house import AccessLog, Running, Wire, access_log, post, serving
from server_scene import ALIAS, CANARY, SNAPSHOT, House, always, begins, writes

QUESTION = "is the user probably twelve"
ASKED: dict[str, Any] = {"model": ALIAS, "input": QUESTION}
CHATTED: dict[str, Any] = {"model": ALIAS, "messages": [{"role": "user", "content": QUESTION}]}
ROUTES = {"/v1/responses": ASKED, "/v1/chat/completions": CHATTED}


@pytest.fixture
def log() -> Iterator[AccessLog]:
    with access_log() as log:
        yield log


@pytest.fixture(scope="module")
def answering(tiny_checkpoint: Path) -> Iterator[Running]:
    with serving(House(tiny_checkpoint, always(writes(tiny_checkpoint))).app) as running:
        yield running


@pytest.mark.parametrize(("path", "body"), ROUTES.items())
@pytest.mark.parametrize("streamed", [False, True])
def test_the_log_says_what_a_request_cost_and_not_what_was_said(
    answering: Running, log: AccessLog, path: str, body: dict[str, Any], streamed: bool
) -> None:
    answer = httpx.post(answering.url + path, json=body | {"stream": streamed})
    line = log.next()
    assert line["request"] == answer.headers["x-request-id"]
    assert (line["method"], line["route"], line["status"]) == ("POST", path, 200)
    assert (line["model"], line["streamed"]) == (SNAPSHOT, streamed)
    assert line["input_tokens"] > 0
    assert line["output_tokens"] > line["reasoning_tokens"] > 0
    assert isinstance(line["ms"], int)
    for said in (QUESTION, CANARY, "Four"):
        assert said not in repr(line)


def test_a_refused_request_is_logged_too(answering: Running, log: AccessLog) -> None:
    httpx.post(f"{answering.url}/v1/responses", json=ASKED | {"temperature": 0.1})
    httpx.get(f"{answering.url}/nowhere/{'x' * 1000}")
    refused, unknown = log.next(), log.next()
    assert (refused["status"], refused["route"], refused["model"]) == (400, "/v1/responses", SNAPSHOT)
    assert (unknown["status"], unknown["route"], len(unknown["path"])) == (404, None, 200)


def test_a_client_s_own_id_is_logged_if_it_is_one(answering: Running, log: AccessLog) -> None:
    for own, kept in (("run-7/step 3", True), ("x" * 512, True), ("x" * 513, False), ("schlüssel", False)):
        headers = [("x-client-request-id", own.encode("latin-1"))]
        httpx.get(f"{answering.url}/healthz", headers=[(name.encode(), value) for name, value in headers])
        assert log.next().get("client_request") == (own if kept else None)


def test_the_access_log_is_one_json_object_a_line_whatever_is_in_it() -> None:
    stream = io.StringIO()
    logger = logging.getLogger(ACCESS_LOGGER)
    before = (logger.handlers[:], logger.level, logger.propagate)
    try:
        logs.divert(ACCESS_LOGGER, stream)
        logs.get_logger(ACCESS_LOGGER).info("request", path='/\n{"event": "forged"}')
    finally:
        logger.handlers[:], logger.propagate = before[0], before[2]
        logger.setLevel(before[1])
    [line] = stream.getvalue().splitlines()
    assert json.loads(line)["fields"]["path"] == '/\n{"event": "forged"}'


@pytest.mark.parametrize(("path", "body"), ROUTES.items())
@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_that_leaves_cancels_its_generation(
    tiny_checkpoint: Path, log: AccessLog, path: str, body: dict[str, Any], streamed: bool
) -> None:
    house = House(tiny_checkpoint, always(begins(tiny_checkpoint), Hang()))
    with serving(house.app) as running:
        with Wire(running) as wire:
            wire.send(post(path, json.dumps(body | {"stream": streamed}).encode()))
            if streamed:
                assert wire.sock.recv(100)
            else:
                house.submitted.wait(10)
        line = log.next()
        assert line["left"] is True
        assert (line["status"], line["streamed"]) == (200 if streamed else 499, streamed)
        assert (house.running, house.engine.metrics().cancelled) == (0, 1)
        assert running.app.state.admission.in_flight == 0


def test_a_client_that_stops_reading_is_taken_for_gone(tiny_checkpoint: Path, log: AccessLog) -> None:
    begun = begins(tiny_checkpoint)
    endless = itertools.chain([begun], itertools.repeat(Say(begun.token_ids[-4:])))
    house = House(tiny_checkpoint, lambda request: endless, context_length=10**7)
    limits = ConnectionLimits(write_seconds=0.3)
    with serving(house.app, Listening(port=0, limits=limits)) as running, Wire(running) as wire:
        wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.send(post("/v1/responses", json.dumps(ASKED | {"stream": True}).encode()))
        assert log.next()["left"] is True
        assert house.running == 0


def refused(script: Script, checkpoint: Path, **options: Any) -> tuple[httpx.Response, httpx.Response]:
    """What both APIs say to a request that is answered by `script`."""
    with serving(House(checkpoint, script).app) as running:
        first, second = (httpx.post(running.url + path, json=body | options) for path, body in ROUTES.items())
    return first, second


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("error", "status", "kind", "retry", "says"),
    [
        (QueueFull("1024 requests are waiting.", "Ask again later."), 429, "rate_limit_error", "1", "1024 requests"),
        (EngineDown("It was killed.", "Run `forethought doctor`."), 503, "server_error", "1", "Ask again in a moment."),
        (EngineError("The arithmetic failed."), 500, "server_error", None, "The arithmetic failed."),
    ],
)
def test_what_the_engine_refuses_is_said_by_the_status_streamed_or_not(
    tiny_checkpoint: Path, error: EngineError, status: int, kind: str, retry: str | None, says: str, streamed: bool
) -> None:
    def refusing(request: Request) -> Iterable[Step]:
        raise error

    for answer in refused(refusing, tiny_checkpoint, stream=streamed):
        assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)
        assert answer.headers.get("retry-after") == retry
        assert says in answer.json()["error"]["message"]
        assert "doctor" not in answer.text


def test_an_engine_that_fails_on_the_way_ends_a_stream_in_order_and_is_a_500_without_one(
    tiny_checkpoint: Path,
) -> None:
    failing = always(begins(tiny_checkpoint), Fail(EngineError("The arithmetic failed.")))
    for answer in refused(failing, tiny_checkpoint):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "engine_error")
    response, completion = (answer.text for answer in refused(failing, tiny_checkpoint, stream=True))
    assert "event: response.failed" in response
    assert '"error"' in completion
    assert response.endswith("data: [DONE]\n\n")
    assert completion.endswith("data: [DONE]\n\n")


def test_what_breaks_unforeseen_is_a_500_without_details_and_a_line_in_the_log(
    tiny_checkpoint: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: Request) -> Iterable[Step]:
        raise ZeroDivisionError(CANARY)

    monkeypatch.setattr(logging.getLogger(logs.ROOT), "propagate", True)
    for answer in refused(broken, tiny_checkpoint):
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
        assert CANARY not in answer.text
        assert "ZeroDivisionError" not in answer.text
    traces = [record.__dict__["trace"] for record in caplog.records if record.message == "request broke"]
    assert traces
    assert all("ZeroDivisionError" in trace and CANARY not in trace for trace in traces)


def test_one_generation_too_many_is_refused_with_a_time_to_try_again(tiny_checkpoint: Path) -> None:
    house = House(tiny_checkpoint, always(begins(tiny_checkpoint), Hang()), ServerOptions(max_requests=1))
    with serving(house.app) as running, Wire(running) as wire:
        wire.send(post("/v1/responses", json.dumps(ASKED | {"stream": True}).encode()))
        assert wire.sock.recv(100)
        full = httpx.post(f"{running.url}/v1/chat/completions", json=CHATTED)
        assert (full.status_code, full.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert full.headers["retry-after"] == "1"
        assert full.headers["x-ratelimit-limit-requests"] == "1"
        assert full.headers["x-ratelimit-remaining-requests"] == "0"
        assert httpx.get(f"{running.url}/healthz").status_code == 200
        assert httpx.get(f"{running.url}/v1/models").status_code == 200


def test_each_choice_of_a_completion_takes_a_place(tiny_checkpoint: Path) -> None:
    house = House(tiny_checkpoint, always(begins(tiny_checkpoint), Hang()), ServerOptions(max_requests=3))
    with serving(house.app) as running:
        url, admission = f"{running.url}/v1/chat/completions", running.app.state.admission
        assert httpx.post(url, json=CHATTED | {"n": 4}).status_code == 429
        assert admission.in_flight == 0
        with Wire(running) as wire:
            wire.send(post("/v1/chat/completions", json.dumps(CHATTED | {"n": 2, "stream": True}).encode()))
            assert b"x-ratelimit-remaining-requests: 1" in wire.sock.recv(1000)
            assert admission.in_flight == 2
            assert httpx.post(url, json=CHATTED | {"n": 2}).json()["error"]["code"] == "rate_limit_exceeded"


def test_a_body_that_drips_in_takes_no_place(tiny_checkpoint: Path) -> None:
    house = House(tiny_checkpoint, always(writes(tiny_checkpoint)), ServerOptions(max_requests=1))
    with serving(house.app) as running, Wire(running) as wire:
        wire.send(post("/v1/responses", b'{"mo', content_length="100"))
        assert httpx.post(f"{running.url}/v1/responses", json=ASKED).status_code == 200


def test_the_sdk_tries_again_when_there_was_no_room(tiny_checkpoint: Path) -> None:
    said = iter([QueueFull("No room.")])

    def script(request: Request) -> Iterable[Step]:
        if error := next(said, None):
            raise error
        return [writes(tiny_checkpoint)]

    with serving(House(tiny_checkpoint, script).app) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=1)
        with client:
            assert client.responses.create(**ASKED).status == "completed"
