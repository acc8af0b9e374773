"""The servers that are compared, and how a load is run against one."""

import contextlib
import json
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from comparison.process import Program, ProgramFailed
from load.workload import MODEL, WARMING, Api, Load

OURS, THEIRS = "forethought", "vllm"
COMPUTED = "vllm-computed"
SERVER_CORE, OTHER_CORE = 0, 1
"""The server has a core for itself. The client has the other, and vLLM's engine process."""

START_LIMIT, LOAD_LIMIT = 300.0, 240.0


@dataclass(frozen=True)
class Server:
    """A server program of `peers/`. `scripted` says that its engine replays the script; `more` is what its requests say
    besides."""

    key: str
    title: str
    program: str
    scripted: bool = True
    more: dict[str, Any] = field(default_factory=dict[str, Any])


SERVERS = (
    Server(OURS, "Forethought", "forethought_server.py"),
    Server(THEIRS, "vLLM", "vllm_server.py"),
    # What vLLM does with a model that it computes: the script must not have made it slower.
    Server(COMPUTED, "vLLM, tiny model computed", "vllm_server.py", False, {"ignore_eos": True, "temperature": 0}),
)


@dataclass
class Listening:
    """A server that runs."""

    server: Server
    port: int
    process: psutil.Process
    pace: Path
    work: Path
    words: list[tuple[int, str]]

    def warm(self, api: Api) -> None:
        """Has everything loaded that the first request loads."""
        self.run(api, WARMING)

    def run(self, api: Api, load: Load) -> dict[str, Any]:
        """Runs a load. Raises `ProgramFailed`."""
        self.pace.write_text(str(load.step))
        prompts = (f"Please tell me the story number {number}." for number in range(load.streams))
        job = {
            "threads": 1,
            "port": self.port,
            "path": api.path,
            "bodies": [api.body(prompt, load.tokens, **self.server.more) for prompt in prompts],
            "tokens": load.tokens,
            "words": self.words if self.server.scripted else [],
            "stamped": self.server.scripted and load.step > 0,
            "core": OTHER_CORE,
            "limit": LOAD_LIMIT,
        }
        before = seconds(self.process)
        with Program(sys.executable, "load_client.py", job, self.work / "client.log", LOAD_LIMIT + 60) as client:
            (figures,) = client.events()
        tokens = load.streams * load.tokens
        used = (seconds(self.process) - before) / tokens
        return {key: figures[key] for key in figures if key not in ("event", "time")} | {"cpu_seconds_per_token": used}


@contextmanager
def listening(server: Server, python: str, job: dict[str, Any], work: Path) -> Generator[Listening]:
    """Starts a server, waits until it answers, ends it. Raises `ProgramFailed`."""
    pace, script, port = work / "pace", work / f"{server.key}.script.json", free_port()
    pace.write_text("0.05")
    job = job | {
        "threads": 1,
        "port": port,
        "model": MODEL,
        "pace": str(pace),
        "script": str(script),
        "scripted": server.scripted,
        "server_core": SERVER_CORE,
        "engine_core": OTHER_CORE,
    }
    script.write_text(json.dumps(job))
    log = work / f"{server.key}.log"
    log.unlink(missing_ok=True)
    with Program(python, server.program, job, log, 24 * 3600) as program:
        program.limit = START_LIMIT
        for event in program.events():
            if event["event"] == "ready":
                break
        yield Listening(server, port, psutil.Process(program.process.pid), pace, work, job["words"])


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
