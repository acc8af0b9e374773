"""The compiled runner: C kernels for AMX, AVX-512, AVX2 and NEON, built on first use."""

from forethought.engine.compiled.build import find_compiler
from forethought.engine.compiled.runner import CompiledRunner

__all__ = ["CompiledRunner", "available"]


def available() -> bool:
    """Whether the kernels can be built here: a C compiler is all they need."""
    return find_compiler() is not None
