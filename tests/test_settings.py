"""Settings: which source wins, and that nothing which was said is ignored."""

import os
from pathlib import Path

import pytest

from forethought.errors import SettingsError
from forethought.settings import API_KEY_VARIABLE, Settings, load_settings


@pytest.fixture(autouse=True)
def settings_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the TOML file would be, in a world without one and without variables of ours."""
    for name in [name for name in os.environ if name.startswith("FORETHOUGHT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "config" / "forethought" / "forethought.toml"
    file.parent.mkdir(parents=True)
    return file


def test_command_line_beats_environment_beats_file_beats_defaults(
    settings_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def models_and_threads(**overrides: object) -> tuple[str, int]:
        settings = load_settings(**overrides)
        return settings.model, settings.engine.threads

    assert models_and_threads() == ("forethought-mini", 0)
    settings_file.write_text('model = "of the file"\n[engine]\nthreads = 1\n')
    assert models_and_threads() == ("of the file", 1)
    monkeypatch.setenv("FORETHOUGHT_MODEL", "of the environment")
    monkeypatch.setenv("FORETHOUGHT_ENGINE__THREADS", "2")
    assert models_and_threads() == ("of the environment", 2)
    overrides = {"model": "of the command line", "engine": {"threads": 3}}
    assert models_and_threads(**overrides) == ("of the command line", 3)


def test_sources_are_merged_setting_by_setting(settings_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings_file.write_text("[engine]\nmax_running = 7\nthreads = 1\n")
    monkeypatch.setenv("FORETHOUGHT_ENGINE__THREADS", "2")
    engine = load_settings(engine={"dtype": "float32"}).engine
    assert (engine.max_running, engine.threads, engine.dtype) == (7, 2, "float32")


def test_a_file_in_the_working_directory_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "forethought.toml").write_text('cache_dir = "/planted"\n')
    monkeypatch.chdir(tmp_path)
    assert load_settings().cache_dir == tmp_path / "cache" / "forethought"


def test_a_relative_xdg_directory_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert load_settings().cache_dir == tmp_path / ".cache" / "forethought"


def test_a_tilde_in_cache_dir_is_the_home_directory(
    settings_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    settings_file.write_text('cache_dir = "~/kept"\n')
    assert load_settings().cache_dir == tmp_path / "kept"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"model = ", "forethought.toml cannot be read"),
        (b'model = "\xff"', "forethought.toml cannot be read"),
        (b"modle = 1", "modle: Extra inputs"),
        (b"[engine]\nthread = 1", "engine.thread: Extra inputs"),
        (b"[engine]\nthreads = -1", "engine.threads: Input should be greater"),
        (b'cache_dir = "~no-such-user/x"', "cache_dir: "),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_a_remedy(settings_file: Path, content: bytes, says: str) -> None:
    settings_file.write_bytes(content)
    with pytest.raises(SettingsError, match=says) as raised:
        load_settings()
    assert raised.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FORETHOUGHT_MODLE", "x", "no setting for FORETHOUGHT_MODLE"),
        ("FORETHOUGHT_ENGINE__THREAD", "1", "no setting for FORETHOUGHT_ENGINE__THREAD"),
        ("FORETHOUGHT_ENGINE_THREADS", "1", "no setting for FORETHOUGHT_ENGINE_THREADS"),
        ("FORETHOUGHT_ENGINE__THREADS", "many", "engine.threads"),
        ("FORETHOUGHT_ENGINE", "{", "engine"),
        ("FORETHOUGHT_SERVE__PROT", "1", "no setting for FORETHOUGHT_SERVE__PROT"),
        ("FORETHOUGHT_SERVE__PORT", "many", "serve.port"),
        ("FORETHOUGHT_LOG_LEVEL", "loud", "log_level"),
        ("FORETHOUGHT_TRAIN__DEVICE", "abacus", "train.device"),
        ("FORETHOUGHT_TRAIN__DEVISE", "cpu", "no setting for FORETHOUGHT_TRAIN__DEVISE"),
        ("FORETHOUGHT_TRAIN__PACK_TOKENS", "15", "train.pack_tokens"),
    ],
)
def test_a_variable_that_does_not_fit_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says) as raised:
        load_settings()
    assert raised.value.remedy


def test_the_variables_of_the_benchmarks_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETHOUGHT_PEERS_PYTHON", "python3")
    assert load_settings() == Settings()


def test_the_key_of_the_server_is_known_and_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, "correct-horse-battery")
    assert load_settings() == Settings()
    assert "correct-horse-battery" not in repr(load_settings())
