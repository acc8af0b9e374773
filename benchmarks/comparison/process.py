"""Runs one peer program as a process of its own: job in, events out, never longer than its limit."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

PROGRAMS = Path(__file__).parents[1] / "peers"


class ProgramFailed(Exception):
    """The program crashed, failed or ran past its limit. The message is for the table."""


class Program:
    """A running peer program. Leaving the `with` block ends it and everything it started."""

    def __init__(self, python: str, program: str, job: dict[str, Any], log: Path, limit: float) -> None:
        self.program, self.log, self.limit = program, log, limit
        threads = str(job["threads"])
        environment = os.environ | {"OMP_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "false"}
        self.lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.started = time.monotonic()
        with log.open("a") as errors:
            self.process = subprocess.Popen(
                [python, str(PROGRAMS / program)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                start_new_session=True,
            )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        with contextlib.suppress(BrokenPipeError), self.process.stdin:  # a program that died says why in its log
            json.dump(job, self.process.stdin)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)
        self.reader.join(timeout=30)

    def _read(self) -> None:
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put("")

    def events(self) -> Iterator[dict[str, Any]]:
        """What the program reports, until it is done. Raises `ProgramFailed`."""
        while True:
            try:
                line = self.lines.get(timeout=max(self.started + self.limit - time.monotonic(), 0.01))
            except queue.Empty:
                raise ProgramFailed(f"ran past its limit of {self.limit:.0f} s") from None
            if not line:
                raise ProgramFailed(self._last_words())
            event = json.loads(line)
            if event["event"] == "done":
                return
            if event["event"] == "failed":
                raise ProgramFailed(event["message"])
            yield event

    def _last_words(self) -> str:
        status = self.process.wait(timeout=30)
        lines = self.log.read_text(errors="replace").strip().splitlines()
        last = lines[-1].strip()[:200] if lines else ""
        if last.startswith("ModuleNotFoundError"):
            return f"not installed ({last.split(': ', 1)[-1]})"
        return f"died with status {status}: {last}"

    def peak_memory(self) -> float:
        """Most memory (MiB of RSS) that the process tree has held so far, from the kernel's high-water marks."""
        try:
            tree = [self.process.pid, *(p.pid for p in psutil.Process(self.process.pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return 0.0
        return sum(map(high_water_mark, tree))


def high_water_mark(pid: int) -> float:
    """Peak RSS of one process in MiB; 0 when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
