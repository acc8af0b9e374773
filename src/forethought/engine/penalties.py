"""Repetition, presence and frequency penalties: which tokens a request has seen, and what that costs them."""

from typing import Self

import numpy as np
import numpy.typing as npt

from forethought.engine.protocol import Sampling


class PenaltyTable:
    """The tokens of one request that are penalised, with how often each was emitted.

    The repetition penalty (Keskar et al. 2019, CTRL) counts prompt and output; presence and frequency penalties
    (OpenAI) count the output only.
    """

    __slots__ = ("_counts", "_frequency", "_ids", "_place", "_presence", "_repetition")

    def __init__(self, sampling: Sampling, prompt_ids: tuple[int, ...]) -> None:
        self._repetition = np.float32(sampling.repetition_penalty)
        self._presence = np.float32(sampling.presence_penalty)
        self._frequency = np.float32(sampling.frequency_penalty)
        known = dict.fromkeys(prompt_ids) if sampling.repetition_penalty != 1.0 else {}
        self._place = {token: place for place, token in enumerate(known)}
        self._ids = np.fromiter(known, np.int64, len(known))
        self._counts = np.zeros(len(known), np.float32)

    @classmethod
    def of(cls, sampling: Sampling, prompt_ids: tuple[int, ...]) -> Self | None:
        """None for a request without penalties."""
        if sampling.repetition_penalty == 1.0 and not sampling.presence_penalty and not sampling.frequency_penalty:
            return None
        return cls(sampling, prompt_ids)

    def count(self, token: int) -> None:
        """The token was emitted."""
        place = self._place.setdefault(token, len(self._place))
        if place >= len(self._ids):
            room = max(64, 2 * len(self._ids))
            self._ids = np.concatenate([self._ids, np.zeros(room - len(self._ids), np.int64)])
            self._counts = np.concatenate([self._counts, np.zeros(room - len(self._counts), np.float32)])
        self._ids[place] = token
        self._counts[place] += 1

    def apply(self, logits_V: npt.NDArray[np.float32]) -> None:
        """Lowers the logits of one row, in place."""
        known = len(self._place)
        ids, counts = self._ids[:known], self._counts[:known]
        values = logits_V[ids]
        if self._repetition != 1:
            values = np.where(values > 0, values / self._repetition, values * self._repetition)
        logits_V[ids] = values - self._presence * (counts > 0) - self._frequency * counts
