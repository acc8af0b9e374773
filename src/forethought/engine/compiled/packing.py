"""Weights of a checkpoint into the panels that the kernels read.

Each product of a layer becomes one packed matrix (queries, keys and values together; gates and values of the MLP
interleaved by 16). Its format is the smallest one that keeps every weight bit for bit: a checkpoint that came out of a
4-bit or 8-bit GGUF file is kept at that size, any other plainly, in the numbers that the library computes with. `int8`
rounds instead, group by group.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from forethought.engine.compiled.library import Linear, Room
from forethought.errors import CheckpointError
from forethought.settings import Quantization

PANEL = 32
FORMATS = {"plain": 0, "int8": 1, "int4": 2, "int8_rounded": 3}
EXACT = ("int4", "int8")


def pointers(addresses: Sequence[int]) -> "ctypes.Array[ctypes.c_void_p]":
    """A C array of addresses; 0 is NULL."""
    return (ctypes.c_void_p * len(addresses))(*addresses)


def address(tensor: torch.Tensor) -> int:
    """Where a contiguous tensor's values lie."""
    if not tensor.is_contiguous():
        raise CheckpointError("A weight is not contiguous in memory.", "Call `.contiguous()` on it first.")
    return tensor.data_ptr()


@dataclass(slots=True)
class Packer:
    """Packs matrices with one pool of threads and one choice of quantisation."""

    library: ctypes.CDLL
    pool: int
    quantization: Quantization

    def pack(self, rows: Sequence[int], depth: int, previous: "Packed | None" = None) -> "Packed":
        """`rows` are the addresses of the float32 rows, each `depth` long (0 for a row of zeros).

        The memory of `previous` is used again where it fits.
        """
        columns = len(rows)
        padded = [*rows, *[0] * (-columns % PANEL)]
        table = pointers(padded)
        names = ("int8_rounded",) if self.quantization == "int8" else (*EXACT, "plain")
        for name in names:
            # One panel tells at once that weights were never quantised; only the rest needs the whole matrix.
            trial = np.zeros(self._size(name, PANEL, depth), np.uint8)
            if not self._pack(name, table, min(columns, PANEL), depth, trial.ctypes.data):
                continue
            size = self._size(name, columns, depth)
            again = previous is not None and previous.format == name and previous.room.size == size
            room = previous.room if previous and again else Room(self.library, size)
            if self._pack(name, table, columns, depth, room.address):
                return Packed(name, columns, depth, room)
        raise CheckpointError(
            "Weights that are not finite numbers cannot be rounded to int8.", "Use quantization none."
        )

    def _size(self, name: str, columns: int, depth: int) -> int:
        panels, steps = -(-columns // PANEL), -(-depth // PANEL)
        return panels * steps * 2 * int(self.library.forethought_tile_bytes(FORMATS[name]))

    def _pack(self, name: str, table: "ctypes.Array[ctypes.c_void_p]", columns: int, depth: int, target: int) -> bool:
        linear = Linear(columns, depth, FORMATS[name], None, None)
        return bool(self.library.forethought_pack(self.pool, ctypes.byref(linear), table, target))


@dataclass(frozen=True, slots=True)
class Packed:
    """A packed matrix."""

    format: str
    columns: int
    depth: int
    room: Room

    def linear(self, bias: torch.Tensor | None = None) -> Linear:
        """What the kernels are given. The caller keeps `bias` (float32) alive."""
        code = FORMATS["int8"] if self.format == "int8_rounded" else FORMATS[self.format]
        return Linear(self.columns, self.depth, code, self.room.address, None if bias is None else address(bias))
