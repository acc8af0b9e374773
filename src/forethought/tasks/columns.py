"""Sums, differences and products as the traces spell them: column by column, so that each step is one look.

A step is a true statement over digits and one carry ("4+3+1=8"), written without spaces: every character of it is one
token. What a small model knows by heart (a digit added to two, the times table) is not taken apart.
"""

from collections.abc import Iterable
from random import Random
from typing import Literal

Operator = Literal["+", "-", "*"]


def plus(a: int, b: int) -> list[str]:
    """The columns of a sum from the ones on: 47+38 is 7+8=15 and 4+3+1=8. Digits that stay come down as they are."""
    lines: list[str] = []
    carry = 0
    while (a and b) or (carry and (a or b)):
        figures = [str(number % 10) for number in (a, b) if number]
        lines.append(f"{'+'.join(figures)}{'+1' * carry}={a % 10 + b % 10 + carry}")
        a, b, carry = a // 10, b // 10, (a % 10 + b % 10 + carry) // 10
    return [*lines, str(a or b)] if a or b else lines


def minus(a: int, b: int) -> list[str]:
    """The columns of a difference that is not negative: 52-17 is 12-7=5 and 5-1-1=3."""
    lines: list[str] = []
    borrowed = 0
    while b or borrowed:
        top = a % 10 + (10 if a % 10 < b % 10 + borrowed else 0)
        less = f"-{b % 10}" if b else ""
        lines.append(f"{top}{less}{'-1' * borrowed}={top - b % 10 - borrowed}")
        a, b, borrowed = a // 10, b // 10, top // 10
    return [*lines, str(a)] if a else lines


def times(a: int, digit: int, *, joined: bool = False) -> list[str]:
    """The columns of a product with one digit: 47*6 is 7*6=42, 4*6=24 and 24+4=28; joined, the last are 4*6+4=28."""
    lines: list[str] = []
    carry = 0
    while a:
        product = a % 10 * digit
        if joined and carry:
            lines.append(f"{a % 10}*{digit}+{carry}={product + carry}")
        else:
            lines.append(f"{a % 10}*{digit}={product}")
            lines += [statement(product, "+", carry)] if carry else []
        a, carry = a // 10, (product + carry) // 10
    return lines


def result(a: int, operator: Operator, b: int) -> int:
    """What comes out."""
    return {"+": a + b, "-": a - b, "*": a * b}[operator]


def statement(a: int, operator: Operator, b: int) -> str:
    """The whole in one line: 47+38=85."""
    return f"{a}{operator}{b}={result(a, operator, b)}"


def steps(a: int, operator: Operator, b: int) -> list[str]:
    """The steps that lead to the result; none where one look is enough. A product has a factor of one digit, or both
    are in the table up to twelve times twelve."""
    least, most = sorted((a, b))
    if operator == "*":
        return [] if most <= 12 or least <= 1 else times(most, least)
    if least == 0 or (least < 10 and most < 100):
        return []
    return plus(a, b) if operator == "+" else minus(a, b)


def briefly(a: int, operator: Operator, b: int) -> list[str]:
    """The steps and the result."""
    taken = steps(a, operator, b)
    return [*taken, str(result(a, operator, b))] if taken else [statement(a, operator, b)]


def fully(a: int, operator: Operator, b: int) -> list[str]:
    """What is to be worked out, the steps, and the whole statement."""
    taken = steps(a, operator, b)
    return [f"{a}{operator}{b}", *taken, statement(a, operator, b)] if taken else [statement(a, operator, b)]


def told(rng: Random, lines: Iterable[str]) -> str:
    """The lines of a trace as text, one below the other or in a row: a space before a digit would be one token more."""
    return rng.choice(("\n", ";")).join(lines)
