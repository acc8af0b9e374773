"""One life of the engine process, seen from its parent: its start, its messages, its last words and its end."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from os import environ, getpid
from typing import Any, Self, cast

from forethought import logs
from forethought.engine.wire import Failed, FrameReader, FromChild, Ready, Start, ToChild, frame
from forethought.errors import EngineDown

LINES_KEPT = 10
LINE_BYTES = 4096
USEFUL_SECONDS = 60.0
DYING_SECONDS = 5.0
"""How long a killed process may take until the kernel has freed its memory."""
DRAIN_SECONDS = 0.2
POLL_SECONDS = 0.005

log = logs.get_logger(__name__)


class LastWords(asyncio.Protocol):
    """Standard output and error of the process, line by line: our own log records are logged here again, anything
    else is logged as it is, and its last lines are kept to explain a crash."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._partial = b""

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > LINE_BYTES:
            lines, self._partial = [*lines, self._partial], b""
        for line in lines:
            self._take(line[:LINE_BYTES].decode(errors="replace").rstrip())

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop at the end of the output."""
        self._take(self._partial.decode(errors="replace").rstrip())
        if not self.ended.done():
            self.ended.set_result(None)

    def _take(self, line: str) -> None:
        record = _log_record(line)
        if record is not None:
            level, name, event, fields = record
            logging.getLogger(name).log(level, "%s", event, extra={"fields": fields})
        elif line:
            self.lines.append(line)
            log.warning("engine process wrote", line=line)


def _log_record(line: str) -> tuple[int, str, str, dict[str, Any]] | None:
    """Level, logger, event and fields of a line that `logs.JsonFormatter` wrote; None for any other."""
    try:
        entry: Any = json.loads(line) if line.startswith("{") else None
        level = logging.getLevelNamesMapping()[entry["level"].upper()]
        fields = dict(cast("dict[str, Any]", entry.get("fields", {})))
        if "traceback" in entry:
            fields["traceback"] = entry["traceback"]
        return level, str(entry["logger"]), str(entry["event"]), fields
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _start(inherited: socket.socket) -> subprocess.Popen[bytes]:
    """Starts the worker with its end of the socket pair, and closes that end here. Raises `EngineDown`."""
    # -P: a file in the current directory must not stand in for a module.
    command = [sys.executable, "-P", "-m", "forethought.engine.worker", str(inherited.fileno()), str(getpid())]
    with inherited:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[inherited.fileno()],
                start_new_session=True,
                # OpenMP's idle threads would spin on the cores that the compiled runner computes on.
                env={"OMP_WAIT_POLICY": "PASSIVE", **environ},
            )
        except OSError as error:
            raise EngineDown(f"The engine process cannot be started: {error}.", "Free memory or processes.") from error


class ChildProcess(asyncio.Protocol):
    """A running engine process. Made by `spawn`; `receive` is called with each message after the first."""

    def __init__(self, process: subprocess.Popen[bytes], receive: Callable[[FromChild], None]) -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.messages = 0
        self.finished = 0
        self._born = time.monotonic()
        self._process = process
        self._receive = receive
        self._greeting: asyncio.Future[Ready | Failed] = loop.create_future()
        self._reader = FrameReader()
        self._words = LastWords()
        self._transport: asyncio.WriteTransport | None = None
        self._output: asyncio.ReadTransport | None = None

    @classmethod
    async def spawn(cls, receive: Callable[[FromChild], None]) -> Self:
        """Starts a process. It gets a session of its own: Ctrl-C in the terminal is for the parent to handle."""
        # Called in the loop's thread: the kernel ends the child with the thread that started it.
        ours, theirs = socket.socketpair()
        process = _start(theirs)
        child = cls(process, receive)
        loop = asyncio.get_running_loop()
        try:
            child._output, _ = await loop.connect_read_pipe(lambda: child._words, process.stdout)
            child._transport, _ = await loop.create_unix_connection(lambda: child, sock=ours)
        except BaseException:
            process.kill()
            process.wait()
            ours.close()
            raise
        log.info("engine process started", pid=child.pid)
        return child

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def listens(self) -> bool:
        """Whether it takes messages: False from the moment its end, or ours, is closed."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def useful(self) -> bool:
        """Whether this life was of use: a request finished in it, or it lasted a while."""
        return self.finished > 0 or time.monotonic() - self._born > USEFUL_SECONDS

    @property
    def last_words(self) -> str:
        """A sentence that quotes the last lines it wrote; empty if there are none."""
        return f" Its last words: {' | '.join(self._words.lines)}" if self._words.lines else ""

    async def greet(self, start: Start, timeout: float) -> Ready:
        """Has the core built. Raises the error that the child reports, or `EngineDown`."""
        self.send(start)
        await asyncio.wait({self._greeting, self.ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._greeting.done():
            answer = self._greeting.result()
            if isinstance(answer, Failed):
                raise answer.error
            return answer
        if self.ended.done():
            how, remedy = (
                f"{await self.stop(grace=1.0)} while it started",
                "Run `forethought doctor` to see what is wrong.",
            )
        else:
            how = f"was not ready within {timeout:g} s"
            remedy = "Raise engine.start_timeout, or run `forethought doctor` to see what is slow."
        raise EngineDown(f"The engine process {how}.{self.last_words}", remedy)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        for message in self._reader.feed(data):
            self.messages += 1
            if isinstance(message, Ready | Failed):
                self._greeting.set_result(message)
            else:
                self._receive(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the process has ended, or was hung up on."""
        self.ended.set_result(None)

    def send(self, message: ToChild) -> None:
        """Queues a message; it is lost if the process has ended."""
        if self._transport is not None and self.listens:
            self._transport.write(frame(message))

    def hang_up(self) -> None:
        """Closes the socket, upon which the process ends itself. No message comes after this."""
        assert self._transport is not None
        self._transport.abort()

    async def stop(self, grace: float) -> str:
        """Hangs up, kills the process if it is there after `grace` seconds, and says how it ended."""
        assert self._output is not None
        self.hang_up()
        await self.ended
        await self._exit(grace)
        if self._process.returncode is None:
            self._process.kill()
            await self._exit(DYING_SECONDS)
        # What it wrote last may still be in the pipe; something it started may hold the pipe open.
        await asyncio.wait({self._words.ended}, timeout=DRAIN_SECONDS)
        self._output.close()
        await self._words.ended
        return self._verdict()

    async def _exit(self, seconds: float) -> None:
        """Waits until the process has ended, `seconds` at most. Polls: child watchers differ between loops."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._process.poll() is None and loop.time() < deadline:
            await asyncio.sleep(POLL_SECONDS)

    def _verdict(self) -> str:
        status = self._process.returncode
        if status is None:
            return f"has been killed and does not end (process {self.pid})"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with exit status {status}"
