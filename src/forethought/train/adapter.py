"""A fresh adapter for a checkpoint: low-rank updates that change nothing yet, and marker rows that can be told apart.

The markers of thinking and of calls are reserved tokens that the base never saw. Their rows are nearly the same, and
the output is tied to them: an opening and a closing marker would get the same score, and the same gradient. So each
begins as the mean of words that say what it does, with a little noise. Such a mean is half as long as a row usually
is, and stays so: at full length it outscored every other token, and the first loss of SmolLM2 was 12 instead of 2.5.
"""

import math

import torch

from forethought.errors import TrainError
from forethought.model.checkpoint import Checkpoint
from forethought.model.decoder import Decoder
from forethought.model.lora import ALL_LINEAR, LoraConfig, attach
from forethought.model.lora_config import EMBEDDING, HEAD
from forethought.train.backend import Adapter

WORDS = (
    (" think", " reason", " first", " Let", " step"),
    (" answer", " therefore", " so", " done", " result"),
    (" call", " function", " tool", " use", " run"),
    (" end", " stop", " close", " return", " finished"),
)
"""What the rows begin as: of the markers that open and close thinking, and open and close a call."""

NOISE = 0.1
"""Length of the noise, as a share of the row's."""


def fresh_adapter(
    checkpoint: Checkpoint, *, rank: int = 16, alpha: float = 32.0, dropout: float = 0.0, seed: int = 0
) -> Adapter:
    """An adapter of all linear layers and, where the renderer has single markers for thinking and calls, of their rows.
    The same seed makes the same one.

    Raises:
        TrainError: the checkpoint has an adapter.
    """
    if checkpoint.adapter is not None:
        raise TrainError("The checkpoint has an adapter.", "Go on with that one, or merge it into the base first.")
    words = _markers(checkpoint)
    config = LoraConfig(
        rank=rank,
        alpha=alpha,
        target_modules=ALL_LINEAR,
        dropout=dropout,
        input_token_ids=tuple(words),
        output_token_ids=() if checkpoint.config.tied else tuple(words),
    )
    with torch.device("meta"):
        shapes = attach(Decoder(checkpoint.config), config)
    generator = torch.Generator().manual_seed(seed)
    base = checkpoint.tensors()
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in sorted(shapes.items()):
        if name.endswith("lora_A.weight"):
            bound = 1 / math.sqrt(parameter.shape[1])
            tensors[name] = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
        elif name.endswith("lora_B.weight"):
            tensors[name] = torch.zeros(parameter.shape)
        else:
            table = HEAD if name.startswith(HEAD) else EMBEDDING
            tensors[name] = _rows(base[f"{table}.weight"], list(words.values()), generator)
    return Adapter(config, tensors)


def _markers(checkpoint: Checkpoint) -> dict[int, list[int]]:
    """The ids of the markers, each with the tokens that it begins as."""
    renderer, encode = checkpoint.renderer, checkpoint.tokenizer.encode
    thinking, calls = renderer.thinking, renderer.calls
    ids: list[int | None] = [None] * len(WORDS)
    if thinking is not None and thinking.single:
        ids[:2] = thinking.start_id, thinking.end_ids[-1]
    if calls is not None and isinstance(calls.opening, int) and isinstance(calls.closing, int):
        ids[2:] = calls.opening, calls.closing
    return {
        id_: [token for word in words for token in encode(word)]
        for id_, words in zip(ids, WORDS, strict=True)
        if id_ is not None
    }


def _rows(table_VC: torch.Tensor, words: list[list[int]], generator: torch.Generator) -> torch.Tensor:
    """A row for each list of tokens."""
    rows: list[torch.Tensor] = []
    for token_ids in words:
        row_C = table_VC[token_ids].float().mean(0)
        noise_C = torch.randn(row_C.shape, generator=generator)
        rows.append(row_C + noise_C * (NOISE * _length(row_C) / _length(noise_C)))
    return torch.stack(rows)


def _length(row_C: torch.Tensor) -> torch.Tensor:
    return row_C.square().sum().sqrt()
