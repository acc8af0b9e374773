"""Talks with an application in its own process: a request goes in, what came back comes out, without any socket."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.types import Message


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Without its parameters."""
        return self.headers["content-type"].partition(";")[0]

    def json(self) -> Any:
        """The document."""
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What a stream sent, but for the `[DONE]` at its end."""
        *lines, done = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        assert done == "[DONE]"
        return [json.loads(line) for line in lines]


async def send(app: FastAPI, method: str, path: str, body: object = None) -> Answer:
    """Sends a request as a client on this machine would, and reads the answer to its end."""
    content = b"" if body is None else json.dumps(body).encode()
    headers = {"host": "localhost", "content-type": "application/json", "content-length": str(len(content))}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    incoming: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
    outgoing: list[Message] = []

    async def receive() -> Message:
        if not incoming:
            await asyncio.Event().wait()  # a client that stays
        return incoming.pop()

    async def collect(message: Message) -> None:
        outgoing.append(message)

    await app(scope, receive, collect)
    start, *rest = outgoing
    sent = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], sent, b"".join(message.get("body", b"") for message in rest))
