"""Memory that was freed, given back to the system."""

import ctypes
import functools
from collections.abc import Callable


def return_memory() -> None:
    """Has the C library give back what was freed between pieces that are still in use, where it can (glibc). Left
    alone, what it keeps grows with every step that ends with other pieces in use."""
    if (trim := _trim()) is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], object] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another system, another library
        return None
