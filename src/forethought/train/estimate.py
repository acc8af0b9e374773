"""What a stage will cost in time and memory, said before it begins and compared with what it did cost.

Time is arithmetic: tokens, times operations a token, over the speed at which this machine multiplies matrices (measured
for a moment), times the share of that speed that training and sampling reach, roughly. It is meant to tell minutes from
hours; the figures of the last steps tell the time left better. Memory is the sum of what is known to be held, and on a
processor what its allocators keep beside that.
"""

from __future__ import annotations

import resource
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Final

import torch

from forethought.model.conversation import Effort, Thinking
from forethought.model.products import factors
from forethought.tasks.registry import family
from forethought.train.backend import packs_at_once
from forethought.train.traces import worked

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.model.config import DecoderConfig
    from forethought.train.backend import LearnerSettings
    from forethought.train.rl_settings import RlSettings
    from forethought.train.sft_settings import SftSettings

LEARNING_SHARE: Final = {
    ("cpu", torch.bfloat16): 0.5,
    ("cpu", torch.float32): 0.8,
    ("cuda", torch.bfloat16): 0.05,
    ("cuda", torch.float32): 0.3,
}
SAMPLING_SHARE: Final = {torch.bfloat16: 0.25, torch.float32: 0.6}
"""Share of the speed of matrix products that a learner's step and the engine reach: the faster products are, the less
they are all there is to do."""

TAUGHT_SHARE: Final = 0.6
"""Share of groups that teach something, in a run that goes well."""

ANSWER_TOKENS: Final = 8
EFFORT_TOKENS: Final = 16
"""What an answer has, and what telling the effort adds to a prompt; about."""
UNKNOWN_THINKING: Final = 100
"""Tokens of thinking about problems of a family that has no worked solutions."""

PROGRAM_BYTES: Final = 600 * 2**20
"""What Python and torch take before any weights."""

KEPT: Final = 1.55
"""Of the memory that is known to be held on a processor, so much is taken: allocators give little back, and packs that
are computed side by side find no place of the right size."""

FLOATS_PER_ACTIVATION: Final = 34
"""Numbers kept for the backward pass, for each token and layer, as multiples of the hidden size."""


@dataclass(frozen=True, slots=True)
class Work:
    """Tokens that a stage computes: learned from, sampled, and read as prompts by the engine."""

    learned: float = 0.0
    sampled: float = 0.0
    read: float = 0.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a stage should cost."""

    seconds: float
    memory_bytes: int

    def __str__(self) -> str:
        return f"{duration(self.seconds)} and {self.memory_bytes / 2**30:.1f} GiB"


def estimate(
    checkpoint: Checkpoint,
    learner: LearnerSettings,
    work: Work,
    at_once: int,
    *,
    teacher: bool = False,
    device: str = "cpu",
) -> Estimate:
    """The cost of some work; `at_once` tokens are held in the engine's cache, and a `teacher` beside the learner, which
    learns on `device`."""
    dtype = torch.bfloat16 if learner.dtype == "bfloat16" else torch.float32
    parameters = _parameters(checkpoint.config)
    backward = 2 if learner.train == "adapter" else 4
    rate = product_rate(dtype, device) * LEARNING_SHARE[device, dtype]
    seconds = work.learned * (2 + backward) * parameters / rate
    if work.sampled:
        seconds += (work.sampled + work.read) * 2 * parameters / (product_rate(dtype) * SAMPLING_SHARE[dtype])
    packs = packs_at_once(learner.threads or torch.get_num_threads()) if device == "cpu" else 1
    memory = _memory(checkpoint.config, learner, dtype, at_once if work.sampled else 0, packs)
    memory += parameters * (4 + dtype.itemsize) * teacher
    return Estimate(seconds, int(memory * (KEPT if device == "cpu" else 1)))


def duration(seconds: float) -> str:
    """A time for people: `45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def sft_work(settings: SftSettings) -> Work:
    """The work of a stage of fine-tuning. What rows share of their prompts is computed once, so it may be less."""
    return Work(learned=settings.steps * settings.tokens)


def rl_work(checkpoint: Checkpoint, settings: RlSettings) -> tuple[Work, int]:
    """The work of a stage, judged by the prompts and worked solutions of its families, and the most tokens that the
    engine holds meanwhile."""
    prompts = [_prompt_tokens(checkpoint, name, plan.start) for name, plan in settings.families.items()]
    weights: dict[Effort, float] = {effort: plan.weight for effort, plan in settings.efforts.items()}
    lengths = {
        effort: fmean(_thinking_tokens(checkpoint, name, effort) for name in settings.families) for effort in weights
    }
    output = sum(weights[effort] * lengths[effort] for effort in weights) / sum(weights.values()) + ANSWER_TOKENS
    prompt = fmean(prompts)
    groups = settings.steps * settings.prompts
    learned = TAUGHT_SHARE * groups * (prompt + settings.samples * output)
    learned += settings.steps * settings.answers * settings.replay.tokens
    held = min(settings.at_once, settings.prompts * settings.samples) * int(prompt + 2 * output)
    held = max(held, checkpoint.capabilities.context_length)  # less would shorten it
    return Work(learned, groups * settings.samples * output, groups * prompt), held


def product_rate(dtype: torch.dtype, device: str = "cpu", seconds: float = 0.4) -> float:
    """Floating-point operations a second of matrix products of a learner's size, here and now; at best, as whatever
    else the machine does meanwhile only makes them slower."""
    sizes = (512, 576), (576, 1536)
    left, right = factors(*(torch.ones(size, dtype=dtype, device=device) for size in sizes))
    product = torch.mm(left, right)
    count, least, tries, best, end = 10, 10, 0, 0.0, perf_counter() + seconds
    # A time slice that went to somebody else may be as long as all of it.
    while (began := perf_counter()) < end or tries < least:
        tries += 1
        for _ in range(count):
            torch.mm(left, right, out=product)
        float(product[0, 0])  # waits until it is there, wherever it is computed
        best = max(best, count * 2 * 512 * 576 * 1536 / (perf_counter() - began))
    return best


def begin_peak() -> None:
    """Forgets what memory was taken so far, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_memory() -> int:
    """Bytes that this process had resident at most since `begin_peak`, and had taken of a graphics processor."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    elsewhere = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return (peak if sys.platform == "darwin" else peak * 1024) + elsewhere


def _parameters(config: DecoderConfig) -> int:
    """Those that a token is multiplied by: the layers, and the output once."""
    attention = config.hidden_size * config.head_dim * 2 * (config.heads + config.kv_heads)
    layer = attention + 3 * config.hidden_size * config.intermediate_size
    return config.layers * layer + config.vocab_size * config.hidden_size


def _memory(config: DecoderConfig, learner: LearnerSettings, dtype: torch.dtype, held: int, packs: int) -> int:
    parameters = _parameters(config)
    trained = 4 * 4 * parameters if learner.train == "all" else 0
    if learner.train == "all" and packs > 1:
        trained += (packs + 1) * dtype.itemsize * parameters  # gradients of packs, until they are summed
    activations = (
        packs * learner.pack_tokens * config.layers * config.hidden_size * FLOATS_PER_ACTIVATION * dtype.itemsize
    )
    cache = held * 2 * config.layers * config.kv_heads * config.head_dim * dtype.itemsize
    engine = parameters * dtype.itemsize if held else 0
    # The base as it was read stays mapped beside the copy that is computed with.
    return int(PROGRAM_BYTES + parameters * (4 + dtype.itemsize) + trained + activations + engine + cache)


def _prompt_tokens(checkpoint: Checkpoint, name: str, level: int) -> int:
    conversation = family(name).problem(0, level).conversation
    return len(checkpoint.renderer.render(conversation, think=False).token_ids) + EFFORT_TOKENS


def _thinking_tokens(checkpoint: Checkpoint, name: str, effort: Effort) -> int:
    trace = worked(family(name).problem(0, 1), effort, Random(0))
    if trace is None:
        return UNKNOWN_THINKING
    return sum(len(checkpoint.tokenizer.encode(item.text)) for item in trace if isinstance(item, Thinking))
