"""`forethought serve`: from the command line to an answer, and to an orderly end."""

import datetime
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import psutil
import pytest

from command_line import CommandLine
from forethought.api import hosting
from forethought.errors import SettingsError
from forethought.model.checkpoint import UNDATED, Checkpoint
from forethought.model.layout import MANIFEST, read_object, write_object
from forethought.reasoning.summary import SummarySettings
from forethought.settings import API_KEY_VARIABLE, ServeSettings, Settings

KEY = "correct-horse-battery"
QUESTION = "is the user probably twelve"


@contextmanager
def serving(model: Path, home: Path, *options: str, key: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process that is ready, and its URL."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FORETHOUGHT_")}
    environment |= {"XDG_CONFIG_HOME": str(home), "FORETHOUGHT_MODEL": str(model), "COLUMNS": "200"}
    environment |= {"FORETHOUGHT_ENGINE__RUNNER": "torch", "FORETHOUGHT_ENGINE__CACHE_TOKENS": "2048"}
    environment |= {API_KEY_VARIABLE: key} if key else {}
    command = [sys.executable, "-m", "forethought", "serve", "--port", "0", *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        shown = ""
        while "ready after" not in shown:
            line = process.stderr.readline()
            assert line, shown
            shown += line
        assert "UNGATED" in shown
        [url] = re.findall(r"(http://[0-9.:]+)/v1", shown)
        yield process, url
    finally:
        process.kill()
        process.communicate()


def test_a_server_answers_with_its_key_logs_no_content_and_ends_in_order(tiny_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--name", "tiny", "--think", "--lenient")
    with serving(tiny_checkpoint, tmp_path, *options, key=KEY) as (process, url):
        [engine] = psutil.Process(process.pid).children()
        assert KEY not in engine.environ().values()
        assert httpx.get(f"{url}/readyz").json() == {"status": "ready"}
        asked = {"model": "tiny", "input": QUESTION, "max_output_tokens": 40, "temperature": 0.5}
        assert httpx.post(f"{url}/v1/responses", json=asked).status_code == 401
        answer = httpx.post(f"{url}/v1/responses", json=asked, headers={"api-key": KEY}, timeout=60).json()
        assert answer["model"] == f"tiny-{UNDATED}"
        assert answer["temperature"] == 0.5
        assert answer["output"][0]["type"] == "reasoning"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err.endswith("ended\n")
    _, refused, answered = (json.loads(line)["fields"] for line in out.splitlines())
    assert (refused["status"], answered["status"], answered["model"]) == (401, 200, answer["model"])
    for secret in (KEY, QUESTION):
        assert secret not in out + err
    assert not psutil.pid_exists(engine.pid)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--host", "0.0.0.0"), "no gate has admitted"),
        (("--host", "nowhere.invalid"), "is not an address"),
        (("--port", "70000"), "port: Input should be less"),
        (("--name", "two words"), "name: String should match"),
        (("--model", "nowhere"), "neither a known model nor the directory"),
    ],
)
def test_what_cannot_be_served_is_one_line_with_a_remedy(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    arguments = [*options, "serve"] if options[0] == "--model" else ["serve", *options]
    refused = forethought(*arguments)
    assert refused.status == 1
    assert message in refused.err
    assert refused.err.count("\n") == 1


def test_an_empty_key_is_not_taken_for_none(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "")
    refused = forethought("serve")
    assert refused.status == 1
    assert API_KEY_VARIABLE in refused.err


def test_doctor_names_the_variable_of_the_key_and_keeps_the_key(
    forethought: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    examined = forethought("doctor", "--json")
    assert API_KEY_VARIABLE in examined.out
    assert KEY not in examined.out + examined.err


@pytest.fixture
def settings(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return Settings(model=str(tiny_checkpoint))


def opened(settings: Settings, **serve: object) -> hosting.ServedModel:
    return hosting.open_model(settings.model_copy(update={"serve": ServeSettings.model_validate(serve)}))


def test_a_model_is_dated_by_its_checkpoint_or_by_the_settings(settings: Settings, tmp_path: Path) -> None:
    assert opened(settings).snapshot == f"forethought-mini-{UNDATED}"
    Checkpoint.open(Path(settings.model)).save(tmp_path / "saved")
    path = tmp_path / "saved" / MANIFEST
    write_object(path, read_object(path) | {"created": "2026-11-22"})
    served = opened(settings.model_copy(update={"model": str(tmp_path / "saved")}), name="tiny")
    assert (served.alias, served.snapshot) == ("tiny", "tiny-2026-11-22")
    assert datetime.datetime.fromtimestamp(served.created, datetime.UTC).date() == datetime.date(2026, 11, 22)
    assert opened(settings, snapshot="2026-11-23").snapshot == "forethought-mini-2026-11-23"


def test_thinking_is_what_the_checkpoint_declares_or_the_settings_force(settings: Settings) -> None:
    assert [opened(settings, think=think).thinks for think in (None, True, False)] == [False, True, False]


def test_thinking_cannot_be_forced_where_there_is_no_place_for_it(
    settings: Settings, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Mute:
        thinking = None

    checkpoint = replace(Checkpoint.open(tiny_checkpoint), renderer=Mute())
    monkeypatch.setattr(hosting.registry, "resolve", lambda name, settings: checkpoint)
    with pytest.raises(SettingsError, match="no thinking"):
        opened(settings, think=True)
    assert not opened(settings).thinks


def test_another_model_may_write_the_summaries(settings: Settings, tiny_checkpoint: Path) -> None:
    served = opened(settings, summary_model=str(tiny_checkpoint))
    assert served.summary_writer is not None
    assert served.summary_writer.engine is not served.reasoner.engine
    assert served.engines == (served.reasoner.engine, served.summary_writer.engine)
    alone = opened(settings)
    assert (alone.summary_writer, alone.engines) == (None, (alone.reasoner.engine,))


def test_the_settings_say_how_long_a_summary_may_take(settings: Settings) -> None:
    asked = opened(settings, summary_part_timeout=7, summary_final_timeout=0).summary_settings
    assert (asked.part_seconds, asked.final_seconds) == (7, 0)
    assert opened(settings).summary_settings == SummarySettings()
