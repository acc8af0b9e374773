"""Process supervision: what is learned of an attempt token by token, where a family can work problems out.

The worked solutions of a problem (`Family.trace`, in all their styles) are a tree of tokens. An attempt follows the
tree for a while; one that fails has left it somewhere, and the token with which it did is what went wrong, not the
hundred others (https://arxiv.org/abs/2211.14275, https://arxiv.org/abs/2305.20050). So it is the steps of an attempt
that are rewarded, and not its end: staying in the tree is worth 1, leaving it 0, and what comes later is not looked at.
Where only one token stays, what an attempt can expect at that place is the probability of this token, and its gradient
is known whatever was drawn there (https://arxiv.org/abs/1706.05374): the loss `losses.chance` of that one token, or
`losses.sft` for the logarithm of what is expected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan
from random import Random
from typing import TYPE_CHECKING, Final

from forethought.errors import TrainError
from forethought.tasks.registry import family
from forethought.train.rows import Branch
from forethought.train.seeds import seed_of
from forethought.train.traces import trace_row

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.tasks.problem import Transcript
    from forethought.train.assignments import Assignment

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


def can_judge(name: str) -> bool:
    """Whether attempts at a family's problems can be judged token by token: it has worked solutions, and answers that
    are not in the model's own words."""
    return family(name).has_traces and not family(name).free_wording


def solutions(checkpoint: Checkpoint, assignment: Assignment) -> Place | None:
    """The tree of the worked solutions of a problem, as outputs of the model; None where nothing can be judged.

    Raises:
        RenderError, TrainError: a solution cannot be rendered (`trace_row`).
    """
    problem, effort, root = assignment.problem, assignment.effort, Place()
    if not can_judge(problem.family):
        return None
    # As a dict and not a set: the order of the tree's making shall not depend on hashes.
    known: dict[Transcript, None] = {}
    in_vain = 0
    for number in range(MOST_DRAWS):
        rng = Random(seed_of(problem.family, problem.seed, "solution", number))
        transcript = family(problem.family).trace(problem, effort, rng)
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


def process_lessons(root: Place, branches: Sequence[Branch], correct: Sequence[bool]) -> list[Branch | None]:
    """What is learned of each attempt at a problem, if anything: its beginning, at each place where the tree goes on in
    one way the token that does. Where an attempt has left it instead, that token stands in the place of its last one,
    and its `sampler_logprobs` have no number for it (NaN).

    Nothing is learned where the tree goes on in several ways, where the model did not choose, behind the place where an
    attempt has left the tree, and where a right attempt of the group has left it: there is a way that it does not know.

    Raises:
        TrainError: the branches have no log-probabilities.
    """
    walks = [walk(root, branch.token_ids) for branch in branches]
    open_places = {
        each.places[-1]
        for each, branch, right in zip(walks, branches, correct, strict=True)
        if right and each.leaves and branch.learned[len(each.places) - 1]
    }
    return [_lesson(each, branch, open_places) for each, branch in zip(walks, branches, strict=True)]


def _lesson(each: Walk, branch: Branch, open_places: set[Place]) -> Branch | None:
    """What is learned of one attempt."""
    ways = [next(iter(place.following)) if len(place.following) == 1 else None for place in each.places]
    learned = tuple(
        way is not None and chosen and place not in open_places
        for way, chosen, place in zip(ways, branch.learned, each.places, strict=False)
    )
    stop = max((index + 1 for index, is_learned in enumerate(learned) if is_learned), default=0)
    if not stop:
        return None
    token_ids, logprobs = branch.token_ids[:stop], _logprobs(branch)[:stop]
    way = ways[stop - 1]
    if way is not None and token_ids[-1] != way:
        token_ids, logprobs = (*token_ids[:-1], way), (*logprobs[:-1], nan)
    return Branch(token_ids, learned[:stop], sampler_logprobs=logprobs)


def _logprobs(branch: Branch) -> tuple[float, ...]:
    if branch.sampler_logprobs is None:
        raise TrainError("Process supervision needs the sampler's log-probabilities.", "Sample with logprobs.")
    return branch.sampler_logprobs
