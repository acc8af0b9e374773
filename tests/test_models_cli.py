"""`forethought models` and the frame around every command."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from forethought import __version__
from forethought.cli import app as frame
from forethought.errors import CheckpointError
from forethought.model import base, mini, registry
from forethought.model.checkpoint import Checkpoint, LoadOptions
from forethought.settings import Settings

Run = Callable[..., tuple[int, str, str]]

KNOWN = f"Known are: {mini.NAME}, {base.NAME}."


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line as the shell would: its exit status, standard output and standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["forethought", *arguments])
        with pytest.raises(SystemExit) as ended:
            frame.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FORETHOUGHT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def break_show(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, settings: Settings) -> Checkpoint:
        raise ZeroDivisionError("oh\nno")

    monkeypatch.setattr(registry, "resolve", broken)


@pytest.mark.usefixtures("base_directory")
@pytest.mark.parametrize("known", [mini, base])
def test_verify_finds_what_is_unharmed(run: Run, known: ModuleType) -> None:
    status, out, _ = run("models", "verify", known.NAME)
    assert (status, known.GOLDEN_DIGEST in out) == (0, True)


def test_verify_finds_another_adapter_than_ours(
    run: Run, base_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(mini.ADAPTER, tmp_path / "adapter")
    manifest = other / "forethought.json"
    manifest.write_text(manifest.read_text().replace('"calls_tools": true', '"calls_tools": false'))
    monkeypatch.setattr(mini, "ADAPTER", other)
    status, _, err = run("models", "verify", mini.NAME)
    assert status == 1
    assert mini.GOLDEN_DIGEST in err
    assert "Install this package again" in err


def test_list_says_what_is_here(run: Run, empty_cache: Path) -> None:
    status, out, _ = run("models", "list")
    assert status == 0
    assert base.NAME in out
    assert "no: forethought models pull" in out
    entries = json.loads(run("models", "list", "--json")[1])
    assert [(entry["name"], entry["here"], entry["in_use"]) for entry in entries] == [
        (mini.NAME, False, True),
        (base.NAME, False, False),
    ]
    assert {entry["directory"] for entry in entries} == {str(base.model_directory(empty_cache))}


def test_show_describes_any_directory(run: Run, tiny_checkpoint: Path) -> None:
    status, out, _ = run("models", "show", str(tiny_checkpoint))
    assert status == 0
    assert "layers\t2" in out
    facts = json.loads(run("models", "show", str(tiny_checkpoint), "--json")[1])
    checkpoint = Checkpoint.open(tiny_checkpoint)
    assert facts["parameters"] == sum(tensor.numel() for tensor in checkpoint.tensors().values())
    assert facts["capabilities"] == checkpoint.capabilities.model_dump()
    assert facts["renderer"] == {"name": "forethought", "version": 1}


def test_digest_prints_the_digest_of_the_model_as_it_would_be_loaded(run: Run, tiny_checkpoint: Path) -> None:
    checkpoint, name = Checkpoint.open(tiny_checkpoint), str(tiny_checkpoint)
    assert run("models", "digest", name)[1].strip() == checkpoint.digest()
    quantised = checkpoint.digest(LoadOptions(quantization="int8", context_length=100))
    out = run("models", "digest", name, "--quantization", "int8", "--context-length", "100", "--json")[1]
    assert json.loads(out)["digest"] == quantised


def test_the_global_option_chooses_the_model(run: Run, tiny_checkpoint: Path) -> None:
    assert (
        run("--model", str(tiny_checkpoint), "models", "digest")[1] == run("models", "digest", str(tiny_checkpoint))[1]
    )


def test_pull_says_where_the_model_is(run: Run, base_directory: Path) -> None:
    status, out, _ = run("models", "pull", "--json")
    assert status == 0
    assert json.loads(out) == {"name": mini.NAME, "directory": str(base_directory), "digest": mini.GOLDEN_DIGEST}


def test_verify_of_a_harmed_model_fails_with_the_command_that_mends_it(
    run: Run, empty_cache: Path, tiny_checkpoint: Path
) -> None:
    shutil.copytree(tiny_checkpoint, base.model_directory(empty_cache))
    status, out, err = run("models", "verify")
    assert (status, out) == (1, "")
    assert base.GOLDEN_DIGEST in err
    assert "Run `forethought models pull`" in err


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["models", "show"], f"Run `forethought models pull {mini.NAME}`."),
        (["models", "verify"], f"Run `forethought models pull {mini.NAME}`."),
        (["models", "digest", "nope"], KNOWN),
        (["models", "pull", "nope"], KNOWN),
        (["--model", "nope", "models", "show"], KNOWN),
    ],
)
def test_an_error_is_one_line_with_its_remedy(run: Run, arguments: list[str], says: str) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert says in err
    assert err.count("\n") == 1


def test_a_setting_that_cannot_work_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETHOUGHT_ENGINE__THREADS", "many")
    status, _, err = run("models", "list")
    assert status == 1
    assert "engine.threads" in err


def test_a_fault_of_ours_is_one_line_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    break_show(monkeypatch)
    status, out, err = run("models", "show")
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert "ZeroDivisionError: oh no" in err
    assert "--debug" in err


@pytest.mark.parametrize("arguments", [["--debug", "models", "show"], ["models", "show", "--debug"]])
def test_debug_lets_the_error_through_from_any_place(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    break_show(monkeypatch)
    monkeypatch.setattr("sys.argv", ["forethought", *arguments])
    with pytest.raises(ZeroDivisionError):
        frame.main()


@pytest.mark.usefixtures("empty_cache")
def test_debug_shows_where_an_expected_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["forethought", "models", "show", "--debug"])
    with pytest.raises(CheckpointError):
        frame.main()


@pytest.mark.parametrize("arguments", [["models", "nope"], ["--nope"], ["models", "digest", "--quantization", "int3"]])
def test_a_wrong_command_line_exits_with_2(run: Run, arguments: list[str]) -> None:
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Usage" in err


def test_version_and_help_need_no_model(run: Run, empty_cache: Path) -> None:
    assert run("--version")[:2] == (0, f"forethought {__version__}\n")
    assert "models" in run("--help")[1]
    assert not empty_cache.exists()


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys; import forethought.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
