"""The reference runner: the decoder of `model`, in plain torch, over a paged KV cache. Any dtype, any device.

The linear layers see all tokens of a step as one flat row. Only attention knows about sequences: those with as many new
tokens and a cache of about the same length (within a factor of two) are padded and computed together, so a step of
64 decoding sequences takes a handful of kernel calls a layer, not 64. Sizes: N tokens and S sequences of a step,
T new tokens of each sequence of a group, L cached positions, P blocks of X positions, Z layers, H and G query and
key-value heads, D head dimensions.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from forethought.engine.runner import BLOCK_SIZE, StepBatch
from forethought.errors import EngineError
from forethought.model.decoder import Decoder

GATHER_POSITIONS = 1 << 16
"""Most cached positions copied together for one kernel call; bounds the memory that a step needs."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Group:
    """Sequences of one step that are computed together. `mask_S1TL` is True where a token may look."""

    rows_ST: torch.Tensor
    blocks_SP: torch.Tensor
    mask_S1TL: torch.Tensor

    def gather(self, cache_PXGD: torch.Tensor) -> torch.Tensor:
        """The cached keys or values of the group's sequences, `SGLD`, out of one layer's blocks."""
        # Whole blocks by a flat list: a memory copy each, about twice as fast as indexing with a table.
        gathered = cache_PXGD.index_select(0, self.blocks_SP.flatten())
        return gathered.view(len(self.blocks_SP), -1, *cache_PXGD.shape[2:]).transpose(1, 2)


class _PagedAttention:
    """Attention of one step: writes the new keys and values into the cache, then mixes from it."""

    def __init__(
        self, keys_ZPXGD: torch.Tensor, values_ZPXGD: torch.Tensor, slots_N: torch.Tensor, groups: list[_Group]
    ) -> None:
        self._keys, self._values = keys_ZPXGD, values_ZPXGD
        self._slots_N = slots_N
        self._groups = groups

    def __call__(
        self, layer: int, queries_BTHD: torch.Tensor, keys_BTGD: torch.Tensor, values_BTGD: torch.Tensor
    ) -> torch.Tensor:
        keys_PXGD, values_PXGD = self._keys[layer], self._values[layer]
        keys_PXGD.flatten(0, 1).index_copy_(0, self._slots_N, keys_BTGD[0])
        values_PXGD.flatten(0, 1).index_copy_(0, self._slots_N, values_BTGD[0])
        mixed_NHD = torch.empty_like(queries_BTHD[0])
        for group in self._groups:
            mixed_SHTD = F.scaled_dot_product_attention(
                queries_BTHD[0][group.rows_ST].transpose(1, 2),
                group.gather(keys_PXGD),
                group.gather(values_PXGD),
                attn_mask=group.mask_S1TL,
                enable_gqa=True,
            )
            mixed_NHD[group.rows_ST] = mixed_SHTD.transpose(1, 2)
        return mixed_NHD[None]


class TorchRunner:
    """Runs `decoder`, which it takes over, with a KV cache of `blocks` blocks in the decoder's dtype and device."""

    def __init__(self, decoder: Decoder, blocks: int) -> None:
        config = decoder.config
        shape = (config.layers, blocks, BLOCK_SIZE, config.kv_heads, config.head_dim)
        self._decoder = decoder.eval()
        self._keys_ZPXGD = _zeros(shape, decoder.dtype, decoder.device)
        self._values_ZPXGD = _zeros(shape, decoder.dtype, decoder.device)
        # Blocks copied since the last step: what stands behind the part that was asked for is another sequence's.
        self._copied: list[int] = []

    @property
    def blocks(self) -> int:
        """KV blocks allocated."""
        return self._keys_ZPXGD.shape[1]

    @property
    def vocab_size(self) -> int:
        """Columns of the logits."""
        return self._decoder.config.vocab_size

    @property
    def hidden_size(self) -> int:
        """Values of an embedding."""
        return self._decoder.config.hidden_size

    @torch.inference_mode()
    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Writes the KV of the batch's tokens and returns float32 `logits_RV` of the rows asked for."""
        decoder, device = self._decoder, self._decoder.device
        token_ids_BT = torch.as_tensor(batch.token_ids_N, device=device)[None]
        positions_BT = torch.as_tensor(batch.positions_N, device=device)[None]
        embeddings_BTC = decoder.embed(token_ids_BT)
        for row, span in batch.spans:
            embeddings_BTC[0, row : row + len(span.embeddings_TD)] = span.embeddings_TD.to(embeddings_BTC)
        slots_N = _slots(batch)
        self._clear_leftovers(slots_N)
        slots_at_device_N = torch.as_tensor(slots_N, device=device)
        groups = list(_groups(batch, decoder.config.sliding_window, device))
        attention = _PagedAttention(self._keys_ZPXGD, self._values_ZPXGD, slots_at_device_N, groups)
        hidden_BTC = decoder(token_ids_BT, positions_BT, embeddings_BTC=embeddings_BTC, attention=attention)
        logit_rows_R = torch.as_tensor(batch.logit_rows_R, device=device)
        return decoder.logits(hidden_BTC[0, logit_rows_R]).float()

    @torch.inference_mode()
    def copy_block(self, source: int, target: int) -> None:
        """Copies the KV of one block in all layers."""
        for cache_ZPXGD in (self._keys_ZPXGD, self._values_ZPXGD):
            cache_ZPXGD[:, target] = cache_ZPXGD[:, source]
        self._copied.append(target)

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by their Hugging Face names; the KV cache is the caller's to forget.

        Raises:
            CheckpointError: a name is unknown or a shape is wrong; then nothing has changed.
        """
        self._decoder.replace(tensors)

    def _clear_leftovers(self, slots_N: Int64) -> None:
        """Zeroes what another sequence left behind the first slot that is written of a new or a copied block.

        The kernel adds a mask to the scores and multiplies the values by nought, so NaN shows through both.
        """
        block_N = slots_N // BLOCK_SIZE
        first_N = (slots_N % BLOCK_SIZE == 0) | np.isin(block_N, self._copied)
        for slot, block in zip(slots_N[first_N].tolist(), block_N[first_N].tolist(), strict=True):
            for cache_ZPXGD in (self._keys_ZPXGD, self._values_ZPXGD):
                cache_ZPXGD[:, block, slot % BLOCK_SIZE :] = 0
        self._copied.clear()


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Zeros. In main memory they take up room only where they are written; those of `torch.zeros` do at once."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size = math.prod(shape) * dtype.itemsize
    try:
        room = np.zeros(size, np.uint8)
    except MemoryError:
        raise EngineError(f"There is no room for {size / 2**20:.0f} MiB.", "Lower the engine's cache_tokens.") from None
    return torch.as_tensor(room).view(dtype).view(shape)


def _slots(batch: StepBatch) -> Int64:
    """Where in the cache each token of the step is written: block times `BLOCK_SIZE` plus offset."""
    owner_N = np.repeat(np.arange(len(batch.lengths_S)), np.diff(batch.starts_S))
    block_N = batch.tables_SB[owner_N, batch.positions_N // BLOCK_SIZE].astype(np.int64)
    return block_N * BLOCK_SIZE + batch.positions_N % BLOCK_SIZE


def _groups(batch: StepBatch, window: int | None, device: torch.device) -> Iterator[_Group]:
    """Sorts the sequences of a step into groups of as many new tokens and about as many blocks."""
    counts_S = np.diff(batch.starts_S)
    blocks_S = -(-batch.lengths_S // BLOCK_SIZE)
    kinds_S = np.stack([counts_S, np.ceil(np.log2(blocks_S)).astype(np.int32)], axis=1)
    kinds, kind_S = np.unique(kinds_S, axis=0, return_inverse=True)
    for kind, (count, _) in enumerate(cast("list[tuple[int, int]]", kinds.tolist())):
        members = np.flatnonzero(kind_S.reshape(-1) == kind)
        width = int(blocks_S[members].max())
        together = max(1, GATHER_POSITIONS // (width * BLOCK_SIZE))
        for first in range(0, len(members), together):
            yield _group(batch, members[first : first + together], count, width, window, device)


def _group(
    batch: StepBatch, members: Int64, count: int, width: int, window: int | None, device: torch.device
) -> _Group:
    rows_ST = batch.starts_S[members].astype(np.int64)[:, None] + np.arange(count)
    # Past the end of a sequence its own first block stands in: masked, and free of what others may have left.
    inside_SP = np.arange(width) < -(-batch.lengths_S[members] // BLOCK_SIZE)[:, None]
    tables_SP = batch.tables_SB[members, :width]
    blocks_SP = np.where(inside_SP, tables_SP, tables_SP[:, :1]).astype(np.int64)
    distance_STL = batch.positions_N[rows_ST][:, :, None] - np.arange(width * BLOCK_SIZE, dtype=np.int32)
    mask_STL = distance_STL >= 0
    if window is not None:
        mask_STL &= distance_STL < window
    parts = (torch.as_tensor(part, device=device) for part in (rows_ST, blocks_SP, mask_STL[:, None]))
    return _Group(*parts)
