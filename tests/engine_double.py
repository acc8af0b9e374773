"""A core that counts instead of computing, and breaks when its prompt says so. Runs in a real engine process.

The directory of its spec holds `digest` (what it reports). A request of `[COUNT, ...]` is answered by the tokens
0, 1, 2 ... one a step. One of `[HANG, ...]` hangs in its second step.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from forethought import logs
from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import EngineEvent, Finished, Request, StopReason, TokenEvent
from forethought.engine.spec import EngineSpec
from forethought.errors import CheckpointError, GrammarError

if TYPE_CHECKING:
    import torch

COUNT, FOREVER, EXIT, SEGFAULT, HANG, RAISE, REFUSE, BREAK_ADD, SLOW_ADD = range(9)

STEP_SECONDS = 0.002
"""What a step of an endless request takes, so that it does not flood the parent."""


class CountingCore:
    """Answers each request by counting."""

    context_length = 128

    def __init__(self, digest: str) -> None:
        self.digest = digest
        self._requests: dict[str, Request] = {}
        self._counts: dict[str, int] = {}
        self._cancelled: list[str] = []
        self._metrics = EngineMetrics(total_blocks=7)

    @property
    def has_work(self) -> bool:
        return bool(self._requests)

    def add(self, request: Request) -> None:
        if request.prompt_ids[0] == REFUSE:
            raise GrammarError("The schema cannot be compiled.", "Mend it.")
        if request.prompt_ids[0] == BREAK_ADD:
            raise KeyError("a bug")
        if request.prompt_ids[0] == SLOW_ADD:
            threading.Event().wait(0.4)
        self._requests[request.id] = request
        self._counts[request.id] = 0
        self._metrics.requests += 1

    def cancel(self, request_id: str) -> None:
        self._cancelled.append(request_id)

    def step(self) -> list[tuple[str, EngineEvent]]:
        events: list[tuple[str, EngineEvent]] = [(id, self._finish(id, "cancelled")) for id in self._cancelled]
        self._cancelled.clear()
        if any(request.prompt_ids[0] == FOREVER for request in self._requests.values()):
            threading.Event().wait(STEP_SECONDS)
        for id, request in list(self._requests.items()):
            if self._counts[id] or request.prompt_ids[0] != HANG:
                misbehave(request.prompt_ids[0])
            events.append((id, self._token(request)))
            self._counts[id] += 1
            if self._counts[id] == request.limits.max_tokens:
                events.append((id, self._finish(id, "max_tokens")))
        self._metrics.steps += 1
        return events

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if "unknown" in tensors:
            raise CheckpointError("There is no tensor of that name.", "Check the names.")
        if "deadly" in tensors:
            os._exit(4)
        self.digest += "".join(f"+{name}={tensor.sum():g}" for name, tensor in sorted(tensors.items()))

    def metrics(self) -> EngineMetrics:
        return dataclasses.replace(self._metrics, running=len(self._requests))

    def _token(self, request: Request) -> TokenEvent:
        count = self._counts[request.id]
        if request.logprobs is None:
            return TokenEvent(count)
        return TokenEvent(count, forced=True, logprob=-0.5, top_logprobs=((count, -0.5), (count + 1, -1.5)))

    def _finish(self, id: str, reason: StopReason) -> Finished:
        self._metrics.finished += 1
        return Finished(reason, len(self._requests.pop(id).prompt_ids), 0, self._counts.pop(id), thinking_tokens=1)


def misbehave(how: int) -> None:
    """Does to this process what the prompt asks for."""
    if how == EXIT:
        logs.get_logger("engine_double").warning("leaving", status=3)
        sys.stderr.write("about to leave\n")
        os._exit(3)
    if how == SEGFAULT:
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == HANG:
        threading.Event().wait()
    if how == RAISE:
        raise ValueError("the cache is in flames")


def build(spec: EngineSpec) -> CountingCore:
    """The factory: `engine_double:build`."""
    return CountingCore((spec.directory / "digest").read_text())


def build_missing(spec: EngineSpec) -> CountingCore:
    """A factory that finds no checkpoint."""
    raise CheckpointError("There is no checkpoint.", "Pull it.")


def build_broken(spec: EngineSpec) -> CountingCore:
    """A factory that dies."""
    sys.stderr.write("the library is of the wrong kind\n")
    os._exit(9)


def build_once(spec: EngineSpec) -> CountingCore:
    """A factory that dies whenever it is called again."""
    mark = spec.directory / "built"
    if mark.exists():
        sys.stderr.write("never again\n")
        os._exit(9)
    mark.touch()
    return build(spec)


def build_with_grandchild(spec: EngineSpec) -> CountingCore:
    """A factory whose process leaves another behind when it dies."""
    mark = spec.directory / "grandchild"
    if not mark.exists():
        mark.write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    return build(spec)


def build_never(spec: EngineSpec) -> CountingCore:
    """A factory that does not come back."""
    threading.Event().wait()
    return build(spec)
