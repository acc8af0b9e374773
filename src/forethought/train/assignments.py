"""Which problems a step of reinforcement learning works on, and how much they shall be thought about.

Everything is drawn from the recipe's seed and the place in the run; only the level comes from what was learned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from forethought.errors import TrainError
from forethought.model.conversation import Effort
from forethought.reasoning.effort import thinking_budget
from forethought.tasks.problem import Problem
from forethought.tasks.registry import family
from forethought.train.curriculum import Curriculum, Standing
from forethought.train.rl_settings import FamilyPlan, RlSettings
from forethought.train.seeds import seed_of
from forethought.train.traces import cut_budget, tight_budget, worked

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Assignment:
    """A problem, the effort and the budget that it is worked on with, and a seed for each attempt. `tight` says that
    keeping the budget is rewarded; a budget of None is what the effort stands for."""

    problem: Problem
    effort: Effort
    budget: int | None
    tight: bool
    seeds: tuple[int, ...]


def first_curriculum(settings: RlSettings) -> Curriculum:
    """Where all families start.

    Raises:
        TaskError: a family does not exist.
        TrainError: it has no such level.
    """
    return Curriculum(settings.curriculum, {name: _start(name, plan) for name, plan in settings.families.items()})


def assignments(
    checkpoint: Checkpoint, settings: RlSettings, curriculum: Curriculum, place: tuple[object, ...], step: int
) -> tuple[Assignment, ...]:
    """The problems of a step. `place` is the recipe's seed and the stage; `checkpoint` says how many tokens a thinking
    has."""
    drawn: list[Assignment] = []
    for number in range(settings.prompts):
        name = _family_of(settings.families, place, step * settings.prompts + number)
        rng = Random(seed_of(*place, step, "problem", number))
        level = _level(rng, curriculum, name)
        problem = family(name).problem(rng.getrandbits(62), level)
        effort, budget, tight = _effort(rng, checkpoint, settings, problem)
        seeds = tuple(seed_of(*place, step, "attempt", number, sample) for sample in range(settings.samples))
        drawn.append(Assignment(problem, effort, budget, tight, seeds))
    return tuple(drawn)


def _start(name: str, plan: FamilyPlan) -> Standing:
    levels = len(family(name).levels)
    most = plan.top or levels
    if not plan.start <= most <= levels:
        raise TrainError(
            f"families.{name} begins at level {plan.start} and ends at {most}; it has {levels} levels.",
            "Correct its start or top in the recipe.",
        )
    return Standing(plan.start, most)


def _family_of(plans: Mapping[str, FamilyPlan], place: tuple[object, ...], number: int) -> str:
    """The family of the run's n-th problem: dealt from a deck, so that every family's turn comes equally often."""
    deck = [name for name, plan in plans.items() for _ in range(plan.weight)]
    Random(seed_of(*place, "deck", number // len(deck))).shuffle(deck)
    return deck[number % len(deck)]


def _level(rng: Random, curriculum: Curriculum, name: str) -> int:
    level = curriculum.level(name)
    return rng.randint(1, level - 1) if level > 1 and rng.random() < curriculum.settings.review else level


def _effort(
    rng: Random, checkpoint: Checkpoint, settings: RlSettings, problem: Problem
) -> tuple[Effort, int | None, bool]:
    names = list(settings.efforts)
    effort = rng.choices(names, [settings.efforts[name].weight for name in names])[0]
    plan = settings.efforts[effort]
    drawn = rng.random()
    if problem.thinks and drawn < plan.tight + plan.cut and (solution := worked(problem, effort, rng)) is not None:
        if drawn >= plan.tight:
            return effort, cut_budget(checkpoint, solution, rng), True
        most = plan.budget or thinking_budget(effort, checkpoint.capabilities.context_length)
        return effort, tight_budget(checkpoint, solution, most, rng), True
    return effort, plan.budget or None, False
