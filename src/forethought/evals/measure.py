"""Lets a checkpoint try held-out problems of some families and levels. Training and the eval suites share this.

The same checkpoint, settings and seed give the same measurement.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from forethought.errors import EngineError, ResultError
from forethought.evals.attempt import attempt
from forethought.evals.measurement import Cell, Measurement, ProblemRecord, Sample
from forethought.model.conversation import Effort
from forethought.reasoning.turn_options import SamplingOverrides
from forethought.tasks import registry
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.problem import Problem, Split

if TYPE_CHECKING:
    from forethought.reasoning.reasoner import Reasoner

IN_FLIGHT: Final = 128
"""Attempts at a time. The engine batches them."""
BROKEN_SHARE: Final = 0.01
"""When more of the attempts (and more than one) broke, the figures would tell about the machine and not about the
model."""

Progress = Callable[[int, int], None]
"""Told how many attempts are done, and of how many."""


async def measure(
    reasoner: Reasoner,
    cells: Sequence[Cell],
    *,
    problems: int,
    samples: int = 1,
    effort: Effort | None,
    budget: int | None = None,
    sampling: SamplingOverrides | None = None,
    examples: int = 0,
    worked: bool = False,
    must_call: bool = False,
    split: Split = "test",
    seed: int = 0,
    known: Measurement | None = None,
    in_flight: int = IN_FLIGHT,
    progress: Progress | None = None,
) -> Measurement:
    """Lets a model try so many problems of each cell, so many times each. The problems depend on the cell and the split
    only, so that two measurements can be compared problem by problem; `seed` is that of the sampling.

    `effort`, `budget`, `sampling`, `examples`, `worked` and `must_call` are those of `attempt`; `in_flight` may be as
    many as the engine queues. The samples of `known`, made in the same way, are taken from there: they would be the
    same again.

    Raises:
        TaskError: a cell does not exist.
        ResultError: `known` was made by another checkpoint, or in another way; a number is below 1.
        EngineError: more than one of the attempts, and more than `BROKEN_SHARE` of them, broke.
    """
    began = perf_counter()
    if min(problems, samples, in_flight) < 1:
        raise ResultError(
            "Nothing is measured with less than one problem, sample or attempt at a time.", "Ask for more."
        )
    how: dict[str, Any] = {
        "checkpoint": reasoner.digest,
        "effort": effort,
        "budget": budget,
        "sampling": dict(sampling or {}),
        "examples": examples,
        "worked": worked,
        "must_call": must_call,
        "split": split,
        "seed": seed,
    }
    differs = [] if known is None else [name for name, value in how.items() if getattr(known, name) != value]
    if differs:
        message = f"The known measurement was made in another way: {', '.join(differs)}."
        raise ResultError(message, "Give one that was made alike, or none.")
    chosen = [
        (cell, problem)
        for cell in dict.fromkeys(cells)
        for problem in distinct_problems(registry.family(cell.family), cell.level, split, problems)
    ]

    async def sample(problem: Problem, number: int) -> Sample:
        made = await attempt(
            reasoner,
            problem,
            effort=effort,
            budget=budget,
            seed=_seed(seed, problem, number),
            sampling=sampling,
            examples=examples,
            worked=worked,
            must_call=must_call,
        )
        return Sample.of(made)

    have = {} if known is None else {(record.cell, record.key): record.samples for record in known.records}
    found = [_unbroken(have.get((cell, _hash(problem.key)), ())[:samples]) for cell, problem in chosen]
    await _complete(found, sample, [problem for _, problem in chosen], samples, in_flight, progress)
    return Measurement(
        **how,
        problems=problems,
        samples=samples,
        records=tuple(
            ProblemRecord(cell, problem.seed, _hash(problem.key), tuple(made[number] for number in sorted(made)))
            for (cell, problem), made in zip(chosen, found, strict=True)
        ),
        seconds=perf_counter() - began,
    )


async def _complete(
    found: Sequence[dict[int, Sample]],
    sample: Callable[[Problem, int], Awaitable[Sample]],
    problems: Sequence[Problem],
    samples: int,
    in_flight: int,
    progress: Progress | None,
) -> None:
    """Adds the missing samples of each problem, by their numbers, so many at a time. Those of one problem run together:
    they share its prompt."""
    missing = [(place, number) for place, made in enumerate(found) for number in range(samples) if number not in made]
    most = max(1, BROKEN_SHARE * len(missing))
    places = iter(missing)
    done = 0
    broken: list[str] = []

    async def work() -> None:
        nonlocal done
        for place, number in places:
            made = await sample(problems[place], number)
            found[place][number] = made
            done += 1
            if made.error is not None:
                broken.append(made.error)
            if len(broken) > most:
                return
            if progress is not None:
                progress(done, len(missing))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, len(missing))):
            group.create_task(work())
    if len(broken) > most:
        raise EngineError(f"{len(broken)} of {done} attempts broke, the first so: {broken[0]}", "Mend it, and go on.")


def _unbroken(samples: Sequence[Sample]) -> dict[int, Sample]:
    return {number: sample for number, sample in enumerate(samples) if sample.error is None}


def _seed(seed: int, problem: Problem, number: int) -> int:
    """Of a sample: the same whatever else is measured."""
    text = f"{seed}/{problem.family}/{problem.level}/{problem.key}/{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]
