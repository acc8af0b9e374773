"""The engine process: builds a core, runs its steps, and talks with its parent between them.

`python -m forethought.engine.worker SOCKET PARENT`, started by `ChildProcess`; not for the command line. It dies with
its parent, whatever either is doing: the kernel kills it (Linux), and a thread waits for the socket to hang up.

What a request asks wrongly is refused and the rest goes on. A step that raises is a broken engine: the process ends
with its traceback, and the parent starts another.
"""

import contextlib
import ctypes
import faulthandler
import gc
import os
import resource
import select
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn, cast

from forethought import logs
from forethought.engine.protocol import EngineEvent, Finished
from forethought.engine.spec import Core
from forethought.engine.wire import (
    Add,
    Cancel,
    Failed,
    FrameReader,
    FromChild,
    PackedEvent,
    Ready,
    Refused,
    Start,
    Stepped,
    ToChild,
    Update,
    Updated,
    frame,
    pack_event,
)
from forethought.errors import EngineError, ForethoughtError

PR_SET_PDEATHSIG = 1
RECEIVE_BYTES = 1 << 18
QUIET_SECONDS = 0.1
"""After so long without a message, the next command is followed by a sign of life: many are no hang."""

log = logs.get_logger(__name__)


class Hangup(Exception):
    """The parent has closed its end."""


class Channel:
    """The child's end of the socket: blocking, one message at a time out, all that have arrived in."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = FrameReader()

    def send(self, message: FromChild) -> None:
        """Sends, and waits for room if the parent is slow to read. Raises `Hangup`."""
        try:
            self._connection.sendall(frame(message))
        except (BrokenPipeError, ConnectionResetError):
            raise Hangup from None

    def receive(self, *, wait: bool) -> list[ToChild]:
        """All messages that have arrived: perhaps none, with `wait` at least one. Raises `Hangup`."""
        messages: list[ToChild] = []
        while True:
            flags = 0 if wait and not messages else socket.MSG_DONTWAIT
            try:
                data = self._connection.recv(RECEIVE_BYTES, flags)
            except BlockingIOError:
                return messages
            except ConnectionResetError:
                raise Hangup from None
            if not data:
                raise Hangup
            messages += self._reader.feed(data)


class Worker:
    """Runs a core: commands between steps, one message per step."""

    def __init__(self, channel: Channel, core: Core) -> None:
        self._channel = channel
        self._core = core
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}
        self._spoke = time.monotonic()

    def run(self) -> NoReturn:
        """Works until the parent hangs up (raises `Hangup`)."""
        core = self._core
        self._report([])
        while True:
            for command in self._channel.receive(wait=not core.has_work):
                self._obey(command)
                if time.monotonic() - self._spoke > QUIET_SECONDS:
                    self._report([])
            self._report([self._packed(*event) for event in core.step()] if core.has_work else [])

    def _obey(self, command: ToChild) -> None:
        if isinstance(command, Add):
            self._add(command)
        elif isinstance(command, Cancel):
            # It may have finished while the command was on its way.
            if command.number in self._ids:
                self._core.cancel(self._ids[command.number])
        elif isinstance(command, Update):
            self._update(command)

    def _add(self, command: Add) -> None:
        request = command.request
        try:
            self._core.add(request)
        except ForethoughtError as error:
            self._channel.send(Refused(command.number, error))
        except Exception as error:  # noqa: BLE001 (the boundary of a request: its failure is its own)
            log.error("request failed", error=error, request=request.id)
            what = f"The engine could not take the request ({type(error).__name__})."
            self._channel.send(Refused(command.number, EngineError(what, "The log has the details.")))
        else:
            self._numbers[request.id] = command.number
            self._ids[command.number] = request.id

    def _update(self, command: Update) -> None:
        error = None
        try:
            apply_update(self._core, command.directory)
        except ForethoughtError as refusal:
            error = refusal
        self._channel.send(Updated(self._core.digest, error))

    def _packed(self, request_id: str, event: EngineEvent) -> PackedEvent:
        number = self._numbers[request_id]
        if isinstance(event, Finished):
            del self._numbers[request_id], self._ids[number]
        return pack_event(number, event)

    def _report(self, events: list[PackedEvent]) -> None:
        self._channel.send(Stepped(events, self._core.metrics()))
        self._spoke = time.monotonic()


def apply_update(core: Core, directory: Path) -> None:
    """Replaces the tensors of `core` by those in `directory`."""
    from forethought.model.weights import read_tensors  # loads torch, which not every core needs

    core.update_weights(read_tensors(directory))


def die_with(parent: int, connection: socket.socket) -> None:
    """Ends this process when `parent` ends or closes the socket, even in the middle of a step."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

    def wait() -> None:
        hangup = select.poll()
        hangup.register(connection, 0)  # no event is asked for; POLLHUP is always reported
        hangup.poll()
        os._exit(0)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def serve(channel: Channel) -> None:
    """Builds what the parent asks for and runs it until the parent hangs up (raises `Hangup`)."""
    start = cast(Start, channel.receive(wait=True)[0])
    settings = start.spec.settings
    # The parent reads these lines from standard error and logs them as its own.
    logs.configure(settings.log_level, as_json=True)
    # What is made here stays as long as the process: looking through it for garbage would only cost time.
    gc.disable()
    try:
        core = start.spec.build()
        for directory in start.updates:
            apply_update(core, directory)
    except ForethoughtError as error:
        channel.send(Failed(error))
        return
    gc.freeze()
    gc.enable()
    channel.send(Ready(core.digest, core.context_length))
    Worker(channel, core).run()


def main() -> None:
    """Entry point: `SOCKET` and `PARENT` are the inherited descriptor and the process id of the parent."""
    faulthandler.enable()
    # A core dump would hold prompts, and the parent would hear of the crash only after it is written.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    die_with(int(sys.argv[2]), connection)
    with contextlib.suppress(Hangup):
        serve(Channel(connection))


if __name__ == "__main__":
    main()
