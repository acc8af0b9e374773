"""Process supervision: where attempts leave the worked solutions of a problem, and what their tokens are worth."""

import math
from collections.abc import Iterable, Sequence
from random import Random

import pytest

from attempt_scene import Lookup, answers, called, play, register, says
from forethought.engine.protocol import Request
from forethought.engine.script import Step
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Thinking
from forethought.reasoning.reasoner import Reasoner
from forethought.tasks.registry import families
from forethought.train.assignments import Assignment
from forethought.train.credit import Place, process_credit, solutions, walk
from forethought.train.rl_settings import RlSettings
from forethought.train.rollouts import Group, roll, rows_of
from forethought.train.rows import Branch
from forethought.train.traces import trace_row


def tree(*texts: Sequence[int]) -> Place:
    root = Place()
    for text in texts:
        place = root
        for token in text:
            place = place.following.setdefault(token, Place())
    return root


def sampled(*token_ids: int) -> Branch:
    """Each token with a probability of a half."""
    return Branch(token_ids, (True,) * len(token_ids), sampler_logprobs=(math.log(0.5),) * len(token_ids))


def credit(root: Place, *attempts: tuple[tuple[int, ...], bool]) -> list[list[float]]:
    found = process_credit(root, [sampled(*ids) for ids, _ in attempts], [right for _, right in attempts])
    return [[round(each, 3) for each in one] for one in found]


def test_an_attempt_that_stays_is_praised_for_each_token_that_had_no_other_way_to():
    assert credit(tree((1, 2, 3), (1, 4, 3)), ((1, 2, 3), True)) == [[0.5, 0.0, 0.5]]


def test_only_the_token_that_leaves_is_blamed_and_nothing_behind_it():
    (stayed, left) = credit(tree((1, 2, 3)), ((1, 2, 3), True), ((1, 9, 3), False))
    assert stayed == [0.5, 0.5, 0.5]
    assert left == [0.5, -0.5, 0.0]


def test_leaving_weighs_as_much_as_the_group_leaves_there():
    often = credit(tree((1, 2)), *[((1, 9), False)] * 3, ((1, 2), True))
    seldom = credit(tree((1, 2)), ((1, 9), False), *[((1, 2), True)] * 3)
    assert often[0][1] < seldom[0][1] < 0


def test_nobody_is_blamed_for_leaving_as_a_right_attempt_did():
    assert credit(tree((1, 2, 3)), ((1, 8, 3), True), ((1, 8, 4), False)) == [[0.5, 0.0, 0.0]] * 2


def test_an_attempt_that_ends_early_or_is_empty_is_worth_what_it_has():
    assert credit(tree((1, 2, 3)), ((1,), False), ((), False)) == [[0.5], []]
    assert not walk(tree((1, 2)), (1,)).leaves
    assert walk(tree((1, 2)), (1, 2, 5)).leaves  # the solution was over


@pytest.mark.parametrize("name", list(families()))
def test_every_worked_solution_is_in_the_tree(checkpoint: Checkpoint, name: str):
    known = families()[name]
    for level in range(1, len(known.levels) + 1):
        problem = known.problem(level, level)
        root = solutions(checkpoint, Assignment(problem, "medium", None, False, ()))
        trace = known.trace(problem, "medium", Random(7))
        effort = "medium" if problem.thinks else None
        row = trace_row(checkpoint, problem.conversation, trace, effort, tight=False, rng=Random(0))
        assert known.free_wording or not walk(root, row.branches[0].token_ids).leaves


def test_rollouts_with_tools_are_judged_token_by_token(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch):
    lookup = Lookup()
    register(monkeypatch, lookup)
    problem = lookup.problem(1, 1)
    settings = RlSettings.model_validate(
        {"steps": 1, "families": ["lookup"], "prompts": 1, "samples": 2, "credit": "process"}
    )
    said = iter((str(problem.gold), str(problem.gold + 1)))
    called_it = says(checkpoint, Thinking("I ask. "), called("ask"))

    def script(request: Request) -> Iterable[Step]:
        told = str(problem.gold) in checkpoint.tokenizer.decode(request.prompt_ids)
        return [answers(checkpoint, next(said), "So.") if told else called_it]

    async def body(reasoner: Reasoner) -> list[Group]:
        return await roll(reasoner, [Assignment(problem, "low", None, False, (1, 2))], settings)

    (group,) = play(checkpoint, script, body)
    (row,) = rows_of([group])
    right, wrong = sorted(row.branches, key=lambda branch: -branch.learned_tokens)
    assert min(right.advantages or ()) >= 0
    assert [value for value in wrong.advantages or () if value < 0] == [(wrong.advantages or ())[-1]]
    for branch in (right, wrong):
        assert [value != 0 for value in branch.advantages or ()] == list(branch.learned)
