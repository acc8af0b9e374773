"""Encrypted thinking: it opens for its own tenant, model and item, with a key of ours, unchanged; or not at all."""

import base64
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from forethought.api import content_keys
from forethought.api.content_keys import ContentKeys, ForeignContent
from forethought.api.keyring import Keyring
from forethought.errors import SettingsError
from forethought.logs import Hidden

ITEM = {"tenant": "local", "model": "forethought-mini", "item_id": "rs_1"}
KEYS = ContentKeys.ephemeral()
SECRET = "the user is probably twelve"

names = st.text(max_size=12)
any_text = st.text(st.characters(codec=None), max_size=200)  # lone surrogates too


def sealed_bytes(content: bytes, ring: Keyring, item: dict[str, str] = ITEM) -> str:
    """A blob whose inside is exactly this, made by somebody who has the key."""
    header, nonce = b"\x01" + ring.current, b"n" * 12
    bound = header + b"".join(len(name).to_bytes(8) + name.encode() for name in item.values())
    sealed = AESGCM(ring.keys[0].secret).encrypt(nonce, content, bound)
    return base64.urlsafe_b64encode(header + nonce + sealed).decode()


@given(text=any_text, tenant=names, model=names, item_id=names)
def test_what_was_sealed_opens(text: str, tenant: str, model: str, item_id: str) -> None:
    blob = KEYS.seal(Hidden(text), tenant=tenant, model=model, item_id=item_id)
    assert KEYS.open(blob, tenant=tenant, model=model, item_id=item_id) == Hidden(text)


def test_a_long_text_opens_and_is_small() -> None:
    text = Hidden("I should add the numbers one by one. " * 100_000)
    blob = KEYS.seal(text, **ITEM)
    assert len(blob) < len(text) / 50
    assert KEYS.open(blob, **ITEM) == text


def test_a_blob_is_urlsafe_shows_nothing_and_is_never_the_same_twice() -> None:
    first, second = (KEYS.seal(Hidden(SECRET), **ITEM) for _ in range(2))
    assert first != second
    raw = base64.urlsafe_b64decode(first)
    assert SECRET.encode() not in raw
    assert zlib.compress(SECRET.encode()) not in raw


@pytest.mark.parametrize("change", [1, 0x80, 0xFF])
def test_a_change_of_any_byte_is_noticed(change: int) -> None:
    raw = base64.urlsafe_b64decode(KEYS.seal(Hidden(SECRET), **ITEM))
    for index, byte in enumerate(raw):
        changed = raw[:index] + bytes([byte ^ change]) + raw[index + 1 :]
        with pytest.raises(ForeignContent):
            KEYS.open(base64.urlsafe_b64encode(changed).decode(), **ITEM)


def test_a_change_of_any_character_is_noticed() -> None:
    blob = KEYS.seal(Hidden(SECRET * 2), **ITEM)
    for index, character in enumerate(blob):
        for other in {"A", "B", "_", "+", "\n", "=", "é", ""} - {character}:
            with pytest.raises(ForeignContent):
                KEYS.open(blob[:index] + other + blob[index + 1 :], **ITEM)


@given(st.data())
def test_a_blob_cut_or_lengthened_is_noticed(data: st.DataObject) -> None:
    blob = KEYS.seal(Hidden(SECRET), **ITEM)
    cut = blob[: data.draw(st.integers(0, len(blob) - 1))]
    longer = blob + data.draw(st.text(min_size=1, max_size=5))
    for wrong in (cut, longer):
        with pytest.raises(ForeignContent):
            KEYS.open(wrong, **ITEM)


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_what_was_never_sealed_does_not_open(blob: str) -> None:
    with pytest.raises(ForeignContent):
        KEYS.open(blob, **ITEM)


@given(sealed=st.tuples(names, names, names), asked=st.tuples(names, names, names))
def test_another_tenant_model_or_item_cannot_open_it(sealed: tuple[str, str, str], asked: tuple[str, str, str]) -> None:
    fields = ("tenant", "model", "item_id")
    blob = KEYS.seal(Hidden(SECRET), **dict(zip(fields, sealed, strict=True)))
    if asked != sealed:
        with pytest.raises(ForeignContent):
            KEYS.open(blob, **dict(zip(fields, asked, strict=True)))


def test_names_that_spell_the_same_when_joined_are_told_apart() -> None:
    blob = KEYS.seal(Hidden(SECRET), tenant="ab", model="c", item_id="d")
    with pytest.raises(ForeignContent):
        KEYS.open(blob, tenant="a", model="bc", item_id="d")


def test_another_ring_cannot_open_it() -> None:
    with pytest.raises(ForeignContent):
        ContentKeys.ephemeral().open(KEYS.seal(Hidden(SECRET), **ITEM), **ITEM)


def test_another_key_under_the_same_id_cannot_open_it() -> None:
    ring, other = Keyring.fresh(), Keyring.fresh()
    forged = replace(ring, keys=(replace(other.keys[0], id=ring.current),))
    with pytest.raises(ForeignContent):
        ContentKeys(forged).open(ContentKeys(ring).seal(Hidden(SECRET), **ITEM), **ITEM)


def test_the_refusal_is_openais() -> None:
    with pytest.raises(ForeignContent) as refusal:
        KEYS.open("gAAA", **ITEM)
    error = refusal.value
    assert error.status == 400
    assert error.error["type"] == "invalid_request_error"
    assert error.error["code"] == "invalid_encrypted_content"
    assert error.message.startswith("The encrypted content for item 'rs_1' could not be verified.")


def test_every_refusal_says_the_same() -> None:
    old = ContentKeys.ephemeral().seal(Hidden(SECRET), **ITEM)
    changed = KEYS.seal(Hidden(SECRET), **(ITEM | {"tenant": "other"}))
    messages: set[str] = set()
    for blob in (old, changed, "", "no base64!", old[:20]):
        with pytest.raises(ForeignContent) as refusal:
            KEYS.open(blob, **ITEM)
        messages.add(refusal.value.message)
    assert len(messages) == 1


def test_a_refusal_quotes_no_more_of_an_id_than_makes_it_known() -> None:
    with pytest.raises(ForeignContent) as refusal:
        KEYS.open("", tenant="local", model="m", item_id="rs_\ud800\n" + "x" * 10_000)
    assert len(refusal.value.message) < 300
    assert refusal.value.message.isprintable()


@pytest.mark.parametrize(
    "inside",
    [
        zlib.compress(b"0" * 1001),
        zlib.compress(b"0" * 100_000_000),
        zlib.compress(b"0" * 10)[:-1],
        zlib.compress(b"0" * 10) + b"more",
        b"not compressed",
        zlib.compress(b"\xff\xfe"),
        b"",
    ],
    ids=["one too long", "bomb", "cut", "trailing", "raw", "no UTF-8", "empty"],
)
def test_what_does_not_unpack_is_foreign_even_when_the_key_is_right(
    inside: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_keys, "MOST_BYTES", 1000)
    ring = Keyring.fresh()
    with pytest.raises(ForeignContent):
        ContentKeys(ring).open(sealed_bytes(inside, ring), **ITEM)


def test_the_limit_itself_is_sealed_and_opened_and_one_more_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_keys, "MOST_BYTES", 1000)
    assert KEYS.open(KEYS.seal(Hidden("a" * 1000), **ITEM), **ITEM) == Hidden("a" * 1000)
    with pytest.raises(ValueError, match="1001 bytes"):
        KEYS.seal(Hidden("a" * 1001), **ITEM)


@pytest.mark.parametrize("kept", [False, True])
def test_after_rotations_the_old_still_opens_and_the_new_has_a_new_key(tmp_path: Path, kept: bool) -> None:
    keys = ContentKeys.load(tmp_path / "keys.json") if kept else ContentKeys.ephemeral()
    blobs: list[str] = []
    for _ in range(4):
        blobs.append(keys.seal(Hidden(SECRET), **ITEM))
        keys.rotate()
    assert len({base64.urlsafe_b64decode(blob)[1:9] for blob in blobs}) == 4
    assert all(keys.open(blob, **ITEM) == Hidden(SECRET) for blob in blobs)


def test_keys_in_a_file_outlive_the_process(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    blob = ContentKeys.load(path).seal(Hidden(SECRET), **ITEM)
    assert ContentKeys.load(path).open(blob, **ITEM) == Hidden(SECRET)


def test_a_rotation_in_another_process_is_followed(tmp_path: Path) -> None:
    here, there = (ContentKeys.load(tmp_path / "keys.json") for _ in range(2))
    there.rotate()
    assert here.open(there.seal(Hidden(SECRET), **ITEM), **ITEM) == Hidden(SECRET)
    assert here.seal(Hidden(SECRET), **ITEM)[:12] == there.seal(Hidden(SECRET), **ITEM)[:12]


def test_a_file_that_goes_bad_or_away_leaves_the_keys_in_force(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = ContentKeys.load(path)
    blob = keys.seal(Hidden(SECRET), **ITEM)
    path.write_text("{}")
    assert keys.open(blob, **ITEM) == Hidden(SECRET)
    path.unlink()
    assert keys.open(blob, **ITEM) == Hidden(SECRET)
    with pytest.raises(SettingsError, match="gone"):
        keys.rotate()


def test_a_header_tells_version_and_key(tmp_path: Path) -> None:
    ring = Keyring.fresh()
    raw = base64.urlsafe_b64decode(ContentKeys(ring).seal(Hidden(""), **ITEM))
    assert raw[:9] == b"\x01" + ring.current
