"""Attention as the decoder calls it, and the kind that needs no cache: every token of a batch at once.

The decoder hands each layer's queries, keys and values to an `Attention`. Plain batches use `FullAttention` below; the
torch runner brings one that reads and writes the paged KV cache, and training one for packs of rows. Sizes: B rows, T
tokens, H query heads, G key-value heads, D head dimensions.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F


class Attention(Protocol):
    """Mixes the values of one layer. Made for one forward pass of the decoder."""

    def __call__(
        self, layer: int, queries_BTHD: torch.Tensor, keys_BTGD: torch.Tensor, values_BTGD: torch.Tensor
    ) -> torch.Tensor:
        """Returns the mixed values, shape and dtype of the queries. Rotary embeddings are already applied."""
        ...


def causal_mask(
    tokens: int, device: torch.device, segments_BT: torch.Tensor | None = None, window: int | None = None
) -> torch.Tensor | None:
    """Who sees whom: `mask_BTT` of booleans (or `1TT`), True where the row may see the column.

    A token sees itself and the `window` - 1 tokens before it, within its segment. None stands for plain causality,
    which needs no mask. Padding on the right needs none either: nothing real looks to the right.
    """
    if segments_BT is None and (window is None or window >= tokens):
        return None
    index = torch.arange(tokens, device=device)
    distance_TT = index[:, None] - index[None, :]
    mask_TT = distance_TT >= 0
    if window is not None:
        mask_TT = mask_TT & (distance_TT < window)
    if segments_BT is None:
        return mask_TT[None]
    return mask_TT & (segments_BT[:, :, None] == segments_BT[:, None, :])


@dataclass(frozen=True, slots=True)
class FullAttention:
    """Attention among the tokens of one batch. `mask_BTT` as made by `causal_mask`; any mask in which each row
    sees at least one column works, that of samples which share a prompt, say.

    One kernel for all lengths, forward and backward: with torch 2.13 plain matmuls cost a CPU the same at 100 tokens
    and twice as much at 1,000, and keep T² numbers a head for the backward pass.
    """

    mask_BTT: torch.Tensor | None = None

    def __call__(
        self, layer: int, queries_BTHD: torch.Tensor, keys_BTGD: torch.Tensor, values_BTGD: torch.Tensor
    ) -> torch.Tensor:
        mixed_BHTD = F.scaled_dot_product_attention(
            queries_BTHD.transpose(1, 2),
            keys_BTGD.transpose(1, 2),
            values_BTGD.transpose(1, 2),
            attn_mask=None if self.mask_BTT is None else self.mask_BTT[:, None],
            is_causal=self.mask_BTT is None,
            enable_gqa=True,
        )
        return mixed_BHTD.transpose(1, 2)
