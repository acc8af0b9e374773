"""The base as a teacher: what it would say next, whole, where its own answers are replayed.

A replayed answer is one sample of what the base might have said. Learning all of its distribution at every token is the
same on average, with a fraction of the noise, and nothing is left to learn where the model still is the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from forethought.model.decoder import Decoder
from forethought.train.packing import pack_rows
from forethought.train.scoring import predicting_states

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forethought.model.checkpoint import Checkpoint
    from forethought.train.backend import LearnerSettings
    from forethought.train.rows import Row


class Teacher:
    """A base that is only read. Raises `CheckpointError` when its weights cannot be."""

    def __init__(self, base: Checkpoint, settings: LearnerSettings, device: torch.device | str = "cpu") -> None:
        dtype = torch.bfloat16 if settings.dtype == "bfloat16" else torch.float32
        self._decoder = Decoder.from_tensors(base.config, base.tensors(), dtype, device).eval()
        self._pack_tokens = settings.pack_tokens

    @torch.no_grad()
    def states(self, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
        """The hidden states that predict the tokens of each row of one branch, all of them learned: `states_LC`."""
        config = self._decoder.config
        lengths = [row.learned_tokens for row in rows]
        states_NC = np.empty((sum(lengths), config.hidden_size), np.float32)
        for pack in pack_rows(rows, self._pack_tokens, config.max_positions):
            states_NC[pack.order_N.numpy()] = predicting_states(self._decoder, pack).float().cpu().numpy()
        return np.split(states_NC, np.cumsum(lengths)[:-1])
