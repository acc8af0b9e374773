"""Rollouts: attempts at the problems of a step by the learner itself, rewarded, and made into rows to learn from.

They are sampled from the weights as they are, with no grammar. The log-probabilities that come with the tokens are the
model's own: at temperature 1, those of the distribution that the tokens were drawn from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isnan
from typing import TYPE_CHECKING, Final

from forethought.errors import TrainError
from forethought.evals.attempt import Attempt, TurnRecord, attempt
from forethought.train.assignments import Assignment
from forethought.train.credit import process_lessons, solutions
from forethought.train.groups import Lesson, advantages, lesson
from forethought.train.rewards import reward
from forethought.train.rows import Branch, Row

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.reasoning.reasoner import Reasoner
    from forethought.reasoning.turn_options import SamplingOverrides
    from forethought.train.rl_settings import RlSettings

UNCHANGED: Final[SamplingOverrides] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""Samples from the whole distribution, whatever the checkpoint's generation defaults are."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """An attempt, what it is worth, and how much better that is than its group. In a supervised group `judged` are what
    is learned of it instead (`process_lessons`)."""

    attempt: Attempt
    reward: float
    advantage: float = 0.0
    judged: tuple[Branch, ...] = ()

    @property
    def blamed(self) -> tuple[int, ...]:
        """Which of its tokens, counted from the end of its prompt, were judged to be where it went wrong."""
        known = (each.sampler_logprobs for each in self.judged)
        return tuple(len(logprobs) - 1 for logprobs in known if logprobs and isnan(logprobs[-1]))


@dataclass(frozen=True, slots=True)
class Group:
    """The rollouts of one assignment that have a verdict; `errors` says of each other one what broke. `lesson` is what
    their rewards teach; a `supervised` group is learned from token by token, whatever they are."""

    assignment: Assignment
    rollouts: tuple[Rollout, ...]
    lesson: Lesson
    errors: tuple[str, ...] = ()
    supervised: bool = False

    @property
    def teaches(self) -> bool:
        """Whether anything is learned of it."""
        return any(each.judged for each in self.rollouts) if self.supervised else self.lesson == "taught"


async def roll(reasoner: Reasoner, assignments: Sequence[Assignment], settings: RlSettings) -> list[Group]:
    """All attempts at all problems of a step, many at once.

    Raises:
        TrainError: most attempts broke; the message quotes the first.
    """
    places = asyncio.Semaphore(settings.at_once)

    async def one(assignment: Assignment, seed: int) -> Attempt:
        async with places:
            return await attempt(
                reasoner,
                assignment.problem,
                effort=assignment.effort,
                budget=assignment.budget,
                most_thinking=settings.most_thinking or None,
                seed=seed,
                sampling=UNCHANGED | {"temperature": settings.temperature},
                logprobs=True,
                bound=False,
            )

    async with asyncio.TaskGroup() as tasks:
        running = [[tasks.create_task(one(each, seed)) for seed in each.seeds] for each in assignments]
    attempts = [[task.result() for task in row] for row in running]
    groups = [grouped(each, row, settings) for each, row in zip(assignments, attempts, strict=True)]
    errors = [error for group in groups for error in group.errors]
    if 2 * len(errors) > sum(map(len, attempts)):
        message = f"{len(errors)} of {sum(map(len, attempts))} attempts broke. The first: {errors[0]}"
        raise TrainError(message, "Mend that, then resume the run.")
    if settings.credit == "process":
        return [supervised(group, reasoner.checkpoint) for group in groups]
    return groups


def grouped(assignment: Assignment, attempts: Sequence[Attempt], settings: RlSettings) -> Group:
    """The attempts of one problem with their rewards and advantages."""
    length, tight = settings.length, assignment.budget if assignment.tight else None
    sound = [each for each in attempts if each.error is None]
    rewards = [reward(each, tight, length) for each in sound]
    taught = lesson(rewards, [each.verdict.correct for each in sound])
    worth = advantages(rewards, divide=settings.divide_by_deviation) if taught == "taught" else (0.0,) * len(sound)
    rollouts = tuple(map(Rollout, sound, rewards, worth))
    return Group(assignment, rollouts, taught, tuple(each.error for each in attempts if each.error is not None))


def supervised(group: Group, checkpoint: Checkpoint) -> Group:
    """The same attempts, judged token by token where that can be done.

    Raises:
        RenderError, TrainError: a worked solution cannot be rendered (`trace_row`).
    """
    known = solutions(checkpoint, group.assignment)
    if known is None:
        return group
    rollouts = list(group.rollouts)
    firsts = {place: first for place, each in enumerate(rollouts) if (first := _first_branch(each.attempt)) is not None}
    correct = [rollouts[place].attempt.verdict.correct for place in firsts]
    for place, judged in zip(firsts, process_lessons(known, list(firsts.values()), correct), strict=True):
        rollouts[place] = replace(rollouts[place], judged=judged)
    return replace(group, rollouts=tuple(rollouts), supervised=True)


def rows_of(groups: Sequence[Group], *, supervised: bool = False) -> list[Row]:
    """The rows of all groups that teach something, of those that are `supervised` or of the others. The samples of a
    group share their prompt, so it is one row as long as their turns begin alike."""
    rows: list[Row] = []
    for group in groups:
        if group.supervised != supervised:
            continue
        shared: dict[tuple[int, ...], list[Branch]] = {}
        for rollout in group.rollouts:
            for prompt_ids, branch in _taught(group, rollout):
                shared.setdefault(prompt_ids, []).append(branch)
        rows += [Row(prompt_ids, tuple(branches)) for prompt_ids, branches in shared.items()]
    return rows


def _taught(group: Group, rollout: Rollout) -> Iterator[tuple[tuple[int, ...], Branch]]:
    """The branches of an attempt that teach something."""
    if group.supervised:
        for branch in rollout.judged:
            yield rollout.attempt.turns[0].prompt_ids, branch
    elif group.lesson == "taught":
        yield from branches_of(rollout.attempt.turns, rollout.advantage)


def _first_branch(attempt: Attempt) -> Branch | None:
    """What an attempt wrote behind its first prompt."""
    prompt_ids, branch = next(branches_of(attempt.turns, 0.0), ((), None))
    return branch if branch is not None and prompt_ids == attempt.turns[0].prompt_ids else None


def branches_of(turns: Sequence[TurnRecord], advantage: float) -> Iterator[tuple[tuple[int, ...], Branch]]:
    """What is learned of an attempt: a prompt and a branch for each of its turns. A turn whose prompt goes on where the
    turn before ended (tokens alike) continues that branch, the tokens between them unlearned."""
    prompt_ids: tuple[int, ...] = ()
    branch: Branch | None = None
    for turn in turns:
        own = _branch(turn, advantage)
        whole = prompt_ids + (branch.token_ids if branch else ())
        if branch is not None and turn.prompt_ids[: len(whole)] == whole:
            branch = _joined(branch, turn.prompt_ids[len(whole) :], own)
            continue
        if branch is not None and branch.learned_tokens:
            yield prompt_ids, branch
        prompt_ids, branch = turn.prompt_ids, own
    if branch is not None and branch.learned_tokens:
        yield prompt_ids, branch


def _branch(turn: TurnRecord, advantage: float) -> Branch:
    learned = tuple(not forced for forced in turn.forced)
    return Branch(turn.output_ids, learned, advantage, sampler_logprobs=turn.logprobs)


def _joined(first: Branch, between: tuple[int, ...], second: Branch) -> Branch:
    return replace(
        first,
        token_ids=first.token_ids + between + second.token_ids,
        learned=first.learned + (False,) * len(between) + second.learned,
        sampler_logprobs=(*(first.sampler_logprobs or ()), *(0.0,) * len(between), *(second.sampler_logprobs or ())),
    )
