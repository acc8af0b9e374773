"""Words to spell: common English ones of three to ten letters, from `words.txt`.

Letters hide inside the tokens of a word. With a space before each, every letter is a token of its own.
"""

from functools import cache
from importlib.resources import files
from typing import Final

SHORTEST: Final = 3
LONGEST: Final = 10


@cache
def words(least: int = SHORTEST, most: int = LONGEST) -> tuple[str, ...]:
    """The words of so many letters; none reads the same from both ends."""
    return tuple(word for word in _all() if least <= len(word) <= most and word != word[::-1])


def spelled(word: str) -> str:
    """The letters with spaces between them."""
    return " ".join(word)


@cache
def _all() -> tuple[str, ...]:
    return tuple(files("forethought.tasks").joinpath("words.txt").read_text(encoding="utf-8").split())
