"""Acceptance 7: ten thousand requests of mixed sizes through a small cache; memory stays flat and nothing fails.

    python tests/acceptance/soak.py [--requests 10000] [--output docs/results/soak.json]

Prompts of 4 to 600 tokens, answers of 1 to 48, some with a shared beginning, a JSON schema, penalties or a nucleus; one
in ten is cancelled on the way. Memory is read once per 500 requests. Takes about ten minutes.
"""

import argparse
import asyncio
import random
from collections import Counter
from pathlib import Path
from time import perf_counter

import psutil
from outcome import write_outcome

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Finished, Grammar, Limits, Request, Sampling
from forethought.model.registry import resolve
from forethought.settings import load_settings

CACHE_TOKENS = 8192
IN_FLIGHT = 48
EVERY = 500
GROWTH = 0.01
SCHEMA = '{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}'


def make_request(number: int, randomness: random.Random, vocab_size: int) -> Request:
    """A request of random size and kind."""
    shared = [number % 7 + 100] * randomness.choice((0, 0, 33, 128))
    own = [randomness.randrange(20, vocab_size) for _ in range(randomness.choice((4, 20, 60, 200, 470)))]
    sampling = randomness.choice(
        (
            Sampling(temperature=0.0),
            Sampling(seed=number),
            Sampling(temperature=0.7, top_p=0.9, seed=number),
            Sampling(top_k=40, repetition_penalty=1.1, frequency_penalty=0.2, seed=number),
        )
    )
    grammar = Grammar("json_schema", SCHEMA) if number % 20 == 0 else None
    return Request(
        str(number), tuple(shared + own), Limits(randomness.randint(1, 48)), sampling, grammar, priority=number % 3
    )


async def run_one(engine: NativeEngine, request: Request, cancel_after: int | None, ends: Counter[str]) -> None:
    """Reads a stream to its end, or leaves it after some tokens."""
    stream = engine.submit(request)
    read = 0
    async for event in stream:
        if isinstance(event, Finished):
            ends[event.reason] += 1
            return
        read += 1
        if read == cancel_after:
            await stream.aclose()
            ends["left"] += 1
            return


async def soak(engine: NativeEngine, count: int, vocab_size: int) -> tuple[Counter[str], list[int]]:
    """Keeps `IN_FLIGHT` requests going until `count` have run; how they ended, and the memory along the way."""
    randomness = random.Random(0)
    ends: Counter[str] = Counter()
    memory: list[int] = []
    running: set[asyncio.Task[None]] = set()
    for number in range(count):
        cancel_after = randomness.randint(1, 8) if number % 10 == 0 else None
        request = make_request(number, randomness, vocab_size)
        running.add(asyncio.create_task(run_one(engine, request, cancel_after, ends)))
        if len(running) == IN_FLIGHT:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        if number % EVERY == EVERY - 1:
            memory.append(psutil.Process().memory_info().rss)
    await asyncio.gather(*running)
    return ends, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=Path("docs/results/soak.json"))
    options = parser.parse_args()
    settings = load_settings(engine={"cache_tokens": CACHE_TOKENS, "max_running": 32})
    checkpoint = resolve(settings.model, settings)
    began = perf_counter()
    with NativeEngine(checkpoint, settings) as engine:
        ends, memory = asyncio.run(soak(engine, options.requests, checkpoint.config.vocab_size))
        metrics = engine.metrics()
    warm = memory[len(memory) // 4 :]
    write_outcome(
        options.output,
        {
            f"{options.requests} requests ended": ends.total() == options.requests,
            "none with an error": ends["error"] == 0,
            "every block was freed": metrics.free_blocks == metrics.total_blocks,
            f"memory grew by less than {GROWTH:.0%} after the first quarter": warm[-1] <= warm[0] * (1 + GROWTH),
        },
        {
            "ends": dict(ends),
            "rss_bytes": memory,
            "seconds": round(perf_counter() - began, 1),
            "preemptions": metrics.preemptions,
            "cache_hit_rate": round(metrics.cache_hit_rate, 4),
            "generated_tokens": metrics.generated_tokens,
            "prefill_tokens": metrics.prefill_tokens,
        },
    )


if __name__ == "__main__":
    main()
