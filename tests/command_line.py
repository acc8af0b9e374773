"""Runs command lines as a shell would, over the tiny checkpoint and an engine in this process."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from forethought.cli import app
from forethought.engine import process
from forethought.engine.native import NativeEngine
from forethought.engine.spec import EngineSpec
from forethought.model.checkpoint import Checkpoint


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit status and what it wrote."""

    status: int
    out: str
    err: str


class CommandLine:
    """`forethought` with the tiny checkpoint as its model."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path, cache: Path
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        environment = {"MODEL": model, "CACHE_DIR": cache, "ENGINE__RUNNER": "torch", "ENGINE__DTYPE": "float32"}
        for name, value in (environment | {"ENGINE__THREADS": 1, "ENGINE__CACHE_TOKENS": 2048}).items():
            monkeypatch.setenv(f"FORETHOUGHT_{name}", str(value))
        # The seam is the `Engine` protocol; a process of its own would cost each test two seconds.
        monkeypatch.setattr(process, "ProcessEngine", in_process)

    def __call__(self, *arguments: str, stdin: str = "") -> Outcome:
        self._monkeypatch.setattr(sys, "argv", ["forethought", *arguments])
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            app.main()
        written = self._capsys.readouterr()
        return Outcome(int(ended.value.code or 0), written.out, written.err)


def in_process(spec: EngineSpec) -> NativeEngine:
    return NativeEngine(Checkpoint.open(spec.directory, spec.adapter), spec.settings)
