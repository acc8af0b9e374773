"""Runs the server as a program would: on a socket of its own, in a thread, until the test is over."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

from fastapi import FastAPI

from forethought.api.frame import ACCESS_LOGGER
from forethought.api.server import Listening, Server

TIMEOUT = 20.0


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    url: str
    server: Server
    app: FastAPI

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").rpartition(":")
        return host, int(port)


@contextmanager
def serving(app: FastAPI, listening: Listening | None = None) -> Generator[Running]:
    """Serves `app` for the time of the block, on any free port."""
    url: Future[str] = Future()
    server = Server(app, listening or Listening(port=0), url.set_result)

    def run() -> None:
        try:
            asyncio.run(server.run_until_ended())
        except BaseException as error:
            if url.done():
                raise
            url.set_exception(error)

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        yield Running(url.result(TIMEOUT), server, app)
    finally:
        server.should_exit = True
        thread.join(TIMEOUT)
    assert not thread.is_alive()


class AccessLog(logging.Handler):
    """The lines of the access log, as they are written: the moments at which requests are over."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Queue[dict[str, Any]] = Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put(record.__dict__["fields"])

    def next(self) -> dict[str, Any]:
        """Waits for the next line."""
        return self._lines.get(timeout=TIMEOUT)


@contextmanager
def access_log() -> Generator[AccessLog]:
    """Listens to the access log for the time of the block."""
    logger, listener = logging.getLogger(ACCESS_LOGGER), AccessLog()
    before = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield listener
    finally:
        logger.removeHandler(listener)
        logger.setLevel(before[0])
        logger.propagate = before[1]


@dataclass
class RawAnswer:
    """What came back over a bare socket."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, str | None]:
        return json.loads(self.body)["error"]


@dataclass
class Wire:
    """A connection without any manners."""

    running: Running
    sock: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self.sock = socket.create_connection(self.running.address, TIMEOUT)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *exception: object) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def answers(self) -> Iterator[RawAnswer]:
        """The responses that come, until the connection ends."""
        with self.sock.makefile("rb") as lines:
            while status_line := lines.readline():
                headers: dict[str, str] = {}
                while (line := lines.readline().rstrip()) != b"":
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                body = lines.read(int(headers["content-length"]))
                yield RawAnswer(int(status_line.split()[1]), headers, body)

    def answer(self) -> RawAnswer:
        """The next response."""
        return next(self.answers())

    def closed(self) -> bool:
        """Waits for the other side to close; whether it did, without another word."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True


def post(path: str, body: bytes = b"{}", **headers: str) -> bytes:
    """A request as bytes."""
    named = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body
