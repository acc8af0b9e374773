"""GGUF files: a small reader and a bit-exact dequantiser.

The default base model arrives as a 4-bit GGUF inside a Python package. We read it with our own code, not with
somebody's library of the day, because the digest of the base rests on these bits: the arithmetic below must give the
same float32 numbers on every machine and in every version. It is the reference arithmetic of ggml (one float32
multiplication and one addition per weight, nothing fused). Format: ggml's docs/gguf.md, version 3, little endian.

Left out: writing, big endian, and quantisations that no supported base uses (the K and IQ families).
"""

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from forethought.errors import CheckpointError

Bytes = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_MAGIC = b"GGUF"
_VERSION = 3
_BLOCK = 32  # weights that share one scale

# Value types of the metadata, by their number in the file.
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING = 8
_ARRAY = 9


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """One tensor as it lies in the file. `shape` is in the order of numpy and torch (the file's is reversed)."""

    name: str
    shape: tuple[int, ...]
    kind: str
    data: Bytes

    def dequantise(self) -> Float32:
        """The tensor's float32 values: a new array of `shape`."""
        return _KINDS_BY_NAME[self.kind].dequantise(self.data).reshape(self.shape)


@dataclass(frozen=True, slots=True)
class GgufFile:
    """The metadata and tensors of one file; the tensors' data stays mapped from disk."""

    metadata: dict[str, Any]
    tensors: dict[str, GgufTensor]


def read_gguf(path: Path) -> GgufFile:
    """Reads a GGUF file.

    Raises:
        CheckpointError: the file is missing, cut short, of another version, or quantised in a way we do not read.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return _parse(mapped)
    except (OSError, ValueError, struct.error, UnicodeDecodeError, IndexError) as error:
        raise CheckpointError(f"{path} is not a readable GGUF file: {error}.", "Fetch it again.") from error


def _parse(mapped: mmap.mmap) -> GgufFile:
    reader = _Reader(mapped)
    if reader.take(4) != _MAGIC:
        raise ValueError("it does not begin with the letters GGUF")
    version, tensor_count, entry_count = reader.unpack("<IQQ")
    if version != _VERSION:
        raise ValueError(f"it is of version {version}, and only {_VERSION} is read")
    metadata = {reader.string(): reader.value(reader.scalar("<I")) for _ in range(entry_count)}
    headers = [reader.tensor_header() for _ in range(tensor_count)]
    alignment: Any = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"its alignment is {alignment!r}")
    base = -(-reader.position // alignment) * alignment
    content = np.frombuffer(mapped, dtype=np.uint8)
    return GgufFile(metadata, {header.name: header.locate(content, base) for header in headers})


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one tensor type lies in memory: `size` bytes hold `weights` weights."""

    name: str
    weights: int
    size: int
    dequantise: Callable[[Bytes], Float32]


@dataclass(frozen=True, slots=True)
class _TensorHeader:
    name: str
    shape: tuple[int, ...]
    kind: _Kind
    offset: int

    def locate(self, content: Bytes, base: int) -> GgufTensor:
        """Finds the tensor's bytes; `base` is where the tensor data begins in the file."""
        row = self.shape[-1] if self.shape else 1
        if row % self.kind.weights:
            raise ValueError(f"the rows of tensor {self.name} are not whole blocks of {self.kind.weights}")
        size = prod(self.shape) // self.kind.weights * self.kind.size
        start = base + self.offset
        if start + size > content.size:
            raise ValueError(f"tensor {self.name} reaches past the end of the file")
        return GgufTensor(self.name, self.shape, self.kind.name, content[start : start + size])


class _Reader:
    """Walks over the header of a file."""

    def __init__(self, mapped: mmap.mmap) -> None:
        self._mapped = mapped
        self.position = 0

    def take(self, size: int) -> bytes:
        end = self.position + size
        if end > len(self._mapped):
            raise ValueError("it is cut short")
        taken = self._mapped[self.position : end]
        self.position = end
        return taken

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def scalar(self, layout: str) -> Any:
        return self.unpack(layout)[0]

    def string(self) -> str:
        return self.take(cast(int, self.scalar("<Q"))).decode()

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            of, count = self.unpack("<IQ")
            if of in _SCALARS:
                layout = _SCALARS[of]
                return list(self.unpack(f"<{self._bounded(count, struct.calcsize(layout))}{layout[1]}"))
            if of != _STRING:
                raise ValueError(f"its metadata hold an array of values of type {of}")
            return [self.string() for _ in range(self._bounded(count, 8))]
        if kind not in _SCALARS:
            raise ValueError(f"its metadata holds a value of unknown type {kind}")
        return self.scalar(_SCALARS[kind])

    def tensor_header(self) -> _TensorHeader:
        name = self.string()
        dimensions = cast(int, self.scalar("<I"))
        shape = self.unpack(f"<{self._bounded(dimensions, 8)}Q")
        kind, offset = self.unpack("<IQ")
        if kind not in _KINDS:
            supported = ", ".join(known.name for known in _KINDS.values())
            raise ValueError(f"tensor {name} is of type {kind}; read are {supported}")
        return _TensorHeader(name, tuple(reversed(shape)), _KINDS[kind], cast(int, offset))

    def _bounded(self, count: int, size: int) -> int:
        """A damaged count must not make us reserve memory for what cannot be there."""
        if count * size > len(self._mapped) - self.position:
            raise ValueError("it is cut short")
        return count


def _from_f32(data: Bytes) -> Float32:
    return data.view("<f4").astype(np.float32)


def _from_f16(data: Bytes) -> Float32:
    return data.view("<f2").astype(np.float32)


def _from_q8_0(data: Bytes) -> Float32:
    """Blocks of a float16 scale and 32 signed bytes."""
    blocks = data.reshape(-1, 2 + _BLOCK)
    return _scale(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _from_q4_0(data: Bytes) -> Float32:
    """Blocks of a float16 scale and 32 nibbles, from which 8 is taken."""
    blocks = data.reshape(-1, 2 + _BLOCK // 2)
    centred = _nibbles(blocks[:, 2:]).view(np.int8) - np.int8(8)
    return _scale(blocks, 0) * centred.astype(np.float32)


def _from_q4_1(data: Bytes) -> Float32:
    """Blocks of a float16 scale, a float16 minimum and 32 nibbles."""
    blocks = data.reshape(-1, 4 + _BLOCK // 2)
    return _scale(blocks, 0) * _nibbles(blocks[:, 4:]).astype(np.float32) + _scale(blocks, 2)


def _scale(blocks: Bytes, offset: int) -> Float32:
    """The float16 at `offset` of each block, as a column."""
    return np.ascontiguousarray(blocks[:, offset : offset + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """Low halves first: byte i holds weights i and i + 16 of its block."""
    return np.concatenate([packed & np.uint8(0x0F), packed >> np.uint8(4)], axis=1)


_KINDS = {
    0: _Kind("F32", 1, 4, _from_f32),
    1: _Kind("F16", 1, 2, _from_f16),
    2: _Kind("Q4_0", _BLOCK, 2 + _BLOCK // 2, _from_q4_0),
    3: _Kind("Q4_1", _BLOCK, 4 + _BLOCK // 2, _from_q4_1),
    8: _Kind("Q8_0", _BLOCK, 2 + _BLOCK, _from_q8_0),
}
_KINDS_BY_NAME = {kind.name: kind for kind in _KINDS.values()}
