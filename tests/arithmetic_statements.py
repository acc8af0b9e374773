"""Finds the arithmetic in a text and says which of it is false."""

import ast
import operator
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise

OPERATIONS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
RELATIONS: dict[str, Callable[[Fraction, Fraction], bool]] = {"=": operator.eq, "<": operator.lt, ">": operator.gt}


def statements(text: str) -> Iterator[str]:
    """What stands between words, white space and punctuation, and relates numbers: `23+45=68`, `3/4>2/3`."""
    for piece in re.split(r"[^-0-9.+*/()<>=]+", text):
        if re.fullmatch(r"[^<>=]*\d[^<>=]*([<>=][^<>=]*\d[^<>=]*)+", piece):
            yield piece


def is_true(statement: str) -> bool:
    """Whether each relation of a statement holds, exactly."""
    *sides, last = re.split("[<>=]", statement)
    signs = re.findall("[<>=]", statement)
    values = [value_of(side) for side in (*sides, last)]
    return all(RELATIONS[sign](a, b) for sign, (a, b) in zip(signs, pairwise(values), strict=True))


def value_of(expression: str) -> Fraction:
    """The exact value of an expression of numbers, brackets and the four operations."""
    plain = re.sub(r"(?<![\d.])0+(?=\d)", "", expression)

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](value(node.left), value(node.right))
        return Fraction(ast.get_source_segment(plain, node) or "")

    return value(ast.parse(plain, mode="eval").body)
