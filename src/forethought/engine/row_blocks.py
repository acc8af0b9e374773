"""Arithmetic on rows of vocabulary size, in blocks of fixed width.

Two levels (blocks, then one block) make float32 sums accurate and searches short. They also make a row's result
independent of the number of rows to the last bit, which torch's reductions over whole rows are not: it splits a
single row among threads, but not many.
"""

import numpy as np
import numpy.typing as npt
import torch

WIDTH = 128
"""Columns per block."""

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def block_sums(values_RV: torch.Tensor) -> Float64:
    """Sum of each block of each row; the last block may be narrower."""
    full_RBW, tail_RW = _split(values_RV)
    sums = [full_RBW.sum(-1), tail_RW.sum(-1, keepdim=True)] if tail_RW.shape[1] else [full_RBW.sum(-1)]
    return torch.cat(sums, dim=1).double().numpy()


def argmax(values_RV: torch.Tensor) -> tuple[Int64, Float32]:
    """Index (the first of equals) and value of each row's maximum; a row with a NaN yields NaN."""
    full_RBW, tail_RW = _split(values_RV)
    tops = [full_RBW.amax(-1), tail_RW.amax(-1, keepdim=True)] if tail_RW.shape[1] else [full_RBW.amax(-1)]
    tops_RB = torch.cat(tops, dim=1).numpy()
    block_R = tops_RB.argmax(1)
    columns_RW = _columns(block_R, values_RV.shape[1])
    inside_RW = np.take_along_axis(values_RV.numpy(), columns_RW, 1)
    index_R = np.take_along_axis(columns_RW, inside_RW.argmax(1)[:, None], 1)[:, 0]
    return index_R, np.take_along_axis(tops_RB, block_R[:, None], 1)[:, 0]


def pick(weights_RV: torch.Tensor, uniform_R: Float64) -> tuple[Int64, Float64]:
    """One column per row with probability proportional to its weight (inverse CDF), and the sum of the weights.

    A column of weight 0 is never picked, unless the row's sum is not a positive finite number.
    """
    sums_RB = block_sums(weights_RV)
    cumulative_RB = sums_RB.cumsum(1)
    total_R = cumulative_RB[:, -1]
    block_R, within_R = _search(sums_RB, cumulative_RB, uniform_R * total_R)
    columns_RW = _columns(block_R, weights_RV.shape[1])
    inside_RW = np.take_along_axis(weights_RV.numpy(), columns_RW, 1).astype(np.float64)
    # The last block may be narrower than a block: its last column was repeated.
    inside_RW[:, 1:][columns_RW[:, 1:] == columns_RW[:, :-1]] = 0
    cumulative_RW = inside_RW.cumsum(1)
    place_R, _ = _search(inside_RW, cumulative_RW, within_R * cumulative_RW[:, -1])
    return np.take_along_axis(columns_RW, place_R[:, None], 1)[:, 0], total_R


def largest(values_RV: torch.Tensor, count: int) -> Float32:
    """The `count` largest values of each row, falling. (numpy's vectorised selection; torch's is 5 times slower.)"""
    values, vocab_size = values_RV.numpy(), values_RV.shape[1]
    if count < vocab_size:
        values = np.partition(values, vocab_size - count, axis=1)[:, vocab_size - count :]
    return np.sort(values, axis=1)[:, ::-1]


def _split(values_RV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The whole blocks, and the columns behind them."""
    rows, whole = values_RV.shape[0], values_RV.shape[1] // WIDTH
    return values_RV[:, : whole * WIDTH].view(rows, whole, WIDTH), values_RV[:, whole * WIDTH :]


def _columns(block_R: Int64, vocab_size: int) -> Int64:
    return np.minimum(block_R[:, None] * WIDTH + np.arange(WIDTH), vocab_size - 1)


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
        return place_R, 1 - (behind_R - target_R) / weight_R
