"""Process supervision: where attempts leave the worked solutions of a problem, and what their tokens are worth."""

import math
from collections.abc import Iterable, Sequence
from random import Random

import pytest

from attempt_scene import Lookup, answers, called, play, register, says
from forethought.engine.protocol import Request
from forethought.engine.script import Step
from forethought.errors import TaskError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Effort, Thinking
from forethought.reasoning.reasoner import Reasoner
from forethought.tasks.problem import Problem, Transcript
from forethought.tasks.registry import families
from forethought.train import losses
from forethought.train.assignments import Assignment, assignments, first_curriculum
from forethought.train.credit import Place, process_credit, solutions, walk
from forethought.train.estimate import rl_work
from forethought.train.rl_metrics import credit_metrics
from forethought.train.rl_settings import RlSettings
from forethought.train.rollouts import Group, roll, rows_of
from forethought.train.rows import Branch, Row
from forethought.train.samples import shown
from forethought.train.traces import trace_row
from learner_scene import learner


def tree(*texts: Sequence[int]) -> Place:
    root = Place()
    for text in texts:
        place = root
        for token in text:
            place = place.following.setdefault(token, Place())
    return root


def sampled(*token_ids: int, forced: int | None = None) -> Branch:
    """Each token with a probability of a half."""
    learned = tuple(place != forced for place in range(len(token_ids)))
    return Branch(token_ids, learned, sampler_logprobs=(math.log(0.5),) * len(token_ids))


def credit(root: Place, *attempts: tuple[Branch, bool]) -> list[list[float]]:
    found = process_credit(root, [branch for branch, _ in attempts], [right for _, right in attempts])
    return [[round(each, 3) for each in one] for one in found]


def test_an_attempt_that_stays_is_praised_for_each_token_that_had_no_other_way_to():
    assert credit(tree((1, 2, 3), (1, 4, 3)), (sampled(1, 2, 3), True)) == [[0.5, 0.0, 0.5]]


def test_only_the_token_that_leaves_is_blamed_and_nothing_behind_it():
    (stayed, left) = credit(tree((1, 2, 3)), (sampled(1, 2, 3), True), (sampled(1, 9, 3), False))
    assert stayed == [0.5, 0.5, 0.5]
    assert left == [0.5, -0.5, 0.0]


def test_leaving_is_blamed_fully_where_nobody_shows_how_likely_the_one_way_was():
    assert credit(tree((1, 2)), (sampled(1, 9), False)) == [[0.5, -1.0]]
    forks = tree((1, 2), (1, 3))
    assert credit(forks, (sampled(1, 9), False), (sampled(1, 2), True)) == [[0.5, -1.0], [0.5, 0.0]]


def test_nobody_is_blamed_for_leaving_as_a_right_attempt_did():
    found = credit(tree((1, 2, 3)), (sampled(1, 8, 3), True), (sampled(1, 8, 4), False))
    assert found == [[0.5, 0.0, 0.0]] * 2


def test_what_the_model_did_not_choose_is_neither_blamed_nor_harmless():
    root = tree((1, 2, 3))
    assert credit(root, (sampled(1, 9, forced=1), False)) == [[0.5, 0.0]]
    assert credit(root, (sampled(1, 9, forced=1), True), (sampled(1, 9), False)) == [[0.5, 0.0], [0.5, -1.0]]
    assert credit(root, (sampled(1, 2, 3, forced=1), False)) == [[0.5, 0.0, 0.5]]


def test_an_attempt_that_ends_early_or_is_empty_is_worth_what_it_has():
    assert credit(tree((1, 2, 3)), (sampled(1), False), (sampled(), False)) == [[0.5], []]
    assert not walk(tree((1, 2)), (1,)).leaves
    assert walk(tree((1, 2)), (1, 2, 5)).leaves  # the solution was over


def test_what_is_learned_is_the_gradient_of_the_chance_to_stay():
    """Over all outcomes of one choice, two attempts a group: the mean of worth times score is p (1 - p) for the way."""
    p, root = 0.3, tree((1,))
    total = 0.0
    for first in (1, 9):
        for second in (1, 9):
            chances = [p if token == 1 else 1 - p for token in (first, second)]
            group = [
                Branch((token,), (True,), sampler_logprobs=(math.log(chance),))
                for token, chance in zip((first, second), chances, strict=True)
            ]
            worth = process_credit(root, group, [first == 1, second == 1])
            scores = [(1 - p) if token == 1 else -p for token in (first, second)]
            total += math.prod(chances) * sum(w[0] * score for w, score in zip(worth, scores, strict=True)) / 2
    # Where both leave, nobody shows p: the blame is then 1 instead of 1 - p.
    assert total == pytest.approx(p * (1 - p) + (1 - p) ** 2 * p * p)


def test_a_judged_attempt_is_learned_with_the_worth_of_each_token(checkpoint: Checkpoint):
    backend = learner(checkpoint)
    branch = Branch((5, 6, 7), (True, False, True), advantages=(0.5, 0.0, -1.0))
    stats = backend.forward_backward([Row((1, 2), (branch,))], losses.sft, 1.0)
    assert stats.loss == pytest.approx(-0.5 * stats.logprobs_N[0] + stats.logprobs_N[1], rel=1e-5)


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
@pytest.mark.parametrize("name", list(families()))
def test_worked_solutions_are_in_the_tree(checkpoint: Checkpoint, name: str, effort: Effort):
    known = families()[name]
    found: list[bool] = []
    for level in range(1, len(known.levels) + 1):
        problem = known.problem(level, level)
        root = solutions(checkpoint, Assignment(problem, effort, None, False, ()))
        if known.free_wording:
            assert root is None
            continue
        assert root is not None
        for number in range(10):
            trace, thinks = known.trace(problem, effort, Random(number)), effort if problem.thinks else None
            row = trace_row(checkpoint, problem.conversation, trace, thinks, tight=False, rng=Random(0))
            found.append(not walk(root, row.branches[0].token_ids).leaves)
    assert sum(found) >= 0.9 * len(found)


class Untaught(Lookup):
    name = "untaught"

    def trace(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        raise TaskError("There is none.", "Try.")


def test_a_family_without_worked_solutions_is_judged_by_outcome(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
):
    register(monkeypatch, Untaught())
    settings = RlSettings.model_validate(
        {
            "steps": 1,
            "families": ["untaught"],
            "prompts": 4,
            "credit": "process",
            "efforts": {"low": {"tight": 1.0}},
        }
    )
    drawn = assignments(checkpoint, settings, first_curriculum(settings), (1, "rl"), 0)
    assert not any(each.tight for each in drawn)
    assert solutions(checkpoint, drawn[0]) is None
    assert rl_work(checkpoint, settings)[0].learned > 0


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
    assert group.supervised
    (row,) = rows_of([group])
    right, wrong = row.branches
    assert min(right.advantages or ()) >= 0
    assert [value for value in wrong.advantages or () if value < 0] == [(wrong.advantages or ())[-1]]
    kept, lost = group.rollouts
    assert (kept.blamed, lost.blamed) == (None, len(wrong.token_ids) - 1)
    assert credit_metrics([group])["credit"] == {"attempts": 2, "blamed": 1.0, "tokens_before": lost.blamed}
    (entry,) = shown([group], checkpoint.tokenizer)
    marked = [[text for text, mark in sample["output"] if mark == "blamed"] for sample in entry["samples"]]
    assert marked == [[], [checkpoint.tokenizer.decode(wrong.token_ids[-1:])]]
