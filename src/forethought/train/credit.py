"""Process supervision: what is learned of an attempt token by token, where a family can work problems out.

The worked solutions of a problem (`Family.trace`, in all their styles) are a tree of tokens. An attempt follows the
tree for a while; one that fails has left it somewhere, and the token with which it did is what went wrong, not the
hundred others (https://arxiv.org/abs/2211.14275, https://arxiv.org/abs/2305.20050). So it is the steps of an attempt
that are rewarded, and not its end: staying in the tree is worth 1, leaving it 0, and what comes later is not looked at.
Where only one token stays, what an attempt can expect at that place is the probability of this token, and its gradient
is known whatever was drawn there (https://arxiv.org/abs/1706.05374): the loss `losses.chance` of that one token, or
`losses.sft` for the logarithm of what is expected. Where several stay and the attempt has left, one of them is drawn,
each as likely as another.

An attempt that has left the tree can come back to it at two places: where its thinking begins anew (`SECOND_LOOK`), and
where its thinking was ended for it, which leaves an answer to be given. So a model learns to do better at the second
look what it did wrong at the first, and to answer when there was no time to think.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import nan
from random import Random
from typing import TYPE_CHECKING, Final

from forethought.errors import TrainError
from forethought.tasks.family import SECOND_LOOK
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
class Solutions:
    """All worked solutions of a problem: the tree of their tokens, and the trees of what follows the marks at which an
    attempt can come back (`behind`, by the number of thoughts that have ended in front of the mark, and the mark).
    `end` is the mark that ends thinking; without one there is no way back. `turning` are the places where a second look
    is to begin."""

    root: Place
    end: tuple[int, ...] = ()
    again: tuple[int, ...] = ()
    behind: dict[tuple[int, tuple[int, ...]], Place] = field(default_factory=dict["tuple[int, tuple[int, ...]]", Place])
    turning: set[Place] = field(default_factory=set["Place"])

    def add(self, token_ids: Sequence[int]) -> None:
        """Adds one solution."""
        places = _grow(self.root, token_ids)
        for index, mark, ended in self._marks(token_ids):
            _grow(self.behind.setdefault((ended, mark), Place()), token_ids[index + len(mark) :])
            if mark == self.again:
                self.turning.update(places[index : index + len(mark)])

    def walks(self, branch: Branch) -> list[Walk]:
        """How an attempt follows the tree, and again from each place where it comes back to it."""
        walks = [walk(self.root, branch.token_ids)]
        while walks[-1].leaves and (back := self._back(branch, walks[-1])) is not None:
            place, start = back
            walks.append(walk(place, branch.token_ids, start))
        return walks

    def _marks(self, token_ids: Sequence[int]) -> Iterator[tuple[int, tuple[int, ...], int]]:
        """Where the marks are, which they are, and how many thoughts have ended in front of each. Of several second
        looks in one thought only the first counts."""
        ended, looked = 0, False
        for index in range(len(token_ids) if self.end else 0):
            if tuple(token_ids[index : index + len(self.end)]) == self.end:
                yield index, self.end, ended
                ended, looked = ended + 1, False
            elif not looked and tuple(token_ids[index : index + len(self.again)]) == self.again:
                yield index, self.again, ended
                looked = True

    def _back(self, branch: Branch, left: Walk) -> tuple[Place, int] | None:
        """The place at the first mark behind that where the walk has left, if it is in the same thought."""
        for index, mark, ended in self._marks(branch.token_ids):
            start = index + len(mark)
            if start <= left.stop:
                continue
            chosen = branch.learned[left.stop : start]
            if mark == self.end and any(branch.learned[index:start]):
                return None  # It has ended this thought itself.
            if not all(chosen[: max(0, index - left.stop)]):
                return None  # That is another turn.
            place = self.behind.get((ended, mark))
            return None if place is None else (place, start)
        return None


@dataclass(frozen=True, slots=True)
class Walk:
    """An attempt in the tree from its token `start` on: the place in front of each token up to the one with which it
    leaves the tree, and whether it does leave it."""

    start: int
    places: tuple[Place, ...]
    leaves: bool

    @property
    def stop(self) -> int:
        """The token with which it leaves, if it does."""
        return self.start + len(self.places) - 1


def can_judge(name: str) -> bool:
    """Whether attempts at a family's problems can be judged token by token: it has worked solutions, and answers that
    are not in the model's own words."""
    return family(name).has_traces and not family(name).free_wording


def solutions(checkpoint: Checkpoint, assignment: Assignment) -> Solutions | None:
    """The tree of the worked solutions of a problem, as outputs of the model; None where nothing can be judged.

    Raises:
        RenderError, TrainError: a solution cannot be rendered (`trace_row`).
    """
    problem, effort, thinking = assignment.problem, assignment.effort, checkpoint.renderer.thinking
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
    again = tuple(checkpoint.tokenizer.encode(SECOND_LOOK))
    found = Solutions(Place(), thinking.end_ids if thinking is not None else (), again)
    for transcript in known:
        thinks = effort if problem.thinks else None
        row = trace_row(checkpoint, problem.conversation, transcript, thinks, rng=Random(0))
        found.add(row.branches[0].token_ids)
    return found


def walk(root: Place, token_ids: Sequence[int], start: int = 0) -> Walk:
    """How an attempt follows the tree."""
    places = [root]
    for token in token_ids[start:]:
        following = places[-1].following.get(token)
        if following is None:
            return Walk(start, tuple(places), leaves=True)
        places.append(following)
    return Walk(start, tuple(places[:-1]), leaves=False)


def process_lessons(known: Solutions, branches: Sequence[Branch], correct: Sequence[bool]) -> list[tuple[Branch, ...]]:
    """What is learned of each attempt at a problem, one branch for each of its walks that teaches something: its
    beginning, at each place where the tree goes on in one way the token that does. Where an attempt has left it
    instead, that token, or one of several, stands in the place of the branch's last one, and its `sampler_logprobs`
    have no number for it (NaN).

    Nothing is learned where an attempt has followed one of several ways, where the model did not choose, behind the
    place where an attempt has left the tree and did not come back, and where a right attempt of the group has left it
    for good: there is a way that it does not know. (But that an answer is right without a second look is no reason
    against one.)

    Raises:
        TrainError: the branches have no log-probabilities.
    """
    walks = [known.walks(branch) for branch in branches]
    open_places = {
        each[-1].places[-1]
        for each, branch, right in zip(walks, branches, correct, strict=True)
        if right and each[-1].leaves and branch.learned[each[-1].stop]
    } - known.turning
    lessons = (
        [_lesson(part, branch, open_places) for part in each] for each, branch in zip(walks, branches, strict=True)
    )
    return [tuple(part for part in parts if part is not None) for parts in lessons]


def _grow(root: Place, token_ids: Sequence[int]) -> list[Place]:
    """Adds a way to a tree. Returns the place in front of each of its tokens."""
    places = [root]
    for token in token_ids:
        places.append(places[-1].following.setdefault(token, Place()))
    return places[:-1]


def _lesson(part: Walk, branch: Branch, open_places: set[Place]) -> Branch | None:
    """What is learned of one walk."""
    ways = [next(iter(place.following)) if len(place.following) == 1 else None for place in part.places]
    if part.leaves and (several := list(part.places[-1].following)):
        ways[-1] = Random(seed_of(*branch.token_ids)).choice(several)
    learned = (False,) * part.start + tuple(
        way is not None and chosen and place not in open_places
        for way, chosen, place in zip(ways, branch.learned[part.start :], part.places, strict=False)
    )
    stop = max((index + 1 for index, is_learned in enumerate(learned) if is_learned), default=0)
    if not stop:
        return None
    token_ids, logprobs = branch.token_ids[:stop], _logprobs(branch)[:stop]
    way = ways[stop - 1 - part.start]
    if way is not None and token_ids[-1] != way:
        token_ids, logprobs = (*token_ids[:-1], way), (*logprobs[:-1], nan)
    return Branch(token_ids, learned[:stop], sampler_logprobs=logprobs)


def _logprobs(branch: Branch) -> tuple[float, ...]:
    if branch.sampler_logprobs is None:
        raise TrainError("Process supervision needs the sampler's log-probabilities.", "Sample with logprobs.")
    return branch.sampler_logprobs
