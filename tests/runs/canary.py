"""A canary: words that nobody would say by chance, thought by the model, and all the forms in which they could get out.

A part is a word, or a stretch of it of at least `LEAST_LETTERS`; of a shorter one nobody could say where it comes from.
"""

import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from random import Random
from typing import Any
from urllib.parse import quote, quote_plus

from forethought.model.tokenizer import Tokenizer

LETTERS = 10
LEAST_LETTERS = 7
ALPHABETS = ("abcdefghijklmnopqrstuvwxyz",) * 8 + ("αβγδεζηθικλμνξοπρστυφχψω", "абвгдежзиклмнопрстуфхцчшщэюя") * 2
"""One for each word: together more than 500 bits."""

_NUMBERS = re.compile(r"\d{1,6}(?:[\s,]+\d{1,6}){3,}")


@dataclass(frozen=True)
class Canary:
    """The words of one run, in lower case."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, dice: Random) -> "Canary":
        """A new one."""
        alphabets = dice.sample(ALPHABETS, len(ALPHABETS))
        return cls(tuple("".join(dice.choices(letters, k=LETTERS)) for letters in alphabets))

    @property
    def text(self) -> str:
        """As it is thought."""
        return " ".join(self.words)

    def whole_in(self, text: str) -> list[str]:
        """The forms in which all of it stands in a text."""
        return _found(self._whole, text)

    def parts_in(self, text: str) -> list[str]:
        """The forms in which any part of it stands in a text."""
        squeezed = "".join(filter(str.isalnum, text.casefold()))
        spelled = [f"spelled: {stretch}" for stretch in self._stretches if stretch in squeezed]
        return _found(self._parts, text) + spelled

    @cached_property
    def _whole(self) -> list[tuple[str, str]]:
        return list(chain(forms(self.text), forms("".join(self.words))))

    @cached_property
    def _parts(self) -> list[tuple[str, str]]:
        return list(chain.from_iterable(map(forms, self.words)))

    @cached_property
    def _stretches(self) -> list[str]:
        return [word[at : at + LEAST_LETTERS] for word in self.words for at in range(LETTERS - LEAST_LETTERS + 1)]


def forms(text: str) -> Iterator[tuple[str, str]]:
    """Everything that a program may make of a text by accident or design, each with its name. Folded where case is no
    matter; base64 as it stands inside of a longer text, at each of its three offsets."""
    raw = text.encode()
    yield "plain", text
    yield "reversed", text[::-1]
    yield "hexadecimal", raw.hex()
    for name, spelled in (
        ("JSON", json.dumps(text)[1:-1]),
        ("URL", quote(text, safe="")),
        ("form", quote_plus(text)),
        ("bytes", repr(raw)[2:-1]),
        ("escapes", text.encode("unicode_escape").decode()),
        ("HTML", text.encode("ascii", "xmlcharrefreplace").decode()),
        ("Latin-1", raw.decode("latin-1")),
    ):
        if spelled != text:
            yield name, spelled.casefold()
    for offset in range(3):
        shifted = bytes(offset) + raw
        inner = slice(-(-offset * 8 // 6), len(shifted) * 8 // 6)
        yield "base64", b64encode(shifted).decode()[inner]
        yield "base64", urlsafe_b64encode(shifted).decode()[inner]


def views(text: str, tokenizer: Tokenizer) -> Iterator[str]:
    """A text, and what its lists of numbers spell: as bytes, and as tokens."""
    yield text
    for found in _NUMBERS.findall(text):
        numbers = [int(digits) for digits in re.findall(r"\d+", found)]
        yield bytes(number for number in numbers if number < 256).decode("utf-8", "replace")
        yield tokenizer.decode(number for number in numbers if number < tokenizer.vocab_size)


def joined(documents: Iterable[Any]) -> Iterator[str]:
    """The texts of JSON documents, those of one place put together: what a stream says piece by piece."""
    places: defaultdict[tuple[Any, ...], list[str | int]] = defaultdict(list)
    for document in documents:
        _collect(document, (), places)
    for pieces in places.values():
        yield "".join(piece for piece in pieces if isinstance(piece, str))
        spelled = bytes(piece for piece in pieces if isinstance(piece, int) and 0 <= piece < 256)
        yield spelled.decode("utf-8", "replace")


_TELLING = ("type", "index", "output_index", "summary_index", "content_index")
"""Keys whose values tell the places of a stream apart."""


def _collect(value: Any, place: tuple[Any, ...], places: defaultdict[tuple[Any, ...], list[str | int]]) -> None:
    match value:
        case dict():
            told = tuple(str(value.get(key)) for key in _TELLING)
            for key, part in value.items():
                places["keys", *place].append(key)
                _collect(part, (*place, told, key), places)
        case list():
            for part in value:
                _collect(part, place, places)
        case str() | int():
            places[place].append(value)
        case _:
            pass


def _found(needles: list[tuple[str, str]], text: str) -> list[str]:
    folded = text.casefold()
    return [f"{form}: {needle}" for form, needle in needles if needle in (text if form == "base64" else folded)]
