"""Building a core: which runner, how large a cache, and a digest of what was loaded."""

import io
import shutil
from pathlib import Path

import pytest

from forethought import logs
from forethought.engine import build
from forethought.engine.build import build_core
from forethought.engine.compiled import build as kernels
from forethought.engine.core import EngineCore
from forethought.engine.protocol import Sampling
from forethought.engine.runner import BLOCK_SIZE
from forethought.errors import EngineError, SettingsError
from forethought.model.checkpoint import Checkpoint, LoadOptions
from forethought.settings import EngineSettings, Settings, load_settings
from runner_double import complete, make_request


@pytest.fixture
def checkpoint(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


def make(checkpoint: Checkpoint, **engine: object) -> EngineCore:
    cache = load_settings().cache_dir
    return build_core(checkpoint, Settings(cache_dir=cache, engine=EngineSettings.model_validate(engine)))


def runner_of(core: EngineCore) -> str:
    return type(core._runner).__name__


@pytest.fixture
def broken_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One that answers, and compiles nothing."""
    false = shutil.which("false")
    assert false
    monkeypatch.setattr(kernels, "find_compiler", lambda: kernels.Compiler((false,), "false 1.0"))
    monkeypatch.setenv("FORETHOUGHT_CACHE_DIR", str(tmp_path))


def test_a_runner_that_is_named_is_taken(checkpoint: Checkpoint) -> None:
    assert runner_of(make(checkpoint, runner="torch", cache_tokens=64)) == "TorchRunner"
    assert runner_of(make(checkpoint, runner="compiled", cache_tokens=64)) == "CompiledRunner"


@pytest.mark.parametrize("dtype", ["auto", "bfloat16", "float32"])
def test_the_compiled_runner_is_the_first_choice(checkpoint: Checkpoint, dtype: str) -> None:
    core = make(checkpoint, dtype=dtype, cache_tokens=64, threads=1)
    assert runner_of(core) == "CompiledRunner"
    assert complete(core, make_request("r", [1, 2, 3], 3, sampling=Sampling(temperature=0)))[0].token_ids


@pytest.mark.usefixtures("broken_compiler")
def test_kernels_that_cannot_be_built_leave_the_work_to_torch_and_a_warning(
    checkpoint: Checkpoint,
) -> None:
    written = io.StringIO()
    logs.configure(stream=written)
    assert runner_of(make(checkpoint, cache_tokens=512)) == "TorchRunner"
    warning = written.getvalue()
    assert "several times slower" in warning
    assert "false 1.0 could not build the kernels" in warning
    assert "Set CC to another compiler" in warning


@pytest.mark.usefixtures("broken_compiler")
def test_kernels_that_were_asked_for_and_cannot_be_built_are_an_error(checkpoint: Checkpoint) -> None:
    with pytest.raises(EngineError, match="could not build the kernels"):
        make(checkpoint, runner="compiled")


@pytest.mark.usefixtures("broken_compiler")
@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"quantization": "int8"}, "needs the compiled runner"),
        ({"quantization": "int8", "runner": "torch"}, "needs the compiled runner"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    checkpoint: Checkpoint, engine: dict[str, object], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        make(checkpoint, **engine)


def test_the_cache_is_as_large_as_it_is_set(checkpoint: Checkpoint) -> None:
    core = make(checkpoint, runner="torch", cache_tokens=1000)
    assert core.metrics().total_blocks == -(-1000 // BLOCK_SIZE)
    assert core.context_length == 512


def test_by_default_the_cache_takes_a_share_of_the_free_memory(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    block_bytes = 2 * 2 * 2 * 8 * BLOCK_SIZE * 4
    monkeypatch.setattr(build, "free_memory", lambda: 400 * block_bytes)
    assert make(checkpoint, runner="torch").metrics().total_blocks == 100
    monkeypatch.setattr(build, "free_memory", lambda: 1 << 40)
    assert make(checkpoint, runner="torch").metrics().total_blocks == 64 * 512 // BLOCK_SIZE


def test_the_context_and_the_digest_do_not_follow_the_free_memory(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "free_memory", lambda: 0)
    core = make(checkpoint, runner="torch")
    assert (core.context_length, core.metrics().total_blocks) == (512, 512 // BLOCK_SIZE)
    assert core.digest == checkpoint.digest()


def test_the_digest_is_that_of_the_checkpoint_as_loaded(checkpoint: Checkpoint) -> None:
    assert make(checkpoint, runner="torch", cache_tokens=512).digest == checkpoint.digest()
    small = make(checkpoint, runner="torch", cache_tokens=64)
    assert small.context_length == 64
    assert small.digest == checkpoint.digest(LoadOptions(context_length=64))
