"""Sums written out in steps small enough to be known by heart: a ten or a digit at a time."""

from random import Random
from typing import Final

SURE: Final = ("Right.", "Same.", "Good.")


def added(a: int, b: int, *, whole: bool = False) -> str:
    """`a+b`, the tens of `b` first; `whole` does it at once."""
    return _in_parts(a, b, 1, "+", whole)


def taken(a: int, b: int, *, whole: bool = False) -> str:
    """`a-b`, the tens of `b` first."""
    return _in_parts(a, b, -1, "-", whole)


def times(a: int, b: int, *, whole: bool = False) -> str:
    """`a*b` for a digit `b`, the tens of `a` first."""
    tens, ones = a // 10 * 10, a % 10
    if whole or not tens or not ones:
        return f"{a}*{b}={a * b}"
    return f"{tens}*{b}={tens * b}, {ones}*{b}={ones * b}, {tens * b}+{ones * b}={a * b}"


def sure(rng: Random) -> str:
    """The end of a check."""
    return rng.choice(SURE)


def _in_parts(a: int, b: int, sign: int, operator: str, whole: bool) -> str:
    tens, ones = b // 10 * 10, b % 10
    if whole or not tens or not ones:
        return f"{a}{operator}{b}={a + sign * b}"
    between = a + sign * tens
    return f"{a}{operator}{tens}={between}, {between}{operator}{ones}={between + sign * ones}"
