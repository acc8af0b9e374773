"""What `forethought doctor` looks at: one function a check, each with the command that mends what it finds."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import psutil

from forethought.errors import CheckpointError, EngineError, ForethoughtError
from forethought.model.processor import processor
from forethought.reasoning.answer import Answer
from forethought.reasoning.events import Event
from forethought.settings import Settings, our_variables, settings_file

SELF_TEST_SECONDS = 5.0
SELF_TEST_QUESTION = "Tell me a long story about a lighthouse keeper."
LITTLE_MEMORY = 2 * 10**9
LITTLE_DISK = 2 * 10**9
INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_tile", "amx_bf16", "amx_int8", "asimd", "sve")

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was found. "missing" is something that is needed; a "warning" makes things slower or tighter."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Check]:
    """All checks, one after another, quick ones first. The self-test runs when nothing it needs is missing."""
    missing = False
    for look in (_machine, _memory, _python, _packages, _settings_files, _kernels, _cache, _model):
        check = look(settings)
        missing |= check.state == "missing"
        yield check
    if not missing:
        yield _self_test(settings)


def _machine(settings: Settings) -> Check:
    found = processor()
    sets = [one for one in INSTRUCTION_SETS if one in found.flags]
    cores = psutil.cpu_count(logical=False) or psutil.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    detail = f"{found.name}, {cores} cores ({usable} usable), {', '.join(sets) or 'no vector instructions known'}"
    return Check("processor", "ok", f"{detail}, {platform.system()} {platform.machine()}")


def _memory(settings: Settings) -> Check:
    memory = psutil.virtual_memory()
    detail = f"{_size(memory.available)} free of {_size(memory.total)}"
    if memory.available < LITTLE_MEMORY:
        return Check("memory", "warning", detail, f"Free some: {_size(LITTLE_MEMORY)} are comfortable.")
    return Check("memory", "ok", detail)


def _python(settings: Settings) -> Check:
    detail = f"{platform.python_implementation()} {platform.python_version()} in {sys.prefix}"
    return Check("python", "ok", detail)


def _packages(settings: Settings) -> Check:
    """The packages that ours says it needs."""
    found = [f"forethought {importlib.metadata.version('forethought')}"]
    missing: list[str] = []
    for requirement in importlib.metadata.requires("forethought") or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "missing", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    return Check("packages", "ok", ", ".join(found))


def _settings_files(settings: Settings) -> Check:
    files = [str(settings_file())] if settings_file().exists() else []
    engine = settings.engine
    chosen = f"model {settings.model}, runner {engine.runner}, dtype {engine.dtype}, quantization {engine.quantization}"
    return Check("settings", "ok", f"{chosen}; from {', '.join([*files, *our_variables()]) or 'the defaults'}")


def _kernels(settings: Settings) -> Check:
    """The compiled kernels, built now if they are not in the cache yet."""
    engine = settings.engine
    if engine.runner == "torch":
        return Check("kernels", "ok", "not used: the engine's runner is torch")
    from forethought.engine.compiled.build import FLOAT32, build, find_compiler
    from forethought.engine.compiled.library import load

    needed = engine.runner == "compiled" or engine.quantization != "none"
    try:
        defines = FLOAT32 if engine.dtype == "float32" else ()
        library, compiler = build(settings.cache_dir, defines), find_compiler()
        load(settings.cache_dir, defines)
    except EngineError as error:
        slower = "" if needed else " The engine runs on torch instead, several times slower."
        return Check("kernels", "missing" if needed else "warning", error.message + slower, error.remedy)
    return Check("kernels", "ok", f"{library} by {compiler.version}")


def _cache(settings: Settings) -> Check:
    place = settings.cache_dir
    parent = next(path for path in (place, *place.parents) if path.exists())
    if not os.access(parent, os.W_OK | os.X_OK):
        return Check("cache", "missing", f"{place} cannot be written", "Set FORETHOUGHT_CACHE_DIR to another place.")
    used = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) if place.exists() else 0
    free = shutil.disk_usage(parent).free
    detail = f"{place}, {_size(used)} used, {_size(free)} free"
    if free < LITTLE_DISK:
        return Check("cache", "warning", detail, "Make room, or set FORETHOUGHT_CACHE_DIR to another place.")
    return Check("cache", "ok", detail)


def _model(settings: Settings) -> Check:
    """A model with a name is hashed; a directory is opened."""
    from forethought.model import registry

    try:
        if settings.model in registry.MODELS:
            entry = registry.entry(settings.model)
            directory = registry.existing(entry, settings)
            return Check("model", "ok", f"{entry.name} in {directory}, unharmed: {entry.verify(directory)}")
        checkpoint = registry.resolve(settings.model, settings)
    except CheckpointError as error:
        return Check("model", "missing", error.message, error.remedy)
    return Check("model", "ok", f"{checkpoint.directory} opens: {checkpoint.config.model_type}")


def _self_test(settings: Settings) -> Check:
    try:
        return asyncio.run(_generate(settings))
    except ForethoughtError as error:
        return Check("self-test", "missing", error.message, error.remedy)


async def _generate(settings: Settings) -> Check:
    """Loads the model as `ask` does, and lets it talk for a few seconds."""
    from forethought.cli.chat_talk import Stopwatch
    from forethought.cli.session import Session
    from forethought.model.conversation import Conversation, Message

    loading = time.monotonic()
    async with Session(settings) as session:
        loaded = await session.ready()
        load_seconds = time.monotonic() - loading
        question = Conversation((Message.of("user", SELF_TEST_QUESTION),))
        watch = Stopwatch()
        events: list[Event] = []
        async with loaded.reasoner.turn(question, think=False, sampling={"temperature": 0.0}) as turn:
            timer = asyncio.get_running_loop().call_later(SELF_TEST_SECONDS, turn.cancel)
            async for event in turn:
                watch.event()
                events.append(event)
            timer.cancel()
    answer = Answer.of(events).checked()
    cost = watch.cost(answer.done.usage)
    detail = (
        f"loaded in {load_seconds:.1f} s, first token after {cost.first_seconds:.2f} s,"
        f" {cost.usage.output_tokens} tokens at {cost.tokens_per_second:.1f} tokens/s"
    )
    return Check("self-test", "ok", detail)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
