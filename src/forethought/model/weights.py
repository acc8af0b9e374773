"""Tensors on disk: safetensors files in the layout of Hugging Face, one file or shards with an index.

Reading maps the files into memory: nothing is copied until a tensor is touched. Writing goes through a temporary name,
so that a reader, or a crash, never meets half a file.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from forethought.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
"""Largest shard that `write_tensors` makes, the customary 5 GB."""


def read_tensors(directory: Path) -> dict[str, torch.Tensor]:
    """The tensors of a Hugging Face directory by name, memory-mapped: copy one before you change it.

    Raises:
        CheckpointError: there are no safetensors files, or a shard is missing or corrupt.
    """
    index = directory / INDEX_FILE
    if not index.exists():
        return read_file(directory / SINGLE_FILE)
    weight_map = _read_index(index)
    tensors: dict[str, torch.Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        tensors |= read_file(directory / shard)
    absent = sorted(set(weight_map) - set(tensors))
    if absent:
        raise CheckpointError(
            f"The shards in {directory} lack {len(absent)} tensors of {INDEX_FILE}, the first being {absent[0]}.",
            "Fetch the checkpoint again.",
        )
    return tensors


def read_file(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of one safetensors file by name, memory-mapped.

    Raises:
        CheckpointError: the file is missing or corrupt.
    """
    if not path.is_file():
        raise CheckpointError(
            f"There is no {path.name} in {path.parent}.", "Weights must be safetensors files; fetch or convert them."
        )
    try:
        opened: Any = safe_open(path, framework="pt", device="cpu")
        with opened as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", "Fetch the checkpoint again.") from error


def write_tensors(directory: Path, tensors: Mapping[str, torch.Tensor], shard_bytes: int = SHARD_BYTES) -> None:
    """Writes `model.safetensors`, or shards of at most `shard_bytes` and their index, replacing what was there."""
    directory.mkdir(parents=True, exist_ok=True)
    shards = list(_shards(tensors, shard_bytes))
    names = [_shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_file(directory / name, shard)
    if len(shards) > 1:
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        total = sum(tensor.nbytes for tensor in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        partial = directory / f"{INDEX_FILE}.partial"
        partial.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, directory / INDEX_FILE)
    _remove_earlier(directory, {*names, INDEX_FILE} if len(shards) > 1 else {*names})


def write_file(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes one safetensors file at once or not at all. Tensors may live on any device."""
    partial = path.with_name(f"{path.name}.partial")
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(on_cpu, partial, metadata={"format": "pt"})
    os.replace(partial, path)


def _read_index(path: Path) -> dict[str, str]:
    try:
        index: Any = json.loads(path.read_text(encoding="utf-8"))
        weight_map = cast("dict[str, str]", index["weight_map"])
        inside = all(Path(name).name == name for name in weight_map.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not an index of shards.", "Fetch the checkpoint again.") from error
    if not inside:
        raise CheckpointError(f"{path} names a shard outside its directory.", "Do not trust this checkpoint.")
    return weight_map


def _shards(tensors: Mapping[str, torch.Tensor], limit: int) -> Iterator[dict[str, torch.Tensor]]:
    """Fills one shard after the other, in the order given; a tensor above the limit has one for itself."""
    shard: dict[str, torch.Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        if shard and size + tensor.nbytes > limit:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += tensor.nbytes
    yield shard


def _shard_name(number: int, count: int) -> str:
    return SINGLE_FILE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def _remove_earlier(directory: Path, written: set[str]) -> None:
    """An earlier save with another number of shards must not be read in place of this one."""
    for path in [directory / INDEX_FILE, directory / SINGLE_FILE, *directory.glob("model-*-of-*.safetensors")]:
        if path.name not in written:
            path.unlink(missing_ok=True)
