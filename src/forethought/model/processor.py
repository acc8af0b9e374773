"""The processor of this machine, as the operating system describes it."""

import functools
import platform
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
"""Flags that decide how fast a model is."""


@dataclass(frozen=True, slots=True)
class Processor:
    """What it is called, who made it, and the flags of its instruction sets; empty where the system does not tell."""

    name: str
    vendor: str
    flags: frozenset[str]

    def __str__(self) -> str:
        """`AMD EPYC (avx2, avx512f)`: machines in a cloud often tell no more of their model than that."""
        instructions = self.instructions
        return f"{self.name} ({', '.join(instructions)})" if instructions else self.name

    @property
    def instructions(self) -> list[str]:
        """Those of `INSTRUCTIONS` that it has."""
        return [flag for flag in INSTRUCTIONS if flag in self.flags]

    @property
    def pairs_pay(self) -> bool:
        """Whether AVX-512's product of bfloat16 pairs, where there is one, does more a second than float32's. Intel's
        does half (torch's products do 82 and 160 GFLOPS a core on a Xeon of model 207 whose AMX is hidden)."""
        return self.vendor != "GenuineIntel"

    @property
    def fast_bfloat16(self) -> bool:
        """Whether products of bfloat16 are faster than those of float32. Where the system tells nothing, or of another
        architecture, that is believed."""
        if not self.flags or platform.machine() not in {"x86_64", "AMD64"}:
            return True
        return "amx_bf16" in self.flags or ("avx512_bf16" in self.flags and self.pairs_pay)


@functools.cache
def processor() -> Processor:
    """That of this machine: the first, where it has several."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    facts: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags") or facts.get("Features") or ""
    name = facts.get("model name") or platform.processor() or platform.machine()
    return Processor(name, facts.get("vendor_id", ""), frozenset(flags.split()))
