"""LoRA adapters in PEFT's file format: load, save, attach to a decoder (to train, or to run unmerged), merge.

An adapter is a `LoraConfig` and its tensors. Their names are PEFT's without the prefix `base_model.model.`, that is
the name of the changed module and `lora_A.weight`, `lora_B.weight` or `token_adapter.trainable_tokens_delta`. Which
base it belongs to is recorded by the checkpoint (`forethought.json` beside it).
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from forethought.errors import CheckpointError
from forethought.model.decoder import Decoder, Linear
from forethought.model.layout import ADAPTER_CONFIG, read_object, write_object
from forethought.model.lora_config import ALL_LINEAR, EMBEDDING, HEAD, LoraConfig
from forethought.model.lora_layers import LoraLinear, TokenRowEmbedding, TokenRowHead
from forethought.model.weights import read_file, write_file

__all__ = ["ALL_LINEAR", "LoraConfig", "attach", "load_adapter", "merge", "save_adapter"]

ADAPTER_FILE = "adapter_model.safetensors"

_PREFIX = "base_model.model."
_LORA_A, _LORA_B, _ROWS = "lora_A.weight", "lora_B.weight", "token_adapter.trainable_tokens_delta"
_REMEDY = "Use the adapter with the base that it was made for."


def load_adapter(directory: Path) -> tuple[LoraConfig, dict[str, torch.Tensor]]:
    """Reads a PEFT adapter; its tensors are mapped from disk.

    Raises:
        CheckpointError: a file is missing or broken, or the adapter uses a feature of PEFT that we do not have.
    """
    config = LoraConfig.from_peft(read_object(directory / ADAPTER_CONFIG))
    tensors = read_file(directory / ADAPTER_FILE)
    return config, {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}


def save_adapter(
    directory: Path, config: LoraConfig, tensors: Mapping[str, torch.Tensor], base: str | None = None
) -> None:
    """Writes an adapter that PEFT loads. `base` is where PEFT shall look for the base, a directory or a name."""
    directory.mkdir(parents=True, exist_ok=True)
    write_file(directory / ADAPTER_FILE, {_PREFIX + name: tensor for name, tensor in tensors.items()})
    write_object(directory / ADAPTER_CONFIG, config.to_peft() | {"base_model_name_or_path": base})


def attach(
    decoder: Decoder,
    config: LoraConfig,
    tensors: Mapping[str, torch.Tensor] | None = None,
    unrounded: Mapping[str, torch.Tensor] | None = None,
) -> dict[str, nn.Parameter]:
    """Puts an adapter beside the decoder's weights, which are frozen; with no tensors a fresh one that changes nothing.

    Returns the adapter's parameters by name, all trainable: what an optimiser takes and `save_adapter` writes.

    Args:
        unrounded: the base's tensors, if the decoder was made of them in a shorter dtype. With them the layers compute
            with the same weights as a decoder of that dtype made of merged tensors.

    Raises:
        CheckpointError: adapter and decoder do not fit each other, or the decoder has an adapter already.
    """
    base = dict(decoder.named_parameters())
    if any(_is_adapter(name) for name in base):
        raise CheckpointError("The decoder has an adapter already.", "Merge that one into the weights first.")
    shapes = _shapes(config, base)
    if tensors is not None:
        _check(tensors, shapes)
    decoder.requires_grad_(False)
    for name in config.targets(_linear_modules(base)):
        parent, _, child = name.rpartition(".")
        linear = decoder.get_submodule(name)
        assert isinstance(linear, Linear)
        whole = None if unrounded is None else unrounded[f"{name}.weight"]
        layer = LoraLinear(linear, config.rank, config.scale, config.dropout, whole)
        setattr(decoder.get_submodule(parent), child, layer)
    if config.input_token_ids:
        decoder.model.embed_tokens = TokenRowEmbedding(decoder.model.embed_tokens, config.input_token_ids)
    if config.output_token_ids and decoder.lm_head is not None:
        decoder.lm_head = TokenRowHead(decoder.lm_head, config.output_token_ids)
    decoder.train(decoder.training)  # the new modules too
    if tensors is not None:
        decoder.replace(tensors)
    return {name: parameter for name, parameter in decoder.named_parameters() if name in shapes}


def merge(
    tensors: Mapping[str, torch.Tensor], config: LoraConfig, adapter: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The base's tensors with the adapter's changes in them, computed in float32 and returned in the base's dtype.

    Tensors that the adapter does not change are the same objects as before.

    Raises:
        CheckpointError: adapter and base do not fit each other.
    """
    _check(adapter, _shapes(config, tensors))
    merged = dict(tensors)
    for module in config.targets(_linear_modules(tensors)):
        weight = tensors[f"{module}.weight"]
        lora_a, lora_b = (adapter[f"{module}.{part}"].detach().float() for part in (_LORA_A, _LORA_B))
        merged[f"{module}.weight"] = (weight.float() + lora_b @ lora_a * config.scale).to(weight.dtype)
    for module, token_ids in _row_modules(config, tensors).items():
        table_VC = tensors[f"{module}.weight"].clone()
        table_VC[list(token_ids)] = adapter[f"{module}.{_ROWS}"].detach().to(table_VC.dtype)
        merged[f"{module}.weight"] = table_VC
    return merged


def _is_adapter(name: str) -> bool:
    return name.endswith((_LORA_A, _LORA_B, _ROWS))


def _linear_modules(base: Mapping[str, torch.Tensor]) -> list[str]:
    """The modules whose weights are matrices, without the token table."""
    names = [name.removesuffix(".weight") for name, tensor in base.items() if tensor.dim() == 2]
    return [name for name in names if name != EMBEDDING]


def _row_modules(config: LoraConfig, base: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """The trained token ids of each table that has some."""
    tied = f"{HEAD}.weight" not in base
    # PEFT takes equal ids for both sides of a tied table, and stores them once.
    if tied and config.output_token_ids not in ((), config.input_token_ids):
        raise CheckpointError("The adapter trains output rows of their own, and the base's output is tied.", _REMEDY)
    rows = {EMBEDDING: config.input_token_ids, HEAD: () if tied else config.output_token_ids}
    return {module: token_ids for module, token_ids in rows.items() if token_ids}


def _shapes(config: LoraConfig, base: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that such an adapter has on such a base."""
    shapes: dict[str, tuple[int, ...]] = {}
    for module in config.targets(_linear_modules(base)):
        rows, columns = base[f"{module}.weight"].shape
        shapes[f"{module}.{_LORA_A}"] = (config.rank, columns)
        shapes[f"{module}.{_LORA_B}"] = (rows, config.rank)
    for module, token_ids in _row_modules(config, base).items():
        rows, columns = base[f"{module}.weight"].shape
        if max(token_ids) >= rows:
            raise CheckpointError(f"The adapter trains token {max(token_ids)}; the base has {rows} tokens.", _REMEDY)
        if f"{module}.{_LORA_A}" in shapes:
            raise CheckpointError(f"The adapter has both a low-rank update and trained rows for {module}.", _REMEDY)
        shapes[f"{module}.{_ROWS}"] = (len(token_ids), columns)
    return shapes


def _check(adapter: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for kind, names in (("lacks", shapes.keys() - adapter.keys()), ("has the unknown", adapter.keys() - shapes.keys())):
        if names:
            raise CheckpointError(f"The adapter {kind} tensor {min(names)}.", _REMEDY)
    for name, shape in shapes.items():
        if adapter[name].shape != shape:
            raise CheckpointError(
                f"The adapter's tensor {name} has shape {tuple(adapter[name].shape)}; the base makes it {shape}.",
                _REMEDY,
            )
