"""The keyring file: the keys that encrypt hidden thinking, kept between starts of the server.

One JSON file in the user's configuration directory, readable by its owner only. Every change writes a new file beside
it and puts that in its place, so a reader sees the old ring or the new one, and a crash leaves no half of either.
"""

import fcntl
import json
import os
import secrets
import stat
import time
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError, model_validator

from forethought.errors import SettingsError, misfits
from forethought.settings import user_directory

SCHEMA_VERSION = 1
KEY_ID_BYTES = 8
SECRET_BYTES = 32
"""AES-256."""

OWNER_ONLY = 0o600
Stamp = tuple[int, int, int]
"""Tells one state of a file from another."""


@dataclass(frozen=True, slots=True)
class ContentKey:
    """One key. `id` is no secret: it stands in what the key encrypts. `created` is in Unix seconds."""

    id: bytes
    secret: bytes = field(repr=False)
    created: int

    @classmethod
    def fresh(cls) -> Self:
        """A new random key."""
        return cls(secrets.token_bytes(KEY_ID_BYTES), secrets.token_bytes(SECRET_BYTES), int(time.time()))


@dataclass(frozen=True, slots=True)
class Keyring:
    """The current key encrypts; all of them decrypt."""

    current: bytes
    keys: tuple[ContentKey, ...]

    @classmethod
    def fresh(cls) -> Self:
        """A ring of one new key."""
        key = ContentKey.fresh()
        return cls(key.id, (key,))

    def rotated(self) -> Self:
        """This ring with a new key, which is the current one from now on."""
        key = ContentKey.fresh()
        return replace(self, current=key.id, keys=(*self.keys, key))


class _StoredKey(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * KEY_ID_BYTES}}}$")]
    secret: Annotated[Base64Bytes, Field(min_length=SECRET_BYTES, max_length=SECRET_BYTES, repr=False)]
    created: Annotated[int, Field(ge=0)]


class _StoredRing(BaseModel):
    """The file's content."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    schema_version: Literal[1]
    current: str
    keys: list[_StoredKey]

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        ids = [key.id for key in self.keys]
        if len(set(ids)) < len(ids):
            raise ValueError("two keys have the same id")
        if self.current not in ids:
            raise ValueError("the current key is not among the keys")
        return self


class KeyringFile:
    """Reads and changes the ring in one file.

    Every method raises `SettingsError` when the file cannot be used: the message says why, and never what is in it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or user_directory("XDG_CONFIG_HOME", ".config") / "content-keys.json"

    def open(self) -> Keyring:
        """The ring; a fresh one, written first, when there is no file yet."""
        try:
            return self.read()
        except FileNotFoundError:
            return self._create()

    def read(self) -> Keyring:
        """The ring in the file. Raises `FileNotFoundError` when there is none."""
        try:
            with self.path.open("rb") as file:
                self._check_access(os.fstat(file.fileno()).st_mode)
                stored = _StoredRing.model_validate_json(file.read())
        except ValidationError as error:
            raise SettingsError(f"{self.path} does not fit: {misfits(error)}.", "Restore it from a copy.") from None
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unusable("read", error) from None
        keys = (ContentKey(bytes.fromhex(key.id), key.secret, key.created) for key in stored.keys)
        return Keyring(bytes.fromhex(stored.current), tuple(keys))

    def rotate(self) -> Keyring:
        """Adds a key and makes it the current one. Raises `FileNotFoundError` when there is no file."""
        with self._alone():
            ring = self.read().rotated()
            try:
                with self._written(ring) as written:
                    written.replace(self.path)
            except OSError as error:
                raise self._unusable("changed", error) from None
        return ring

    def stamp(self) -> Stamp | None:
        """Another one after each change; None while the file is not there."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _create(self) -> Keyring:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._written(Keyring.fresh()) as written:
                # Unlike a replacement, a link is refused when another process was faster: then its ring counts.
                os.link(written, self.path)
        except FileExistsError:
            pass
        except OSError as error:
            raise self._unusable("written", error) from None
        return self.read()

    @contextmanager
    def _written(self, ring: Keyring) -> Generator[Path]:
        """A new file with this ring, beside the real one, for as long as the block lasts."""
        stored = {
            "schema_version": SCHEMA_VERSION,
            "current": ring.current.hex(),
            "keys": [
                {"id": key.id.hex(), "secret": b64encode(key.secret).decode(), "created": key.created}
                for key in ring.keys
            ],
        }
        path = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(_new_file(path), "w") as file:
                json.dump(stored, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Two rotations at once would lose the key of one. The lock on the directory ends with its process."""
        try:
            directory = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise self._unusable("changed", error) from None
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise SettingsError(f"{self.path} is being changed by another process.", "Try again.") from None
        finally:
            os.close(directory)

    def _check_access(self, mode: int) -> None:
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(
                f"{self.path} holds secret keys, and others may open it (mode {stat.S_IMODE(mode):04o}).",
                f"Run: chmod 600 {self.path}. If somebody may have read it, rotate the keys.",
            )

    def _unusable(self, verb: str, error: OSError) -> SettingsError:
        return SettingsError(f"{self.path} cannot be {verb}: {error.strerror}.", "Check the directory and its owner.")


def _new_file(path: Path) -> int:
    """Opens a file that was not there and that only its owner may open, whatever the umask says."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
