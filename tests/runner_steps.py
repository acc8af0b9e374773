"""Steps for the tests of runners: sequences whose blocks lie scattered, and the batches that advance them."""

from dataclasses import dataclass
from random import Random

import numpy as np
import torch

from forethought.engine.runner import BLOCK_SIZE, Runner, StepBatch
from forethought.model.config import DecoderConfig
from forethought.model.decoder import Decoder
from forethought.model.rope_config import RopeConfig

VOCAB = 61
BLOCKS = 40


def make_config(sliding_window: int | None = None) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=VOCAB,
        hidden_size=48,
        intermediate_size=64,
        layers=2,
        heads=6,
        kv_heads=2,
        head_dim=16,
        max_positions=512,
        rope=RopeConfig(),
        tied=True,
        qk_norm=True,
        sliding_window=sliding_window,
        model_type="qwen3",
    )


def make_decoder(config: DecoderConfig) -> Decoder:
    torch.manual_seed(0)
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.normal_(mean=float(parameter.dim() == 1), std=0.2)
    return decoder


@dataclass
class Sequence:
    """A sequence as the scheduler sees it: its tokens, its blocks, and how much of it is in the cache."""

    token_ids: list[int]
    table: list[int]
    cached: int = 0


def make_batch(parts: list[tuple[Sequence, int]], logit_rows: list[int] | None = None) -> StepBatch:
    """The next `count` tokens of each sequence in one step; logits of every token unless told otherwise."""
    spans = [(s.cached, s.cached + count) for s, count in parts]
    tokens = [token for (s, _), (start, end) in zip(parts, spans, strict=True) for token in s.token_ids[start:end]]
    width = max(len(s.table) for s, _ in parts)
    for sequence, count in parts:
        sequence.cached += count
    return StepBatch(
        token_ids_N=np.array(tokens, np.int32),
        positions_N=np.concatenate([np.arange(*span, dtype=np.int32) for span in spans]),
        starts_S=np.cumsum([0, *(count for _, count in parts)], dtype=np.int32),
        lengths_S=np.array([end for _, end in spans], np.int32),
        tables_SB=np.array([s.table + [-1] * (width - len(s.table)) for s, _ in parts], np.int32),
        logit_rows_R=np.array(range(len(tokens)) if logit_rows is None else logit_rows, np.int32),
    )


def make_sequences(lengths: list[int]) -> list[Sequence]:
    """Random sequences, the same on each call, whose blocks lie scattered over the cache."""
    random = np.random.default_rng(0)
    free = random.permutation(BLOCKS).tolist()
    return [
        Sequence(random.integers(0, VOCAB, n).tolist(), [free.pop() for _ in range(-(-n // BLOCK_SIZE))])
        for n in lengths
    ]


def expected_logits(decoder: Decoder, sequence: Sequence) -> torch.Tensor:
    with torch.no_grad():
        return decoder.logits(decoder(torch.tensor([sequence.token_ids])))[0]


def run_in_steps(runner: Runner, sequences: list[Sequence], random: Random) -> list[torch.Tensor]:
    """Runs all sequences to their end, in steps of random membership and chunks; their logits, token by token."""
    rows: list[list[torch.Tensor]] = [[] for _ in sequences]
    while waiting := [i for i, s in enumerate(sequences) if s.cached < len(s.token_ids)]:
        members = random.sample(waiting, random.randint(1, len(waiting)))
        counts = [min(random.choice([1, 1, 7, 40]), remaining(sequences[i])) for i in members]
        logits = runner.forward(make_batch([(sequences[i], c) for i, c in zip(members, counts, strict=True)])).clone()
        for i, part in zip(members, logits.split(counts), strict=True):
            rows[i].append(part)
    return [torch.cat(parts) for parts in rows]


def remaining(sequence: Sequence) -> int:
    return len(sequence.token_ids) - sequence.cached
