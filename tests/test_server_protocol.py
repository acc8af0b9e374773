"""Hostile and broken HTTP: each gets a clear error or a closed door, and harms no other request."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from forethought.api.app import create_app
from forethought.api.options import ConnectionLimits, ServerOptions
from forethought.api.server import Listening
from server_house import Running, Wire, post, serving

LIMITS = ConnectionLimits(connections=8, head_bytes=4096, head_seconds=0.3, idle_seconds=1, linger_seconds=2)
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    app = create_app([], ServerOptions(max_body_bytes=2**20, body_seconds=0.3))
    with serving(app, Listening(port=0, limits=LIMITS)) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(running: Running) -> Iterator[None]:
    """After whatever happened, others are answered."""
    yield
    with Wire(running) as wire:
        wire.send(HEALTH)
        assert wire.answer().status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\r\n folded\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\x00b\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        post("/v1/responses", transfer_encoding="chunked"),
        post("/v1/responses", b"2\r\n{}\r\n0\r\n\r\n", content_length="", transfer_encoding="xchunked"),
        post("/v1/responses", b"2\r\n{}\r\n0\r\n\r\n", content_length="", transfer_encoding="chunked, identity"),
        post("/v1/responses", b"zz\r\n{}\r\n0\r\n\r\n", content_length="", transfer_encoding="chunked"),
        post("/v1/responses", b"ffffffffffffffffff\r\n", content_length="", transfer_encoding="chunked"),
        b"POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        post("/v1/responses", content_length="+2"),
        post("/v1/responses", content_length="2, 2"),
        post("/v1/responses", content_length="9" * 40),
    ],
)
def test_what_two_readers_could_take_for_two_things_is_no_request(running: Running, request_bytes: bytes) -> None:
    with Wire(running) as wire:
        wire.send(request_bytes)
        answers = list(wire.answers())
    assert [answer.status for answer in answers] == [400]
    assert answers[0].error["code"] == "invalid_http"
    assert answers[0].headers["x-forethought-ungated"] == "true"


def test_a_body_cannot_smuggle_a_second_request(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(post("/v1/responses", HEALTH, connection="close"))
        answers = list(wire.answers())
    assert [(answer.status, answer.error["code"]) for answer in answers] == [(400, "invalid_json")]


def test_pipelined_requests_are_answered_in_order(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(HEALTH + post("/v1/responses", b"{") + HEALTH)
        answers = wire.answers()
        assert [next(answers).status for _ in range(3)] == [200, 400, 200]


def test_an_upgrade_to_websocket_is_refused_by_name(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(
            b"GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
            b"sec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
        )
        answers = list(wire.answers())
    assert [(answer.status, answer.error["code"]) for answer in answers] == [(400, "upgrade_not_offered")]
    assert "WebSocket" in str(answers[0].error["message"])


def test_an_offer_of_http_2_is_passed_over_and_the_body_read(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(post("/v1/responses", b"{", connection="Upgrade, HTTP2-Settings", Upgrade="h2c", http2_settings="AA"))
        assert wire.answer().error["code"] == "invalid_json"


@pytest.mark.parametrize("sent", [b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nx: ", b"\r\n\r\n"])
def test_headers_that_do_not_arrive_in_time_are_not_waited_for(running: Running, sent: bytes) -> None:
    with Wire(running) as wire:
        wire.send(sent)
        assert [answer.status for answer in wire.answers()] == [408]


def test_headers_that_drip_are_not_waited_for_either(running: Running) -> None:
    begun = time.monotonic()
    with Wire(running) as wire, contextlib.suppress(OSError):
        wire.send(HEALTH)
        assert wire.answer().status == 200
        while time.monotonic() - begun < 10.0:
            wire.send(b"\r\n")
    assert time.monotonic() - begun < 5.0


def test_a_connection_on_which_nothing_is_said_is_closed(running: Running) -> None:
    with Wire(running) as wire:
        assert wire.closed()


def test_an_idle_connection_is_closed_after_its_time(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(HEALTH)
        assert wire.answer().status == 200
        assert wire.closed()


@pytest.mark.parametrize("endless", [b"GET /" + b"a" * 20_000, b"GET / HTTP/1.1\r\nx: " + b"a" * 20_000])
def test_headers_without_end_are_refused(running: Running, endless: bytes) -> None:
    with Wire(running) as wire:
        wire.send(endless)
        assert wire.answer().status == 431


def test_a_body_that_drips_is_not_waited_for(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(post("/v1/responses", b'{"mo', content_length="100"))
        answers = list(wire.answers())
    assert [(answer.status, answer.error["code"]) for answer in answers] == [(408, "request_timeout")]


@pytest.mark.parametrize("declared", [True, False])
def test_a_hundred_megabytes_are_refused_and_the_connection_serves_on(running: Running, declared: bool) -> None:
    piece, size = b"[" * 2**20, 100 * 2**20
    with Wire(running) as wire:
        if declared:
            wire.send(post("/v1/responses", b"", content_length=str(size)))
        else:
            wire.send(post("/v1/responses", b"", content_length="", transfer_encoding="chunked"))
        for _ in range(100):
            wire.send(piece if declared else b"100000\r\n" + piece + b"\r\n")
        wire.send((b"" if declared else b"0\r\n\r\n") + HEALTH)
        answers = wire.answers()
        refused, healthy = next(answers), next(answers)
    assert (refused.status, refused.error["code"], healthy.status) == (413, "request_too_large", 200)


def test_a_large_body_that_waits_to_be_asked_for_is_never_asked_for(running: Running) -> None:
    with Wire(running) as wire:
        wire.send(post("/v1/responses", b"", content_length=str(10**9), expect="100-continue"))
        assert wire.answer().status == 413
        assert wire.closed(), "what would still come is not waited for long"


def test_a_connection_too_many_is_told_so(running: Running) -> None:
    wires = [Wire(running) for _ in range(LIMITS.connections + 1)]
    try:
        refused = wires[-1].answer()
        assert (refused.status, refused.error["code"]) == (503, "too_many_connections")
        assert refused.headers["retry-after"] == "1"
    finally:
        for wire in wires:
            wire.sock.close()
