"""The weight updates of an engine process, kept on disk: so they reach it, and so a restart can apply them again.

They are kept in a private temporary directory, which is removed when the engine is closed. An update that replaces
every tensor of an earlier one makes that one superfluous: of whole models, one copy is kept.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forethought.errors import EngineError, ForethoughtError

if TYPE_CHECKING:
    import torch  # not at run time: the process loads it, the command line need not


@dataclass(frozen=True, slots=True)
class WeightUpdate:
    """Tensors on disk, in the layout of a checkpoint."""

    directory: Path
    names: frozenset[str]

    def drop(self) -> None:
        """Removes the files."""
        shutil.rmtree(self.directory, ignore_errors=True)


class WeightUpdates:
    """The updates in force, and those that the process was sent and has not answered."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._numbers = itertools.count()
        self._kept: list[WeightUpdate] = []
        self._sent: deque[tuple[WeightUpdate, asyncio.Future[None]]] = deque()

    @property
    def directories(self) -> tuple[Path, ...]:
        """What a new process has to apply, in this order."""
        return tuple(update.directory for update in self._kept)

    @property
    def unanswered(self) -> bool:
        """Whether the process is, or will soon be, busy with an update."""
        return bool(self._sent)

    def write(self, tensors: Mapping[str, torch.Tensor]) -> WeightUpdate:
        """Writes an update that is not in force yet. Raises `EngineError` if it cannot."""
        from safetensors import SafetensorError

        from forethought.model.weights import write_tensors

        try:
            self._root = self._root or Path(tempfile.mkdtemp(prefix="forethought-weights-"))
            update = WeightUpdate(self._root / str(next(self._numbers)), frozenset(tensors))
            write_tensors(update.directory, tensors)
        except (OSError, SafetensorError) as error:
            message = f"The new weights cannot be written to {tempfile.gettempdir()}: {error}."
            raise EngineError(message, "Free space there, or set TMPDIR to another directory.") from error
        return update

    def sent(self, update: WeightUpdate) -> asyncio.Future[None]:
        """The process was told of `update`; the future has its answer."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sent.append((update, answer))
        return answer

    def answered(self, error: ForethoughtError | None) -> None:
        """The process has applied the oldest unanswered update, or refused it."""
        update, answer = self._sent.popleft()
        if error is None:
            self._keep(update)
        else:
            update.drop()
        # Whoever asked may have stopped waiting; the update is in force all the same.
        if not answer.done():
            answer.set_exception(error) if error is not None else answer.set_result(None)

    def lose(self, error: ForethoughtError) -> None:
        """The process is gone: what it has not confirmed is not in force."""
        while self._sent:
            self.answered(error)

    def close(self) -> None:
        """Removes everything."""
        self._kept.clear()
        if self._root is not None:
            shutil.rmtree(self._root, ignore_errors=True)
            self._root = None

    def _keep(self, update: WeightUpdate) -> None:
        for earlier in [kept for kept in self._kept if kept.names <= update.names]:
            self._kept.remove(earlier)
            earlier.drop()
        self._kept.append(update)
