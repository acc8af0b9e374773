"""The life of the server: it listens at once, says when it is ready, ends in order, and only serves this machine."""

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from forethought.api.app import create_app
from forethought.api.options import ServerOptions
from forethought.api.server import Listening, Server
from forethought.engine.script import Hang, Pause, Script
from forethought.engine.scripted import ScriptedEngine
from forethought.errors import CheckpointError, SettingsError
from server_house import Running, Wire, post, serving
from server_scene import ALIAS, ANSWER, House, always, begins, served, writes

ASKED: dict[str, Any] = {"model": ALIAS, "input": "Two and two?", "stream": True}
CHATTED: dict[str, Any] = {"model": ALIAS, "messages": [{"role": "user", "content": "Hi."}], "stream": True}


class SlowEngine(ScriptedEngine):
    """Loads until it is let, or fails to."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.loading: asyncio.Future[None] | None = None

    async def start(self) -> None:
        self.loading = asyncio.get_running_loop().create_future()
        await self.loading
        await super().start()

    def settle(self, error: Exception | None = None) -> None:
        assert self.loading is not None
        loop = self.loading.get_loop()
        if error is None:
            loop.call_soon_threadsafe(self.loading.set_result, None)
        else:
            loop.call_soon_threadsafe(self.loading.set_exception, error)


def readiness(running: Running) -> tuple[int, str]:
    answer = httpx.get(f"{running.url}/readyz")
    return answer.status_code, answer.json()["status"]


def test_the_server_listens_while_the_model_loads_and_says_when_it_is_ready(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SlowEngine(always(writes(tiny_checkpoint)))
    app = create_app([served(tiny_checkpoint, engine)], ServerOptions())
    loaded = threading.Event()
    app.state.engines.on_loaded(lambda failure: loaded.set())
    monkeypatch.setattr("forethought.api.engines.LOADING_SECONDS", 0.01)
    with serving(app) as running:
        assert readiness(running) == (503, "loading")
        assert httpx.get(f"{running.url}/healthz").json() == {"status": "ok"}
        early = httpx.post(f"{running.url}/v1/responses", json=ASKED)
        assert (early.status_code, early.json()["error"]["code"]) == (503, "model_loading")
        assert early.headers["retry-after"] == "1"
        engine.settle()
        assert loaded.wait(10)
        assert readiness(running) == (200, "ready")


def test_who_asks_while_the_model_loads_is_answered_when_it_has_loaded(tiny_checkpoint: Path) -> None:
    engine = SlowEngine(always(writes(tiny_checkpoint)))
    app = create_app([served(tiny_checkpoint, engine)], ServerOptions())
    with serving(app) as running, ThreadPoolExecutor() as pool:
        early = pool.submit(httpx.post, f"{running.url}/v1/responses", json=ASKED)
        assert readiness(running) == (503, "loading")
        assert not early.done()
        engine.settle()
        assert early.result(10).status_code == 200


def test_a_model_that_cannot_be_loaded_ends_the_server_with_its_reason(tiny_checkpoint: Path) -> None:
    class Broken(ScriptedEngine):
        async def start(self) -> None:
            raise CheckpointError("A tensor is missing.", "Fetch the checkpoint again.")

    engine = Broken(always(writes(tiny_checkpoint)))
    app = create_app([served(tiny_checkpoint, engine)], ServerOptions())
    with pytest.raises(CheckpointError, match="A tensor is missing"):
        asyncio.run(Server(app, Listening(port=0)).run_until_ended())
    assert app.state.engines.state == "closing"


def test_an_engine_that_restarts_is_not_ready(tiny_checkpoint: Path) -> None:
    house = House(tiny_checkpoint, always(writes(tiny_checkpoint)))
    with serving(house.app) as running:
        assert readiness(running) == (200, "ready")
        running.app.state.engines._engines[0] = type("Restarting", (), {"ready": False, "close": house.engine.close})()
        assert readiness(running) == (503, "down")


def streamed_to_the_end(house: House, drain_seconds: float, path: str, body: dict[str, Any]) -> str:
    """All that a stream brings when the server is told to end right after it has begun."""
    with (
        serving(house.app, Listening(port=0, drain_seconds=drain_seconds)) as running,
        httpx.Client(base_url=running.url) as client,
        client.stream("POST", path, json=body) as stream,
    ):
        pieces = stream.iter_text()
        begun = next(pieces)
        running.server.should_exit = True
        return begun + "".join(pieces)


def test_a_request_in_flight_may_finish_when_the_server_ends(tiny_checkpoint: Path) -> None:
    slow = House(tiny_checkpoint, always(Pause(0.5), writes(tiny_checkpoint)))
    text = streamed_to_the_end(slow, 30, "/v1/responses", ASKED)
    assert "event: response.completed" in text
    assert ANSWER in text
    assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(("path", "body"), [("/v1/responses", ASKED), ("/v1/chat/completions", CHATTED)])
def test_one_that_does_not_finish_in_time_is_cut_off_in_order(
    tiny_checkpoint: Path, path: str, body: dict[str, Any]
) -> None:
    house = House(tiny_checkpoint, always(begins(tiny_checkpoint), Hang()))
    text = streamed_to_the_end(house, 0.2, path, body)
    assert text.count("event: response.failed") == (1 if "input" in body else 0)
    assert text.count("The server ended this") == 1
    assert text.endswith("data: [DONE]\n\n")


def test_one_without_a_stream_is_told_to_ask_again(tiny_checkpoint: Path) -> None:
    house = House(tiny_checkpoint, always(begins(tiny_checkpoint), Hang()))
    with serving(house.app, Listening(port=0, drain_seconds=0.2)) as running, Wire(running) as wire:
        wire.send(post("/v1/responses", json.dumps(ASKED | {"stream": False}).encode()))
        assert house.submitted.wait(10)
        running.server.should_exit = True
        answer = wire.answer()
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_server_that_ends_takes_no_more_requests(tiny_checkpoint: Path) -> None:
    house = House(tiny_checkpoint, always(begins(tiny_checkpoint), Hang()))
    with serving(house.app, Listening(port=0, drain_seconds=1)) as running, Wire(running) as wire:
        wire.send(post("/v1/responses", json.dumps(ASKED).encode()))
        assert wire.sock.recv(100)
        running.app.state.admission.close()
        refused = httpx.post(f"{running.url}/v1/responses", json=ASKED)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        running.server.should_exit = True
        while b"[DONE]" not in wire.sock.recv(65536):
            pass
        with pytest.raises(OSError):
            socket.create_connection(running.address)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_only_this_machine_is_served_until_a_gate_admits_models_for_others(host: str) -> None:
    app = create_app([], ServerOptions())
    with pytest.raises(SettingsError, match="no gate has admitted") as raised:
        asyncio.run(Server(app, Listening(host, 0)).run_until_ended())
    assert "127.0.0.1" in raised.value.remedy


def test_a_port_that_is_taken_is_named_with_the_option_that_mends_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"Port {port} ") as raised:
            asyncio.run(Server(create_app([], ServerOptions()), Listening(port=port)).run_until_ended())
    assert "--port" in raised.value.remedy


def test_a_host_that_is_none_is_named() -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.invalid"):
        asyncio.run(Server(create_app([], ServerOptions()), Listening("nowhere.invalid", 0)).run_until_ended())


def test_ipv6_is_this_machine_too() -> None:
    with serving(create_app([], ServerOptions()), Listening("::1", 0)) as running:
        assert running.url.startswith("http://[::1]:")
        assert httpx.get(f"{running.url}/healthz").status_code == 200
