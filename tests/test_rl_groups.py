"""What a group of rewards teaches."""

from itertools import pairwise
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.train.groups import SAME, advantages, lesson

rewards = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=16)


@given(rewards, st.booleans())
def test_advantages_sum_to_nothing(given: list[float], divide: bool):
    assert isclose(sum(advantages(given, divide=divide)), 0.0, abs_tol=1e-5)


@given(rewards, st.booleans())
def test_a_better_reward_never_has_a_lower_advantage(given: list[float], divide: bool):
    found = advantages(given, divide=divide)
    pairs = pairwise(sorted(zip(given, found, strict=True)))
    assert all(low[1] <= high[1] + 1e-9 for low, high in pairs)


@given(st.lists(st.sampled_from((0.0, 0.25, 0.5, 1.0)), min_size=1, max_size=16), st.randoms(use_true_random=False))
def test_the_order_of_the_samples_does_not_matter(given: list[float], random):
    order = list(range(len(given)))
    random.shuffle(order)
    shuffled = advantages([given[place] for place in order])
    assert shuffled == tuple(advantages(given)[place] for place in order)


@given(rewards, st.floats(-10, 10))
def test_a_reward_that_everybody_gets_changes_nothing(given: list[float], bonus: float):
    raised = advantages([reward + bonus for reward in given])
    assert raised == pytest.approx(advantages(given), abs=1e-8)


@given(st.floats(0, 1), st.integers(1, 16))
def test_equal_rewards_teach_nothing(reward: float, count: int):
    assert advantages([reward] * count) == (0.0,) * count


def test_the_advantage_is_the_reward_less_the_mean():
    assert advantages([1.0, 0.0, 0.0, 0.0]) == (0.75, -0.25, -0.25, -0.25)


def test_dividing_gives_standard_deviations():
    assert advantages([1.0, 0.0], divide=True) == (1.0, -1.0)


@given(st.lists(st.tuples(st.sampled_from((0.0, 0.5, 1.0)), st.booleans()), min_size=2, max_size=12))
def test_a_group_teaches_exactly_when_its_rewards_differ(samples: list[tuple[float, bool]]):
    given = [reward for reward, _ in samples]
    differ = max(given) - min(given) > SAME
    assert (lesson(given, [right for _, right in samples]) == "taught") == differ


@pytest.mark.parametrize(
    ("given", "correct", "why"),
    [
        ([1.0, 1.0], [True, True], "all_solved"),
        ([0.0, 0.0], [False, False], "all_failed"),
        ([0.0, 0.0], [True, False], "all_equal"),
        ([1.0], [True], "broken"),
        ([], [], "broken"),
    ],
)
def test_a_group_that_teaches_nothing_says_why(given: list[float], correct: list[bool], why: str):
    assert lesson(given, correct) == why
