"""Measures what an engine core does on this machine: prefill and decode apart, and where the time goes."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import Finished, Limits, Request, Sampling
from forethought.engine.spec import Core
from forethought.errors import EngineError, RequestError


@dataclass(frozen=True, slots=True)
class Throughput:
    """One measurement. The prefill ends when every sequence has its first token; decode counts the steps from there
    until the first sequence ends, so all `batch` were running. Shares are of the whole run."""

    batch: int
    prompt_tokens: int
    new_tokens: int
    prefill_tokens_per_second: float
    decode_tokens_per_second: float
    forward_share: float
    sampling_share: float
    other_share: float


def measure(
    core: Core, vocab_size: int, *, batch: int, prompt_tokens: int, new_tokens: int, seed: int = 0
) -> Throughput:
    """Runs `batch` prompts of random tokens (drawn from `seed`) through an idle core.

    Args:
        core: with nothing to do.
        vocab_size: prompts are drawn from the ids below it; no two share a beginning.
        batch: sequences at a time.
        prompt_tokens: length of each prompt.
        new_tokens: generated for each; stop tokens do not count.

    Raises:
        RequestError: the requests do not fit this engine.
        EngineError: one of them failed.
    """
    draw = random.Random(f"{seed} {batch} {prompt_tokens} {new_tokens}")
    before = core.metrics()
    began = perf_counter()
    for number in range(batch):
        prompt = tuple(draw.randrange(vocab_size) for _ in range(prompt_tokens))
        core.add(Request(f"measure-{number}", prompt, Limits(new_tokens), Sampling(seed=number)))
    steps = list(_run(core))
    first = next(index for index, step in enumerate(steps) if step.started == batch)
    window = [step for step, earlier in zip(steps[first + 1 :], steps[first:], strict=False) if not earlier.finished]
    if not window:
        message = f"{batch} sequences of {new_tokens} new tokens never ran all at once."
        raise RequestError(message, "Ask for more new tokens, a smaller batch, or raise engine.max_running.")
    prefill_seconds = steps[first].time - began
    decode_seconds = window[-1].time - steps[first].time
    return Throughput(
        batch,
        prompt_tokens,
        new_tokens,
        batch * prompt_tokens / prefill_seconds,
        sum(step.tokens for step in window) / decode_seconds,
        *_shares(before, core.metrics()),
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """When a step ended, how many tokens it gave, and how many sequences had started and finished by then."""

    time: float
    tokens: int
    started: int
    finished: int


def _run(core: Core) -> Iterator[_Step]:
    """Steps until there is no more work."""
    started: set[str] = set()
    finished = 0
    while core.has_work:
        tokens = 0
        for request_id, event in core.step():
            if isinstance(event, Finished):
                if event.reason != "max_tokens":
                    problem = f"A measured request ended with {event.reason}: {event.error}."
                    raise EngineError(problem, "Use fewer tokens.")
                finished += 1
            else:
                started.add(request_id)
                tokens += 1
        yield _Step(perf_counter(), tokens, len(started), finished)


def _shares(before: EngineMetrics, after: EngineMetrics) -> tuple[float, float, float]:
    """How the working time between two snapshots divides into forward, sampling and other."""
    forward = after.forward_seconds - before.forward_seconds
    sampling = after.sampling_seconds - before.sampling_seconds
    other = after.other_seconds - before.other_seconds
    total = forward + sampling + other
    return forward / total, sampling / total, other / total
