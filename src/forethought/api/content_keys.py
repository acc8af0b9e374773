"""Encrypts what a model thought, so that a client can carry it and hand it back, and never read it.

A blob is urlsafe base64 of: version (1 byte), key id (8), nonce (12), ciphertext with its tag (16 more). Inside is the
text, compressed by zlib. AES-256-GCM authenticates the header, and binds the blob to its tenant, model and item: moved
to another one, it does not open. Its length tells about how much was thought, which `reasoning_tokens` tells anyway.

Nonces are random, 96 bits. NIST SP 800-38D allows 2^32 of them under one key, so that two are the same with a
probability below 2^-32: a server that seals 100 items a second has to rotate its keys once a year. Rotation keeps the
old keys; what they sealed still opens.
"""

import secrets
import zlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from forethought.api.errors import INVALID, ApiError
from forethought.api.keyring import KEY_ID_BYTES, Keyring, KeyringFile, Stamp
from forethought.errors import SettingsError
from forethought.logs import Hidden, get_logger

log = get_logger(__name__)

VERSION = b"\x01"
NONCE_BYTES = 12
HEADER_BYTES = len(VERSION) + KEY_ID_BYTES
MOST_BYTES = 64 * 2**20
"""A text may be this long (UTF-8), more than any context holds. What claims to be longer is not even unpacked."""


class ForeignContent(ApiError):
    """Encrypted content that was not made here, for this tenant, model and item, or that has been changed since.

    Which of these it is stays untold: the answer helps nobody but who tries them all.
    """

    def __init__(self, item_id: str, param: str | None = None) -> None:
        super().__init__(
            400,
            f"The encrypted content for item {item_id[:64]!r} could not be verified. "
            "Reason: Encrypted content could not be decrypted or parsed.",
            type=INVALID,
            param=param,
            code="invalid_encrypted_content",
        )


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys in force."""

    ring: Keyring
    current: bytes
    ciphers: Mapping[bytes, AESGCM]


class ContentKeys:
    """Seals with the current key of a ring, opens with all of them."""

    def __init__(self, ring: Keyring, file: KeyringFile | None = None) -> None:
        """`load` and `ephemeral` make one. With `file`, a rotation by another process is followed."""
        self._file = file
        self._stamp: Stamp | None = None
        self._take(ring)

    @classmethod
    def load(cls, path: Path | None = None) -> "ContentKeys":
        """The keys in a file, made on first use: `content-keys.json` in the user's configuration directory.

        Raises:
            SettingsError: the file cannot be read or written, is damaged, or others may read it.
        """
        file = KeyringFile(path)
        return cls(file.open(), file)

    @classmethod
    def ephemeral(cls) -> "ContentKeys":
        """Keys that nobody keeps: what they sealed cannot be opened once the process is gone. For tests, and for
        servers that have nowhere to write."""
        return cls(Keyring.fresh())

    def rotate(self) -> None:
        """Seals with a new key from now on.

        Raises:
            SettingsError: the file cannot be changed; then nothing has.
        """
        if self._file is None:
            self._take(self._keys.ring.rotated())
            return
        try:
            self._take(self._file.rotate())
        except FileNotFoundError:
            raise SettingsError(
                f"{self._file.path} is gone.", "Restore it, or start the server anew to make another one."
            ) from None

    def seal(self, text: Hidden, *, tenant: str, model: str, item_id: str) -> str:
        """The text, for this item only. Raises `ValueError` above `MOST_BYTES`."""
        content = text.reveal().encode("utf-8", "surrogatepass")
        if len(content) > MOST_BYTES:
            raise ValueError(f"a text of {len(content)} bytes; {MOST_BYTES} can be sealed")
        self._follow()
        keys = self._keys
        header = VERSION + keys.current
        nonce = secrets.token_bytes(NONCE_BYTES)
        bound = _bound(header, tenant, model, item_id)
        sealed = keys.ciphers[keys.current].encrypt(nonce, zlib.compress(content), bound)
        return urlsafe_b64encode(header + nonce + sealed).decode()

    def open(self, blob: str, *, tenant: str, model: str, item_id: str) -> Hidden:
        """What was sealed for this item.

        Raises:
            ForeignContent: it was not, or not by a key that is still here.
        """
        self._follow()
        try:
            raw = _decoded(blob)
            header, nonce = raw[:HEADER_BYTES], raw[HEADER_BYTES : HEADER_BYTES + NONCE_BYTES]
            if header[:1] != VERSION:
                raise ValueError("another version")
            cipher = self._keys.ciphers[header[1:]]
            bound = _bound(header, tenant, model, item_id)
            content = cipher.decrypt(nonce, raw[HEADER_BYTES + NONCE_BYTES :], bound)
            return Hidden(_unpacked(content).decode("utf-8", "surrogatepass"))
        except (ValueError, KeyError, InvalidTag, zlib.error):
            raise ForeignContent(item_id) from None

    def _take(self, ring: Keyring) -> None:
        # One assignment: threads seal and open meanwhile.
        self._keys = _Keys(ring, ring.current, {key.id: AESGCM(key.secret) for key in ring.keys})

    def _follow(self) -> None:
        """Takes over what another process has changed in the file. A file that went bad leaves the keys in force."""
        if self._file is None or (stamp := self._file.stamp()) in (None, self._stamp):
            return
        try:
            self._take(self._file.read())
        except (SettingsError, FileNotFoundError) as error:
            log.warning("changed content keys not taken over", problem=str(error))
        self._stamp = stamp


def _bound(header: bytes, tenant: str, model: str, item_id: str) -> bytes:
    """The associated data. Each name follows its length: no two triples give the same bytes."""
    names = (name.encode("utf-8", "surrogatepass") for name in (tenant, model, item_id))
    return header + b"".join(len(name).to_bytes(8) + name for name in names)


def _decoded(blob: str) -> bytes:
    """The bytes of a blob. Raises `ValueError` for anything but the one spelling that `seal` gives them."""
    raw = b64decode(blob.encode("ascii"), altchars=b"-_", validate=True)
    if urlsafe_b64encode(raw).decode() != blob:
        raise ValueError("not in the canonical form")
    return raw


def _unpacked(content: bytes) -> bytes:
    """Decompresses, and stops at the limit: even a key that leaked makes no bomb."""
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(content, MOST_BYTES + 1)
    if len(text) > MOST_BYTES or not unpacker.eof or unpacker.unused_data:
        raise ValueError("too long, cut off, or with something behind it")
    return text
