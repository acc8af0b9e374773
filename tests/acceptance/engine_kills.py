"""Acceptance 6: the engine process is killed (`kill -9`) under 32 streams of the real model, twenty times over.

    python tests/acceptance/engine_kills.py [--kills 20] [--streams 32] [--output docs/results/engine-kills.json]

After each kill every stream has to end with an error within 2 s, and a request sent right then has to be answered
within 5 s. Over all kills the memory, descriptors, threads, tasks and child processes of the parent must stay flat.
The first kill is a warm-up for the figures of memory. Takes a few minutes, and starts over when it is interrupted:
what leaks can only be seen within one process.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from prompts import PROMPTS

from forethought.engine.process import ProcessEngine
from forethought.engine.protocol import EventStream, Finished, Limits, Request
from forethought.engine.spec import EngineSpec
from forethought.model.checkpoint import Checkpoint
from forethought.model.registry import resolve
from forethought.settings import load_settings

SCHEMA_VERSION = 1
ERROR_SECONDS = 2.0
ANSWER_SECONDS = 5.0
GROWTH = 0.01
"""Share by which the parent's memory may differ between the first and the last kills."""
ANSWER_TOKENS = 8


@dataclass(frozen=True)
class Kill:
    """What was seen of one kill. Times are seconds since the signal."""

    error_seconds: list[float]
    errors: list[str]
    first_token_seconds: float
    answer_seconds: float
    rss_bytes: int
    descriptors: int
    threads: int
    tasks: int
    children: int
    temporary_files: int


async def read_until_end(stream: EventStream, killed: "asyncio.Future[float]") -> tuple[float, Finished]:
    """The end of a stream, and how long after the kill it came."""
    async for event in stream:
        if isinstance(event, Finished):
            return time.perf_counter() - await killed, event
    raise AssertionError("a stream ended without its Finished")


async def kill_once(engine: ProcessEngine, checkpoint: Checkpoint, streams: int, number: int) -> Kill:
    """Fills the engine with streams, kills its process, and waits until it answers again."""
    killed: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    readers = []
    for index in range(streams):
        prompt = tuple(checkpoint.tokenizer.encode(PROMPTS[index % len(PROMPTS)]))
        stream = engine.submit(Request(f"{number}-{index}", prompt, Limits(checkpoint.capabilities.context_length)))
        await anext(stream)
        readers.append(asyncio.create_task(read_until_end(stream, killed)))
    (child,) = psutil.Process().children()
    killed.set_result(time.perf_counter())
    child.kill()
    ends = await asyncio.gather(*readers)
    prompt = tuple(checkpoint.tokenizer.encode("The capital of France is"))
    answer = engine.submit(Request(f"{number}-next", prompt, Limits(ANSWER_TOKENS)))
    await anext(answer)
    first_token = time.perf_counter() - killed.result()
    rest = [event async for event in answer]
    answered = time.perf_counter() - killed.result()
    assert len(rest) == ANSWER_TOKENS
    assert {end.reason for _, end in ends} == {"error"}
    gc.collect()
    me = psutil.Process()
    return Kill(
        error_seconds=sorted(round(seconds, 4) for seconds, _ in ends),
        errors=sorted({end.error or "" for _, end in ends}),
        first_token_seconds=round(first_token, 3),
        answer_seconds=round(answered, 3),
        rss_bytes=me.memory_info().rss,
        descriptors=me.num_fds(),
        threads=me.num_threads(),
        tasks=len(asyncio.all_tasks()),
        children=len(me.children(recursive=True)),
        temporary_files=len(os.listdir(tempfile.gettempdir())),
    )


def verdict(kills: list[Kill]) -> dict[str, bool]:
    """Each demand, and whether it was met. The first kill only warms up the memory."""
    warm = kills[1:]
    quarter = max(1, len(warm) // 4)
    before = median(kill.rss_bytes for kill in warm[:quarter])
    after = median(kill.rss_bytes for kill in warm[-quarter:])
    counts = {(kill.descriptors, kill.threads, kill.tasks, kill.children) for kill in warm}
    return {
        f"every stream ended with an error within {ERROR_SECONDS:g} s": all(
            kill.error_seconds[-1] <= ERROR_SECONDS and all(kill.errors) for kill in kills
        ),
        f"the next request was answered within {ANSWER_SECONDS:g} s": all(
            kill.answer_seconds <= ANSWER_SECONDS for kill in kills
        ),
        f"memory was flat within {GROWTH:.0%}": after <= before * (1 + GROWTH),
        "descriptors, threads, tasks and processes were flat": len(counts) == 1,
    }


def report(kills: list[Kill], streams: int, digest: str) -> dict[str, Any]:
    """What is written: the verdict, the extremes, and every kill."""
    return {
        "schema_version": SCHEMA_VERSION,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpus": psutil.cpu_count(), "platform": platform.platform(), "python": platform.python_version()},
        "digest": digest,
        "streams": streams,
        "verdict": verdict(kills),
        "slowest_error_seconds": max(kill.error_seconds[-1] for kill in kills),
        "slowest_answer_seconds": max(kill.answer_seconds for kill in kills),
        "median_answer_seconds": median(kill.answer_seconds for kill in kills),
        "kills": [asdict(kill) for kill in kills],
    }


async def run(streams: int, count: int) -> dict[str, Any]:
    """Kills the engine `count` times after a warm-up."""
    settings = load_settings()
    checkpoint = resolve(settings.model, settings)
    engine = ProcessEngine(EngineSpec(checkpoint.directory, checkpoint.adapter, settings))
    await engine.start()
    kills: list[Kill] = []
    for number in range(count + 1):
        kills.append(kill := await kill_once(engine, checkpoint, streams, number))
        sys.stdout.write(
            f"kill {number:2}: errors after {kill.error_seconds[-1]:.3f} s, answer after {kill.answer_seconds:.2f} s, "
            f"{kill.rss_bytes / 2**20:.1f} MiB, {kill.descriptors} descriptors, {kill.tasks} tasks\n"
        )
        sys.stdout.flush()
    digest = engine.digest
    await engine.close()
    return report(kills, streams, digest)


def main() -> int:
    """Runs it, writes the report, and says whether all demands were met (exit status 0)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--streams", type=int, default=32)
    parser.add_argument("--output", type=Path, default=Path("docs/results/engine-kills.json"))
    asked = parser.parse_args()
    result = asyncio.run(run(asked.streams, asked.kills))
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for demand, met in result["verdict"].items():
        sys.stdout.write(f"{'met' if met else 'NOT MET'}: {demand}\n")
    return 0 if all(result["verdict"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
