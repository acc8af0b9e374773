"""Process supervision: where attempts leave the worked solutions of a problem, and what their tokens are worth."""

import math
from collections.abc import Iterable, Sequence
from random import Random

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from attempt_scene import Lookup, answers, called, keeping, play, register, says
from forethought.engine.protocol import Request
from forethought.engine.script import Step
from forethought.errors import TaskError, TrainError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Effort, Thinking
from forethought.reasoning.reasoner import Reasoner
from forethought.tasks.problem import Problem, Transcript
from forethought.tasks.registry import families
from forethought.train import losses
from forethought.train.assignments import Assignment, assignments, first_curriculum
from forethought.train.backend import LearnedTokens
from forethought.train.credit import Place, Solutions, process_lessons, solutions, walk
from forethought.train.estimate import rl_work
from forethought.train.rl_metrics import credit_metrics, ratio_metrics
from forethought.train.rl_settings import RlSettings
from forethought.train.rollouts import Group, roll, rows_of
from forethought.train.rows import Branch
from forethought.train.samples import shown
from forethought.train.traces import trace_row

END, AGAIN = 0, 99
"""Marks: the end of a thought, and its second look."""


def tree(*texts: Sequence[int]) -> Solutions:
    known = Solutions(Place(), (END,), (AGAIN,))
    for text in texts:
        known.add(text)
    return known


def sampled(*token_ids: int, forced: int | None = None) -> Branch:
    """Each token with a probability of a half."""
    learned = tuple(place != forced for place in range(len(token_ids)))
    return Branch(token_ids, learned, sampler_logprobs=(math.log(0.5),) * len(token_ids))


def written(branch: Branch) -> list[int]:
    """Its tokens, those that are only read below zero."""
    return [token if learned else -token for token, learned in zip(branch.token_ids, branch.learned, strict=True)]


def lessons(known: Solutions, *attempts: tuple[Branch, bool]) -> list[list[int]]:
    """What is learned of each attempt that does not come back."""
    found = process_lessons(known, [branch for branch, _ in attempts], [right for _, right in attempts])
    assert all(len(each) <= 1 for each in found)
    return [[token for branch in each for token in written(branch)] for each in found]


def test_of_an_attempt_that_stays_each_token_is_learned_that_had_no_other_way_to():
    assert lessons(tree((1, 2, 3), (1, 4, 3)), (sampled(1, 2, 3), True)) == [[1, -2, 3]]


def test_where_an_attempt_leaves_the_one_way_is_learned_and_nothing_behind_it():
    root = tree((1, 2, 3))
    assert lessons(root, (sampled(1, 9, 3), False)) == [[1, 2]]
    ((lesson,),) = process_lessons(root, [sampled(1, 9, 3)], [False])
    kept, missing = lesson.sampler_logprobs or ()
    assert kept == math.log(0.5)
    assert math.isnan(missing)


def test_where_there_are_several_ways_leaving_teaches_one_of_them():
    known = tree((1, 2), (1, 3))
    found = [lessons(known, (sampled(1, wrong), False)) for wrong in range(10, 40)]
    assert all(each in ([[1, 2]], [[1, 3]]) for each in found)
    assert 5 < found.count([[1, 2]]) < 25
    assert lessons(known, (sampled(1, 2), True)) == [[1]]


def test_where_a_right_attempt_has_left_nobody_learns_to_stay():
    root = tree((1, 2, 3))
    found = lessons(root, (sampled(1, 8, 3), True), (sampled(1, 7), False), (sampled(1, 2, 3), True))
    assert found == [[1], [1], [1, -2, 3]]


def test_what_the_model_did_not_choose_is_not_learned():
    root = tree((1, 2, 3))
    assert lessons(root, (sampled(1, 9, forced=1), False)) == [[1]]
    assert lessons(root, (sampled(1, 2, 3, forced=1), False)) == [[1, -2, 3]]
    # Nor does a right attempt that was led out of the tree show that there is another way.
    assert lessons(root, (sampled(1, 9, forced=1), True), (sampled(1, 9), False)) == [[1], [1, 2]]


def test_of_an_attempt_that_ends_early_is_empty_or_goes_on_behind_the_end_is_learned_what_there_is():
    assert lessons(tree((1, 2, 3)), (sampled(1), False), (sampled(), False)) == [[1], []]
    assert lessons(tree((1, 2, 3)), (sampled(9), True)) == [[]]
    assert lessons(tree((1, 2)), (sampled(1, 2, 5), False)) == [[1, 2]]
    assert not walk(tree((1, 2)).root, (1,)).leaves
    assert walk(tree((1, 2)).root, (1, 2, 5)).leaves  # the solution was over


TWICE = (1, 2, AGAIN, 1, 2, END, 5)
"""Worked out twice, and the answer."""


def came_back(known: Solutions, branch: Branch, *, right: bool = False) -> list[list[int]]:
    (found,) = process_lessons(known, [branch], [right])
    return [written(each) for each in found]


def test_behind_a_second_look_an_attempt_is_back_whatever_it_wrote_before():
    found = came_back(tree(TWICE), sampled(1, 9, 9, AGAIN, 1, 2, END, 5), right=True)
    assert found == [[1, 2], [-1, -9, -9, -AGAIN, 1, 2, END, 5]]
    # Even where it looks again too early.
    assert came_back(tree(TWICE), sampled(1, AGAIN, 1, 8)) == [[1, 2], [-1, -AGAIN, 1, 2]]
    # It comes back once.
    assert came_back(tree(TWICE), sampled(9, AGAIN, 1, 2, AGAIN, 1, 2)) == [[1], [-9, -AGAIN, 1, 2, END]]
    assert came_back(tree(TWICE), sampled(1, 2, AGAIN, 8, AGAIN, 1, 2)) == [[1, 2, AGAIN, 1]]


def test_that_an_attempt_is_right_without_a_second_look_is_no_reason_against_one():
    known = tree(TWICE)
    assert came_back(known, sampled(1, 2, END, 5), right=True) == [[1, 2, AGAIN]]
    assert came_back(known, sampled(1, 2, 8, END, 5), right=True) == [[1, 2, AGAIN]]
    assert came_back(known, sampled(1, 8, END, 5), right=True) == [[1]]


def test_that_a_second_look_was_right_does_not_show_that_the_first_was():
    known = tree(TWICE)
    branches = [sampled(1, 9, AGAIN, 1, 2, END, 5), sampled(1, 9)]
    assert [[written(each) for each in found] for found in process_lessons(known, branches, [True, False])] == [
        [[1, 2], [-1, -9, -AGAIN, 1, 2, END, 5]],
        [[1, 2]],
    ]


def test_behind_a_forced_end_of_thinking_the_answer_is_learned():
    once = tree((1, 2, END, 5, 6))
    assert came_back(once, sampled(1, END, 5, 8, forced=1)) == [[1], [-1, -END, 5, 6]]
    assert came_back(once, sampled(9, 9, END, 8, forced=2)) == [[1], [-9, -9, -END, 5]]
    # Not where the model ended it: what follows from wrong thinking is no answer.
    assert came_back(once, sampled(9, 9, END, 8)) == [[1]]
    assert came_back(once, sampled(1, END, 5)) == [[1, 2]]


def test_a_second_turn_goes_on_behind_its_own_marks():
    known = tree((1, END, 5, 7, 2, END, 6))
    assert came_back(known, sampled(1, END, 5, 7, END, 9, forced=4)) == [[1, END, 5, 7], [-1, END, -5, -7, -END, 6]]
    # An attempt that made the wrong call has another second turn, which no solution knows.
    lost = sampled(1, END, 9, 7, END, 6)
    lost = Branch(lost.token_ids, (True, True, True, False, False, True), sampler_logprobs=lost.sampler_logprobs)
    assert came_back(known, lost) == [[1, END, 5]]


def test_judging_needs_the_samplers_log_probabilities():
    with pytest.raises(TrainError, match="log-probabilities"):
        process_lessons(tree((1, 2)), [Branch.of((1, 2))], [True])


def test_what_is_learned_is_the_gradient_of_the_chance_to_stay():
    """Of a choice with probability p, whatever was drawn: minus p (1 - p) to its score."""
    root = tree((1,))
    for drawn in (1, 9):
        ((lesson,),) = process_lessons(root, [sampled(drawn)], [drawn == 1])
        assert lesson.token_ids == (1,)
    scores = torch.tensor([0.3, -0.4, 1.0], requires_grad=True)
    logprobs = torch.log_softmax(scores, 0)[:1]
    losses.chance(LearnedTokens(logprobs, torch.ones(1))).sum().backward()  # pyright: ignore[reportUnknownMemberType]
    p = logprobs.detach().exp()
    assert scores.grad is not None
    assert scores.grad[0].item() == pytest.approx(-(p * (1 - p)).item())


@pytest.mark.parametrize("effort", ["low", "medium", "high"])
@pytest.mark.parametrize("name", list(families()))
def test_worked_solutions_are_in_the_tree(checkpoint: Checkpoint, name: str, effort: Effort):
    known = families()[name]
    found: list[bool] = []
    for level in range(1, len(known.levels) + 1):
        problem = known.problem(level, level)
        found_all = solutions(checkpoint, Assignment(problem, effort, None, False, ()))
        if known.free_wording:
            assert found_all is None
            continue
        assert found_all is not None
        for number in range(10):
            trace, thinks = known.trace(problem, effort, Random(number)), effort if problem.thinks else None
            row = trace_row(checkpoint, problem.conversation, trace, thinks, rng=Random(0))
            found.append(not walk(found_all.root, row.branches[0].token_ids).leaves)
    assert sum(found) >= 0.9 * len(found)


class Untaught(Lookup):
    name = "untaught"
    has_traces = False

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
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
    assert rows_of([group]) == []
    (row,) = rows_of([group], supervised=True)
    right, wrong = row.branches
    kept, lost = group.rollouts
    assert (kept.blamed, lost.blamed) == ((), (len(wrong.token_ids) - 1,))
    assert wrong.token_ids[-1] == right.token_ids[len(wrong.token_ids) - 1]
    stats = ratio_metrics([row], np.log(np.full(row.learned_tokens, 0.5)))
    assert stats["most"] < 1e-3
    assert credit_metrics([group])["credit"] == {
        "attempts": 2,
        "blamed": 1.0,
        "tokens_before": lost.blamed[0],
        "groups": 1,
    }
    (entry,) = shown([group], checkpoint.tokenizer)
    marked = [[text for text, mark in sample["output"] if mark == "blamed"] for sample in entry["samples"]]
    assert marked[0] == []
    (left,) = marked[1]
    assert left != checkpoint.tokenizer.decode(wrong.token_ids[-1:]), "what it wrote, not what it should have"


def test_attempts_are_sampled_at_the_temperature_of_the_stage(checkpoint: Checkpoint):
    told = {"steps": 1, "families": ["chain_sum"], "temperature": 0.5}
    with pytest.raises(ValidationError, match="needs credit"):
        RlSettings.model_validate(told)
    with pytest.raises(ValidationError, match='objective = "likelihood" needs credit'):
        RlSettings.model_validate(told | {"temperature": 1.0, "objective": "likelihood"})
    with pytest.raises(ValidationError, match="kl needs tokens as they were sampled"):
        RlSettings.model_validate(told | {"credit": "process", "kl": 0.1})
    settings = RlSettings.model_validate(told | {"credit": "process"})
    problem = families()["chain_sum"].problem(1, 1)
    asked: list[Request] = []
    script = keeping(asked, lambda request: [answers(checkpoint, "1", "So.")])

    async def body(reasoner: Reasoner) -> list[Group]:
        return await roll(reasoner, [Assignment(problem, "low", None, False, (1, 2))], settings)

    play(checkpoint, script, body)
    assert {request.sampling.temperature for request in asked} == {0.5}
