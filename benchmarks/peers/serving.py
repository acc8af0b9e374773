"""What the programs of `front_end.py` share: the job they read, the events they write, the core they keep to.

A program gets one JSON job on stdin and writes one JSON event a line on stdout, as `comparison/process.py` has it. The
standard library only: each program runs in whatever Python has its server.
"""

import json
import os
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from typing import Any

Emit = Callable[..., None]


def begin() -> tuple[dict[str, Any], Emit]:
    """The job, and a function that writes events."""
    # Servers print to stdout. Keep the real one for events and point theirs at stderr.
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(event: str, **values: Any) -> None:
        events.write(json.dumps({"event": event, "time": time.monotonic(), **values}) + "\n")
        events.flush()

    return json.load(sys.stdin), emit


def keep_to(core: int | None) -> None:
    """Moves this process, with all its threads, to one core; what it starts later stays there."""
    if core is not None:
        for thread in os.listdir("/proc/self/task"):
            os.sched_setaffinity(int(thread), {core})


def emit_when_ready(emit: Emit, url: str) -> None:
    """Emits `ready` as soon as `url` answers, from a thread of its own."""

    def watch() -> None:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=5):
                    emit("ready", pid=os.getpid())
                    return
            except OSError:
                time.sleep(0.1)

    threading.Thread(target=watch, daemon=True).start()


class Pace:
    """How often the scripted engines emit a token of each stream: a file that may change from one load to the next."""

    def __init__(self, path: str) -> None:
        self._path = path

    @property
    def step(self) -> float:
        """Seconds; 0 is as often as they can."""
        with open(self._path) as file:
            return float(file.read())


def next_step(now: float, step: float) -> float:
    """The first moment after `now` at which tokens are emitted: all streams have theirs together, as in a batch."""
    return (now // step + 1) * step
