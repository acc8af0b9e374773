"""A runner without a model, whose logits betray every mistake in the bookkeeping around it.

What it keeps in a KV block for a position is a hash of the token there and of what its own cache holds for the
position before. Logits are a hash of all that the sequence's blocks hold. A wrong block, a wrong position, a block
shared by mistake or overwritten, a token computed twice or not at all: each changes the answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from conftest import tiny_tokenizer
from forethought.engine.core import EngineCore
from forethought.engine.protocol import (
    Completion,
    EngineEvent,
    Finished,
    Limits,
    Request,
    Sampling,
    TokenEvent,
)
from forethought.engine.runner import BLOCK_SIZE, StepBatch
from forethought.errors import CheckpointError
from forethought.model.tokenizer import Tokenizer
from forethought.settings import EngineSettings

MASK = (1 << 64) - 1
TOKENIZER = Tokenizer(tiny_tokenizer().to_str())
VOCAB = TOKENIZER.vocab_size + 11
"""More than the tokenizer has, as models do."""


def mix(value: int) -> int:
    """SplitMix64's finalizer."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & MASK
    return value ^ (value >> 31)


@dataclass
class Step:
    """What a step looked like from below."""

    tokens: int
    sequences: int
    rows: int


class HashRunner:
    """The double. `fail` raises in the next forward; `poison` makes the logits of sequences with that token NaN."""

    hidden_size = 4

    def __init__(self, blocks: int, vocab_size: int = VOCAB) -> None:
        self.blocks = blocks
        self.vocab_size = vocab_size
        self.salt = 0
        self.fail = False
        self.poison: int | None = None
        self.steps: list[Step] = []
        self.copies: list[tuple[int, int]] = []
        self._kv = [[0] * BLOCK_SIZE for _ in range(blocks)]

    def forward(self, batch: StepBatch) -> torch.Tensor:
        self._check(batch)
        if self.fail:
            self.fail = False
            raise RuntimeError("the arithmetic went wrong")
        self.steps.append(Step(len(batch.token_ids_N), len(batch.lengths_S), len(batch.logit_rows_R)))
        values = [int(token) for token in batch.token_ids_N]
        for row, span in batch.spans:
            for offset, embedding in enumerate(span.embeddings_TD.tolist()):
                values[row + offset] = hash(tuple(embedding)) & MASK
        for index, value in enumerate(values):
            self._write(batch, index, value)
        rows = [self._logits(batch, int(row)) for row in batch.logit_rows_R]
        return torch.stack(rows) if rows else torch.empty(0, self.vocab_size)

    def copy_block(self, source: int, target: int) -> None:
        self.copies.append((source, target))
        self._kv[target] = list(self._kv[source])

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        if set(tensors) != {"salt"}:
            raise CheckpointError("There is only one tensor here.", "Name it.")
        self.salt = int(tensors["salt"])

    @staticmethod
    def _owner(batch: StepBatch, index: int) -> int:
        return int(np.searchsorted(batch.starts_S, index, side="right")) - 1

    def _write(self, batch: StepBatch, index: int, value: int) -> None:
        table, position = batch.tables_SB[self._owner(batch, index)], int(batch.positions_N[index])
        before = 0 if position == 0 else self._read(table, position - 1)
        self._kv[table[position // BLOCK_SIZE]][position % BLOCK_SIZE] = mix(before * 31 + value + self.salt & MASK)

    def _read(self, table: np.ndarray, position: int) -> int:
        return self._kv[table[position // BLOCK_SIZE]][position % BLOCK_SIZE]

    def _logits(self, batch: StepBatch, row: int) -> torch.Tensor:
        owner = self._owner(batch, row)
        total = 0
        for position in range(int(batch.positions_N[row]) + 1):
            total = total * 3 + self._read(batch.tables_SB[owner], position) & MASK
        logits = np.random.Generator(np.random.PCG64(total)).normal(0, 3, self.vocab_size).astype(np.float32)
        if self.poison is not None and int(batch.token_ids_N[row]) == self.poison:
            logits[7] = np.nan
        return torch.from_numpy(logits)

    def _check(self, batch: StepBatch) -> None:
        """What the seam promises (engine/runner.py)."""
        arrays = (batch.token_ids_N, batch.positions_N, batch.starts_S, batch.lengths_S, batch.logit_rows_R)
        assert all(a.dtype == np.int32 and a.flags.c_contiguous for a in (*arrays, batch.tables_SB))
        assert batch.starts_S[0] == 0
        assert batch.starts_S[-1] == len(batch.token_ids_N)
        written: list[int] = []
        for s, length in enumerate(batch.lengths_S):
            start, end = batch.starts_S[s], batch.starts_S[s + 1]
            assert start < end
            assert batch.positions_N[start:end].tolist() == list(range(length - (end - start), length))
            used = batch.tables_SB[s][: -(-length // BLOCK_SIZE)].tolist()
            assert len(set(used)) == len(used)
            assert all(0 <= block < self.blocks for block in used)
            written += used[int(batch.positions_N[start]) // BLOCK_SIZE :]
        assert len(set(written)) == len(written), "two sequences write to one block"


def make_core(blocks: int = 64, context_length: int = 512, **settings: object) -> tuple[EngineCore, HashRunner]:
    """A core over the double."""
    runner = HashRunner(blocks)
    return EngineCore(
        runner, TOKENIZER, EngineSettings.model_validate(settings), context_length, "sha256:double"
    ), runner


def make_request(id_: str, prompt: list[int], max_tokens: int = 8, **fields: object) -> Request:
    """A request sampled with a fixed seed, unless told otherwise."""
    fields.setdefault("sampling", Sampling(seed=len(prompt)))
    limits = fields.pop("limits", Limits(max_tokens))
    return Request(id_, tuple(prompt), limits, **fields)  # type: ignore[arg-type]


@dataclass
class Recorder:
    """Drives a core and sorts its events by request."""

    core: EngineCore
    tokens: dict[str, list[TokenEvent]] = field(default_factory=dict)
    finished: dict[str, Finished] = field(default_factory=dict)

    def step(self) -> None:
        for id_, event in self.core.step():
            self.take(id_, event)

    def take(self, id_: str, event: EngineEvent) -> None:
        assert id_ not in self.finished, "an event after the end"
        if isinstance(event, Finished):
            self.finished[id_] = event
        else:
            self.tokens.setdefault(id_, []).append(event)

    def run(self, most: int = 5000) -> "Recorder":
        """Steps until nothing is left to do."""
        for _ in range(most):
            if not self.core.has_work:
                return self
            self.step()
        raise AssertionError(f"not done after {most} steps")

    def completion(self, id_: str) -> Completion:
        return Completion(id_, tuple(self.tokens.get(id_, ())), self.finished[id_])


def complete(core: EngineCore, *requests: Request) -> list[Completion]:
    """Adds the requests together, runs them to the end, gives their completions in order."""
    recorder = Recorder(core)
    for request in requests:
        core.add(request)
    recorder.run()
    return [recorder.completion(request.id) for request in requests]
