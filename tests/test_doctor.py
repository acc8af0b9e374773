"""`forethought doctor`: what is here, what is missing, and the command that mends it."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from command_line import CommandLine
from forethought.cli import checks
from forethought.engine.compiled.build import find_compiler
from forethought.errors import DigestMismatch
from forethought.model import base
from forethought.model.registry import MODELS


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "SELF_TEST_SECONDS", 0.2)


def found(forethought: CommandLine) -> tuple[int, dict[str, dict[str, str]]]:
    """The exit status and the checks by name."""
    examined = forethought("doctor", "--json")
    report = json.loads(examined.out)
    assert report["healthy"] == (examined.status == 0)
    return examined.status, {check["name"]: check for check in report["checks"]}


def test_a_machine_where_nothing_is_missing_is_healthy(forethought: CommandLine) -> None:
    status, report = found(forethought)
    assert status == 0
    assert not any(check["state"] == "missing" for check in report.values())
    assert "cores" in report["processor"]["detail"]
    assert f"torch {importlib.metadata.version('torch')}" in report["packages"]["detail"]
    assert "tokens/s" in report["self-test"]["detail"]


def test_a_person_reads_one_line_a_check_without_colours_in_a_pipe(forethought: CommandLine) -> None:
    examined = forethought("doctor")
    assert "\x1b" not in examined.out
    marks = [line[0] for line in examined.out.splitlines() if not line.startswith(" ")]
    assert set(marks) <= {"✓", "!"}
    assert len(marks) == len(json.loads(forethought("doctor", "--json").out)["checks"])


def test_a_model_that_is_not_here_comes_with_the_command_that_fetches_it(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETHOUGHT_MODEL", base.NAME)
    status, report = found(forethought)
    assert status == 1
    assert report["model"]["state"] == "missing"
    assert "forethought models pull" in report["model"]["remedy"]
    assert "self-test" not in report, "nothing can be tested without a model"


def test_a_harmed_model_is_missing_too(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def harmed(directory: Path) -> str:
        raise DigestMismatch("The base is not the base.", "Run `forethought models pull` to make it again.")

    monkeypatch.setenv("FORETHOUGHT_MODEL", base.NAME)
    entry = MODELS[base.NAME]
    entry.directory(tmp_path / "cache").mkdir(parents=True)
    monkeypatch.setattr(type(entry), "verify", property(lambda self: harmed))
    status, report = found(forethought)
    assert (status, report["model"]["detail"]) == (1, "The base is not the base.")


def test_a_package_that_is_not_installed_is_named(forethought: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["torch>=2.7", "no-such-package>=1", 'not-needed; extra == "dev"']
    monkeypatch.setattr(checks.importlib.metadata, "requires", lambda name: needed)
    status, report = found(forethought)
    assert status == 1
    assert report["packages"]["detail"] == "not installed: no-such-package"
    assert report["packages"]["remedy"] == "pip install no-such-package"


@pytest.mark.parametrize(
    ("chosen", "status", "state"),
    [
        ({"RUNNER": "auto"}, 0, "warning"),
        ({"RUNNER": "compiled"}, 1, "missing"),
        ({"RUNNER": "auto", "QUANTIZATION": "int8"}, 1, "missing"),
    ],
)
def test_without_a_compiler_the_engine_is_slower_and_works_unless_the_kernels_are_needed(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], status: int, state: str
) -> None:
    for name, value in ({"DTYPE": "auto"} | chosen).items():
        monkeypatch.setenv(f"FORETHOUGHT_ENGINE__{name}", value)
    monkeypatch.setenv("CC", "no-such-compiler")
    find_compiler.cache_clear()
    found_status, report = found(forethought)
    find_compiler.cache_clear()
    assert (found_status, report["kernels"]["state"]) == (status, state)
    assert "no-such-compiler" in report["kernels"]["detail"]
    assert report["kernels"]["remedy"] == "Mend or unset CC."


def test_kernels_that_can_be_built_are_named_with_their_compiler(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETHOUGHT_ENGINE__RUNNER", "auto")
    monkeypatch.setenv("FORETHOUGHT_ENGINE__DTYPE", "auto")
    _, report = found(forethought)
    assert report["kernels"]["state"] == "ok"
    assert find_compiler().version in report["kernels"]["detail"]


def test_settings_say_where_they_come_from(forethought: CommandLine) -> None:
    _, report = found(forethought)
    assert "FORETHOUGHT_MODEL" in report["settings"]["detail"]


def test_a_cache_that_cannot_be_written_is_missing(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FORETHOUGHT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    status, report = found(forethought)
    assert (status, report["cache"]["state"]) == (1, "missing")
    assert "FORETHOUGHT_CACHE_DIR" in report["cache"]["remedy"]


def test_bench_measures_each_batch_size(forethought: CommandLine) -> None:
    measured = forethought("bench", "engine", "--batch", "1,3", "--prompt-tokens", "8", "--new-tokens", "8", "--json")
    report = json.loads(measured.out)
    assert [run["batch"] for run in report["runs"]] == [1, 3]
    for run in report["runs"]:
        assert run["prefill_tokens_per_second"] > 0
        assert run["decode_tokens_per_second"] > 0
        shares = [run["forward_share"], run["sampling_share"], run["other_share"]]
        assert sum(shares) == pytest.approx(1.0)
    assert report["peak_memory_bytes"] > 10**7


def test_bench_prints_a_row_for_each_batch_size(forethought: CommandLine) -> None:
    lines = forethought(
        "bench", "engine", "--batch", "1,2", "--prompt-tokens", "8", "--new-tokens", "8"
    ).out.splitlines()
    assert [line.split("\t")[0] for line in lines[:3]] == ["batch", "1", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--batch", "1,x"), "--batch is '1,x'"),
        (("--prompt-tokens", "600"), "512"),
        (("--batch", "0"), "--batch is '0'"),
    ],
)
def test_bench_refuses_what_cannot_be_measured(
    forethought: CommandLine, arguments: tuple[str, ...], message: str
) -> None:
    refused = forethought("bench", "engine", *arguments)
    assert refused.status == 1
    assert message in refused.err
