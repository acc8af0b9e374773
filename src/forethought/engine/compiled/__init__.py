"""The compiled runner: C kernels for AMX, AVX-512, AVX2 and NEON, built on first use."""

from forethought.engine.compiled.runner import CompiledRunner

__all__ = ["CompiledRunner"]
