"""What the engine may use of the machine: processors and memory, of which a container (cgroup v2) may grant less."""

import math
import os
from pathlib import Path

import psutil

from forethought.settings import EngineSettings

CGROUP = Path("/sys/fs/cgroup")


def threads_for(settings: EngineSettings) -> int:
    """As many as are set, else one per physical core that this process may use, within its quota."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.threads or max(1, min(usable, psutil.cpu_count(logical=False) or usable, _quota() or usable))


def free_memory() -> int:
    """Bytes that can be had without swapping."""
    free = psutil.virtual_memory().available
    limit, used = _read("memory.max"), _read("memory.current")
    if not (limit and limit[0].isdecimal() and used):
        return free
    # Files read lately count as used, and are let go when memory is needed.
    stat = _read("memory.stat")
    files = int(stat[stat.index("inactive_file") + 1]) if "inactive_file" in stat else 0
    return max(0, min(free, int(limit[0]) - int(used[0]) + files))


def _quota() -> int | None:
    """Processors' worth of time in each period, rounded up; None without a limit."""
    limit = _read("cpu.max")
    return math.ceil(int(limit[0]) / int(limit[1])) if limit and limit[0].isdecimal() else None


def _read(name: str) -> list[str]:
    """The words of a control file; none if there is no such file."""
    try:
        return (CGROUP / name).read_text().split()
    except OSError:
        return []
