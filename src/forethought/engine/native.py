"""The engine inside this process: a thread runs the core's steps, streams live in their callers' event loops.

The way for training, evaluations and tests; a server takes the engine in a process of its own, whose crash it
survives. What a step yields travels to each event loop in one call.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from forethought import logs
from forethought.engine.build import build_core
from forethought.engine.protocol import Completion, EngineEvent, Finished, Request, StopReason
from forethought.engine.refusals import CLOSED, NOT_STARTED, id_in_flight, queue_full
from forethought.engine.stream import Inbox, RequestStream
from forethought.engine.waiting import Gathering, Pulse
from forethought.errors import EngineDown

if TYPE_CHECKING:
    import torch

    from forethought.engine.core import EngineCore, Events
    from forethought.engine.metrics import EngineMetrics
    from forethought.engine.sequence import Sequence
    from forethought.model.checkpoint import Checkpoint
    from forethought.settings import Settings

log = logs.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Flight:
    """A request in flight: where its events go. Without a loop, `put` is called in the engine's thread."""

    request: Request
    put: Callable[[EngineEvent], None]
    loop: asyncio.AbstractEventLoop | None = None
    emitted: int = 0


class NativeEngine:
    """An `Engine` in this process. `submit` belongs into an event loop (any number of them); `open`, `generate`,
    `replace_weights` and `shutdown` are the same things for code that has none. Also a context manager.

    `build` makes the core; tests give their own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: Settings,
        *,
        build: Callable[[Checkpoint, Settings], EngineCore] = build_core,
    ) -> None:
        self._build = partial(build, checkpoint, settings)
        self._settings = settings.engine
        self._core: EngineCore | None = None
        self._thread: threading.Thread | None = None
        self._down: tuple[str, str] | None = NOT_STARTED
        self._opening = threading.Lock()
        self._pulse = Pulse(self._settings)
        # Guards what callers and the engine's thread share: all that follows, and `_down`.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._flights: dict[str, _Flight] = {}
        self._arrivals: deque[Sequence] = deque()
        self._cancelled: deque[_Flight] = deque()
        self._updates: deque[tuple[Mapping[str, torch.Tensor], Future[None]]] = deque()
        self._closing = False

    @property
    def digest(self) -> str:
        """Digest of the checkpoint as loaded. Raises `EngineDown` before the start."""
        return self._started_core().digest

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together. Raises `EngineDown` before the start."""
        return self._started_core().context_length

    @property
    def ready(self) -> bool:
        """Whether a request would be computed now."""
        return self._down is None

    async def start(self) -> None:
        """Loads the weights. Raises `CheckpointError` or `EngineError`."""
        await asyncio.to_thread(self.open)

    async def close(self) -> None:
        """Ends requests in flight ("cancelled") and frees everything. Can be called twice."""
        await asyncio.to_thread(self.shutdown)

    def open(self) -> None:
        """`start`, blocking."""
        with self._opening:
            if self._down == CLOSED:
                raise EngineDown(*CLOSED)
            if self._thread is None:
                self._core = self._build()
                self._down = None
                self._thread = threading.Thread(
                    target=self._run, args=(self._core,), name="forethought-engine", daemon=True
                )
                self._thread.start()

    def shutdown(self) -> None:
        """`close`, blocking, for at most the time that a step may take."""
        with self._opening:
            with self._lock:
                self._closing = True
                self._wake.notify()
            if self._thread is not None:
                self._thread.join(self._settings.step_timeout)
            self._fail(*CLOSED, reason="cancelled")

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def submit(self, request: Request) -> RequestStream:
        """Queues a request and returns its stream. Raises every refusal here: `EngineDown`, `QueueFull`,
        `ContextLengthError`, `GrammarError`, `RequestError`."""
        sequence = self._started_core().prepare(request)
        inbox = Inbox()
        flight = _Flight(request, inbox.put, asyncio.get_running_loop())
        self._enqueue([(flight, sequence)], bounded=True)
        return RequestStream(inbox, partial(self._cancel, flight))

    def generate(self, requests: list[Request]) -> list[Completion]:
        """Runs requests and waits for all of them; the completions in the same order. They may be more than the queue
        holds. Raises the first refusal before any has begun, and `EngineError` when the engine hangs; any other failure
        later on is a completion's `finished`."""
        core = self._started_core()
        gathering = Gathering(requests)
        flights = [_Flight(request, partial(gathering.put, request.id)) for request in requests]
        sequences = [core.prepare(request) for request in requests]
        if not requests:
            return []
        self._enqueue(list(zip(flights, sequences, strict=True)), bounded=False)
        try:
            self._pulse.outwait(gathering.done.wait)
        except BaseException:
            for flight in flights:
                self._cancel(flight)
            raise
        return gathering.completions()

    def cancel(self, request_id: str) -> None:
        """Ends a request with "cancelled" and frees its memory. Unknown ids are ignored."""
        with self._lock:
            flight = self._flights.get(request_id)
            if flight is not None:
                self._cancelled.append(flight)
                self._wake.notify()

    async def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by name, empties the prefix cache. Waits for the step in progress.

        Raises:
            CheckpointError: a name is unknown or a shape is wrong; then nothing has changed.
        """
        await asyncio.to_thread(self.replace_weights, tensors)

    def replace_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """`update_weights`, blocking. Raises `EngineError` when the engine hangs; which weights are in force is then
        not known."""
        answer: Future[None] = Future()
        with self._lock:
            self._refuse_if_down()
            self._updates.append((tensors, answer))
            self._wake.notify()
        try:
            self._pulse.outwait(partial(_answered, answer))
        except BaseException:
            answer.cancel()
            raise
        answer.result()

    def metrics(self) -> EngineMetrics:
        """A snapshot. Raises `EngineDown` before the start."""
        metrics = self._started_core().metrics()
        metrics.queued += len(self._arrivals)
        return metrics

    def _started_core(self) -> EngineCore:
        self._refuse_if_down()
        if self._core is None:
            raise EngineDown(*NOT_STARTED)
        return self._core

    def _refuse_if_down(self) -> None:
        if self._down is not None:
            raise EngineDown(*self._down)

    def _enqueue(self, arrivals: list[tuple[_Flight, Sequence]], *, bounded: bool) -> None:
        core = self._started_core()
        with self._lock:
            self._refuse_if_down()
            waiting = core.queued + len(self._arrivals)
            if bounded and waiting >= self._settings.max_queued:
                raise queue_full(waiting)
            ids = [flight.request.id for flight, _ in arrivals]
            taken = self._flights.keys() & set(ids)
            if taken or len(set(ids)) < len(ids):
                which = min(taken) if taken else next(id_ for id_ in ids if ids.count(id_) > 1)
                raise id_in_flight(which)
            for flight, sequence in arrivals:
                self._flights[flight.request.id] = flight
                self._arrivals.append(sequence)
            self._wake.notify()

    def _cancel(self, flight: _Flight) -> None:
        with self._lock:
            if self._flights.get(flight.request.id) is flight:
                self._cancelled.append(flight)
                self._wake.notify()

    def _run(self, core: EngineCore) -> None:
        """The engine's thread."""
        try:
            while self._take_commands(core):
                self._deliver(core.step())
                self._pulse.beat()
            for request_id in list(self._flights):
                core.cancel(request_id)
            self._deliver(core.step())
        except BaseException as error:  # noqa: BLE001 (the boundary to all who wait: they must hear of it)
            log.error("engine failed", error=error)
            self._fail(f"The engine failed: {error!r}.", "Close it and make a new one.", reason="error")

    def _take_commands(self, core: EngineCore) -> bool:
        """Waits for something to do, hands it to the core; False when the engine is being closed."""
        with self._lock:
            while not (core.has_work or self._arrivals or self._cancelled or self._updates or self._closing):
                self._wake.wait()
            while self._arrivals:
                core.enqueue(self._arrivals.popleft())
            while self._cancelled:
                flight = self._cancelled.popleft()
                # It may have finished meanwhile, and a new one have its id.
                if self._flights.get(flight.request.id) is flight:
                    core.cancel(flight.request.id)
            updates, self._updates = self._updates, deque()
        for tensors, answer in updates:
            if answer.set_running_or_notify_cancel():
                self._replace(core, tensors, answer)
        return not self._closing

    def _replace(self, core: EngineCore, tensors: Mapping[str, torch.Tensor], answer: Future[None]) -> None:
        self._pulse.replacing = True
        try:
            core.update_weights(tensors)
        except Exception as error:  # noqa: BLE001 (the boundary of an update: it fails for who asked for it)
            answer.set_exception(error)
        else:
            answer.set_result(None)
        self._pulse.replacing = False
        self._pulse.beat()

    def _deliver(self, events: Events) -> None:
        by_loop: defaultdict[asyncio.AbstractEventLoop, list[tuple[_Flight, EngineEvent]]] = defaultdict(list)
        with self._lock:
            for request_id, event in events:
                flight = self._flights.get(request_id)
                if flight is None:  # ended by `_fail`, while this step was computed
                    continue
                if isinstance(event, Finished):
                    del self._flights[request_id]
                else:
                    flight.emitted += 1
                if flight.loop is None:
                    flight.put(event)
                else:
                    by_loop[flight.loop].append((flight, event))
        for loop, pairs in by_loop.items():
            try:
                loop.call_soon_threadsafe(_put_all, pairs)
            except RuntimeError:  # the loop is closed: nobody will read
                for flight, _ in pairs:
                    self._cancel(flight)

    def _fail(self, message: str, remedy: str, *, reason: StopReason) -> None:
        """Takes nothing more, and ends what is still in flight."""
        with self._lock:
            if self._down != CLOSED:
                self._down = message, remedy
            updates, self._updates = self._updates, deque()
            lost = list(self._flights.values())
        for _, answer in updates:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(EngineDown(message, remedy))
        error = None if reason == "cancelled" else message
        self._deliver(
            [
                (one.request.id, Finished(reason, len(one.request.prompt_ids), 0, one.emitted, error=error))
                for one in lost
            ]
        )
        self._core = None


def _answered(answer: Future[None], seconds: float) -> bool:
    return bool(wait([answer], seconds).done)


def _put_all(pairs: list[tuple[_Flight, EngineEvent]]) -> None:
    for flight, event in pairs:
        flight.put(event)
