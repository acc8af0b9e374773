"""What every peer program speaks: one JSON job on stdin, one JSON event a line on stdout.

A peer program runs in whatever Python has its engine, so this file needs the standard library only. The program
builds its engine, then `serve` runs the job's rows and reports each run as it ends: what was measured before a
crash or a time limit is never lost. All times are seconds of the system-wide monotonic clock.

Job:    {"task": "measure" | "first_token", "model_dir", "gguf", "work_dir", "threads", "context", "options": {...},
         "rows": [{"name", "new_tokens", "samples", "temperature", "rounds": [[[ids]]]}],
         "seconds": budget, "greedy": [ids]}
Events: {"event": "ready" | "greedy" | "row" | "run" | "first_token" | "failed" | "done", ...}
"""

import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Ids = list[int]


@dataclass(frozen=True)
class Job:
    """What the driver asks for."""

    task: str
    model_dir: str
    gguf: str
    work_dir: str
    threads: int
    context: int
    options: dict[str, Any]
    rows: list[dict[str, Any]]
    seconds: float
    greedy: Ids

    @property
    def most_sequences(self) -> int:
        """Largest number of sequences that run at once."""
        return max(len(row["rounds"][0]) * row["samples"] for row in self.rows)

    @property
    def longest_sequence(self) -> int:
        """Most tokens, prompt and answer together, of one sequence."""
        return max(len(ids) + row["new_tokens"] for row in self.rows for ids in row["rounds"][0])


class Peer(Protocol):
    """An engine, loaded."""

    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        """Generates exactly `new_tokens` for each of `samples` answers to each prompt, all at once, ignoring the
        end-of-text token. Temperature 0 is greedy, 1 is plain sampling. Answers to one prompt stand together."""
        ...


def serve(distributions: Sequence[str], build: Callable[[Job], Peer]) -> None:
    """Reads the job, builds the peer, runs the rows, writes events. `distributions` are reported with versions."""
    # Engines print to stdout, some of them from C. Keep the real one for events and point theirs at stderr.
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def emit(event: str, **values: Any) -> None:
        events.write(json.dumps({"event": event, "time": time.monotonic(), **values}) + "\n")
        events.flush()

    job = Job(**json.load(sys.stdin))
    try:
        versions = {name: importlib.metadata.version(name) for name in distributions}
        peer = build(job)
        emit("ready", versions=versions, pid=os.getpid())
        if job.task == "first_token":
            peer.generate([job.greedy], 1, 1, 0.0)
            emit("first_token")
        else:
            measure(job, peer, emit)
        emit("done")
    except Exception as error:  # noqa: BLE001 (the boundary: the driver reports it as this engine's result)
        traceback.print_exc()
        emit("failed", message=f"{type(error).__name__}: {error}".splitlines()[0][:300])
    # Some engines hang while their threads and child processes are torn down; nothing is left to lose.
    events.flush()
    os._exit(0)


def measure(job: Job, peer: Peer, emit: Callable[..., None]) -> None:
    """Warms up, then measures all rows in rounds (each row once, then each again) until the budget is spent.

    Rounds spread a row's runs over time, so that one burst of noise cannot hit them all. A row is repeated only
    while its last duration still fits into the budget; every row is run once whatever the budget says.
    """
    end = time.monotonic() + job.seconds
    emit("greedy", ids=peer.generate([job.greedy], 32, 1, 0.0)[0])
    lasted: dict[str, float] = {}
    for turn in range(1, len(job.rows[0]["rounds"])):
        for row in job.rows:
            name, prompts = row["name"], row["rounds"][turn]
            if turn > 1 and time.monotonic() + lasted[name] > end:
                continue
            if turn == 1:
                emit("row", name=name)
                peer.generate(row["rounds"][0], min(8, row["new_tokens"]), row["samples"], row["temperature"])
            start, cpu = time.monotonic(), time.process_time()
            answers = peer.generate(prompts, row["new_tokens"], row["samples"], row["temperature"])
            lasted[name] = time.monotonic() - start
            cpu_seconds = time.process_time() - cpu
            check(answers, len(prompts) * row["samples"], row["new_tokens"])
            emit("run", name=name, turn=turn, seconds=lasted[name], cpu_seconds=cpu_seconds)


def check(answers: Sequence[Ids], count: int, new_tokens: int) -> None:
    """Raises `ValueError` when an engine generated another number of tokens than it was asked for."""
    lengths = {len(ids) for ids in answers}
    if len(answers) != count or lengths != {new_tokens}:
        raise ValueError(f"asked for {count} answers of {new_tokens} tokens, got {len(answers)} of {sorted(lengths)}")
