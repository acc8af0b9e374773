"""The engine in a process of its own: what it computes cannot stall the event loop, and its crash is survived.

The process builds an `EngineCore` (engine/worker.py) and sends the events of each step in one message. When it dies
or hangs, the requests it had are answered with an error, and another is started: at once the first time, then after
longer and longer pauses, until failures in a row show that it will not come back. Requests that come meanwhile wait.
Every new process must report the digest that the one before it had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from forethought import logs
from forethought.engine.child import ChildProcess
from forethought.engine.flights import Flight, Flights
from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import Request
from forethought.engine.refusals import CLOSED, NOT_STARTED, queue_full
from forethought.engine.request_check import check_length
from forethought.engine.spec import EngineSpec
from forethought.engine.stream import RequestStream
from forethought.engine.updates import WeightUpdates
from forethought.engine.wire import Add, Cancel, FromChild, Ready, Refused, Start, Stepped, Update, Updated
from forethought.errors import (
    CheckpointError,
    DigestMismatch,
    EngineDown,
    EngineError,
    ForethoughtError,
)

if TYPE_CHECKING:
    import torch  # not at run time: the process loads it, the command line need not

PAUSES = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds before each restart, by failures in a row. One failure more, and the engine gives up."""
CLOSE_SECONDS = 2.0
"""How long a process may take to end by itself when the engine is closed."""
WATCH_SECONDS = 1.0

log = logs.get_logger(__name__)


class ProcessEngine:
    """An `Engine` whose core runs in a child process. It belongs to the event loop in which it is started."""

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._settings = spec.settings.engine
        self._down: tuple[str, str] | None = NOT_STARTED
        self._ready: Ready | None = None
        self._child: ChildProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._updating = asyncio.Lock()
        self._settled = asyncio.Event()
        self._flights = Flights(self._settings.start_timeout)
        self._updates = WeightUpdates()
        self._past = EngineMetrics()
        self._latest = EngineMetrics()

    @property
    def digest(self) -> str:
        """Digest of the checkpoint as loaded, weight updates included. Raises `EngineDown` before the start."""
        return self._known().digest

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together. Raises `EngineDown` before the start."""
        return self._known().context_length

    @property
    def ready(self) -> bool:
        """Whether there is a process that would compute a request now."""
        return self._down is None and self._serving is not None

    async def start(self) -> None:
        """Starts the process and waits until it has loaded the weights. A first start is tried once.

        Raises:
            CheckpointError: it cannot be loaded.
            EngineDown: the process died or took too long; the message has what it wrote last.
        """
        async with self._starting:
            if self._down == CLOSED:
                raise EngineDown(*CLOSED)
            if self._supervisor is not None and not self._supervisor.done():
                return
            child = await self._launch()
            if self._down == CLOSED:
                await self._stop()
                raise EngineDown(*CLOSED)
            self._down = None
            self._supervisor = asyncio.create_task(self._supervise(child), name="forethought-engine-supervisor")

    async def close(self) -> None:
        """Ends requests in flight ("cancelled") and the process, within seconds. Can be called twice."""
        self._down = CLOSED
        self._settled.set()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait({self._supervisor})
        await self._stop()

    async def _stop(self) -> None:
        if self._child is not None:
            self._child.hang_up()
        self._flights.end("cancelled")
        self._updates.lose(EngineDown(*CLOSED))
        if self._child is not None:
            await self._child.stop(CLOSE_SECONDS)
        async with self._updating:
            self._updates.close()

    def submit(self, request: Request) -> RequestStream:
        """Queues a request and returns its stream; see `Engine.submit`. While the process restarts, it waits."""
        self._check(request)
        flight = self._flights.admit(request)
        if self._serving is not None:
            self._send(self._serving, flight)
        else:
            self._flights.wait(flight)
        return RequestStream(flight.inbox, partial(self._cancel, flight))

    def cancel(self, request_id: str) -> None:
        """Ends a request with "cancelled". Unknown ids are ignored."""
        flight = self._flights.find(request_id)
        if flight is not None:
            self._cancel(flight)

    async def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by name, empties the prefix cache. A process that restarts applies it again.

        Raises:
            CheckpointError, RequestError: the tensors do not fit; nothing has changed.
            EngineDown: the process died over it; the weights before it are in force.
            EngineError: the tensors cannot be written to the temporary directory.
        """
        async with self._updating:
            self._refuse_if_down()
            update = await asyncio.to_thread(self._updates.write, tensors)
            try:
                child = await self._running()
            except BaseException:
                update.drop()
                raise
            child.send(Update(update.directory))
            await self._updates.sent(update)

    def metrics(self) -> EngineMetrics:
        """Counters of all processes so far, gauges of the present one."""
        metrics = self._latest.after(self._past)
        metrics.queued += len(self._flights.waiting)
        return metrics

    @property
    def _serving(self) -> ChildProcess | None:
        """The process, if there is one that takes requests."""
        return self._child if self._child is not None and self._child.listens else None

    def _refuse_if_down(self) -> None:
        if self._down is not None:
            raise EngineDown(*self._down)

    def _known(self) -> Ready:
        if self._ready is None:
            raise EngineDown(*NOT_STARTED)
        return self._ready

    def _check(self, request: Request) -> None:
        """Raises what can be told without the process."""
        self._refuse_if_down()
        room = self._settings.max_queued + (self._settings.max_running if self._serving is not None else 0)
        if len(self._flights) >= room:
            raise queue_full(self._settings.max_queued)
        check_length(request, self.context_length)

    def _send(self, child: ChildProcess, flight: Flight) -> None:
        self._flights.send(flight)
        child.send(Add(flight.number, flight.request))

    def _cancel(self, flight: Flight) -> None:
        if self._flights.find(flight.request.id) is not flight:
            return
        if flight.sent and self._serving is not None:
            self._serving.send(Cancel(flight.number))
        else:
            self._flights.finish(flight, "cancelled")

    async def _running(self) -> ChildProcess:
        """The process, as soon as there is one. Raises `EngineDown`."""
        while (child := self._serving) is None:
            self._refuse_if_down()
            self._settled.clear()
            try:
                await asyncio.wait_for(self._settled.wait(), self._settings.start_timeout)
            except TimeoutError:
                raise EngineDown("The engine does not come back.", "The log says what keeps it.") from None
        return child

    async def _launch(self) -> ChildProcess:
        """A process that has loaded the weights of this engine, and all requests that wait for one."""
        child = await ChildProcess.spawn(self._receive)
        try:
            ready = await child.greet(Start(self._spec, self._updates.directories), self._settings.start_timeout)
            if self._ready is not None and ready.digest != self._ready.digest:
                message = f"The engine process loaded {ready.digest}; it had loaded {self._ready.digest} before."
                raise DigestMismatch(message, "The checkpoint's files were changed: restore them, or start anew.")
        except BaseException:
            await child.stop(grace=0.0)
            raise
        self._ready = ready
        self._child = child
        self._settled.set()
        for flight in self._flights.waiting:
            self._send(child, flight)
        log.info("engine process ready", pid=child.pid, digest=ready.digest)
        return child

    async def _supervise(self, child: ChildProcess) -> None:
        """Replaces each process that dies, until one cannot be replaced."""
        failures = 0
        try:
            while True:
                cause = await self._outlive(child)
                failures = 1 if child.useful else failures + 1
                child, failures = await self._replace(cause, failures)
                self._past.restarts += 1
        except Exception as error:  # noqa: BLE001 (the boundary to all who wait: they must hear of it, whatever it is)
            self._give_up(error)

    async def _replace(self, cause: ForethoughtError, failures: int) -> tuple[ChildProcess, int]:
        """A new process, and the failures in a row. Raises `EngineDown` when there were too many."""
        while failures <= len(PAUSES):
            await asyncio.sleep(PAUSES[failures - 1])
            try:
                return await self._launch(), failures
            except DigestMismatch:
                raise
            except (CheckpointError, EngineError) as error:
                cause = error
                failures += 1
                log.error("engine process failed to start", cause=cause.message, remedy=cause.remedy, failures=failures)
        message = f"The engine was given up after {failures} failures in a row, of which the last: {cause.message}"
        raise EngineDown(message, cause.remedy)

    async def _outlive(self, child: ChildProcess) -> EngineDown:
        """Watches a process until its end, answers for it, and says how it ended."""
        hung = await self._hangs(child)
        how, remedy = await child.stop(grace=0.0 if hung else 1.0), "Run `forethought doctor` to see what is wrong."
        if hung:
            how = f"did not finish a step within {self._settings.step_timeout:g} s and was killed"
            remedy = "Raise engine.step_timeout, or lower engine.max_step_tokens, if the machine is slow."
        self._past, self._latest = self._latest.after(self._past), EngineMetrics()
        # Whoever asked can only ask again; what is to be done about it is for whoever reads the log.
        lost = self._flights.lose(f"The engine process {how}. Ask again: it restarts by itself.")
        undone = f"The engine process {how} before it had replaced the weights; those before are in force."
        self._updates.lose(EngineDown(undone, "Try the update again."))
        log.error("engine process lost", pid=child.pid, how=how, requests=lost, remedy=remedy)
        return EngineDown(f"The engine process {how}.{child.last_words}", remedy)

    async def _hangs(self, child: ChildProcess) -> bool:
        """Waits until a process ends (False), or owes an answer and is silent for too long (True).

        A tick counts for what it should have lasted: a parent that was busy or asleep for longer is no proof
        against its child.
        """
        tick = min(WATCH_SECONDS, self._settings.step_timeout / 10)
        seen, silent = -1, 0.0
        while not child.ended.done():
            await asyncio.wait({child.ended}, timeout=tick)
            owes = self._flights.owed or self._updates.unanswered
            silent = silent + tick if owes and child.messages == seen else 0.0
            seen = child.messages
            if silent >= (self._settings.start_timeout if self._updates.unanswered else self._settings.step_timeout):
                return True
        return False

    def _give_up(self, error: Exception) -> None:
        message, remedy = f"The engine failed: {error!r}.", "Report what the log says."
        if isinstance(error, ForethoughtError):
            message, remedy = error.message, error.remedy or "Mend the cause."
        log.error("engine given up", error=error, cause=message, remedy=remedy)
        self._down = (message, f"{remedy} Then start the engine again.")
        if self._child is not None:
            self._child.hang_up()
        self._flights.lose("The engine failed. Ask again later.")
        self._flights.turn_away(*self._down)
        self._settled.set()

    def _receive(self, message: FromChild) -> None:
        if isinstance(message, Stepped):
            self._latest = message.metrics
            finished = self._flights.deliver(message.events)
            if self._child is not None:
                self._child.finished += finished
        elif isinstance(message, Refused):
            self._flights.refuse(message.number, message.error)
        elif isinstance(message, Updated):
            self._updates.answered(message.error)
            self._ready = Ready(message.digest, self.context_length)
