"""Questions so small that a tiny model needs no tool for them, with an answer that can be checked letter for letter.

They stand where something else is tried: whether tools are left alone (`tool_none`), or a rule is kept
(`instruction_hierarchy`).
"""

from dataclasses import dataclass
from random import Random
from typing import Final

from forethought.tasks.pools import number, pool
from forethought.tasks.problem import Split
from forethought.tasks.words import ADJECTIVES, NAMES, THINGS

NO_TOOL_RULE: Final = 'If no tool does what the user asks, answer "no tool fits".'
NO_TOOL: Final = "no tool fits"

CAPITALS: Final = {
    "France": "Paris",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Spain": "Madrid",
    "Germany": "Berlin",
    "England": "London",
    "Russia": "Moscow",
    "China": "Beijing",
    "Egypt": "Cairo",
    "Greece": "Athens",
    "Norway": "Oslo",
    "Austria": "Vienna",
    "Ireland": "Dublin",
    "Portugal": "Lisbon",
    "Poland": "Warsaw",
    "Cuba": "Havana",
    "Peru": "Lima",
    "Sweden": "Stockholm",
    "Thailand": "Bangkok",
    "Hungary": "Budapest",
}


@dataclass(frozen=True, slots=True)
class SmallQuestion:
    """A question, its answer, and the step that leads there."""

    text: str
    answer: str
    step: str


def larger(rng: Random, split: Split) -> SmallQuestion:
    """Which of two numbers is larger."""
    a, b = _two_numbers(rng, split)
    text = rng.choice((f"Which is larger, {a} or {b}?", f"Name the larger number: {a} or {b}."))
    return SmallQuestion(text, str(max(a, b)), f"{max(a, b)} is more than {min(a, b)}.")


def placed(rng: Random, split: Split) -> SmallQuestion:
    """The first or the last of some words."""
    words = rng.sample(pool(THINGS, split), 3)
    place, answer = rng.choice((("first", words[0]), ("last", words[-1])))
    text = f"What is the {place} word of this list: {', '.join(words)}?"
    return SmallQuestion(text, answer, f"The {place} word is {answer}.")


def described(rng: Random, split: Split) -> SmallQuestion:
    """What a short sentence says of a thing."""
    one, other = rng.sample(pool(THINGS, split), 2)
    quality, another = rng.sample(pool(ADJECTIVES, split), 2)
    asked, answer = rng.choice(((one, quality), (other, another)))
    text = f"The {one} is {quality} and the {other} is {another}. How is the {asked}?"
    return SmallQuestion(f"{text} Answer with one word.", answer, f"The {asked} is {answer}.")


def owned(rng: Random, split: Split) -> SmallQuestion:
    """Who has a thing."""
    (one, other), (thing, another) = rng.sample(pool(NAMES, split), 2), rng.sample(pool(THINGS, split), 2)
    asked, answer = rng.choice(((thing, one), (another, other)))
    text = f"{one} has the {thing} and {other} has the {another}. Who has the {asked}?"
    return SmallQuestion(f"{text} Answer with the name.", answer, f"{answer} has the {asked}.")


def capital(rng: Random, split: Split) -> SmallQuestion:
    """The capital of a country that everybody knows."""
    country = rng.choice(pool(tuple(CAPITALS), split))
    city = CAPITALS[country]
    text = f"What is the capital of {country}? Answer with the name."
    return SmallQuestion(text, city, f"The capital of {country} is {city}.")


def yes_no(rng: Random, split: Split) -> SmallQuestion:
    """Whether a number is more than another."""
    a, b = _two_numbers(rng, split)
    step = f"{a} is more than {b}." if a > b else f"{a} is less than {b}."
    return SmallQuestion(f"Is {a} more than {b}? Answer yes or no.", "yes" if a > b else "no", step)


KINDS: Final = (larger, placed, described, owned, capital)


def draw_question(rng: Random, split: Split) -> SmallQuestion:
    """A question of any kind, of parts that this split may use."""
    return rng.choice(KINDS)(rng, split)


def _two_numbers(rng: Random, split: Split) -> tuple[int, int]:
    a = b = number(rng, 2, 99, split)
    while b == a:
        b = number(rng, 2, 99, split)
    return a, b
