"""Sums written out inside a trace, so that each step is one look: where a column carries or borrows, in columns."""

from typing import Final

from forethought.tasks.columns import Operator, briefly, statement, steps

KNOWN_BY_HEART: Final = 10
"""Quotients up to this are known, with divisors up to it."""


def added(a: int, b: int) -> str:
    """`a+b`."""
    return _in_columns(a, "+", b) if _carries(a, b) else statement(a, "+", b)


def taken(a: int, b: int) -> str:
    """`a-b`, which is not negative."""
    return _in_columns(a, "-", b) if _carries(b, a - b) else statement(a, "-", b)


def times(a: int, b: int) -> str:
    """`a*b` for a digit `b`."""
    carries = _digit_sum(a) * b != _digit_sum(a * b)
    return _in_columns(a, "*", b) if carries else statement(a, "*", b)


def divided(a: int, b: int) -> str:
    """`a/b` for a digit `b` that divides it: the tens of the quotient first, where there are any."""
    quotient = a // b
    if max(quotient, b) <= KNOWN_BY_HEART:
        return f"{a}/{b}={quotient}"
    tens, ones = quotient // 10 * 10, quotient % 10
    most, rest = tens * b, ones * b
    if not ones:
        return f"{tens}*{b}={most}, {a}/{b}={quotient}"
    return f"{a}/{b}: {tens}*{b}={most}, {a}-{most}={rest}, {rest}/{b}={ones}, {quotient}"


def _in_columns(a: int, operator: Operator, b: int) -> str:
    """What is to be worked out, and the columns as in a sum of its own: "59+28: 9+8=17, 5+2+1=8, 87"."""
    if not steps(a, operator, b):
        return statement(a, operator, b)
    return f"{a}{operator}{b}: {', '.join(briefly(a, operator, b))}"


def _carries(a: int, b: int) -> bool:
    """Whether a column of `a+b` passes nine: each that does takes nine off the sum of the digits."""
    return _digit_sum(a) + _digit_sum(b) != _digit_sum(a + b)


def _digit_sum(number: int) -> int:
    return sum(map(int, str(number)))
