"""The compiled kernels as Python sees them: the structures of `forward.c`, its functions, and memory for them."""

import ctypes
import functools
import os
import weakref
from collections.abc import Callable
from ctypes import POINTER, Structure, c_float, c_int, c_int32, c_int64, c_void_p
from pathlib import Path
from typing import Any

from forethought.engine.compiled.build import build
from forethought.errors import EngineError


class Linear(Structure):
    """`Linear` of weights.h."""

    _fields_ = (
        ("columns", c_int32),
        ("depth", c_int32),
        ("format", c_int32),
        ("data", c_void_p),
        ("bias", c_void_p),
    )


class Layer(Structure):
    """`Layer` of forward.c."""

    _fields_ = (
        ("attention_norm", c_void_p),
        ("mlp_norm", c_void_p),
        ("query_norm", c_void_p),
        ("key_norm", c_void_p),
        ("qkv", Linear),
        ("output", Linear),
        ("gate_up", Linear),
        ("down", Linear),
    )


class Model(Structure):
    """`Model` of forward.c."""

    _fields_ = (
        ("layers", c_int32),
        ("hidden", c_int32),
        ("intermediate", c_int32),
        ("heads", c_int32),
        ("kv_heads", c_int32),
        ("head_dim", c_int32),
        ("vocabulary", c_int32),
        ("window", c_int32),
        ("rms_epsilon", c_float),
        ("embedding", c_void_p),
        ("cosine", c_void_p),
        ("sine", c_void_p),
        ("final_norm", c_void_p),
        ("layer", POINTER(Layer)),
        ("head", Linear),
        ("cache", c_void_p),
        ("blocks", c_int64),
    )


class Batch(Structure):
    """`Batch` of forward.c."""

    _fields_ = (
        ("tokens", c_int32),
        ("sequences", c_int32),
        ("table_width", c_int32),
        ("logit_rows", c_int32),
        ("token_ids", c_void_p),
        ("positions", c_void_p),
        ("starts", c_void_p),
        ("tables", c_void_p),
        ("wanted", c_void_p),
        ("embeddings", c_void_p),
        ("logits", c_void_p),
    )


_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "forethought_pool": (c_void_p, [c_int]),
    "forethought_pool_free": (None, [c_void_p]),
    "forethought_room": (c_void_p, [c_int64]),
    "forethought_room_free": (None, [c_void_p, c_int64]),
    "forethought_tiles": (c_int, []),
    "forethought_uses_amx": (c_int, []),
    "forethought_panel": (c_int, []),
    "forethought_tile_bytes": (c_int64, [c_int]),
    "forethought_pack": (c_int, [c_void_p, POINTER(Linear), c_void_p, c_void_p]),
    "forethought_state": (c_void_p, [c_void_p, POINTER(Model), c_int64]),
    "forethought_state_free": (None, [c_void_p]),
    "forethought_forward": (c_int, [c_void_p, POINTER(Batch)]),
    "forethought_copy_block": (None, [POINTER(Model), c_int64, c_int64]),
}


@functools.cache
def load(cache_dir: Path, defines: tuple[str, ...] = ()) -> ctypes.CDLL:
    """The library, compiled if need be. Where it was compiled with AMX but the kernel lends no tiles, without AMX.

    Raises:
        EngineError: it cannot be built or loaded.
    """
    path = build(cache_dir, defines)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise EngineError(
            f"The compiled kernels do not load: {error}.",
            f"Delete {path}, or set cache_dir to a file system that allows execution.",
        ) from None
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    if library.forethought_tiles() != 0:
        return load(cache_dir, (*defines, "FORETHOUGHT_NO_AMX"))
    return library


def release(owner: object, free: Callable[..., None], *arguments: int) -> None:
    """Frees something of the library's with its owner, in the process that made it.

    Not at the end of the program, when a thread may still compute (the system takes the memory back), and not in a
    forked child, which has the memory but not the threads.
    """
    pid = os.getpid()

    def free_here() -> None:
        if os.getpid() == pid:
            free(*arguments)

    weakref.finalize(owner, free_here).atexit = False


class Room:
    """Zeroed memory outside Python's heap, on huge pages where there are some; freed with the object."""

    def __init__(self, library: ctypes.CDLL, size: int) -> None:
        address = library.forethought_room(size)
        if not address:
            raise EngineError(f"There is no room for {size / 2**20:.0f} MiB.", "Lower the engine's cache_tokens.")
        self.address: int = address
        self.size = size
        release(self, library.forethought_room_free, address, size)
