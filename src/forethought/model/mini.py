"""The model that ships: the base with an adapter that this package brings, trained by recipes/default.toml.

There is nothing to fetch but the base. The adapter lies beside this file, and names its base by digest.
"""

import datetime
from pathlib import Path

from forethought.errors import DigestMismatch
from forethought.model import base
from forethought.model.base import Progress
from forethought.model.checkpoint import Checkpoint

NAME = "forethought-mini"
ADAPTER = Path(__file__).parent / "mini_adapter"
GOLDEN_DIGEST = "sha256:c1e856960d51598df89e269f94175a479cfe32c7b0e18246537a4d4046870fa7"
"""Of base and adapter together."""
CREATED = datetime.date(2026, 11, 29)


def pull(cache_dir: Path, progress: Progress = lambda stage, share: None) -> Path:
    """Makes sure that the base lies in the cache and that the adapter is unharmed; returns the base's directory.

    Raises:
        CheckpointError: as the base's `pull`.
        DigestMismatch: the base or the adapter is not the one we know.
    """
    directory = base.pull(cache_dir, progress)
    _verified(directory)
    return directory


def verify(directory: Path) -> str:
    """Hashes the base in this directory and the adapter again, and returns the digest of both.

    Raises:
        CheckpointError: the base is not there, or broken.
        DigestMismatch: one of them is not the one we know.
    """
    base.verify(directory)
    return _verified(directory)


def _verified(directory: Path) -> str:
    """The digest of a base that is unharmed and the adapter; raises `DigestMismatch` when the adapter is not."""
    found = Checkpoint.open(directory, ADAPTER).digest()
    if found != GOLDEN_DIGEST:
        raise DigestMismatch(
            f"{NAME} is {found} and should be {GOLDEN_DIGEST}.", "Install this package again: its adapter has changed."
        )
    return found
