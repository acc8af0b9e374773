"""The sampler draws from the distribution that was asked for, and a row's token depends on nothing but the row."""

import math
from random import Random

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forethought.engine.grammar import allowed_tokens
from forethought.engine.penalties import PenaltyTable
from forethought.engine.protocol import Sampling
from forethought.engine.row_blocks import WIDTH, block_sums, pick, zero_weights
from forethought.engine.sampler import RowSettings, Sampled, SampledRow, Sampler, uniforms

MANY = 20_000
GREEDY = Sampling(temperature=0)


def sample(
    logits_RV: torch.Tensor,
    rows: list[SampledRow],
    emitted: int | list[int] = 0,
    masks: dict[int, np.ndarray] | None = None,
    threads: int = 1,
) -> Sampled:
    emitted_R = np.broadcast_to(np.array(emitted, np.int64), len(rows))
    sampler, logits = Sampler(logits_RV.shape[1], threads), logits_RV.clone().numpy()
    return sampler.sample(logits, RowSettings(rows), emitted_R, masks or {})


def draw(logits_V: torch.Tensor, sampling: Sampling, count: int = MANY) -> np.ndarray:
    """How often each token is drawn, by requests that differ in their seed."""
    rows = [SampledRow(sampling, seed) for seed in range(count)]
    tokens = sample(logits_V.expand(count, -1), rows).token_ids_R
    return np.bincount(tokens, minlength=len(logits_V)) / count


def noise(rows: int, vocab_size: int, seed: int = 0, scale: float = 3.0) -> torch.Tensor:
    return torch.randn(rows, vocab_size, generator=torch.Generator().manual_seed(seed)) * scale


def assert_close_to(frequency_V: np.ndarray, expected_V: torch.Tensor) -> None:
    """Within five standard errors (and a few draws, for rare tokens), and nothing where nothing belongs."""
    expected = expected_V.double().numpy()
    error = 5 * np.sqrt(expected * (1 - expected) / MANY) + 4 / MANY
    assert (np.abs(frequency_V - expected) <= np.where(expected > 0, error, 0)).all()


def expected_distribution(logits_V: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """The same thing the slow way: sort, and walk."""
    weights = torch.softmax(logits_V.double() / sampling.temperature, -1)
    weights[weights < sampling.min_p * weights.max()] = 0
    if sampling.top_k:
        weights[weights < weights.sort(descending=True).values[min(sampling.top_k, len(weights)) - 1]] = 0
    weights /= weights.sum()
    kept, mass = [], 0.0
    for token in weights.argsort(descending=True).tolist():
        if mass >= sampling.top_p:
            break
        kept.append(token)
        mass += weights[token].item()
    result = torch.zeros_like(weights)
    result[kept] = weights[kept]
    return result / result.sum()


@pytest.mark.parametrize("vocab_size", [1, 2, 127, 128, 129, 300, 49_152])
def test_greedy_takes_the_first_of_the_largest(vocab_size: int) -> None:
    logits = noise(20, vocab_size).round()
    tokens = sample(logits, [SampledRow(GREEDY, 0)] * 20).token_ids_R
    assert tokens.tolist() == [int(np.argmax(row.numpy())) for row in logits]


@pytest.mark.parametrize("vocab_size", [5, 128, 300, 1000])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax(vocab_size: int, temperature: float) -> None:
    logits = noise(1, vocab_size)[0]
    sampling = Sampling(temperature=temperature)
    assert_close_to(draw(logits, sampling), expected_distribution(logits, sampling))


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(top_k=1),
        Sampling(top_k=7),
        Sampling(top_k=299),
        Sampling(top_p=0.5),
        Sampling(top_p=0.95, temperature=2.0),
        Sampling(top_p=1e-9),
        Sampling(min_p=0.2),
        Sampling(min_p=1.0),
        Sampling(temperature=1.5, top_k=20, top_p=0.8, min_p=0.02),
    ],
    ids=str,
)
def test_filters_keep_what_they_should(sampling: Sampling) -> None:
    logits = noise(1, 300)[0]
    assert_close_to(draw(logits, sampling), expected_distribution(logits, sampling))


@pytest.mark.parametrize("top_p", [0.5, 0.999])
def test_a_nucleus_may_be_most_of_the_vocabulary(top_p: float) -> None:
    logits = noise(1, 6000, scale=0.01)[0]
    draws = 4000
    frequency = draw(logits, Sampling(top_p=top_p), draws)
    kept = (expected_distribution(logits, Sampling(top_p=top_p)) > 0).numpy()
    assert frequency[~kept].sum() < 1e-3
    assert (frequency > 0).sum() > 0.9 * kept.sum() * (1 - math.exp(-draws / kept.sum()))


def test_what_ties_with_the_last_token_kept_is_kept() -> None:
    logits = torch.tensor([0.0, 1.0, 0.0, 1.0, 1.0, -1.0])
    for sampling in (Sampling(top_k=2), Sampling(top_p=0.4)):
        assert set(np.flatnonzero(draw(logits, sampling, 500))) == {1, 3, 4}


def test_a_token_of_no_probability_is_never_drawn() -> None:
    logits = torch.full((1000,), -torch.inf)
    logits[[3, 500, 999]] = torch.tensor([0.0, 1.0, 0.0])
    assert set(np.flatnonzero(draw(logits, Sampling()))) == {3, 500, 999}


def test_small_probabilities_of_a_large_vocabulary_are_not_lost() -> None:
    # Half of the mass on one token, the other half spread over 50,000.
    vocab_size = 50_001
    logits = torch.zeros(vocab_size)
    logits[25_000] = math.log(50_000)
    frequency = draw(logits, Sampling(), 2000)
    assert abs(frequency[25_000] - 0.5) < 0.06
    assert abs(frequency[:25_000].sum() - 0.25) < 0.05
    assert abs(frequency[25_001:].sum() - 0.25) < 0.05


@given(
    vocab_size=st.sampled_from([50, 128, 1000, 32_003]),
    kinds=st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.7, 1.0, 1.3]),
            st.sampled_from([0, 5, 200]),
            st.sampled_from([1.0, 0.9, 0.5]),
            st.sampled_from([0.0, 0.1]),
            st.sampled_from([1.0, 1.2]),
            st.sampled_from([None, 0, 3]),
            st.booleans(),
        ),
        min_size=2,
        max_size=40,
    ),
    threads=st.sampled_from([1, 2, 3]),
)
@settings(max_examples=25, deadline=None)
def test_a_row_does_not_depend_on_the_others(vocab_size: int, kinds: list[tuple], threads: int) -> None:
    logits = noise(len(kinds), vocab_size)
    rows, masks = [], {}
    for index, (temperature, top_k, top_p, min_p, repetition, logprobs, masked) in enumerate(kinds):
        sampling = Sampling(temperature, top_p, top_k, min_p, repetition_penalty=repetition)
        rows.append(SampledRow(sampling, index, logprobs, PenaltyTable.of(sampling, (1, 2, 3))))
        if masked:
            words = np.random.default_rng(index).integers(-(2**31), 2**31, vocab_size // 32 + 1)
            masks[index] = words.astype(np.int32)
    together = sample(logits, rows, 5, masks=masks, threads=threads)
    for index, row in enumerate(rows):
        mask = {0: masks[index]} if index in masks else {}
        alone = sample(logits[index : index + 1], [row], 5, masks=mask)
        assert alone.token_ids_R[0] == together.token_ids_R[index]
        if row.logprobs is not None:
            assert alone.logprob(0, 7) == together.logprob(index, 7)
            assert alone.top_logprobs(0, 3) == together.top_logprobs(index, 3)


def test_a_seed_gives_the_same_tokens_and_each_position_another_number() -> None:
    seeds, counters = np.arange(1000, dtype=np.uint64), np.arange(1000)
    by_counter = uniforms(np.full(1000, 7, np.uint64), counters)
    assert np.array_equal(by_counter, uniforms(np.full(1000, 7, np.uint64), counters))
    assert len(set(by_counter)) == len(set(uniforms(seeds, np.zeros(1000, np.int64)))) == 1000


@pytest.mark.parametrize("axis", ["seed", "counter"])
def test_random_numbers_are_uniform_and_independent(axis: str) -> None:
    count = 100_000
    moving, still = np.arange(count), np.full(count, 12345)
    seed, counter = (moving, still) if axis == "seed" else (still, moving)
    numbers = uniforms(seed.astype(np.uint64), counter.astype(np.int64))
    assert numbers.min() >= 0
    assert numbers.max() < 1
    bins = np.bincount((numbers * 100).astype(int), minlength=100)
    chi_square = ((bins - count / 100) ** 2 / (count / 100)).sum()
    assert chi_square < 99 + 5 * math.sqrt(2 * 99)
    assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 5 / math.sqrt(count)


def test_the_largest_seed_is_fine() -> None:
    assert sample(noise(1, 50), [SampledRow(Sampling(), 2**63 - 1)], emitted=2**31).token_ids_R[0] < 50


def test_logprobs_are_the_models_own() -> None:
    logits = noise(6, 300)
    sampling = Sampling(temperature=0.3, top_k=5, presence_penalty=1.0)
    penalties = PenaltyTable.of(sampling, ())
    assert penalties is not None
    penalties.count(4)
    kinds = [Sampling(), GREEDY, Sampling(temperature=0.7), Sampling(top_p=0.5), Sampling(), sampling]
    rows = [SampledRow(kind, 3, 0, penalties if kind is sampling else None) for kind in kinds]
    mask = np.zeros(10, np.int32)
    mask[:2] = -1
    sampled = sample(logits, rows, masks={4: mask})
    expected = logits.double().log_softmax(-1)
    for row, token in enumerate(sampled.token_ids_R.tolist()):
        for wanted in (token, 4, 299):
            assert sampled.logprob(row, wanted) == pytest.approx(expected[row, wanted].item(), abs=2e-6)


def test_the_logprob_of_an_unlikely_token_is_exact() -> None:
    logits = torch.zeros(1, 300)
    logits[0, 5] = 200.0
    sampled = sample(logits, [SampledRow(Sampling(), 1, 0)])
    assert sampled.logprob(0, 6) == pytest.approx(-200, abs=1e-4)


@pytest.mark.parametrize("count", [1, 4, 300])
def test_alternatives_are_the_most_likely_tokens_falling(count: int) -> None:
    logits = noise(1, 300)
    best = logits[0].double().log_softmax(-1).topk(count)
    ids, values = zip(*sample(logits, [SampledRow(Sampling(), 1, count)]).top_logprobs(0, count), strict=True)
    assert list(ids) == best.indices.tolist()
    np.testing.assert_allclose(values, best.values, atol=1e-5)


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(top_p=0.9)], ids=["greedy", "sampled", "filtered"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_break_their_row_only(sampling: Sampling, bad: float) -> None:
    logits = noise(3, 300)
    good = sample(logits, [SampledRow(sampling, 1)] * 3)
    logits[1, 200] = bad
    if bad == -math.inf:
        logits[1] = bad
    sampled = sample(logits, [SampledRow(sampling, 1)] * 3)
    assert sampled.broken_R.tolist() == [False, True, False]
    assert sampled.token_ids_R[[0, 2]].tolist() == good.token_ids_R[[0, 2]].tolist()


@given(weights=st.lists(st.floats(0.0, 1.0, width=32), min_size=3, max_size=6), random=st.randoms())
@settings(max_examples=200, deadline=None)
def test_a_weight_of_zero_is_not_picked_where_blocks_meet(weights: list[float], random: Random) -> None:
    """Each block begins and ends with zeros; the random numbers are the borders themselves and their neighbours."""
    weights_1P = zero_weights(1, len(weights) * WIDTH)
    for block, weight in enumerate(weights):
        weights_1P[0, block * WIDTH + random.randrange(2, WIDTH - 2)] = weight
        weights_1P[0, block * WIDTH + random.randrange(2, WIDTH - 2)] = weight / 3
    assume(weights_1P.any())
    sums_1B = block_sums(weights_1P)
    borders = np.concatenate([[0.0], (sums_1B.cumsum() / sums_1B.sum())])
    uniforms = np.concatenate([borders, np.nextafter(borders, 0), np.nextafter(borders, 1)])
    uniforms = uniforms[(uniforms >= 0) & (uniforms < 1)]
    rows = len(uniforms)
    places = pick(weights_1P.repeat(rows, 0), sums_1B.repeat(rows, 0), uniforms)
    assert (weights_1P[0, places] > 0).all()


def test_a_mask_forbids() -> None:
    logits = noise(1, 100)
    mask = np.zeros(4, np.int32)
    mask[1] = 1 << 3 | 1 << 9
    assert np.flatnonzero(allowed_tokens(mask, 100)).tolist() == [35, 41]
    for sampling in (GREEDY, Sampling()):
        tokens = {
            int(sample(logits, [SampledRow(sampling, seed)], masks={0: mask}).token_ids_R[0]) for seed in range(60)
        }
        assert tokens <= {35, 41}
        assert len(tokens) == (1 if sampling is GREEDY else 2)


def test_penalties_lower_what_was_seen() -> None:
    sampling = Sampling(repetition_penalty=2.0, presence_penalty=0.5, frequency_penalty=0.25)
    table = PenaltyTable.of(sampling, (1, 2, 2))
    assert table is not None
    for token in (2, 3, 3, 3):
        table.count(token)
    logits = np.array([1.0, 1.0, 1.0, -1.0, -1.0], np.float32)
    table.apply(logits)
    # 1: prompt only. 2: prompt and once emitted. 3: emitted three times. 0 and 4: never seen.
    np.testing.assert_allclose(logits, [1.0, 0.5, 0.5 - 0.75, -2.0 - 0.5 - 0.75, -1.0])


def test_presence_and_frequency_do_not_count_the_prompt() -> None:
    table = PenaltyTable.of(Sampling(presence_penalty=1.0), (1, 2))
    assert table is not None
    logits = np.zeros(4, np.float32)
    table.apply(logits)
    assert not logits.any()


@given(tokens=st.lists(st.integers(0, 400), max_size=300))
def test_penalties_count_any_number_of_tokens(tokens: list[int]) -> None:
    table = PenaltyTable.of(Sampling(frequency_penalty=1.0), ())
    assert table is not None
    for token in tokens:
        table.count(token)
    logits = np.zeros(401, np.float32)
    table.apply(logits)
    assert (-logits).tolist() == np.bincount(tokens, minlength=401).tolist()


def test_a_repeated_token_loses_to_its_rival_under_a_penalty() -> None:
    sampling = Sampling(temperature=0, repetition_penalty=1.5)
    logits = torch.tensor([[2.0, 1.9, 0.0]])
    row = SampledRow(sampling, 0, None, PenaltyTable.of(sampling, (0,)))
    assert sample(logits, [row]).token_ids_R[0] == 1
    assert sample(logits, [SampledRow(GREEDY, 0)]).token_ids_R[0] == 0
