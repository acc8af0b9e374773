"""Arithmetic on rows of vocabulary size, in blocks of fixed width.

Two levels (blocks, then one block) make float32 sums accurate and searches short. numpy, not torch: its reductions
take each row by itself, in one thread, so a row's result is the same to the last bit in any company; torch splits a
single row among threads, but not many. (It is as fast, and the sampler shares out rows among threads itself.)
"""

import numpy as np
import numpy.typing as npt

WIDTH = 128
"""Columns per block. Weights are padded with zeros to whole blocks."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def zero_weights(rows: int, vocab_size: int) -> Float32:
    """An array for weights, padded."""
    return np.zeros((rows, -(-vocab_size // WIDTH) * WIDTH), np.float32)


def exponentials(logits_RV: Float32, scale_R: Float32, weights_RP: Float32) -> Float32:
    """Writes exp(scale (logit - largest logit)) into `weights_RP`; the largest logits. Rows with a NaN or +inf, or with
    nothing but -inf, yield NaN."""
    largest_R = logits_RV.max(1)
    inner_RV = weights_RP[:, : logits_RV.shape[1]]
    with np.errstate(invalid="ignore", over="ignore"):
        np.subtract(logits_RV, largest_R[:, None], out=inner_RV)
        if (scale_R != 1).any():
            np.multiply(inner_RV, scale_R[:, None], out=inner_RV)
        np.exp(inner_RV, out=inner_RV)
    return largest_R


def block_sums(weights_RP: Float32) -> Float64:
    """The sum of each block of each row."""
    return weights_RP.reshape(len(weights_RP), -1, WIDTH).sum(-1).astype(np.float64)


def log_total(largest_R: Float32, sums_RB: Float64) -> Float64:
    """log(sum(exp(logit))) of rows whose exponentials were taken at scale 1."""
    with np.errstate(invalid="ignore"):
        return np.log(sums_RB.cumsum(1)[:, -1]) + largest_R.astype(np.float64)


def pick(weights_RP: Float32, sums_RB: Float64, uniform_R: Float64) -> Int64:
    """One column per row with probability proportional to its weight (inverse CDF). A column of weight 0 is never
    picked, unless the row's sum is not a positive finite number."""
    cumulative_RB = sums_RB.cumsum(1)
    block_R, within_R = _search(sums_RB, cumulative_RB, uniform_R * cumulative_RB[:, -1])
    columns_RW = block_R[:, None] * WIDTH + np.arange(WIDTH)
    inside_RW = np.take_along_axis(weights_RP, columns_RW, 1).astype(np.float64)
    cumulative_RW = inside_RW.cumsum(1)
    place_R, _ = _search(inside_RW, cumulative_RW, within_R * cumulative_RW[:, -1])
    return np.take_along_axis(columns_RW, place_R[:, None], 1)[:, 0]


def largest(weights_RP: Float32, count: int) -> Float32:
    """The `count` largest weights of each row, falling."""
    width = weights_RP.shape[1]
    if count < width:
        weights_RP = np.partition(weights_RP, width - count, axis=1)[:, width - count :]
    return np.sort(weights_RP, axis=1)[:, ::-1]


def _search(weights_RK: Float64, cumulative_RK: Float64, target_R: Float64) -> tuple[Int64, Float64]:
    """The first place where the cumulative weight exceeds the target, and how far into its weight the target lies
    (0 to 1)."""
    place_R = (cumulative_RK <= target_R[:, None]).sum(1)
    if (beyond := place_R == weights_RK.shape[1]).any():
        # The target was rounded up to the total: the last place that has any weight.
        place_R[beyond] = weights_RK.shape[1] - 1 - (weights_RK[beyond, ::-1] > 0).argmax(1)
    weight_R = np.take_along_axis(weights_RK, place_R[:, None], 1)[:, 0]
    behind_R = np.take_along_axis(cumulative_RK, place_R[:, None], 1)[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where sums are rounded, a little less than 0 may come out, and 0 itself must not find a weight of 0.
        return place_R, np.maximum(0.0, 1 - (behind_R - target_R) / weight_R)
