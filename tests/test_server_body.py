"""Bodies of requests: clean JSON within limits comes in, everything else is refused with its reason."""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.api.body import BodyReader, parse
from forethought.api.errors import ApiError
from forethought.api.options import ServerOptions
from forethought.api.presence import ClientLeft

texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def refused(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as raised:
        parse(body)
    assert raised.value.status == 400
    return raised.value


@given(json_values)
def test_json_is_read_as_it_was_written(value: object) -> None:
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(ApiError):
        parse(body)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "EOF"),
        (b"\xef\xbb\xbf{}", "expected value"),
        (b'{"a": "\xff"}', "unicode"),
        ('{"a": 1}'.encode("utf-16"), "expected value"),
        (b'{"a": "\\ud800"}', "hex escape"),
        (b'{"a": NaN}', "expected value"),
        (b'{"a": -Infinity}', "invalid number"),
        (b'{"a": 1e999}', "a number is too large"),
        (b'{"a": 1%s}' % (b"0" * 5000), "number out of range"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' appears twice"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "recursion limit"),
        (b'{"a": 1} {"a": 2}', "trailing characters"),
        (b'{"a": 1,}', "trailing comma"),
    ],
)
def test_what_is_no_clean_json_is_refused_with_its_reason(body: bytes, says: str) -> None:
    error = refused(body)
    assert says in error.message
    assert (error.param, error.code) == (None, "invalid_json")


def test_a_refusal_quotes_no_more_of_a_key_than_a_line() -> None:
    key = json.dumps("k" * 10_000).encode()
    assert len(refused(b"{%b: 1, %b: 2}" % (key, key)).message) < 200


def read(reader: BodyReader, *pieces: bytes, left: bool = False, **headers: str) -> object:
    """Reads a body that comes in `pieces`, after which the client is silent, or has left."""
    named = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope: dict[str, Any] = {"headers": [(name.encode(), value.encode()) for name, value in named.items()]}

    async def main() -> object:
        coming: Iterator[bytes] = iter(pieces)

        async def receive() -> dict[str, Any]:
            if (piece := next(coming, None)) is not None:
                return {"type": "http.request", "body": piece, "more_body": piece != b""}
            if left:
                return {"type": "http.disconnect"}
            return await asyncio.get_running_loop().create_future()

        async with reader.read(scope, receive) as body:
            assert reader.held >= body.size
            return parse(body.data)

    return asyncio.run(main())


SMALL = ServerOptions(max_body_bytes=16, max_buffered_bytes=24, body_seconds=0.05)


def test_a_body_comes_in_pieces() -> None:
    assert read(BodyReader(SMALL), b'{"a"', b": 1}", b"") == {"a": 1}


def test_a_declared_size_over_the_limit_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ApiError) as raised:
        read(BodyReader(SMALL), content_length="17")
    assert (raised.value.status, raised.value.code) == (413, "request_too_large")


def test_a_body_over_the_limit_is_refused_while_it_comes() -> None:
    with pytest.raises(ApiError) as raised:
        read(BodyReader(SMALL), b"[" * 10, b"[" * 7)
    assert raised.value.status == 413


@pytest.mark.parametrize("declared", ["x", "-1", "1" * 30, ""])
def test_a_size_that_is_none_is_refused(declared: str) -> None:
    with pytest.raises(ApiError) as raised:
        read(BodyReader(SMALL), content_length=declared)
    assert raised.value.status == 400


def test_a_body_that_does_not_arrive_in_time_is_refused() -> None:
    with pytest.raises(ApiError) as raised:
        read(BodyReader(SMALL), b'{"a"')
    assert (raised.value.status, raised.value.headers) == (408, {"connection": "close"})


def test_a_client_that_leaves_half_way_is_told_nothing() -> None:
    with pytest.raises(ClientLeft):
        read(BodyReader(SMALL), b'{"a"', left=True)


@pytest.mark.parametrize(
    "headers",
    [
        {"content_type": "text/plain"},  # which pages of any origin may send
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": ""},
        {"content_encoding": "gzip"},
    ],
)
def test_another_type_of_body_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ApiError) as raised:
        read(BodyReader(SMALL), b"{}", b"", **headers)
    assert raised.value.status == 415


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", '"utf-8"', "utf8"])
def test_the_charset_of_json_may_be_named(charset: str) -> None:
    assert read(BodyReader(SMALL), b"{}", b"", content_type=f"Application/JSON; charset={charset}") == {}


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "us-ascii", "utf-8 or so", '""'])
def test_another_charset_is_refused_and_not_read_as_utf_8(charset: str) -> None:
    with pytest.raises(ApiError) as raised:
        read(BodyReader(SMALL), b"{}", b"", content_type=f"application/json; charset={charset}")
    assert (raised.value.status, raised.value.code) == (415, "unsupported_charset")


def test_all_bodies_together_stay_within_a_limit_and_leave_nothing_behind() -> None:
    reader = BodyReader(SMALL)

    async def main() -> None:
        first = asyncio.create_task(asyncio.to_thread(read, reader, b"[" * 16))
        while reader.held < 16:
            await asyncio.sleep(0)
        with pytest.raises(ApiError) as refusal:
            await asyncio.to_thread(read, reader, b'["123456789"]', b"")
        assert (refusal.value.status, refusal.value.headers["retry-after"]) == (429, "1")
        with pytest.raises(ApiError):
            await first

    asyncio.run(main())
    assert reader.held == 0
    assert read(reader, b'["123456789"]', b"") == ["123456789"]
