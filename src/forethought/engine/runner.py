"""The seam between the scheduler and the arithmetic: a batch of tokens goes in, logits come out.

A runner owns the weights and the block KV cache. There are two: `TorchRunner` (the decoder of `model`, any dtype
and device: the reference) and `CompiledRunner` (our C kernels, bf16 or quantised, CPU: the fast one).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from forethought.engine.protocol import EmbeddingSpan

BLOCK_SIZE = 32
"""Positions per KV block: one pair of AMX tiles, and a fair grain for prefix sharing."""

Int32 = npt.NDArray[np.int32]


@dataclass(slots=True)
class StepBatch:
    """One forward pass over N tokens of S sequences, flat (no padding).

    Sequence s owns tokens `starts_S[s]` to `starts_S[s + 1]` (`starts_S` has S + 1 entries). Its last token here
    stands at position `lengths_S[s] - 1`, so `lengths_S[s]` is its KV length after this step, and its tokens
    are consecutive. `tables_SB[s]` lists the KV blocks of the sequence (-1 pads). Logits are wanted for the flat
    rows in `logit_rows_R`. `spans` are (flat row of the first token, span) pairs, already cut to this batch.
    """

    token_ids_N: Int32
    positions_N: Int32
    starts_S: Int32
    lengths_S: Int32
    tables_SB: Int32
    logit_rows_R: Int32
    spans: list[tuple[int, EmbeddingSpan]] = field(default_factory=list[tuple[int, EmbeddingSpan]])


class Runner(Protocol):
    """Arithmetic of one checkpoint on one machine."""

    @property
    def blocks(self) -> int:
        """KV blocks allocated, each of `BLOCK_SIZE` positions."""
        ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def hidden_size(self) -> int:
        """Values of an embedding."""
        ...

    def forward(self, batch: StepBatch) -> torch.Tensor:
        """Writes the KV of the batch's tokens, returns float32 `logits_RV` (the caller's to change until the next
        call)."""
        ...

    def copy_block(self, source: int, target: int) -> None:
        """Copies the KV of one block in all layers (a prefix that ends inside a block is shared by copy)."""
        ...

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by their Hugging Face names."""
        ...
