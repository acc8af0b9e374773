"""Process supervision: which tokens of an attempt are to be praised or blamed, where a family can work problems out.

The worked solutions of a problem (`Family.trace`, in all their styles) are a tree of tokens. An attempt follows the
tree for a while; one that fails has left it somewhere, and the token with which it did is what went wrong, not the
hundred others (https://arxiv.org/abs/2211.14275, https://arxiv.org/abs/2305.20050). So it is the steps of an attempt
that are rewarded, and not its end: at each place of the tree that an attempt comes to, what is learned is the gradient
of the chance to stay in it. The reward of staying is 1, that of leaving 0, and what comes later is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp
from random import Random
from typing import TYPE_CHECKING, Final

from forethought.errors import TrainError
from forethought.tasks.registry import family
from forethought.train.seeds import seed_of
from forethought.train.traces import trace_row, worked

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.tasks.problem import Transcript
    from forethought.train.assignments import Assignment
    from forethought.train.rows import Branch

IN_VAIN: Final = 64
"""So many worked solutions in a row that were known end the search for more."""
MOST_DRAWS: Final = 1000
"""After so many it ends in any case. Families know one to some 150 of a problem."""


@dataclass(slots=True, eq=False, repr=False)
class Place:
    """What has been written so far, in the tree of all worked solutions, and what may come next."""

    following: dict[int, Place] = field(default_factory=dict["int", "Place"])


@dataclass(frozen=True, slots=True)
class Walk:
    """An attempt in the tree: the place in front of each token up to the one with which it leaves the tree, and whether
    it does leave it."""

    places: tuple[Place, ...]
    leaves: bool


def solutions(checkpoint: Checkpoint, assignment: Assignment) -> Place | None:
    """The tree of the worked solutions of a problem, as outputs of the model; None where there are none, or where
    answers are in the model's own words.

    Raises:
        RenderError, TrainError: a solution cannot be rendered (`trace_row`).
    """
    problem, effort, root = assignment.problem, assignment.effort, Place()
    if family(problem.family).free_wording:
        return None
    # As a dict and not a set: the order of the tree's making shall not depend on hashes.
    known: dict[Transcript, None] = {}
    in_vain = 0
    for number in range(MOST_DRAWS):
        transcript = worked(problem, effort, Random(seed_of(problem.family, problem.seed, "solution", number)))
        if transcript is None:
            return None
        in_vain = in_vain + 1 if transcript in known else 0
        known[transcript] = None
        if in_vain == IN_VAIN:
            break
    for transcript in known:
        thinks = effort if problem.thinks else None
        row = trace_row(checkpoint, problem.conversation, transcript, thinks, tight=False, rng=Random(0))
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
    """What each token of each attempt at a problem is worth: its reward less a baseline, which is 1 where the tree goes
    on in several ways, and where it goes on in one the chance to leave, under which a choice between two has no
    variance.

    So a token that goes the one way is worth its own probability p, and one of several ways 0. The token with which a
    wrong attempt leaves is worth p - 1, as far as an attempt that stayed at that place tells p, and -1 otherwise. What
    a right attempt left with does no harm, so nobody is blamed for the same. Behind it, nothing is worth anything; nor
    is what the model did not choose.

    Raises:
        TrainError: the branches have no log-probabilities.
    """
    walks = [walk(root, branch.token_ids) for branch in branches]
    chances = {
        place: exp(logprob)
        for each, branch in zip(walks, branches, strict=True)
        for place, token, logprob in zip(each.places, branch.token_ids, _logprobs(branch), strict=False)
        if list(place.following) == [token]
    }
    ends = [_end(each, branch) for each, branch in zip(walks, branches, strict=True)]
    harmless = {end for end, right in zip(ends, correct, strict=True) if right}

    def worth(each: Walk, branch: Branch, right: bool, end: tuple[Place, int] | None) -> Iterator[float]:
        for place, token, learned in zip(each.places, branch.token_ids, branch.learned, strict=False):
            if token in place.following:
                yield chances[place] if learned and len(place.following) == 1 else 0.0
            else:
                yield 0.0 if right or end is None or end in harmless else chances.get(place, 0.0) - 1
        yield from (0.0 for _ in branch.token_ids[len(each.places) :])

    return [tuple(worth(*each)) for each in zip(walks, branches, correct, ends, strict=True)]


def _end(each: Walk, branch: Branch) -> tuple[Place, int] | None:
    """Where an attempt has left the tree, and with which token, if that was its choice."""
    last = len(each.places) - 1
    return (each.places[last], branch.token_ids[last]) if each.leaves and branch.learned[last] else None


def _logprobs(branch: Branch) -> tuple[float, ...]:
    if branch.sampler_logprobs is None:
        raise TrainError("Process supervision needs the sampler's log-probabilities.", "Sample with logprobs.")
    return branch.sampler_logprobs
