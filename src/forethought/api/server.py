"""Runs the application on a socket: from the bind to the end, which is orderly.

SIGTERM (or Ctrl-C) ends it: it accepts no more, the requests in flight finish within a time of grace, and those that
do not are cut off with a terminal event. A second Ctrl-C ends it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import uvicorn

from forethought.api.auth import is_loopback
from forethought.api.options import ConnectionLimits
from forethought.api.protocol import limited
from forethought.errors import EngineError, ForethoughtError, SettingsError

if TYPE_CHECKING:
    from types import FrameType

    from fastapi import FastAPI

    from forethought.api.engines import Engines

BACKLOG = 2048
SPARE_FILES = 256
"""File descriptors that are needed for other things than connections."""
LAST_WORDS_SECONDS = 5
"""How long the terminal events of requests that were cut off may take to be read."""


@dataclass(frozen=True, slots=True)
class Listening:
    """How the server listens and ends. Port 0 is any free one."""

    host: str = "127.0.0.1"
    port: int = 8000
    drain_seconds: float = 30.0
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)


class Server(uvicorn.Server):
    """One run of the application. `on_listening` is called with the URL when connections are accepted."""

    def __init__(self, app: FastAPI, listening: Listening, on_listening: Callable[[str], None] | None = None) -> None:
        super().__init__(_config(app, listening))
        self._listening = listening
        self._on_listening = on_listening
        self._engines: Engines = app.state.engines
        self._admission = app.state.admission
        self._failure: Exception | None = None
        self._url = ""
        self._engines.on_loaded(self._loaded)

    async def run_until_ended(self) -> None:
        """Serves until it is told to end. The application's engines are closed then.

        Raises:
            SettingsError: the address cannot be bound, or must not be.
            ForethoughtError: a model cannot be loaded.
        """
        bound = bind(self._listening)
        _allow_files(self._listening.limits.connections + SPARE_FILES)
        self._url = url_of(bound)
        try:
            await self.serve([bound])
        finally:
            bound.close()
            await self._engines.close()
        if isinstance(self._failure, ForethoughtError):
            raise self._failure
        if self._failure is not None:
            raise EngineError(f"A model cannot be loaded: {self._failure!r}.", "Report it.") from self._failure

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn."""
        await super().startup(sockets)
        if self._on_listening is not None:
            self._on_listening(self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called by uvicorn when it is to end: lets the requests in flight finish, for a time."""
        self._admission.close()
        self._engines.drain()
        cutting = asyncio.create_task(self._cut_off())
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Called by uvicorn around its run. Its own version kills the process afterwards by the signal that it got;
        here an orderly end is one, with the exit status of whoever runs this."""
        if threading.current_thread() is not threading.main_thread():
            yield  # no thread but the main one hears signals
            return
        handled = {each: signal.signal(each, self.handle_exit) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in handled.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the interpreter: the first signal ends in order, Ctrl-C after it at once."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def _cut_off(self) -> None:
        await asyncio.sleep(self._listening.drain_seconds)
        await self._engines.close()

    def _loaded(self, failure: Exception | None) -> None:
        if failure is not None:
            self._failure = failure
            self.should_exit = True


def run(main: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine in the fastest event loop that is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main)


def bind(listening: Listening) -> socket.socket:
    """The socket. Until the gate exists nothing that is served has been admitted, so it is one of this machine's own.

    Raises:
        SettingsError: the address is not a loopback one, or cannot be had.
    """
    host, port = listening.host, listening.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        if not is_loopback(str(address[0])):
            raise SettingsError(
                f"{host} is not a loopback address, and no gate has admitted the model for others to use.",
                "Serve on 127.0.0.1; other addresses come with the gate.",
            )
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"{host} is not an address: {error.strerror}.", "Serve on 127.0.0.1.") from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        why, remedy = f"Port {port} of {host} cannot be had: {error.strerror}.", "Choose another with --port."
        raise SettingsError(why, remedy) from None
    return bound


def url_of(bound: socket.socket) -> str:
    """`http://127.0.0.1:8000`."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: FastAPI, listening: Listening) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=limited(listening.limits, app.state.headers),
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=listening.limits.idle_seconds,
        timeout_graceful_shutdown=int(listening.drain_seconds) + LAST_WORDS_SECONDS,
        # Who talks to us is what the socket says, not what a header claims.
        proxy_headers=False,
        server_header=False,
        # Requests are logged by `frame`, their failures too.
        access_log=False,
        log_config=None,
        log_level="critical",
    )


def _allow_files(needed: int) -> None:
    """Raises the soft limit of open files as far as needed and allowed: each connection is one."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
