"""What an engine process is told to run: which checkpoint, which settings, and who builds the core from them.

The spec crosses the process border, so it holds names and values, never open files or tensors.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from forethought.engine.metrics import EngineMetrics
from forethought.engine.protocol import EngineEvent, Request
from forethought.settings import Settings

if TYPE_CHECKING:
    import torch


class Core(Protocol):
    """A synchronous engine as its process drives it: `EngineCore`, or a double in tests."""

    @property
    def digest(self) -> str:
        """Digest of the checkpoint as loaded."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        ...

    @property
    def has_work(self) -> bool:
        """Whether `step` has something to do."""
        ...

    def add(self, request: Request) -> None:
        """Queues a request. Raises `RequestError` or `QueueFull`."""
        ...

    def cancel(self, request_id: str) -> None:
        """Ends a request: the next step yields its `Finished`. Unknown ids are ignored."""
        ...

    def step(self) -> list[tuple[str, EngineEvent]]:
        """Computes one batch; the events of all requests, in order within each."""
        ...

    def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by name. Raises before it changes anything."""
        ...

    def metrics(self) -> EngineMetrics:
        """A snapshot; cheap."""
        ...


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """A checkpoint's directory, an adapter's (or None), and the settings.

    `factory` is `module:function`; the function takes this spec and returns a `Core`.
    """

    directory: Path
    adapter: Path | None
    settings: Settings
    factory: str = "forethought.engine.spec:load_core"

    def build(self) -> Core:
        """Calls the factory. Raises what it raises: `CheckpointError`, as a rule."""
        module, _, name = self.factory.partition(":")
        factory: Callable[[EngineSpec], Core] = getattr(importlib.import_module(module), name)
        return factory(self)


def load_core(spec: EngineSpec) -> Core:
    """The real core, over the checkpoint that `spec` names."""
    from forethought.engine.build import build_core
    from forethought.model.checkpoint import Checkpoint

    return build_core(Checkpoint.open(spec.directory, spec.adapter), spec.settings)
