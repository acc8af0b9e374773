"""What a number is worth: intervals, paired differences, many tests at once, and pass@k.

Samples of one problem are alike, so everything here that resamples draws whole problems ("clusters"), never single
samples. Whatever draws does so from a seed: the same data always give the same figures.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import product
from math import comb, sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 4000
"""Resamples of a bootstrap. The ends of a 95 % interval then rest on a hundred of them each."""
FLIPS: Final = 10_000
"""Sign flips of a permutation test; the smallest p-value is one in so many."""
AT_ONCE: Final = 1 << 20
"""Random numbers that are held in memory at once."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate of something, from `n` independent observations, and the interval it lies in with `CONFIDENCE`."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How much more the second measurement is than the first, on the same problems, and how surprising that would be
    if both were alike."""

    difference: Interval
    p_value: float


def wilson(successes: float, n: int, confidence: float = CONFIDENCE) -> Interval:
    """The score interval of a share of independent trials; right where the share is near 0 or 1, too. A trial may
    succeed in part.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22 (1927).

    Raises:
        ValueError: there are no trials, or not that many.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n} trials")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Where nothing, or everything, succeeded, that end is exact; rounding must not move it.
    low = 0.0 if successes == 0 else center - half
    return Interval(share, low, 1.0 if successes == n else center + half, n)


def bootstrap_mean(
    clusters: Sequence[Sequence[float]], *, confidence: float = CONFIDENCE, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """The mean of all observations, with the percentile interval of a bootstrap that draws whole clusters. `n` counts
    the clusters.

    Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; clusters are resampled
    as in A. Davison and D. Hinkley, "Bootstrap Methods and their Application" (1997), section 3.8.

    Raises:
        ValueError: there is no cluster, or an empty one.
    """
    sums = np.array([float(sum(cluster)) for cluster in clusters])
    sizes = np.array([float(len(cluster)) for cluster in clusters])
    if not sums.size or not sizes.all():
        raise ValueError("a mean needs observations")

    def means(rng: np.random.Generator, rows: int) -> Floats:
        drawn = rng.integers(sums.size, size=(rows, sums.size))
        return sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)

    found = _resampled(means, sums.size, resamples, seed)
    low, high = _quantiles(found, confidence)
    return Interval(float(sums.sum() / sizes.sum()), low, high, sums.size)


def rate(clusters: Sequence[Sequence[bool]], *, confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """The share of successes among samples that come in clusters.

    With one sample a cluster this is Wilson's interval. Otherwise it is the clustered bootstrap's, except where all
    clusters have the same share: a bootstrap would then claim certainty, so Wilson's is given for as many trials as
    there are clusters.

    Raises:
        ValueError: there is no cluster, or an empty one.
    """
    if not clusters or not all(clusters):
        raise ValueError("a share needs samples")
    shares = [sum(cluster) / len(cluster) for cluster in clusters]
    if len(set(shares)) == 1 or all(len(cluster) == 1 for cluster in clusters):
        return wilson(sum(shares), len(clusters), confidence)
    return bootstrap_mean(clusters, confidence=confidence, seed=seed)


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    *,
    problems: Sequence[Hashable] | None = None,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> PairedDifference:
    """The mean of `after` less `before`. Pairs are of a problem each, or of those in `problems`: pairs of the same one
    are drawn together, and flipped together.

    The interval is the bootstrap's over problems, except where all differences are the same: that would claim
    certainty, so for shares it reaches as far as the differences would if as many problems as Wilson's interval allows
    changed in the extreme. The p-value is two-sided, of the test that flips the sign of each problem's difference:
    exact for up to 13 that are not zero, else by `FLIPS` random flips, the observed one among them so that it is
    never 0.

    Source: R. A. Fisher, "The Design of Experiments" (1935), section 21; for the observed flip, B. Phipson and
    G. Smyth, "Permutation P-values Should Never Be Zero", SAGMB 9 (2010).

    Raises:
        ValueError: there are no pairs, or the two are not equally long.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"{len(before)} and {len(after)} observations make no pairs")
    clusters: dict[Hashable, list[float]] = {}
    for problem, one, other in zip(range(len(before)) if problems is None else problems, before, after, strict=True):
        clusters.setdefault(problem, []).append(float(other) - float(one))
    interval = bootstrap_mean(list(clusters.values()), confidence=confidence, seed=seed)
    if interval.low == interval.high and min(*before, *after) >= 0.0 and max(*before, *after) <= 1.0:
        value, others = interval.value, wilson(0, interval.n, confidence).high
        interval = Interval(value, value - others * (value + 1), value + others * (1 - value), interval.n)
    sums = np.array([sum(cluster) for cluster in clusters.values()])
    return PairedDifference(interval, _sign_flip(sums[sums != 0.0], seed))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for being several tests at once, in their order: each may be compared with the level of
    error that is wanted for all of them together.

    Source: S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scand. J. Statist. 6 (1979).
    """
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that at least one of `k` samples is right, estimated without bias from `n` samples of one problem.

    Source: M. Chen et al., "Evaluating Large Language Models Trained on Code" (2021), equation 1.

    Raises:
        ValueError: there are fewer than `k` samples, or not that many right ones.
    """
    if not 1 <= k <= n or not 0 <= correct <= n:
        raise ValueError(f"pass@{k} of {n} samples, {correct} of them right")
    return 1 - comb(n - correct, k) / comb(n, k)


def _sign_flip(differences: Floats, seed: int) -> float:
    """The share of sign patterns whose sum is at least as far from 0 as the one observed."""
    n = differences.size
    observed = abs(differences.sum())
    if observed == 0.0:
        return 1.0
    # Sums that are equal but for rounding count as equal.
    observed -= 1e-9 * np.abs(differences).sum()
    if 2**n <= FLIPS:
        signs = 1.0 - 2.0 * np.array(list(product((0, 1), repeat=n)), dtype=np.float64)
        return float((np.abs(signs @ differences) >= observed).mean())

    def sums(rng: np.random.Generator, rows: int) -> Floats:
        return (2.0 * rng.integers(2, size=(rows, n)) - 1.0) @ differences

    flipped = _resampled(sums, n, FLIPS - 1, seed)
    return float((1 + (np.abs(flipped) >= observed).sum()) / FLIPS)


def _resampled(draw: Callable[[np.random.Generator, int], Floats], n: int, resamples: int, seed: int) -> Floats:
    """`draw` gives so many resamples of `n` observations; it is called for as many as memory should hold."""
    rng = np.random.default_rng(seed)
    rows = max(1, AT_ONCE // n)
    return np.concatenate([draw(rng, min(rows, resamples - begin)) for begin in range(0, resamples, rows)])


def _quantiles(found: NDArray[Any], confidence: float) -> tuple[float, float]:
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
