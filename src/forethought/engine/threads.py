"""How many threads the engine computes with."""

import os

import psutil

from forethought.settings import EngineSettings


def threads_for(settings: EngineSettings) -> int:
    """As many as are set, else one per physical core that this process may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.threads or min(usable, psutil.cpu_count(logical=False) or usable)
