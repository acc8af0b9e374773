"""Thinking ends by itself, or by force when its budget or the token limit is reached."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.protocol import ThinkingBudget
from forethought.engine.thinking import ThinkingTracker

START, END, OTHER = 1, 2, 9


def run(budget: ThinkingBudget, sampled: list[int], limit: int) -> tuple[ThinkingTracker, list[tuple[int, bool]]]:
    """What comes out of a model that would say `sampled`: tokens, and whether they were forced."""
    tracker, said = ThinkingTracker(budget), list[tuple[int, bool]]()
    for token in sampled[:limit]:
        forced = tracker.forced_token(limit - len(said))
        said.append((token if forced is None else forced, forced is not None))
        tracker.observe(said[-1][0], forced=forced is not None)
    return tracker, said


def test_a_budget_used_up_forces_the_end() -> None:
    tracker, said = run(ThinkingBudget(3, START, (END,)), [OTHER] * 8, limit=8)
    assert said == [(OTHER, False)] * 3 + [(END, True)] + [(OTHER, False)] * 4
    assert (tracker.tokens, tracker.closed, tracker.open) == (3, "budget", False)


def test_an_end_of_several_tokens_is_forced_whole() -> None:
    tracker, said = run(ThinkingBudget(2, START, (5, 6, END)), [OTHER] * 6, limit=6)
    assert said == [(OTHER, False)] * 2 + [(5, True), (6, True), (END, True), (OTHER, False)]
    assert tracker.tokens == 2


def test_no_budget_means_no_thinking() -> None:
    tracker, said = run(ThinkingBudget(0, START, (END,)), [OTHER] * 3, limit=3)
    assert said[0] == (END, True)
    assert (tracker.tokens, tracker.closed) == (0, "budget")


def test_thinking_that_ends_by_itself_is_left_alone() -> None:
    tracker, said = run(ThinkingBudget(5, START, (END,)), [OTHER, END, OTHER], limit=10)
    assert not any(forced for _, forced in said)
    assert (tracker.tokens, tracker.closed, tracker.open) == (1, None, False)


def test_the_reserve_for_the_answer_is_kept() -> None:
    tracker, said = run(ThinkingBudget(100, START, (5, END), reserve=4), [OTHER] * 10, limit=10)
    assert said == [(OTHER, False)] * 4 + [(5, True), (END, True)] + [(OTHER, False)] * 4
    assert tracker.closed == "limit"


def test_a_limit_smaller_than_the_reserve_closes_at_once() -> None:
    tracker, said = run(ThinkingBudget(100, START, (END,), reserve=50), [OTHER] * 3, limit=3)
    assert said[0] == (END, True)
    assert tracker.closed == "limit"


def test_thinking_begins_with_its_marker_when_the_prompt_did_not_open_it() -> None:
    budget = ThinkingBudget(2, START, (END,), open_at_start=False)
    tracker, said = run(budget, [OTHER, START, OTHER, OTHER, OTHER, OTHER], limit=20)
    assert [token for token, _ in said] == [OTHER, START, OTHER, OTHER, END, OTHER]
    assert tracker.tokens == 2


def test_thinking_that_never_begins_is_not_ended() -> None:
    tracker, said = run(ThinkingBudget(0, START, (END,), open_at_start=False, reserve=5), [OTHER] * 6, limit=6)
    assert not any(forced for _, forced in said)
    assert tracker.closed is None


def test_thinking_that_begins_again_goes_on_counting() -> None:
    budget = ThinkingBudget(3, START, (END,))
    tracker, said = run(budget, [OTHER, OTHER, END, START, OTHER, OTHER, OTHER], limit=20)
    assert [token for token, _ in said] == [OTHER, OTHER, END, START, OTHER, END, OTHER]
    assert tracker.tokens == 3


limits = {"budget": st.integers(0, 10), "reserve": st.integers(0, 10), "limit": st.integers(1, 25)}
END_IDS = [(END,), (5, END)]


@pytest.mark.parametrize("ends", END_IDS)
@given(**limits, sampled=st.lists(st.sampled_from([END, OTHER]), min_size=25, max_size=25))
def test_an_open_thinking_leaves_the_reserve(
    ends: tuple[int, ...], budget: int, reserve: int, limit: int, sampled: list[int]
) -> None:
    _, said = run(ThinkingBudget(budget, START, ends, reserve=reserve), sampled, limit)
    if limit < len(ends) + reserve:
        assert said[: len(ends)] == [(token, True) for token in ends][:limit]
        return
    end = [token for token, _ in said].index(END)
    assert end < len(said) - reserve
    assert end <= budget + len(ends) - 1


@pytest.mark.parametrize("ends", END_IDS)
@given(**limits, sampled=st.lists(st.sampled_from([START, END, OTHER]), min_size=25, max_size=25), opened=st.booleans())
def test_the_budget_holds_and_an_end_is_forced_whole(
    ends: tuple[int, ...], budget: int, reserve: int, limit: int, sampled: list[int], opened: bool
) -> None:
    tracker, said = run(ThinkingBudget(budget, START, ends, opened, reserve), sampled, limit)
    assert tracker.tokens <= budget
    forced = [token for token, by_force in said if by_force]
    assert forced == [ends[index % len(ends)] for index in range(len(forced))]
    assert len(forced) % len(ends) == 0 or len(said) == limit
