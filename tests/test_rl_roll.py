"""Rollouts on a scripted engine: what is sampled, with which seeds, and what becomes of failures."""

from collections.abc import Iterable
from itertools import cycle

import pytest

from attempt_scene import Lookup, answers, called, keeping, play, register, says
from forethought.engine.protocol import Request
from forethought.engine.script import Step
from forethought.errors import TrainError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Thinking
from forethought.reasoning.reasoner import Reasoner
from forethought.train.assignments import Assignment, assignments, first_curriculum
from forethought.train.rl_settings import RlSettings
from forethought.train.rollouts import Group, roll, rows_of

SETTINGS = RlSettings.model_validate({"steps": 1, "families": ["lookup"], "prompts": 2, "samples": 4})


@pytest.fixture(autouse=True)
def _lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, Lookup())


def drawn(checkpoint: Checkpoint) -> tuple[Assignment, ...]:
    return assignments(checkpoint, SETTINGS, first_curriculum(SETTINGS), (1, "rl"), 0)


def test_all_attempts_are_sampled_from_the_model_as_it_is(checkpoint: Checkpoint):
    requests: list[Request] = []

    def script(request: Request) -> Iterable[Step]:
        return [answers(checkpoint, "none", "I guess.")]

    async def body(reasoner: Reasoner) -> list[Group]:
        return await roll(reasoner, drawn(checkpoint), SETTINGS)

    groups = play(checkpoint, keeping(requests, script), body)
    assert [len(group.rollouts) for group in groups] == [4, 4]
    assert {group.lesson for group in groups} == {"all_failed"}
    assert len(requests) == 8
    assert len({request.sampling.seed for request in requests}) == 8
    for request in requests:
        sampling = request.sampling
        assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p) == (1.0, 1.0, 0, 0.0)
        assert (request.grammar, request.logprobs) == (None, 0)


def test_a_rollout_with_tools_is_one_branch_in_which_only_the_models_words_are_learned(checkpoint: Checkpoint):
    asked = drawn(checkpoint)[0]
    number = str(asked.problem.gold)
    said = cycle((number, "0"))
    called_it = says(checkpoint, Thinking("I ask."), called("ask"))

    def script(request: Request) -> Iterable[Step]:
        told = number in checkpoint.tokenizer.decode(request.prompt_ids)
        return [answers(checkpoint, next(said), "So.") if told else called_it]

    async def body(reasoner: Reasoner) -> list[Group]:
        return await roll(reasoner, [asked], SETTINGS)

    (group,) = play(checkpoint, script, body)
    (row,) = rows_of([group])
    assert [branch.advantage for branch in row.branches] == [0.5, -0.5, 0.5, -0.5]
    for branch, rollout in zip(row.branches, group.rollouts, strict=True):
        first, second = rollout.attempt.turns
        assert (row.prompt_ids, branch.token_ids[: len(first.output_ids)]) == (first.prompt_ids, first.output_ids)
        assert row.prompt_ids + branch.token_ids == second.prompt_ids + second.output_ids
        assert branch.learned_tokens == len(first.output_ids) + len(second.output_ids)


def test_a_step_whose_attempts_break_is_an_error_that_says_why(checkpoint: Checkpoint):
    async def body(reasoner: Reasoner) -> None:
        await reasoner.engine.close()
        with pytest.raises(TrainError, match=r"8 of 8 attempts broke\. The first: EngineDown"):
            await roll(reasoner, drawn(checkpoint), SETTINGS)

    play(checkpoint, [], body)


def test_no_group_without_a_lesson_becomes_a_row(checkpoint: Checkpoint):
    async def body(reasoner: Reasoner) -> list[Group]:
        return await roll(reasoner, drawn(checkpoint), SETTINGS)

    assert rows_of(play(checkpoint, lambda request: [answers(checkpoint, "none", "Hm.")], body)) == []
