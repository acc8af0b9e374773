"""min_p, top_k and top_p, each as a threshold below which a row's weights become zero.

A threshold is one of the row's own weights, so what ties with the last token kept is kept too, and how many candidates
were looked at for the other rows does not matter.
"""

import numpy as np
import numpy.typing as npt

from forethought.engine.row_blocks import Float32, Float64, Int64, block_sums, largest

CANDIDATES = 1024
"""How many of the largest weights are looked at for a nucleus; all of them where it is larger."""


def apply_filters(weights_RP: Float32, top_k_R: Int64, top_p_R: Float64, min_p_R: Float32) -> None:
    """Zeroes what a row's filters drop, in place. 0, 1 and 0 are off; the order is min_p, top_k, top_p, and the
    nucleus is measured on what the others leave."""
    width = weights_RP.shape[1]
    top_k_R = np.where(top_k_R < width, top_k_R, 0)
    nucleus_R = top_p_R < 1
    largest_RK = largest(weights_RP, max(int(top_k_R.max()), CANDIDATES if nucleus_R.any() else 1))
    kth_R = np.take_along_axis(largest_RK, np.maximum(top_k_R - 1, 0)[:, None], 1)[:, 0]
    threshold_R = np.maximum(largest_RK[:, 0] * min_p_R, np.where(top_k_R > 0, kth_R, np.float32(0)))
    if threshold_R.any():
        _drop_below(weights_RP, threshold_R)
    if nucleus_R.any():
        _drop_below(weights_RP, _nucleus(weights_RP, largest_RK, top_p_R))


def _drop_below(weights_RP: Float32, threshold_R: Float32) -> None:
    np.copyto(weights_RP, 0, where=weights_RP < threshold_R[:, None])


def _nucleus(weights_RP: Float32, largest_RK: Float32, top_p_R: Float64) -> Float32:
    """The smallest weight in each row's nucleus: the fewest tokens whose share of the mass reaches top_p; 0 where
    off."""
    wanted_R = top_p_R * block_sums(weights_RP).cumsum(1)[:, -1]
    threshold_R, reached_R = _cut(largest_RK, wanted_R)
    short_R = np.flatnonzero((top_p_R < 1) & ~reached_R & np.isfinite(wanted_R))
    if len(short_R):
        threshold_R[short_R], _ = _cut(largest(weights_RP[short_R], weights_RP.shape[1]), wanted_R[short_R])
    return np.where(top_p_R < 1, threshold_R, np.float32(0))


def _cut(falling_RK: Float32, wanted_R: Float64) -> tuple[Float32, npt.NDArray[np.bool_]]:
    """The value with which the cumulative sum reaches what is wanted, and whether it does (0 if not)."""
    enough_RK = falling_RK.cumsum(1, dtype=np.float64) >= wanted_R[:, None]
    value_R = np.take_along_axis(falling_RK, enough_RK.argmax(1)[:, None], 1)[:, 0]
    return np.where(enough_RK[:, -1], value_R, np.float32(0)), enough_RK[:, -1]
