"""The keyring file: made once, private, changed as a whole or not at all."""

import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from forethought.api.keyring import KeyringFile
from forethought.errors import SettingsError


@pytest.fixture
def file(tmp_path: Path) -> KeyringFile:
    return KeyringFile(tmp_path / "deep" / "content-keys.json")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def rewrite(file: KeyringFile, **changes: Any) -> None:
    """Changes fields of the file's JSON object."""
    file.open()
    file.path.write_text(json.dumps(json.loads(file.path.read_text()) | changes))


def test_it_lies_in_the_users_configuration_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert KeyringFile().path == tmp_path / "forethought" / "content-keys.json"


def test_it_is_made_on_first_use_and_stays(file: KeyringFile) -> None:
    ring = file.open()
    assert [key.id for key in ring.keys] == [ring.current]
    assert file.open() == ring == file.read()


def test_it_is_for_its_owner_only_whatever_the_umask_says(file: KeyringFile) -> None:
    before = os.umask(0)
    try:
        file.open()
        assert mode(file.path) == 0o600
        assert mode(file.path.parent) == 0o700
        file.rotate()
        assert mode(file.path) == 0o600
    finally:
        os.umask(before)


def test_it_carries_a_schema_version(file: KeyringFile) -> None:
    file.open()
    assert json.loads(file.path.read_text())["schema_version"] == 1


@pytest.mark.parametrize("open_to", [0o640, 0o604, 0o620, 0o666])
def test_one_that_others_may_open_is_refused_with_a_remedy(file: KeyringFile, open_to: int) -> None:
    file.open()
    file.path.chmod(open_to)
    with pytest.raises(SettingsError, match="chmod 600"):
        file.open()


def test_many_who_make_it_at_once_get_the_same(file: KeyringFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: file.open(), range(32)))
    assert set(rings) == {file.read()}
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_a_rotation_keeps_the_old_keys_behind_a_new_current_one(file: KeyringFile) -> None:
    first = file.open()
    second = file.rotate()
    assert second.current != first.current
    assert second.keys[:1] == first.keys
    assert file.read() == second


def test_two_rotations_at_once_lose_no_key(file: KeyringFile) -> None:
    file.open()
    with file._alone(), pytest.raises(SettingsError, match="another process"):  # type: ignore[attr-defined]
        file.rotate()
    assert len(file.rotate().keys) == 2


def test_a_rotation_that_cannot_be_written_changes_nothing(file: KeyringFile, monkeypatch: pytest.MonkeyPatch) -> None:
    ring = file.open()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="No space left"):
        file.rotate()
    assert file.read() == ring
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]


def test_a_change_gives_it_another_stamp(file: KeyringFile) -> None:
    assert file.stamp() is None
    file.open()
    before = file.stamp()
    assert before == file.stamp()
    file.rotate()
    assert file.stamp() != before


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema_version": 2}, "schema_version"),
        ({"current": "0" * 16}, "not among the keys"),
        ({"keys": []}, "not among the keys"),
        ({"keys": [{"id": "0" * 16, "secret": "c2hvcnQ=", "created": 1}]}, "secret"),
        ({"keys": [{"id": "../../etc", "secret": "c2hvcnQ=", "created": 1}]}, "id"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_damaged_one_is_refused_by_what_is_wrong_and_without_its_secrets(
    file: KeyringFile, changes: dict[str, Any], problem: str
) -> None:
    rewrite(file, **changes)
    with pytest.raises(SettingsError, match=problem) as refusal:
        file.open()
    assert "c2hvcnQ" not in str(refusal.value)


def test_two_keys_of_one_id_are_refused(file: KeyringFile) -> None:
    file.open()
    keys = json.loads(file.path.read_text())["keys"]
    rewrite(file, keys=keys * 2)
    with pytest.raises(SettingsError, match="same id"):
        file.open()


def test_what_is_no_json_is_refused_and_left_alone(file: KeyringFile) -> None:
    file.open()
    file.path.write_bytes(b"\xff{")
    with pytest.raises(SettingsError, match="JSON"):
        file.open()
    assert file.path.read_bytes() == b"\xff{"


def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be read"):
        KeyringFile(tmp_path / "file" / "content-keys.json").open()
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        KeyringFile(tmp_path / "folder").open()


def test_secrets_are_not_printed(file: KeyringFile) -> None:
    ring = file.open()
    assert str(ring.keys[0].secret) not in repr(ring)
