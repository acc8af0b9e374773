"""From attempts to rows: rewards, groups, and which tokens are learned."""

from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from forethought.errors import TrainError
from forethought.evals.attempt import Attempt, TurnRecord
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Message, Thinking
from forethought.tasks.problem import CORRECT, Problem, Verdict, wrong
from forethought.tasks.registry import family
from forethought.train.assignments import Assignment, assignments, first_curriculum
from forethought.train.rewards import LengthReward, reward
from forethought.train.rl_settings import RlSettings
from forethought.train.rollouts import Rollout, branches_of, grouped, rows_of

SUMS = family("chain_sum")
PROBLEM = SUMS.problem(1, 1)


def settings(**changes: object) -> RlSettings:
    return RlSettings.model_validate({"steps": 4, "families": ["chain_sum"]} | changes)


def turn(prompt: Sequence[int], output: Sequence[int], thinking: int = 0, forced: Sequence[int] = ()) -> TurnRecord:
    """A turn in which the outputs at the places `forced` were not sampled. Each token has its own log-probability."""
    return TurnRecord(
        prompt_ids=tuple(prompt),
        output_ids=tuple(output),
        logprobs=tuple(-float(token) for token in output),
        forced=tuple(place in forced for place in range(len(output))),
        reason="stop_token",
        thinking_tokens=thinking,
        thinking_closed=None,
    )


def tried(verdict: Verdict, *turns: TurnRecord, error: str | None = None) -> Attempt:
    return Attempt(PROBLEM, (Message.of("assistant", "1"),), turns, verdict, error)


def assigned(budget: int | None = None, *, tight: bool = False) -> Assignment:
    return Assignment(PROBLEM, "low", budget, tight, (1, 2, 3))


@pytest.mark.parametrize(("verdict", "worth"), [(CORRECT, 1.0), (wrong("no"), 0.0)])
def test_without_a_tight_budget_only_the_verdict_counts(verdict: Verdict, worth: float):
    assert reward(tried(verdict, turn([1], [2], thinking=4000)), None, LengthReward()) == worth


def test_under_a_tight_budget_sparing_tokens_pays_until_all_is_earned():
    length = LengthReward(alpha=0.1, delta=0.5)
    worths = [reward(tried(CORRECT, turn([1], [2], thinking=used)), 20, length) for used in (20, 18, 15, 2)]
    assert worths == pytest.approx([0.5, 0.7, 1.0, 1.0])


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 500), st.floats(0, 1), st.floats(0, 1))
def test_more_thinking_never_earns_more(budget: int, one: int, other: int, alpha: float, delta: float):
    length = LengthReward(alpha=alpha, delta=delta)
    less, more = sorted((one, other))
    assert 0 <= length.factor(budget, more) <= length.factor(budget, less) <= 1


def test_a_wrong_answer_earns_nothing_however_short():
    assert reward(tried(wrong("no"), turn([1], [2])), 100, LengthReward()) == 0.0


def test_a_budget_holds_for_each_turn():
    attempt = tried(CORRECT, turn([1], [2], thinking=5), turn([1, 2], [3], thinking=20))
    assert reward(attempt, 20, LengthReward(alpha=0.1, delta=0.5)) == 0.5


def test_attempts_that_broke_are_left_out_of_their_group():
    right, bad = tried(CORRECT, turn([1], [2])), tried(wrong("no"), turn([1], [3]))
    broken = tried(wrong("it broke"), error="EngineDown: gone")
    group = grouped(assigned(), [right, bad, broken], settings())
    assert [rollout.advantage for rollout in group.rollouts] == [0.5, -0.5]
    assert group.errors == ("EngineDown: gone",)


def test_rollouts_of_a_group_share_one_row():
    group = grouped(assigned(), [tried(CORRECT, turn([1, 2], [3])), tried(wrong(""), turn([1, 2], [4, 5]))], settings())
    (row,) = rows_of([group])
    assert row.prompt_ids == (1, 2)
    assert [(branch.token_ids, branch.advantage) for branch in row.branches] == [((3,), 0.5), ((4, 5), -0.5)]


def test_a_group_without_variance_gives_no_rows():
    assert rows_of([grouped(assigned(), [tried(CORRECT, turn([1], [2]))] * 4, settings())]) == []


def test_forced_tokens_are_read_and_not_learned():
    ((_, branch),) = branches_of([turn([1], [2, 3, 4], forced=[1])], 1.0)
    assert branch.learned == (True, False, True)


def test_a_turn_that_goes_on_from_the_one_before_continues_its_branch():
    ((prompt, branch),) = branches_of([turn([1], [2, 3]), turn([1, 2, 3, 7, 8], [4])], 1.0)
    assert prompt == (1,)
    assert branch.token_ids == (2, 3, 7, 8, 4)
    assert branch.learned == (True, True, False, False, True)
    assert branch.sampler_logprobs == (-2.0, -3.0, 0.0, 0.0, -4.0)


def test_a_turn_with_another_beginning_is_a_row_of_its_own_with_the_same_advantage():
    first, second = branches_of([turn([1], [2, 3]), turn([1, 9], [4])], -0.25)
    assert (first[0], first[1].token_ids, first[1].advantage) == ((1,), (2, 3), -0.25)
    assert (second[0], second[1].token_ids, second[1].advantage) == ((1, 9), (4,), -0.25)


def test_a_turn_in_which_nothing_was_sampled_gives_no_branch():
    assert list(branches_of([turn([1], [2], forced=[0])], 1.0)) == []


turns = st.lists(
    st.builds(
        turn,
        st.lists(st.integers(0, 2), min_size=1, max_size=6),
        st.lists(st.integers(0, 2), max_size=4),
        forced=st.lists(st.integers(0, 3), max_size=2),
    ),
    max_size=4,
)


@given(turns, st.booleans())
def test_every_sampled_token_is_learned_once_behind_what_was_before_it(given: list[TurnRecord], continued: bool):
    if continued:  # each turn's prompt goes on from the one before
        grown: list[TurnRecord] = []
        for each in given:
            before = (*grown[-1].prompt_ids, *grown[-1].output_ids) if grown else ()
            grown.append(turn((*before, *each.prompt_ids), each.output_ids, forced=_forced(each)))
        given = grown
    wanted = [
        ((*each.prompt_ids, *each.output_ids[:place]), token, each.logprobs[place])
        for each in given
        for place, token in enumerate(each.output_ids)
        if not each.forced[place]
    ]
    found = [
        ((*prompt, *branch.token_ids[:place]), branch.token_ids[place], (branch.sampler_logprobs or ())[place])
        for prompt, branch in branches_of(given, 1.0)
        for place, learned in enumerate(branch.learned)
        if learned
    ]
    assert found == wanted


def _forced(each: TurnRecord) -> list[int]:
    return [place for place, forced in enumerate(each.forced) if forced]


def test_what_a_step_draws_follows_from_its_place_alone(checkpoint: Checkpoint):
    some = settings(prompts=6, efforts={"low": {"tight": 0.5}, "high": {"weight": 3}})
    curriculum = first_curriculum(some)
    assert assignments(checkpoint, some, curriculum, (1, "rl"), 3) == assignments(
        checkpoint, some, curriculum, (1, "rl"), 3
    )
    assert assignments(checkpoint, some, curriculum, (1, "rl"), 3) != assignments(
        checkpoint, some, curriculum, (2, "rl"), 3
    )


def test_no_attempt_of_a_run_shares_a_seed_with_another(checkpoint: Checkpoint):
    some = settings(prompts=6)
    seeds = [
        seed
        for step in range(4)
        for each in assignments(checkpoint, some, first_curriculum(some), (1, "rl"), step)
        for seed in each.seeds
    ]
    assert len(set(seeds)) == 4 * 6 * some.samples


def test_families_take_turns_by_their_weights(checkpoint: Checkpoint):
    some = settings(prompts=8, families={"chain_sum": {"weight": 3}, "products": {}})
    drawn = [each.problem.family for each in assignments(checkpoint, some, first_curriculum(some), (1, "rl"), 0)]
    assert sorted(drawn) == ["chain_sum"] * 6 + ["products"] * 2


def test_a_tight_budget_is_what_a_solution_needs_or_a_little_more_and_others_are_what_the_effort_stands_for(
    checkpoint: Checkpoint,
):
    some = settings(prompts=64, efforts={"low": {"tight": 0.5}})
    drawn = assignments(checkpoint, some, first_curriculum(some), (1, "rl"), 0)
    assert {each.budget for each in drawn if not each.tight} == {None}
    needed = [len(checkpoint.tokenizer.encode(_thought(each.problem))) for each in drawn]
    assert all(5 < each.budget < 4 * most for each, most in zip(drawn, needed, strict=True) if each.budget)
    assert len({each.budget for each in drawn}) > 8


def test_a_cut_budget_is_too_small_for_any_solution(checkpoint: Checkpoint):
    some = settings(prompts=64, efforts={"low": {"tight": 0.2, "cut": 0.5}})
    drawn = assignments(checkpoint, some, first_curriculum(some), (1, "rl"), 0)
    needed = [len(checkpoint.tokenizer.encode(_thought(each.problem))) for each in drawn]
    cut = [each.budget < most for each, most in zip(drawn, needed, strict=True) if each.budget]
    assert 20 < sum(cut) < 44
    assert sum(cut) < len(cut) < 60
    with pytest.raises(ValidationError, match="together at most 1"):
        settings(efforts={"low": {"tight": 0.6, "cut": 0.5}})


def _thought(problem: Problem) -> str:
    [thinking] = [
        item for item in family(problem.family).trace(problem, "low", Random(0)) if isinstance(item, Thinking)
    ]
    return thinking.text


def test_without_thinking_no_budget_is_tight(checkpoint: Checkpoint):
    some = settings(prompts=8, families=["summaries"], efforts={"low": {"tight": 1.0}})
    assert not any(each.tight for each in assignments(checkpoint, some, first_curriculum(some), (1, "rl"), 0))


def test_review_brings_back_lower_levels(checkpoint: Checkpoint):
    some = settings(prompts=64, families={"chain_sum": {"start": 3}})
    levels = [each.problem.level for each in assignments(checkpoint, some, first_curriculum(some), (1, "rl"), 0)]
    assert set(levels) == {1, 2, 3}
    assert levels.count(3) > 32


def test_training_problems_are_never_test_problems(checkpoint: Checkpoint):
    some = settings(prompts=32)
    assert {each.problem.split for each in assignments(checkpoint, some, first_curriculum(some), (1, "rl"), 0)} == {
        "train"
    }


@pytest.mark.parametrize("plan", [{"start": 9}, {"start": 2, "top": 1}, {"top": 9}])
def test_a_level_that_a_family_lacks_is_refused_by_name(plan: dict[str, int]):
    with pytest.raises(TrainError, match=r"families\.chain_sum"):
        first_curriculum(settings(families={"chain_sum": plan}))


def test_rollouts_of_one_row_keep_their_order():
    rollouts = [Rollout(tried(CORRECT, turn([1], [token])), 1.0, float(token)) for token in range(2, 6)]
    given = [found for each in rollouts for found in branches_of(each.attempt.turns, each.advantage)]
    assert [branch.advantage for _, branch in given] == [2.0, 3.0, 4.0, 5.0]
