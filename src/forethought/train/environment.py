"""What a run runs on: written down once, so that a figure can be traced to the machine and the versions behind it."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import psutil

from forethought.model.processor import processor

PACKAGES: Final = ("forethought", "torch", "numpy", "safetensors", "tokenizers", "llguidance")


def environment() -> dict[str, Any]:
    """Versions, processor, memory, threads, and the commit of the source if it is a git checkout. No names of machines
    or people."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": str(processor()),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "accelerators": _accelerators(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "commit": commit(),
    }


def _accelerators() -> list[str]:
    import torch  # not for those who only look at runs

    try:
        return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    except RuntimeError:  # a driver that is too old for this torch
        return []


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the source, with a + when the tree differs from it."""
    try:
        _git("ls-files", "--error-unmatch", __file__)  # an installed package may lie in somebody else's repository
        head = _git("rev-parse", "HEAD")
        return head + "+" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    source = Path(__file__).parent
    done = subprocess.run(["git", *arguments], cwd=source, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
