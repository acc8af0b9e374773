"""The batched sampler: one token per row of logits.

Rows are worked on in tiles that stay in the processor's cache, and tiles are shared out among threads. Whatever else
is in the batch, a row's result is the same to the last bit: every sum runs over fixed blocks of one row, filters are
thresholds on the row's own weights, and its random number is a hash of its seed and of how many tokens it has emitted.
The order is that of transformers and vLLM: penalties, grammar, temperature, min_p, top_k, top_p.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forethought.engine.filters import apply_filters
from forethought.engine.grammar import allowed_tokens
from forethought.engine.penalties import PenaltyTable
from forethought.engine.protocol import Sampling
from forethought.engine.row_blocks import (
    Float32,
    Float64,
    Int64,
    block_sums,
    exponentials,
    log_total,
    pick,
    zero_weights,
)
from forethought.engine.runner import Int32

TILE = 8
"""Rows worked on together: 1.5 MB at 49,152 tokens."""

GREEDY_BELOW = 1e-5
"""A lower temperature cannot be told from greedy, and its reciprocal would overflow."""

UInt64 = npt.NDArray[np.uint64]
TopLogprobs = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class SampledRow:
    """How one row is sampled, for as long as its request runs. `logprobs` is None, or how many alternatives."""

    sampling: Sampling
    seed: int
    logprobs: int | None = None
    penalties: PenaltyTable | None = None


class RowSettings:
    """The settings of a batch's rows as arrays; good for as long as the batch has these rows."""

    def __init__(self, rows: Sequence[SampledRow]) -> None:
        sampling = [row.sampling for row in rows]
        temperature_R = np.array([s.temperature for s in sampling], np.float32)
        self.greedy_R = temperature_R < GREEDY_BELOW
        self.scale_R = np.reciprocal(np.where(self.greedy_R, np.float32(1), temperature_R))
        self.top_k_R = np.array([s.top_k for s in sampling], np.int64)
        self.top_p_R = np.array([s.top_p for s in sampling], np.float64)
        self.min_p_R = np.array([s.min_p for s in sampling], np.float32)
        self.filtered_R = ~self.greedy_R & ((self.top_k_R > 0) | (self.top_p_R < 1) | (self.min_p_R > 0))
        self.seed_R = np.array([row.seed for row in rows], np.uint64)
        self.logprobs = [row.logprobs for row in rows]
        self.penalties = [row.penalties for row in rows]


class Sampled:
    """One token per row, and what the model itself thought of it. Good until the logits are overwritten.

    `broken_R` marks rows whose logits are not finite numbers.
    """

    def __init__(self, logits_RV: Float32, own: Mapping[int, Float32], scratch_1P: Float32) -> None:
        rows = len(logits_RV)
        self.token_ids_R = np.empty(rows, np.int64)
        self.broken_R = np.zeros(rows, np.bool_)
        self._logits_RV = logits_RV
        self._own = own
        self._scratch_1P = scratch_1P
        # The logarithm of the sum of the exponentials of each row's logits, where the draw came across it.
        self.log_total_R = np.full(rows, np.nan)

    def logprob(self, row: int, token: int) -> float:
        """The model's log-probability of a token, before temperature, filters, penalties and grammar. For rows whose
        settings ask for log-probabilities."""
        return float(self._logits(row)[token] - self._normaliser(row))

    def top_logprobs(self, row: int, count: int) -> TopLogprobs:
        """The `count` most likely tokens, falling."""
        logits_V = self._logits(row)
        ids = np.argpartition(logits_V, -count)[-count:]
        ids = ids[np.lexsort((ids, -logits_V[ids]))]
        return tuple(zip(ids.tolist(), (logits_V[ids] - self._normaliser(row)).tolist(), strict=True))

    def _logits(self, row: int) -> Float32:
        return self._own.get(row, self._logits_RV[row])

    def _normaliser(self, row: int) -> float:
        if row in self._own or np.isnan(self.log_total_R[row]):
            largest = exponentials(self._logits(row)[None], np.ones(1, np.float32), self._scratch_1P)
            return log_total(largest, block_sums(self._scratch_1P))[0]
        return self.log_total_R[row]


class Sampler:
    """Samples for one vocabulary, on several threads; to be called from one."""

    def __init__(self, vocab_size: int, threads: int = 1) -> None:
        self._weights = [zero_weights(TILE, vocab_size) for _ in range(threads)]
        self._helpers = ThreadPoolExecutor(threads - 1, "forethought-sampler") if threads > 1 else None

    def sample(
        self, logits_RV: Float32, settings: RowSettings, emitted_R: Int64, masks: Mapping[int, Int32]
    ) -> Sampled:
        """Chooses a token for every row. Writes into `logits_RV`.

        Args:
            emitted_R: tokens that each row's request has emitted so far.
            masks: grammar masks, by row.
        """
        rows, vocab_size = logits_RV.shape
        changed = {row for row, table in enumerate(settings.penalties) if table is not None} | masks.keys()
        own = {row: logits_RV[row].copy() for row in changed if settings.logprobs[row] is not None}
        for row in changed:
            if (table := settings.penalties[row]) is not None:
                table.apply(logits_RV[row])
            if row in masks:
                np.copyto(logits_RV[row], -np.inf, where=~allowed_tokens(masks[row], vocab_size))
        sampled = Sampled(logits_RV, own, self._weights[0][:1])
        draw = _Draw(logits_RV, settings, uniforms(settings.seed_R, emitted_R), sampled)
        # Every thread takes a run of whole tiles.
        tiles = -(-rows // TILE)
        threads = min(len(self._weights), tiles)
        ends = [*(tiles * thread // threads * TILE for thread in range(1, threads)), rows]
        runs = list(zip([0, *ends[:-1]], ends, self._weights[:threads], strict=True))
        helping = [self._helpers.submit(draw.run, *run) for run in runs[1:]] if self._helpers is not None else []
        draw.run(*runs[0])
        for helper in helping:
            helper.result()
        return sampled


@dataclass(frozen=True, slots=True)
class _Draw:
    """One batch on its way through the sampler."""

    logits_RV: Float32
    settings: RowSettings
    uniform_R: Float64
    sampled: Sampled

    def run(self, first: int, end: int, weights_TP: Float32) -> None:
        """Chooses the tokens of some rows."""
        sampled = self.sampled
        for start in range(first, end, TILE):
            rows = slice(start, min(start + TILE, end))
            greedy_T = self.settings.greedy_R[rows]
            if not greedy_T.all():
                self._draw(rows, weights_TP[: len(greedy_T)])
            for row in start + np.flatnonzero(greedy_T):
                best = self.logits_RV[row].argmax()
                sampled.token_ids_R[row] = best
                sampled.broken_R[row] = not np.isfinite(self.logits_RV[row, best])

    def _draw(self, rows: slice, weights_TP: Float32) -> None:
        settings, sampled = self.settings, self.sampled
        largest_T = exponentials(self.logits_RV[rows], settings.scale_R[rows], weights_TP)
        sums_TB = block_sums(weights_TP)
        total_T = log_total(largest_T, sums_TB)
        sampled.broken_R[rows] = ~np.isfinite(total_T)
        sampled.log_total_R[rows] = np.where(settings.scale_R[rows] == 1, total_T, np.nan)
        filtered_T = settings.filtered_R[rows]
        if filtered_T.any():
            apply_filters(
                weights_TP,
                np.where(filtered_T, settings.top_k_R[rows], 0),
                np.where(filtered_T, settings.top_p_R[rows], 1.0),
                np.where(filtered_T, settings.min_p_R[rows], np.float32(0)),
            )
            sums_TB = block_sums(weights_TP)
        sampled.token_ids_R[rows] = pick(weights_TP, sums_TB, self.uniform_R[rows])


def uniforms(seed_R: UInt64, counter_R: Int64) -> Float64:
    """Number `counter` of the SplitMix64 stream that each seed starts (Steele et al. 2014), in [0, 1)."""
    state_R = _mix(seed_R) + (counter_R.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(state_R) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: UInt64) -> UInt64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
