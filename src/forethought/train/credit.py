"""Process supervision: which tokens of an attempt are to be praised or blamed, where a family can work problems out.

The worked solutions of a problem (`Family.trace`, in all their styles) are a tree of tokens. An attempt follows the
tree for a while; one that fails has left it somewhere, and the token with which it did is what went wrong, not the
hundred others (https://arxiv.org/abs/2211.14275, https://arxiv.org/abs/2305.20050). So it is the steps of an attempt
that are rewarded, and not its end: staying in the tree is worth 1 at each token, leaving it 0. Of the baselines with
which that is a policy gradient, the one under which a choice between two has no variance is used: the probability of
leaving.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import TYPE_CHECKING, Final

from forethought.tasks.registry import family
from forethought.train.seeds import seed_of
from forethought.train.traces import trace_row

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.train.assignments import Assignment
    from forethought.train.rows import Branch

SOLUTIONS: Final = 24
"""Worked solutions that are asked for. Families know two to sixteen of a problem."""
PRIOR: Final = 0.5
"""Leavers, and stayers, that are taken to have been at every place."""


@dataclass(slots=True)
class Place:
    """What has been written so far, in the tree of all worked solutions, and what may come next."""

    following: dict[int, Place] = field(default_factory=dict["int", "Place"])


@dataclass(frozen=True, slots=True)
class Walk:
    """An attempt in the tree: the place in front of each token up to the one with which it leaves the tree, and whether
    it does leave it."""

    places: tuple[Place, ...]
    leaves: bool


def solutions(checkpoint: Checkpoint, assignment: Assignment) -> Place:
    """The tree of the worked solutions of a problem, as outputs of the model.

    Raises:
        RenderError, TrainError: a solution cannot be rendered (`trace_row`).
    """
    problem, effort, root = assignment.problem, assignment.effort, Place()
    known = family(problem.family)
    rngs = (Random(seed_of(problem.family, problem.seed, "solution", number)) for number in range(SOLUTIONS))
    # As a dict and not a set: the order of the tree's making shall not depend on hashes.
    transcripts = dict.fromkeys(known.trace(problem, effort, rng) for rng in rngs)
    for transcript in transcripts:
        row = trace_row(
            checkpoint,
            problem.conversation,
            transcript,
            effort if problem.thinks else None,
            tight=False,
            rng=Random(0),
        )
        place = root
        for token in row.branches[0].token_ids:
            place = place.following.setdefault(token, Place())
    return root


def walk(root: Place, token_ids: Sequence[int]) -> Walk:
    """How an attempt follows the tree."""
    places = [root]
    for token in token_ids:
        following = places[-1].following.get(token)
        if following is None:
            return Walk(tuple(places), leaves=True)
        places.append(following)
    return Walk(tuple(places[:-1]), leaves=False)


def process_credit(root: Place, branches: Sequence[Branch], correct: Sequence[bool]) -> list[tuple[float, ...]]:
    """What each token of each attempt (its first branch) is worth.

    A token that stays in the tree where there was but one way to is worth its own probability. The one with which a
    wrong attempt leaves is worth minus the share of leavers among the group's attempts at that place. What a right
    attempt left with does no harm, so nobody is blamed for the same. Behind it, nothing is worth anything.
    """
    walks = [walk(root, branch.token_ids) for branch in branches]
    ends = [
        (id(each.places[-1]), branch.token_ids[len(each.places) - 1]) if each.leaves else None
        for each, branch in zip(walks, branches, strict=True)
    ]
    harmless = {end for end, right in zip(ends, correct, strict=True) if right}
    blamed = [end is not None and end not in harmless for end in ends]
    visits = Counter(id(place) for each in walks for place in each.places)
    leavers = Counter(end[0] for end, wrong in zip(ends, blamed, strict=True) if end is not None and wrong)

    def worth(each: Walk, branch: Branch, wrong: bool) -> Iterator[float]:
        logprobs = branch.sampler_logprobs or (0.0,) * len(branch.token_ids)
        last = len(each.places) - 1
        for index, (place, logprob) in enumerate(zip(each.places, logprobs, strict=False)):
            if each.leaves and index == last:
                yield -(leavers[id(place)] + PRIOR) / (visits[id(place)] + 2 * PRIOR) if wrong else 0.0
            else:
                yield exp(logprob) if len(place.following) == 1 else 0.0
        yield from (0.0 for _ in branch.token_ids[len(each.places) :])

    return [tuple(worth(*each)) for each in zip(walks, branches, blamed, strict=True)]
