"""The engine takes of the machine what it may: what is set, what there is, what a container grants."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from forethought.engine import machine
from forethought.engine.machine import free_memory, threads_for
from forethought.settings import EngineSettings

Control = Callable[..., None]


@pytest.fixture
def control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Control:
    """A machine of 16 physical cores with 8000 bytes free, whose control files the test writes."""
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 16)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8000))

    def write(**files: str) -> None:
        for name, text in files.items():
            (tmp_path / name.replace("_", ".")).write_text(text + "\n")

    return write


@pytest.mark.parametrize(
    ("cpu_max", "threads"),
    [("max 100000", 16), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("9900000 100000", 16)],
)
def test_threads_keep_within_the_quota(control: Control, cpu_max: str, threads: int) -> None:
    control(cpu_max=cpu_max)
    assert threads_for(EngineSettings()) == threads


def test_threads_are_one_per_physical_core_that_may_be_used(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    assert threads_for(EngineSettings()) == 16
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 8)
    assert threads_for(EngineSettings()) == 8
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: None)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert threads_for(EngineSettings()) == 3


def test_threads_that_are_set_are_taken_at_their_word(control: Control) -> None:
    control(cpu_max="100000 100000")
    assert threads_for(EngineSettings(threads=3)) == 3


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8000),
        ({"memory_max": "max", "memory_current": "500"}, 8000),
        ({"memory_max": "5000", "memory_current": "1500"}, 3500),
        ({"memory_max": "5000", "memory_current": "1500", "memory_stat": "anon 900\ninactive_file 400\nslab 3"}, 3900),
        ({"memory_max": "90000", "memory_current": "1500"}, 8000),
        ({"memory_max": "1000", "memory_current": "1500"}, 0),
    ],
)
def test_memory_is_free_within_the_limit(control: Control, files: dict[str, str], free: int) -> None:
    control(**files)
    assert free_memory() == free
