"""What the functions of the tool families take: parameters with their types, values, and the words for a value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from forethought.tasks.json_values import write_json
from forethought.tasks.pools import number, pool
from forethought.tasks.problem import Split
from forethought.tasks.words import ADJECTIVES, CITIES, COLORS, FLAGS, MATERIALS, MONTHS, NAMES, THINGS

TEXT: Final[Mapping[str, Any]] = {"type": "string"}
WHOLE: Final[Mapping[str, Any]] = {"type": "integer"}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of parameter.

    Args:
        names: what it may be called; none takes a flag's word.
        schema: its JSON schema, for this split.
        value: a value that the schema admits.
        phrase: how a request says it, with the `name` and the `value`.
    """

    names: tuple[str, ...]
    schema: Callable[[Random, Split], Mapping[str, Any]]
    value: Callable[[Random, Split, Mapping[str, Any]], Any]
    phrase: Callable[[str, Any], str]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a function. An optional one is never mentioned by a request, and has to be left out."""

    name: str
    kind: str
    schema: Mapping[str, Any]
    optional: bool = False

    @classmethod
    def draw(cls, rng: Random, split: Split, kind: str) -> "Parameter":
        """One of this kind."""
        names = KINDS[kind].names or pool(FLAGS, split)
        return cls(rng.choice(names), kind, KINDS[kind].schema(rng, split))

    def value(self, rng: Random, split: Split) -> Any:
        """A value for it."""
        return KINDS[self.kind].value(rng, split, self.schema)

    def phrase(self, value: Any) -> str:
        """How a request says this value."""
        return KINDS[self.kind].phrase(self.name, value)


def _words(words: tuple[str, ...], names: tuple[str, ...], phrase: str) -> Kind:
    """A string out of a list of words."""
    return Kind(
        names,
        lambda rng, split: TEXT,
        lambda rng, split, schema: rng.choice(pool(words, split)),
        lambda name, value: phrase.format(name=name, value=value),
    )


def _choice(words: tuple[str, ...], names: tuple[str, ...], phrase: str) -> Kind:
    """One of three words that the schema lists."""
    return Kind(
        names,
        lambda rng, split: {"type": "string", "enum": rng.sample(pool(words, split), 3)},
        lambda rng, split, schema: rng.choice(schema["enum"]),
        lambda name, value: phrase.format(name=name, value=value),
    )


def _whole(least: int, most: int, names: tuple[str, ...], phrase: str) -> Kind:
    """A whole number."""
    return Kind(
        names,
        lambda rng, split: WHOLE,
        lambda rng, split, schema: number(rng, least, most, split),
        lambda name, value: phrase.format(name=name, value=value),
    )


def _date(rng: Random, split: Split) -> str:
    return f"{number(rng, 1, 28, split)} {rng.choice(MONTHS)}"


def _time(rng: Random, split: Split) -> str:
    return f"{number(rng, 0, 23, split):02}:{number(rng, 0, 59, split):02}"


def _texts(rng: Random, split: Split) -> list[str]:
    return rng.sample(pool(ADJECTIVES, split), rng.randint(2, 3))


def _wholes(rng: Random, split: Split) -> list[int]:
    return [number(rng, 1, 99, split) for _ in range(rng.randint(2, 3))]


def _listed(values: list[Any]) -> str:
    *others, last = map(str, values)
    return f"{', '.join(others)} and {last}"


KINDS: Final[Mapping[str, Kind]] = {
    "person": _words(NAMES, ("name", "person", "customer", "guest"), "for {value}"),
    "city": _words(CITIES, ("city", "place", "location"), "in {value}"),
    "origin": _words(CITIES, ("origin", "from_city"), "from {value}"),
    "destination": _words(CITIES, ("destination", "to_city"), "to {value}"),
    "thing": _words(THINGS, ("item", "product", "object"), "of the {value}"),
    "date": Kind(("date", "day"), lambda r, s: TEXT, lambda r, s, schema: _date(r, s), lambda n, v: f"on {v}"),
    "time": Kind(("time", "clock"), lambda r, s: TEXT, lambda r, s, schema: _time(r, s), lambda n, v: f"at {v}"),
    "text": Kind(
        ("text", "message", "note"),
        lambda r, s: TEXT,
        lambda r, s, schema: f"{r.choice(pool(ADJECTIVES, s))} {r.choice(pool(THINGS, s))}",
        lambda n, v: f'with the {n} "{v}"',
    ),
    "people": _whole(2, 99, ("people", "guests", "seats"), "for {value} {name}"),
    "quantity": _whole(1, 999, ("quantity", "level", "priority", "code"), "with {name} {value}"),
    "price": Kind(
        ("price", "max_price", "budget"),
        lambda r, s: {"type": "number"},
        lambda r, s, schema: number(r, 1, 99, s) + 0.5,
        lambda n, v: f"for {v} euros",
    ),
    "color": _choice(COLORS, ("color",), "in {value}"),
    "material": _choice(MATERIALS, ("material",), "made of {value}"),
    "style": _choice(ADJECTIVES, ("style", "mode", "type"), "in {value} {name}"),
    "flag": Kind(
        (),
        lambda r, s: {"type": "boolean"},
        lambda r, s, schema: r.random() < 0.5,
        lambda n, v: f"as {n}" if v else f"as not {n}",
    ),
    "texts": Kind(
        ("tags", "labels"),
        lambda r, s: {"type": "array", "items": TEXT},
        lambda r, s, schema: _texts(r, s),
        lambda n, v: f"with the {n} {_listed(v)}",
    ),
    "wholes": Kind(
        ("numbers", "codes", "ids"),
        lambda r, s: {"type": "array", "items": WHOLE},
        lambda r, s, schema: _wholes(r, s),
        lambda n, v: f"with the {n} {_listed(v)}",
    ),
}

PLAIN: Final = ("person", "city", "date", "time", "people", "quantity")
"""Kinds of level 1: strings and whole numbers."""

ALL: Final = tuple(kind for kind in KINDS if kind != "thing")
"""All that an action can take."""

ASKED: Final = ("city", "person", "date", "thing")
"""What a question for a property can say."""


def assignment(name: str, value: Any) -> str:
    """`name=value`, with the value as JSON writes it: how thinking notes an argument."""
    return f"{name}={write_json(value)}"
