"""Compiles the kernels for this very machine, once, into the cache.

A C compiler is looked for as `$CC`, else `cc`, `gcc`, `clang`, else in the `ziglang` wheel (`pip install
forethought[compiler]`). The library is named after the hash of the sources, the compiler, the flags and the processor,
so it is rebuilt exactly when one of them changes. Without a compiler the engine runs on the torch runner.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from forethought.errors import EngineError
from forethought.model.processor import processor

SOURCE = Path(__file__).parent / "source"
FLAGS = (
    "-O3",
    "-march=native",
    "-std=gnu11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-strict-aliasing",
    "-shared",
    "-fPIC",
    "-pthread",
)
COMPILE_SECONDS = 120
FLOAT32 = ("FORETHOUGHT_FLOAT32",)
"""Macros of the build that computes in float32 instead of bfloat16."""
NO_PAIRS = ("FORETHOUGHT_NO_PAIRS",)
"""Macros of a build that multiplies bfloat16 as float32 where there are no tiles."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A command that compiles C, and what it says of itself."""

    command: tuple[str, ...]
    version: str


@functools.cache
def find_compiler() -> Compiler:
    """The first C compiler that answers; only what `$CC` names, if it is set.

    Raises:
        EngineError: there is none, or `$CC` names one that is not there.
    """
    named = shlex.split(os.environ.get("CC", ""))
    if named and not shutil.which(named[0]):
        raise EngineError(f"CC names {named[0]}, which is not there.", "Mend or unset CC.")
    candidates = [named] if named else [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    if not named and importlib.util.find_spec("ziglang"):
        candidates.append([sys.executable, "-P", "-m", "ziglang", "cc"])
    for command in candidates:
        try:
            answer = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if answer.returncode == 0 and answer.stdout:
            return Compiler(tuple(command), answer.stdout.splitlines()[0])
    raise EngineError(
        "No C compiler was found, so the fast kernels cannot be built.",
        "Install gcc or clang, or run `pip install 'forethought[compiler]'`; or set the engine's runner to torch.",
    )


def library_path(cache_dir: Path, compiler: Compiler, defines: tuple[str, ...] = ()) -> Path:
    """Where the library for these sources, this compiler and this machine lies."""
    digest = hashlib.sha256()
    for file in sorted(SOURCE.iterdir()):
        digest.update(file.read_bytes())
    flags = sorted(processor().flags) or [platform.machine(), platform.processor()]
    for part in (*compiler.command, compiler.version, *FLAGS, *defines, *flags):
        digest.update(part.encode())
    return cache_dir / "kernels" / f"forethought-{digest.hexdigest()[:16]}.so"


def build(cache_dir: Path, defines: tuple[str, ...] = ()) -> Path:
    """The compiled library, built if need be. `defines` are C macros (tests use them to turn AMX off).

    Raises:
        EngineError: there is no compiler, or it failed (the message carries its last words), or the cache cannot be
            written, or somebody else could have put a library there.
    """
    compiler = find_compiler()
    if not processor().pairs_pay:
        defines = (*defines, *NO_PAIRS)
    path = library_path(cache_dir, compiler, defines)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_if_foreign(path.parent)
        if not path.exists():
            _compile(compiler, defines, path)
        _refuse_if_foreign(path)
    except OSError as error:
        raise EngineError(
            f"The kernels cannot be kept in {path.parent}: {error}.", "Set FORETHOUGHT_CACHE_DIR to another place."
        ) from None
    return path


def _compile(compiler: Compiler, defines: tuple[str, ...], path: Path) -> None:
    """Writes the library at `path`, at once: a process that builds the same at the same time does no harm."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        flags = [*FLAGS, *(f"-D{name}" for name in defines)]
        command = [*compiler.command, *flags, str(SOURCE / "forward.c"), "-o", str(made), "-lm"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise EngineError(f"{compiler.version} took over {COMPILE_SECONDS} s.", "Set CC to another one.") from None
        if answer.returncode != 0:
            last = " | ".join(answer.stderr.strip().splitlines()[-3:])
            raise EngineError(f"{compiler.version} could not build the kernels: {last}.", "Set CC to another compiler.")
        made.chmod(0o700)
        made.replace(path)


def _refuse_if_foreign(path: Path) -> None:
    """Raises if another user (root aside) owns or may write what is about to be run as this one."""
    if not hasattr(os, "getuid"):
        return
    found = path.stat()
    if found.st_uid not in (os.getuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineError(
            f"{path} belongs to another user, or others may write it: what it holds is not run.",
            f"Delete {path}, or set FORETHOUGHT_CACHE_DIR to a directory of your own.",
        )
