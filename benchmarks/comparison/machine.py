"""What the figures were made on, and who else was busy meanwhile."""

import os
import platform
from typing import Any

import psutil

from forethought.model.processor import processor


def others_seconds() -> float:
    """CPU seconds that everything but our programs has used since the machine started."""
    times, ours = psutil.cpu_times(), os.times()
    return times.user + times.nice + times.system - ours.children_user - ours.children_system


def machine() -> dict[str, Any]:
    """What the figures were made on."""
    cpu = processor()
    return {
        "cpu": cpu.name,
        "instructions": cpu.instructions,
        "cores": psutil.cpu_count(logical=False),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
