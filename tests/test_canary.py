"""A canary is found in whatever form it gets out, and nowhere else."""

import base64
import codecs
import html
import json
from collections.abc import Callable, Iterator
from random import Random
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import tiny_tokenizer
from forethought.model.tokenizer import Tokenizer
from runs.canary import LEAST_LETTERS, Canary, joined, views

TINY = Tokenizer(tiny_tokenizer().to_str())
CANARY = Canary.of(Random("a canary"))
LATIN = next(word for word in CANARY.words if word.isascii())
GREEK = next(word for word in CANARY.words if "α" <= word[0] <= "ω")


def found(text: str) -> bool:
    """Whether any part of the canary is found in any view of a text."""
    return any(CANARY.parts_in(view) for view in views(text, TINY))


FORMS: list[Callable[[str], str]] = [
    str,
    str.upper,
    lambda text: text[::-1],
    lambda text: text.encode().hex(),
    lambda text: text.encode().hex().upper(),
    json.dumps,
    ascii,
    lambda text: repr(text.encode()),
    quote,
    quote_plus,
    lambda text: quote(text).lower(),
    lambda text: html.escape(text),
    lambda text: "-".join(text),
    lambda text: " , ".join(text),
    lambda text: text.encode().decode("latin-1"),
    lambda text: codecs.encode(text, "unicode_escape").decode(),
    lambda text: str(list(text.encode())),
    lambda text: str(TINY.encode(text)),
    lambda text: " ".join(map(str, TINY.encode(text))),
]


@pytest.mark.parametrize("spell", FORMS)
@pytest.mark.parametrize("word", [LATIN, GREEK])
def test_a_word_is_found_in_every_form(spell: Callable[[str], str], word: str) -> None:
    assert found(f"before {spell(word)} behind")


@given(before=st.binary(max_size=20), behind=st.binary(max_size=20))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("word", [LATIN, GREEK])
def test_a_word_is_found_anywhere_in_base64(
    encode: Callable[[bytes], bytes], word: str, before: bytes, behind: bytes
) -> None:
    assert found(encode(before + word.encode() + behind).decode())


@pytest.mark.parametrize("word", [LATIN, GREEK])
def test_a_stretch_of_a_word_is_found_and_what_is_too_short_to_tell_is_not(word: str) -> None:
    assert all(found(f"x {word[at : at + LEAST_LETTERS]} y") for at in range(len(word) - LEAST_LETTERS + 1))
    assert not found(word[: LEAST_LETTERS - 1])


def documents(pieces: list[str]) -> Iterator[object]:
    for piece in pieces:
        yield {"choices": [{"index": 0, "delta": {"content": piece}}, {"index": 1, "delta": {"content": "other"}}]}


@given(st.lists(st.integers(0, len(LATIN)), max_size=9).map(sorted))
def test_a_word_is_found_however_a_stream_cuts_it(points: list[int]) -> None:
    pieces = [LATIN[a:b] for a, b in zip([0, *points], [*points, len(LATIN)], strict=True)]
    assert any(CANARY.parts_in(text) for text in joined(documents(pieces)))


def test_a_word_is_found_in_the_bytes_of_tokens_and_in_keys() -> None:
    spelled = [{"logprobs": [{"bytes": [byte]}]} for byte in GREEK.encode()]
    assert any(CANARY.parts_in(text) for text in joined(spelled))
    assert any(CANARY.parts_in(text) for text in joined([{LATIN: 1}]))


@pytest.mark.parametrize("spell", [str, str.upper, lambda text: text.replace(" ", ""), lambda text: text[::-1]])
def test_the_whole_is_told_from_its_parts(spell: Callable[[str], str]) -> None:
    assert CANARY.whole_in(f"x{spell(CANARY.text)}y")
    assert not CANARY.whole_in(spell(" ".join(CANARY.words[:-1])))


@given(st.text())
def test_nothing_is_found_where_nothing_is(text: str) -> None:
    assert not found(text)


def test_canaries_have_nothing_in_common() -> None:
    other = Canary.of(Random("another canary"))
    assert not other.parts_in(CANARY.text)
    assert other.words != CANARY.words
