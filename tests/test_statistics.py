"""Intervals, paired tests, Holm's correction and pass@k, against known values and by simulation."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.statistics import (
    FLIPS,
    bootstrap_mean,
    holm,
    paired_difference,
    pass_at_k,
    rate,
    wilson,
)

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 1 - 0.1170, 1.0),
    ],
)
def test_wilson_gives_the_published_intervals(successes: int, n: int, low: float, high: float) -> None:
    found = wilson(successes, n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
    assert (found.value, found.n) == (successes / n, n)


@given(n=st.integers(1, 2000), data=st.data())
def test_wilson_holds_its_value_and_is_symmetric(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    found, mirrored = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize("counts", [(1, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_counts_that_cannot_be(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="trials"):
        wilson(*counts)


def test_a_bootstrap_of_equal_observations_has_no_width() -> None:
    found = bootstrap_mean([[2.0], [2.0, 2.0]])
    assert (found.value, found.low, found.high, found.n) == (2.0, 2.0, 2.0, 2)


def test_a_bootstrap_of_two_values_is_binomial() -> None:
    # Each resample's mean is that of ten fair coins: the binomial's 2.5 % and 97.5 % quantiles are 2 and 8.
    found = bootstrap_mean([[0.0], [1.0]] * 5, resamples=20_000)
    assert (found.value, found.low, found.high) == (0.5, 0.2, 0.8)


def test_a_bootstrap_weighs_observations_alike() -> None:
    assert bootstrap_mean([[1.0, 1.0, 1.0], [0.0]]).value == 0.75


def test_the_same_seed_gives_the_same_interval() -> None:
    clusters = [[n**0.5] for n in range(50)]
    assert bootstrap_mean(clusters, seed=3) == bootstrap_mean(clusters, seed=3)
    assert bootstrap_mean(clusters, seed=3) != bootstrap_mean(clusters, seed=4)


def test_copies_of_a_sample_make_no_interval_narrower() -> None:
    alone = [[float(n % 2)] for n in range(40)]
    copied = [sample * 8 for sample in alone]
    assert bootstrap_mean(copied, seed=1) == bootstrap_mean(alone, seed=1)


def test_the_clustered_interval_covers_the_truth_and_one_that_ignores_clusters_does_not() -> None:
    rng = np.random.default_rng(11)
    clustered = naive = 0
    runs = 200
    for run in range(runs):
        # Problems differ: some are nearly always solved, some nearly never; the mean is 1/2.
        solved = rng.random((60, 8)) < rng.beta(0.5, 0.5, size=(60, 1))
        found = bootstrap_mean(solved.tolist(), resamples=400, seed=run)
        clustered += found.low <= 0.5 <= found.high
        flat = wilson(int(solved.sum()), solved.size)
        naive += flat.low <= 0.5 <= flat.high
    assert clustered / runs > 0.9
    assert naive / runs < 0.75


@pytest.mark.parametrize("clusters", [[], [[1.0], []]])
def test_a_mean_of_nothing_is_refused(clusters: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="observations"):
        bootstrap_mean(clusters)


def test_a_rate_of_single_samples_is_wilsons() -> None:
    assert rate([[True], [False], [True]]) == wilson(2, 3)


def test_a_rate_of_several_samples_is_the_clustered_bootstraps() -> None:
    clusters = [[True, False], [True, True], [False, False]]
    assert rate(clusters, seed=2) == bootstrap_mean(clusters, seed=2)


@pytest.mark.parametrize(("outcome", "share"), [(True, 1.0), (False, 0.0)])
def test_a_rate_without_any_variation_is_no_certainty(outcome: bool, share: float) -> None:
    found = rate([[outcome] * 8] * 30)
    assert found == wilson(30 if outcome else 0, 30)
    assert found.value == share
    assert found.high - found.low > 0.1


def test_problems_that_are_all_right_equally_often_are_no_certainty() -> None:
    assert rate([[True, False]] * 10) == wilson(5, 10)


def test_a_paired_difference_of_few_problems_has_an_exact_p_value() -> None:
    # All five got better: of 32 sign patterns, two are as extreme.
    found = paired_difference([0, 0, 0, 0, 0], [1, 2, 3, 4, 5])
    assert found.p_value == 2 / 32
    assert (found.difference.value, found.difference.n) == (3.0, 5)
    # Of +1, +1, -1 four of the eight patterns have a sum of ±1, two of ±3 and two more of ±1: all are as extreme.
    assert paired_difference([0, 0, 1], [1, 1, 0]).p_value == 1.0
    # |1 + 2 + 3 - 1| = 5 and more: 7 (2 patterns) and 5 (4 patterns: either 1 flipped, both ways) of 16.
    assert paired_difference([0, 0, 0, 1], [1, 2, 3, 0]).p_value == 6 / 16


def test_problems_without_a_difference_do_not_change_the_p_value() -> None:
    assert paired_difference([0] * 5 + [1] * 90, [1] * 95).p_value == 2 / 32


def test_measurements_that_are_alike_have_a_p_value_of_one() -> None:
    found = paired_difference([1, 0, 1], [1, 0, 1])
    assert found.p_value == 1.0
    most = wilson(0, 3).high
    assert (found.difference.value, found.difference.low, found.difference.high) == (0.0, -most, most)


def test_differences_that_are_all_the_same_claim_no_certainty() -> None:
    found = paired_difference([0] * 8, [1] * 8).difference
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 - 2 * wilson(0, 8).high)
    lengths = paired_difference([10] * 8, [12] * 8).difference  # no shares: there is no most that they could differ
    assert (lengths.low, lengths.high) == (2.0, 2.0)


def test_pairs_of_the_same_problem_count_as_one() -> None:
    found = paired_difference([0, 0, 0, 0], [1, 1, 1, 0], problems="aabc")
    assert (found.difference.value, found.difference.n) == (0.75, 3)
    # Of two problems that changed, by 2 and by 1, all four patterns but the two mixed ones are as extreme.
    assert found.p_value == 2 / 4
    once, twice = (paired_difference([0, 1] * n, [1, 1] * n, problems=list(range(2)) * n).difference for n in (1, 30))
    assert (once.low, once.high, once.n) == (twice.low, twice.high, twice.n)


def test_a_p_value_is_never_zero() -> None:
    assert paired_difference([0.0] * 100, [1.0] * 100).p_value == 1 / FLIPS


def test_the_random_test_agrees_with_the_binomial_where_all_differences_are_equal() -> None:
    # 30 problems got better and 14 worse: the sign test's exact p-value.
    exact = 2 * sum(comb(44, n) for n in range(30, 45)) / 2**44
    found = paired_difference([0] * 30 + [1] * 14, [1] * 30 + [0] * 14)
    assert found.p_value == pytest.approx(exact, abs=4 * (exact * (1 - exact) / FLIPS) ** 0.5)


def test_the_paired_test_errs_as_often_as_it_says_and_sees_what_is_there() -> None:
    rng = np.random.default_rng(5)
    false, seen, covered, runs = 0, 0, 0, 200
    for run in range(runs):
        hardness = rng.random(80)
        before, alike = rng.random(80) < hardness, rng.random(80) < hardness
        better = rng.random(80) < np.minimum(hardness + 0.25, 1.0)
        gain = float((np.minimum(hardness + 0.25, 1.0) - hardness).mean())
        false += paired_difference(before.tolist(), alike.tolist(), seed=run).p_value <= 0.05
        found = paired_difference(before.tolist(), better.tolist(), seed=run)
        seen += found.p_value <= 0.05
        covered += found.difference.low <= gain <= found.difference.high
    assert false / runs < 0.09
    assert seen / runs > 0.8
    assert covered / runs > 0.9


@pytest.mark.parametrize(("before", "after"), [([], []), ([1.0], [1.0, 2.0])])
def test_what_makes_no_pairs_is_refused(before: list[float], after: list[float]) -> None:
    with pytest.raises(ValueError, match="pairs"):
        paired_difference(before, after)


def test_holm_gives_the_adjusted_values_of_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(P_VALUES)
def test_holm_keeps_the_order_and_lies_between_the_value_and_bonferronis(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for (p, q), (other_p, other_q) in combinations(zip(p_values, adjusted, strict=True), 2):
        assert (p <= other_p) <= (q <= other_q)
    assert all(p <= q <= min(1.0, p * len(p_values)) for p, q in zip(p_values, adjusted, strict=True))


def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_sample() -> None:
    for n in range(1, 8):
        for correct in range(n + 1):
            outcomes = [True] * correct + [False] * (n - correct)
            for k in range(1, n + 1):
                draws = list(combinations(outcomes, k))
                assert pass_at_k(n, correct, k) == pytest.approx(sum(map(any, draws)) / len(draws))


@pytest.mark.parametrize("counts", [(4, 2, 5), (4, 5, 1), (4, 2, 0), (4, -1, 1)])
def test_pass_at_k_refuses_counts_that_cannot_be(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(*counts)
