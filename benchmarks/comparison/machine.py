"""What the figures were made on, and who else was busy meanwhile."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil


def others_seconds() -> float:
    """CPU seconds that everything but our programs has used since the machine started."""
    times, ours = psutil.cpu_times(), os.times()
    return times.user + times.nice + times.system - ours.children_user - ours.children_system


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    flags = set(Path("/proc/cpuinfo").read_text().split())
    return {
        "cpu": names[0].split(":", 1)[1].strip() if names else platform.processor(),
        "instructions": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8") if flag in flags],
        "cores": psutil.cpu_count(logical=False),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
