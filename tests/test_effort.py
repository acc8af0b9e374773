"""Effort becomes thinking tokens in one place."""

from hypothesis import given
from hypothesis import strategies as st

from forethought.reasoning.effort import BUDGET, answer_reserve, output_room, thinking_budget

limits = st.integers(16, 1 << 20)


def test_with_room_to_spare_a_budget_is_the_nominal_one() -> None:
    assert {effort: thinking_budget(effort, 131_072) for effort in BUDGET} == BUDGET


@given(limits, st.none() | limits)
def test_more_effort_is_a_larger_budget_under_every_limit(context: int, asked: int | None) -> None:
    low, medium, high = (thinking_budget(effort, context, asked) for effort in ("low", "medium", "high"))
    assert 0 < low < medium < high


@given(st.sampled_from(["low", "medium", "high"]), st.integers(1, 1 << 20), st.none() | st.integers(1, 1 << 20))
def test_a_full_budget_leaves_the_reserve_of_the_answer(effort: str, context: int, asked: int | None) -> None:
    limit = min(context, asked or context)
    assert thinking_budget(effort, context, asked) + answer_reserve(limit) <= limit  # type: ignore[arg-type]


def test_a_token_limit_counts_like_a_short_context() -> None:
    assert thinking_budget("high", 8192, 1000) == thinking_budget("high", 1000) == 750


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 1000))
def test_in_the_room_of_a_budget_the_whole_of_it_can_be_thought(budget: int, end_tokens: int, answer: int) -> None:
    room = output_room(budget, end_tokens, answer)
    assert room >= budget + end_tokens + max(answer, answer_reserve(room))
