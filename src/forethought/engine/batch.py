"""Builds the batch of a step in preallocated arrays."""

from dataclasses import replace

import numpy as np

from forethought.engine.protocol import EmbeddingSpan
from forethought.engine.runner import Int32, StepBatch
from forethought.engine.scheduler import Plan
from forethought.engine.sequence import Sequence


class BatchBuilder:
    """Arrays for at most so many tokens, sequences, and blocks of one sequence. Each batch overwrites the last."""

    def __init__(self, tokens: int, sequences: int, blocks: int) -> None:
        self._token_ids = np.empty(tokens, np.int32)
        self._positions = np.empty(tokens, np.int32)
        self._starts = np.empty(sequences + 1, np.int32)
        self._lengths = np.empty(sequences, np.int32)
        self._tables = np.empty(sequences * blocks, np.int32)
        self._logit_rows = np.empty(sequences, np.int32)
        self._order = np.arange(sequences + 1, dtype=np.int32)

    def build(self, plan: Plan) -> tuple[StepBatch, list[Sequence]]:
        """The batch, and the sequences of its logit rows: those whose last known token it computes."""
        decodes = len(plan.decodes)
        sequences = decodes + len(plan.chunks)
        self._token_ids[:decodes] = [sequence.tokens[-1] for sequence in plan.decodes]
        self._positions[:decodes] = [sequence.computed for sequence in plan.decodes]
        self._lengths[:decodes] = self._positions[:decodes] + 1
        self._starts[: decodes + 1] = self._order[: decodes + 1]
        self._logit_rows[:decodes] = self._order[:decodes]
        sampled, tokens = list(plan.decodes), decodes
        for index, (sequence, count) in enumerate(plan.chunks, decodes):
            end = sequence.computed + count
            self._token_ids[tokens : tokens + count] = sequence.tokens[sequence.computed : end]
            self._positions[tokens : tokens + count] = np.arange(sequence.computed, end)
            tokens += count
            self._starts[index + 1] = tokens
            self._lengths[index] = end
            if end == len(sequence.tokens):
                self._logit_rows[len(sampled)] = tokens - 1
                sampled.append(sequence)
        batch = StepBatch(
            token_ids_N=self._token_ids[:tokens],
            positions_N=self._positions[:tokens],
            starts_S=self._starts[: sequences + 1],
            lengths_S=self._lengths[:sequences],
            tables_SB=self._fill_tables(plan),
            logit_rows_R=self._logit_rows[: len(sampled)],
        )
        for index, (sequence, count) in enumerate(plan.counts):
            if sequence.request.spans:
                batch.spans += _cut_spans(sequence, count, int(batch.starts_S[index]))
        return batch, sampled

    def _fill_tables(self, plan: Plan) -> Int32:
        tables = [sequence.table for sequence, _ in plan.counts]
        width = max(len(table.blocks) for table in tables)
        tables_SB = self._tables[: len(tables) * width].reshape(len(tables), width)
        for row, table in enumerate(tables):
            tables_SB[row] = table.ids[:width]
        return tables_SB


def _cut_spans(sequence: Sequence, count: int, row: int) -> list[tuple[int, EmbeddingSpan]]:
    """The parts of a sequence's spans that fall on the `count` tokens which stand from flat row `row` on."""
    start, end = sequence.computed, sequence.computed + count
    cut: list[tuple[int, EmbeddingSpan]] = []
    for span in sequence.request.spans:
        first, last = max(span.position, start), min(span.position + span.embeddings_TD.shape[0], end)
        if first < last:
            rows_TD = span.embeddings_TD[first - span.position : last - span.position]
            cut.append((row + first - start, replace(span, position=first, embeddings_TD=rows_TD)))
    return cut
