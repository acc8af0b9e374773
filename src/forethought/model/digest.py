"""The digest of a checkpoint: one sha256 over everything that decides how it behaves, and nothing else.

It is the sha256 of canonical JSON (sorted keys, no white space, UTF-8) of: every base and adapter tensor (name, dtype,
shape, sha256 of its bytes), the behavioural keys of the configs, the tokenizer, the renderer, the generation defaults,
the declared capabilities, and what changes behaviour at load. Where the files lie, how they are sharded, the order of
their keys and their metadata do not count.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What changes behaviour at load: the engine's `quantization`, and a context length other than the declared one.

    An adapter is always merged into the weights; the digest says so.
    """

    quantization: str = "none"
    context_length: int | None = None


@dataclass(frozen=True, slots=True)
class DigestParts:
    """All that goes into a digest, as JSON values and tensors. `tokenizer` is the content of tokenizer.json."""

    base: Mapping[str, torch.Tensor]
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    renderer: Mapping[str, Any]
    generation: Mapping[str, Any]
    capabilities: Mapping[str, Any]
    adapter: Mapping[str, torch.Tensor] | None = None
    adapter_config: Mapping[str, Any] | None = None
    load: LoadOptions = LoadOptions()


def checkpoint_digest(parts: DigestParts) -> str:
    """The digest, as "sha256:" and 64 hexadecimal digits."""
    load = asdict(parts.load) | {"adapter": "none" if parts.adapter is None else "merged"}
    content = {
        "schema_version": _SCHEMA_VERSION,
        "base": tensor_records(parts.base),
        "config": parts.config,
        "adapter": tensor_records(parts.adapter) if parts.adapter is not None else None,
        "adapter_config": parts.adapter_config,
        "tokenizer": json_digest(parts.tokenizer),
        "renderer": parts.renderer,
        "generation": parts.generation,
        "capabilities": parts.capabilities,
        "load": load,
    }
    return json_digest(content)


def tensors_digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """The digest of tensors alone, in the same form."""
    return json_digest(tensor_records(tensors))


def tensor_records(tensors: Mapping[str, torch.Tensor]) -> list[list[Any]]:
    """Name, dtype, shape and sha256 of the bytes of each tensor, sorted by name. Hashed on all cores."""
    largest_first = sorted(tensors, key=lambda name: tensors[name].nbytes, reverse=True)
    # hashlib and page faults of mapped files both release the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hashed = pool.map(_sha256, (tensors[name] for name in largest_first))
        hashes = dict(zip(largest_first, hashed, strict=True))
    return [
        [name, str(tensors[name].dtype).removeprefix("torch."), list(tensors[name].shape), hashes[name]]
        for name in sorted(tensors)
    ]


def json_digest(content: object) -> str:
    """The sha256 of canonical JSON."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _sha256(tensor: torch.Tensor) -> str:
    """Of the elements in row-major order, as they lie in memory (little endian on every machine we run on)."""
    import torch

    raw = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.sha256(raw.numpy().data).hexdigest()
