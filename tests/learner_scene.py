"""A tiny checkpoint's learner and rows for it, for the tests of training."""

import random
from typing import Any

import torch

from forethought.model.checkpoint import Checkpoint
from forethought.train.adapter import fresh_adapter
from forethought.train.backend import Adapter, LearnerSettings
from forethought.train.rows import Branch, Row
from forethought.train.torch_backend import TorchBackend

FLOAT32 = LearnerSettings(dtype="float32", threads=1, pack_tokens=96)


def moved_adapter(checkpoint: Checkpoint, rank: int = 4) -> Adapter:
    """An adapter that changes something: its second factor is not zero."""
    adapter = fresh_adapter(checkpoint, rank=rank, alpha=8.0)
    generator = torch.Generator().manual_seed(5)
    for name, tensor in adapter.tensors.items():
        if name.endswith("lora_B.weight"):
            tensor.normal_(0, 0.1, generator=generator)
    return adapter


def learner(checkpoint: Checkpoint, settings: LearnerSettings = FLOAT32, **options: Any) -> TorchBackend:
    """A learner in float32."""
    adapter = moved_adapter(checkpoint) if settings.train == "adapter" else None
    return TorchBackend(checkpoint, settings, **{"adapter": adapter, **options})


def some_rows(checkpoint: Checkpoint, count: int, *, seed: int = 0, branches: int = 3) -> list[Row]:
    """Random rows, of which some begin alike, with markers in them, tokens that are not learned, and advantages."""
    rng = random.Random(seed)
    vocabulary = checkpoint.config.vocab_size
    starts = [tuple(rng.randrange(vocabulary) for _ in range(length)) for length in (20, 27)]

    def branch() -> Branch:
        length = rng.randint(1, 20)
        tokens = tuple(rng.randrange(vocabulary) for _ in range(length))
        learned = tuple(rng.random() < 0.8 for _ in range(length - 1))
        return Branch(
            tokens,
            (True, *learned),
            advantage=rng.uniform(-1, 1),
            sampler_logprobs=tuple(rng.uniform(-7, -5) for _ in tokens),
            reference_logprobs=tuple(rng.uniform(-7, -5) for _ in tokens),
        )

    def row() -> Row:
        own = tuple(rng.randrange(vocabulary) for _ in range(rng.randint(1, 9)))
        return Row(rng.choice((*starts, ())) + own, tuple(branch() for _ in range(rng.randint(1, branches))))

    return [row() for _ in range(count)]


def single_rows(rows: list[Row]) -> list[Row]:
    """The same, each branch with a prompt of its own."""
    return [Row(row.prompt_ids, (branch,)) for row in rows for branch in row.branches]


def gradients(backend: TorchBackend) -> dict[str, torch.Tensor]:
    """What has been gathered, and is cleared."""
    gathered = {name: tensor.grad.clone() for name, tensor in backend.trained.items() if tensor.grad is not None}
    for tensor in backend.trained.values():
        tensor.grad = None
    return gathered
