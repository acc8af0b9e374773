"""The batched sampler: one token per row of logits.

Rows are worked on in tiles that stay in the processor's cache. Whatever else is in the batch, a row's result is the
same to the last bit: every sum runs over fixed blocks of one row, filters are thresholds on the row's own
probabilities, and its random number is a hash of its seed and of how many tokens it has emitted. The order is that of
transformers and vLLM: penalties, grammar, temperature, min_p, top_k, top_p.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from forethought.engine.filters import apply_filters
from forethought.engine.grammar import allowed_tokens
from forethought.engine.penalties import PenaltyTable
from forethought.engine.protocol import Sampling
from forethought.engine.row_blocks import Float32, Float64, Int64, argmax, pick
from forethought.engine.runner import Int32

TILE = 16
"""Rows worked on together: 3 MB at 49,152 tokens."""

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
        self.scale_R = 1 / np.where(self.greedy_R, np.float32(1), temperature_R)
        self.top_k_R = np.array([s.top_k for s in sampling], np.int64)
        self.top_p_R = np.array([s.top_p for s in sampling], np.float64)
        self.min_p_R = np.array([s.min_p for s in sampling], np.float32)
        self.filtered_R = ~self.greedy_R & ((self.top_k_R > 0) | (self.top_p_R < 1) | (self.min_p_R > 0))
        self.seed_R = np.array([row.seed for row in rows], np.uint64)
        self.logprobs = [row.logprobs for row in rows]
        self.penalties = [row.penalties for row in rows]
        self.any_logprobs = any(count is not None for count in self.logprobs)
        self.any_penalties = any(table is not None for table in self.penalties)
        self.plain_R = ~self.greedy_R & ~self.filtered_R & (self.scale_R == 1)


@dataclass(slots=True)
class Sampled:
    """One token per row. `broken_R` marks rows whose logits are not finite numbers. `logprobs_R` is None when no row
    asked; `top_logprobs` has the rows that asked for alternatives."""

    token_ids_R: Int64
    broken_R: npt.NDArray[np.bool_]
    logprobs_R: Float64 | None = None
    top_logprobs: dict[int, TopLogprobs] = field(default_factory=dict[int, TopLogprobs])


class Sampler:
    """Samples for one vocabulary; not from two threads at once."""

    def __init__(self, vocab_size: int) -> None:
        self._weights = torch.empty(TILE, vocab_size)

    def sample(
        self,
        logits_RV: torch.Tensor,
        settings: RowSettings,
        emitted_R: Int64,
        *,
        forced: Mapping[int, int],
        masks: Mapping[int, Int32],
    ) -> Sampled:
        """Chooses a token for every row. Writes into `logits_RV` (float32, on the CPU).

        Args:
            emitted_R: tokens that each row's request has emitted so far.
            forced: rows whose token is given.
            masks: grammar masks, by row.
        """
        rows, vocab_size = logits_RV.shape
        sampled = Sampled(np.empty(rows, np.int64), np.zeros(rows, np.bool_))
        wanted = _wanted_logprobs(logits_RV, settings, forced, masks)
        if settings.any_penalties:
            for row, penalties in enumerate(settings.penalties):
                if penalties is not None:
                    penalties.apply(logits_RV[row].numpy())
        for row, mask_W in masks.items():
            logits_RV[row].masked_fill_(torch.as_tensor(~allowed_tokens(mask_W, vocab_size)), -torch.inf)
        uniform_R = uniforms(settings.seed_R, emitted_R)
        plain_R = np.empty(rows)
        for start in range(0, rows, TILE):
            tile = slice(start, min(start + TILE, rows))
            self._sample_tile(logits_RV[tile], settings, uniform_R, tile, sampled, plain_R)
        for row, token in forced.items():
            sampled.token_ids_R[row] = token
        if settings.any_logprobs:
            _report_logprobs(sampled, settings, wanted, plain_R)
        return sampled

    def _sample_tile(
        self,
        logits_TV: torch.Tensor,
        settings: RowSettings,
        uniform_R: Float64,
        tile: slice,
        sampled: Sampled,
        plain_R: Float64,
    ) -> None:
        greedy_T = settings.greedy_R[tile]
        if greedy_T.all():
            sampled.token_ids_R[tile], top_T = argmax(logits_TV)
            sampled.broken_R[tile] = ~np.isfinite(top_T)
            return
        weights_TV = self._weights[: len(greedy_T)]
        scale_T = settings.scale_R[tile]
        if (scale_T != 1).any():
            torch.mul(logits_TV, torch.as_tensor(scale_T)[:, None], out=weights_TV)
            torch.softmax(weights_TV, -1, out=weights_TV)
        else:
            torch.softmax(logits_TV, -1, out=weights_TV)
        if settings.filtered_R[tile].any():
            off = ~settings.filtered_R[tile]
            top_k_T, top_p_T = np.where(off, 0, settings.top_k_R[tile]), np.where(off, 1.0, settings.top_p_R[tile])
            apply_filters(weights_TV, top_k_T, top_p_T, np.where(off, np.float32(0), settings.min_p_R[tile]))
        token_T, total_T = pick(weights_TV, uniform_R[tile])
        sampled.broken_R[tile] = ~np.isfinite(total_T)
        plain_R[tile] = np.take_along_axis(weights_TV.numpy(), token_T[:, None], 1)[:, 0]
        if greedy_T.any():
            best_T, _ = argmax(logits_TV)
            token_T = np.where(greedy_T, best_T, token_T)
        sampled.token_ids_R[tile] = token_T


def uniforms(seed_R: UInt64, counter_R: Int64) -> Float64:
    """Number `counter` of the SplitMix64 stream that each seed starts (Steele et al. 2014), in [0, 1)."""
    state_R = _mix(seed_R) + (counter_R.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return (_mix(state_R) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: UInt64) -> UInt64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _wanted_logprobs(
    logits_RV: torch.Tensor, settings: RowSettings, forced: Mapping[int, int], masks: Mapping[int, Int32]
) -> dict[int, torch.Tensor]:
    """The model's own log-probabilities, by row. Left out are plain rows: there the weight that is sampled from
    says it."""
    if not settings.any_logprobs:
        return {}
    return {
        row: torch.log_softmax(logits_RV[row], -1)
        for row, count in enumerate(settings.logprobs)
        if count is not None
        and (count or not settings.plain_R[row] or row in forced or row in masks or settings.penalties[row])
    }


def _report_logprobs(
    sampled: Sampled, settings: RowSettings, wanted: dict[int, torch.Tensor], plain_R: Float64
) -> None:
    with np.errstate(divide="ignore", invalid="ignore"):
        sampled.logprobs_R = np.log(plain_R)
    for row, logprobs_V in wanted.items():
        sampled.logprobs_R[row] = logprobs_V[int(sampled.token_ids_R[row])].item()
        if count := settings.logprobs[row]:
            sampled.top_logprobs[row] = _best(logprobs_V.numpy(), count)


def _best(logprobs_V: Float32, count: int) -> TopLogprobs:
    """The most likely tokens, falling."""
    ids = np.argpartition(logprobs_V, -count)[-count:]
    ids = ids[np.lexsort((ids, -logprobs_V[ids]))]
    return tuple(zip(ids.tolist(), logprobs_V[ids].tolist(), strict=True))
