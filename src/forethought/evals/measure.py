"""Lets a checkpoint try held-out problems of some families and levels. Training and the eval suites share this.

The same checkpoint, settings and seed give the same measurement.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

from forethought.errors import EngineError
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
"""When more of the attempts broke, the figures would tell about the machine and not about the model."""

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
    split: Split = "test",
    seed: int = 0,
    in_flight: int = IN_FLIGHT,
    progress: Progress | None = None,
) -> Measurement:
    """Lets a model try so many problems of each cell, so many times each. The problems depend on the cell and the split
    only, so that two measurements can be compared problem by problem; `seed` is that of the sampling.

    `effort`, `budget`, `sampling` and `examples` are those of `attempt`; `in_flight` may be as many as the engine
    queues.

    Raises:
        TaskError: a cell does not exist.
        EngineError: more than `BROKEN_SHARE` of the attempts broke.
    """
    began = perf_counter()
    chosen = [
        (cell, problem)
        for cell in cells
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
        )
        return Sample.of(made)

    found = await _all(sample, [problem for _, problem in chosen], samples, in_flight, progress)
    return Measurement(
        checkpoint=reasoner.digest,
        effort=effort,
        budget=budget,
        sampling=cast(dict[str, int | float], sampling or {}),
        examples=examples,
        split=split,
        problems=problems,
        samples=samples,
        seed=seed,
        records=tuple(
            ProblemRecord(cell, problem.seed, _hash(problem.key), tuple(found[place]))
            for place, (cell, problem) in enumerate(chosen)
        ),
        seconds=perf_counter() - began,
    )


async def _all(
    sample: Callable[[Problem, int], Awaitable[Sample]],
    problems: Sequence[Problem],
    samples: int,
    in_flight: int,
    progress: Progress | None,
) -> list[list[Sample]]:
    """The samples of each problem, so many at a time. Those of one problem run together: they share its prompt."""
    found: list[dict[int, Sample]] = [{} for _ in problems]
    places = iter([(place, number) for place in range(len(problems)) for number in range(samples)])
    total = len(problems) * samples
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
            if len(broken) > BROKEN_SHARE * total:
                return
            if progress is not None:
                progress(done, total)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight, total)):
            group.create_task(work())
    if len(broken) > BROKEN_SHARE * total:
        raise EngineError(f"{len(broken)} of {done} attempts broke, the first so: {broken[0]}", "Mend it, and go on.")
    return [[each[number] for number in sorted(each)] for each in found]


def _seed(seed: int, problem: Problem, number: int) -> int:
    """Of a sample: the same whatever else is measured."""
    text = f"{seed}/{problem.family}/{problem.level}/{problem.key}/{number}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:16]
