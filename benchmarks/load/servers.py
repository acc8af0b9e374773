"""The servers that are compared, and how a load is run against one."""

import contextlib
import json
import socket
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from comparison.process import Program, ProgramFailed
from load.workload import MODEL, WARMING, Api, Load, Word, prompts

SERVER_CORE, OTHER_CORE = 0, 1
"""The server has a core for itself. The client has the other, and vLLM's engine process."""

START_LIMIT, LOAD_LIMIT = 300.0, 240.0
LONGEST_RUN = 24 * 3600.0


@dataclass(frozen=True)
class Server:
    """A server program of `peers/`."""

    name: str
    program: str
    real: bool = False
    """Whether its engine computes, on all cores; else it replays the script."""


OURS = Server("Forethought", "forethought_server.py")
THEIRS = Server("vLLM", "vllm_server.py")
OURS_REAL = Server("Forethought, real engine", "forethought_server.py", real=True)


@dataclass
class Listening:
    """A server that runs."""

    server: Server
    port: int
    process: psutil.Process
    pace: Path
    log: Path
    words: Sequence[Word]

    def run(self, api: Api, load: Load) -> dict[str, Any]:
        """Runs a load: what `load_client.py` says of it, and the CPU time of the server. Raises `ProgramFailed`."""
        self.pace.write_text(str(load.step))
        job = {
            "threads": 1,
            "port": self.port,
            "path": api.path,
            "bodies": [api.body(prompt, load.tokens, greedy=self.server.real) for prompt in prompts(load.streams)],
            "tokens": load.tokens,
            "words": [] if self.server.real else self.words,
            "stamped": not self.server.real and load.step > 0,
            "core": None if self.server.real else OTHER_CORE,
            "limit": LOAD_LIMIT,
        }
        before = seconds(self.process)
        with Program(sys.executable, "load_client.py", job, self.log, LOAD_LIMIT + 60) as client:
            (figures,) = client.events()
        return figures | {"server_seconds": seconds(self.process) - before}


@contextmanager
def listening(server: Server, python: str, job: dict[str, Any], work: Path) -> Generator[Listening]:
    """Starts a server, waits until it answers and has loaded what its first requests load, ends it.

    Raises `ProgramFailed`.
    """
    key = Path(server.program).stem
    pace, script, log, port = work / "pace", work / f"{key}.json", work / f"{key}.log", free_port()
    pace.write_text(str(WARMING.step))
    job = job | {
        "threads": psutil.cpu_count(logical=False) if server.real else 1,
        "port": port,
        "model": MODEL,
        "pace": str(pace),
        "script": str(script),
        "real": server.real,
        "server_core": None if server.real else SERVER_CORE,
        "engine_core": OTHER_CORE,
    }
    script.write_text(json.dumps(job))
    with Program(python, server.program, job, log, LONGEST_RUN) as program:
        program.limit = START_LIMIT
        if next(program.events())["event"] != "ready":
            raise ProgramFailed("the server did not say that it is ready")
        running = Listening(server, port, psutil.Process(program.process.pid), pace, log, job["words"])
        for api in Api:
            running.run(api, WARMING)
        yield running


def free_port() -> int:
    """A port that nobody listens on."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def seconds(process: psutil.Process) -> float:
    """CPU time of a process so far, without that of its children."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        raise ProgramFailed("the server died") from None
    return times.user + times.system
