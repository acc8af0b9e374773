"""Large requests are prepared by threads of their own: however many they are, no small request waits for them."""

import asyncio
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from forethought.api.options import ServerOptions
from forethought.api.threads import LARGE_BYTES, Threads
from forethought.model.tokenizer import Tokenizer
from server_house import serving
from server_scene import ALIAS, House, always, writes

MANY = 40
"""More than the threads that asyncio has for everybody."""


def bodies(text: str) -> dict[str, dict[str, Any]]:
    """A request with this text, for each route that turns texts into tokens."""
    return {
        "/v1/responses": {"model": ALIAS, "input": text},
        "/v1/responses/input_tokens": {"model": ALIAS, "input": text},
        "/v1/chat/completions": {"model": ALIAS, "messages": [{"role": "user", "content": text}]},
    }


@pytest.mark.parametrize("path", bodies(""))
def test_a_small_request_is_answered_while_many_large_ones_are_prepared(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    encode = Tokenizer.encode

    def slow(self: Tokenizer, text: str, *, continued: bool = False) -> list[int]:
        if len(text) > LARGE_BYTES:
            begun.set()
            assert go_on.wait(20)
        return encode(self, text, continued=continued)

    monkeypatch.setattr(Tokenizer, "encode", slow)
    house = House(tiny_checkpoint, always(writes(tiny_checkpoint)))
    with serving(house.app) as running, ThreadPoolExecutor(MANY) as clients:

        def ask(text: str) -> httpx.Response:
            return httpx.post(running.url + path, json=bodies(text)[path], timeout=20)

        large = [clients.submit(ask, "word " * LARGE_BYTES) for _ in range(MANY)]
        try:
            assert begun.wait(20)
            assert all(ask("word").status_code == 200 for _ in range(3))
        finally:
            go_on.set()
        answers = [each.result() for each in large]
    if path.endswith("input_tokens"):
        assert all(answer.json()["input_tokens"] > LARGE_BYTES for answer in answers)
        return
    for answer in answers:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
        prompt, context = map(int, re.findall(r"\d+", error["message"]))
        assert prompt > LARGE_BYTES
        assert context == 8192


def test_a_large_request_whose_client_leaves_in_the_queue_is_never_prepared() -> None:
    async def main() -> None:
        threads, go_on, prepared = Threads(), threading.Event(), threading.Event()
        large = threads.for_body(LARGE_BYTES + 1)
        running = [asyncio.create_task(large(go_on.wait, 20)) for _ in range(MANY)]
        left = asyncio.create_task(large(prepared.set))
        await asyncio.sleep(0)
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        go_on.set()
        await asyncio.gather(*running)
        threads.close()
        assert not prepared.is_set()

    asyncio.run(main())


def test_what_waits_for_the_threads_counts_as_held(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    encode = Tokenizer.encode

    def slow(self: Tokenizer, text: str, *, continued: bool = False) -> list[int]:
        if "wait" in text:
            begun.set()
            assert go_on.wait(20)
        return encode(self, text, continued=continued)

    monkeypatch.setattr(Tokenizer, "encode", slow)
    options = ServerOptions(ping_seconds=60, max_buffered_bytes=1000)
    house = House(tiny_checkpoint, always(writes(tiny_checkpoint)), options)
    with serving(house.app) as running, ThreadPoolExecutor(1) as clients:
        url, body = f"{running.url}/v1/responses", bodies("wait " * 120)["/v1/responses"]
        first = clients.submit(httpx.post, url, json=body, timeout=20)
        try:
            assert begun.wait(20)
            full = httpx.post(url, json=body)
        finally:
            go_on.set()
        assert (full.status_code, full.headers["retry-after"]) == (429, "1")
        assert "Too many large requests" in full.json()["error"]["message"]
        assert first.result().status_code == 200
        assert httpx.post(url, json=body).status_code == 200
