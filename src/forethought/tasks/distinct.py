"""Problems of one kind that are all different: seeds collide where there are few problems, so seeds are skipped."""

from typing import Final

from forethought.tasks.family import Family
from forethought.tasks.problem import Problem, Split

PATIENCE: Final = 500
"""Seeds in a row that bring nothing new, before it is said that there is no more."""


def distinct_problems(family: Family, level: int, split: Split, count: int, first_seed: int = 0) -> list[Problem]:
    """The first `count` problems whose keys differ, by seed; fewer where the family has fewer.

    Raises:
        TaskError: the level does not exist, or has no problem in this split.
    """
    found: dict[str, Problem] = {}
    seed, fruitless = first_seed, 0
    while len(found) < count and fruitless < PATIENCE:
        problem = family.problem(seed, level, split)
        fruitless = fruitless + 1 if problem.key in found else 0
        found.setdefault(problem.key, problem)
        seed += 1
    return list(found.values())
