"""Builds a core for a checkpoint: chooses the runner, sizes the KV cache, digests the tensors that are loaded."""

from typing import TYPE_CHECKING

import torch

from forethought import logs
from forethought.engine.blocks import blocks_for
from forethought.engine.core import EngineCore
from forethought.engine.machine import free_memory, threads_for
from forethought.engine.runner import BLOCK_SIZE, Runner
from forethought.engine.torch_runner import TorchRunner
from forethought.errors import EngineError, SettingsError
from forethought.model.decoder import Decoder
from forethought.model.digest import LoadOptions
from forethought.settings import EngineSettings, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forethought.model.checkpoint import Checkpoint
    from forethought.model.config import DecoderConfig

CACHE_SHARE = 0.25
"""Share of the free memory that the KV cache gets when its size is not set; one context it gets in any case."""

CACHE_CONTEXTS = 64
"""Full contexts that it holds at most, then."""

log = logs.get_logger(__name__)


def build_core(checkpoint: "Checkpoint", settings: Settings) -> EngineCore:
    """Loads a checkpoint's weights into a runner and puts a core on top.

    Raises:
        CheckpointError: the weights cannot be read or do not fit the config.
        SettingsError: the settings ask for what this machine, or the runner, cannot do.
        EngineError: the runner cannot be built.
    """
    engine, config = settings.engine, checkpoint.config
    compiled = _use_compiled(settings)
    bfloat16 = engine.dtype == "bfloat16" or (compiled and engine.dtype == "auto")
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    declared = checkpoint.capabilities.context_length
    blocks = _cache_blocks(engine, config, dtype, declared)
    context = min(declared, blocks * BLOCK_SIZE)
    if context < declared:
        log.warning("the KV cache holds less than one context", context_length=context, declared=declared)
    tensors = checkpoint.tensors()
    load = LoadOptions(quantization=engine.quantization, context_length=context if context < declared else None)
    digest = checkpoint.digest(load, tensors)
    if checkpoint.adapter is not None:
        from forethought.model import lora

        tensors = lora.merge(tensors, *lora.load_adapter(checkpoint.adapter))
    runner = (
        _compiled(settings, config, tensors, blocks, dtype, context)
        if compiled
        else _torch(engine, config, tensors, blocks, dtype)
    )
    log.info("engine built", runner=type(runner).__name__, cache_tokens=blocks * BLOCK_SIZE, digest=digest)
    return EngineCore(runner, checkpoint.tokenizer, engine, context, digest)


def _use_compiled(settings: Settings) -> bool:
    """Whether the compiled runner is what `settings` ask for and this machine can build."""
    engine = settings.engine
    if engine.runner != "torch" and _kernels_load(settings):
        return True
    if engine.quantization != "none":
        message = f"engine.quantization {engine.quantization} needs the compiled runner, and torch is what runs here."
        raise SettingsError(message, "Set it to none, or install a C compiler and leave the runner on auto.")
    return False


def _kernels_load(settings: Settings) -> bool:
    from forethought.engine.compiled.build import FLOAT32
    from forethought.engine.compiled.library import load

    try:
        load(settings.cache_dir, FLOAT32 if settings.engine.dtype == "float32" else ())
    except EngineError as error:
        if settings.engine.runner == "compiled":
            raise
        log.warning("torch computes, several times slower", reason=error.message, remedy=error.remedy)
        return False
    return True


def _compiled(
    settings: Settings,
    config: "DecoderConfig",
    tensors: "Mapping[str, torch.Tensor]",
    blocks: int,
    dtype: torch.dtype,
    context: int,
) -> Runner:
    from forethought.engine.compiled import CompiledRunner

    engine = settings.engine
    return CompiledRunner(
        config,
        tensors,
        blocks=blocks,
        cache_dir=settings.cache_dir,
        dtype=dtype,
        quantization=engine.quantization,
        threads=threads_for(engine),
        max_tokens=engine.max_step_tokens,
        max_sequences=engine.max_running,
        context_length=context,
    )


def _torch(
    settings: EngineSettings,
    config: "DecoderConfig",
    tensors: "Mapping[str, torch.Tensor]",
    blocks: int,
    dtype: torch.dtype,
) -> Runner:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    return TorchRunner(Decoder.from_tensors(config, tensors, dtype), blocks)


def _cache_blocks(settings: EngineSettings, config: "DecoderConfig", dtype: torch.dtype, context: int) -> int:
    if settings.cache_tokens:
        return blocks_for(settings.cache_tokens)
    block_bytes = 2 * config.layers * config.kv_heads * config.head_dim * BLOCK_SIZE * dtype.itemsize
    fitting, one = int(free_memory() * CACHE_SHARE) // block_bytes, blocks_for(context)
    # Never less than one context: what a model is, and so its digest, must not follow the memory that happens to be
    # free. The runners allocate lazily, so what is never written costs nothing.
    if fitting < one:
        log.warning("little memory is free for the KV cache", needed_bytes=one * block_bytes, context_length=context)
    return max(one, min(fitting, CACHE_CONTEXTS * one))
