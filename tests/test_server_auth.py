"""Who is heard: holders of the key or, without one, programs on this machine."""

import os

import pytest

from forethought.api.app import create_app
from forethought.api.auth import ApiKey, is_loopback, names_this_machine
from forethought.api.options import ServerOptions
from forethought.errors import SettingsError
from forethought.settings import API_KEY_VARIABLE, load_settings
from server_house import Running, Wire, serving

KEY = "correct-horse-battery"


@pytest.fixture(scope="module")
def keyed():
    with serving(create_app([], ServerOptions(key=ApiKey(KEY)))) as running:
        yield running


@pytest.fixture(scope="module")
def keyless():
    with serving(create_app([], ServerOptions())) as running:
        yield running


def get(running: Running, path: str = "/v1/models", *headers: str, host: str = "localhost"):
    lines = [f"GET {path} HTTP/1.1", *([f"host: {host}"] if host else []), *headers]
    with Wire(running) as wire:
        wire.send("\r\n".join([*lines, "", ""]).encode())
        return wire.answer()


@pytest.mark.parametrize(
    "headers",
    [
        [f"authorization: Bearer {KEY}"],
        [f"Authorization: bearer  {KEY} "],
        [f"api-key: {KEY}"],
        [f"api-key: {KEY}", f"authorization: Bearer {KEY}"],
    ],
)
def test_the_key_opens_in_openai_s_header_and_in_azure_s(keyed: Running, headers: list[str]) -> None:
    assert get(keyed, "/v1/models", *headers).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        ["authorization: Bearer wrong"],
        [f"authorization: Bearer {KEY}x"],
        [f"authorization: Bearer {KEY[:-1]}"],
        ["authorization: Bearer"],
        [f"authorization: Basic {KEY}"],
        [f"authorization: {KEY}"],
        ["api-key:"],
        ["api-key: wrong", f"authorization: Bearer {KEY}"],
        [f"api-key: {KEY}", "api-key: wrong"],
    ],
)
def test_no_key_or_a_wrong_one_is_a_401_that_quotes_nothing(keyed: Running, headers: list[str]) -> None:
    refused = get(keyed, "/v1/models", *headers)
    assert (refused.status, refused.error["type"], refused.error["code"]) == (
        401,
        "authentication_error",
        "invalid_api_key",
    )
    assert refused.headers["www-authenticate"] == "Bearer"
    assert b"wrong" not in refused.body
    assert KEY.encode() not in refused.body


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/docs"])
def test_health_and_documents_need_no_key(keyed: Running, path: str) -> None:
    assert get(keyed, path).status == 200


@pytest.mark.parametrize("path", ["/nowhere", "/v1/models/", "/healthz/", "//healthz"])
def test_without_a_key_nobody_learns_what_routes_there_are(keyed: Running, path: str) -> None:
    assert get(keyed, path).status == 401


def test_with_a_key_any_host_may_be_meant(keyed: Running) -> None:
    assert get(keyed, "/v1/models", f"api-key: {KEY}", host="model.example.com").status == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "127.1.2.3", "[::1]:8000", "LOCALHOST"])
def test_without_a_key_the_host_may_be_this_machine(keyless: Running, host: str) -> None:
    assert get(keyless, "/v1/models", "authorization: Bearer whatever-the-sdk-sends", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.com", "localhost.evil.com", "evil.com:8000", "127.0.0.1.nip.io", "[::2]", "0.0.0.0", "", "localhost:x"],
)
@pytest.mark.parametrize("path", ["/v1/models", "/healthz"])
def test_without_a_key_a_name_that_was_rebound_to_this_machine_is_refused(
    keyless: Running, host: str, path: str
) -> None:
    refused = get(keyless, path, host=host)
    assert (refused.status, refused.error["code"]) == (403, "foreign_host")


def test_two_hosts_are_none() -> None:
    assert not names_this_machine([(b"host", b"localhost"), (b"host", b"localhost")])


def test_no_page_of_another_origin_is_invited(keyless: Running) -> None:
    answer = get(keyless, "/v1/models", "origin: https://evil.com")
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_the_key_leaves_the_environment_when_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_KEY_VARIABLE, KEY)
    load_settings()  # which knows the variable, and holds no key
    assert KEY not in repr(load_settings())
    key = ApiKey.from_environment()
    assert key is not None
    assert API_KEY_VARIABLE not in os.environ
    assert key.matches(KEY.encode())
    assert not key.matches(b"")
    assert ApiKey.from_environment() is None


def test_the_key_is_nowhere_in_the_object_that_holds_it() -> None:
    key = ApiKey(KEY)
    assert KEY not in f"{key} {key!r} {ServerOptions(key=key)!r}"
    assert KEY.encode() not in key._digest


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_no_header_could_carry_is_a_wrong_setting(key: str) -> None:
    with pytest.raises(SettingsError) as raised:
        ApiKey(key)
    assert not key or key not in str(raised.value)


@pytest.mark.parametrize(("host", "ours"), [("::1", True), ("127.9.9.9", True), ("::", False), ("0.0.0.0", False)])
def test_loopback_is_told_by_the_address(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours
