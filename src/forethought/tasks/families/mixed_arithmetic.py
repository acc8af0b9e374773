"""Expressions of sums, differences and products, where the order of the steps matters."""

import ast
import re
from collections.abc import Iterator
from random import Random
from typing import cast

from forethought.model.conversation import Effort
from forethought.tasks.columns import Operator, briefly, result, statement, steps, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked, squeezed

SIZES = {1: (3, 12, 12), 2: (4, 12, 9), 3: (5, 20, 40)}
"""Level: how many numbers, the largest of them, and the largest that is multiplied."""

MOST = 200
"""No step goes beyond it, and none below 1."""

WORDINGS = (
    "What is {it}?",
    "Compute {it}.",
    "{it} = ?",
    "Work out {it}.",
    "{it}",
    "{it} =",
    "How much is {it}?",
    "Calculate {it}.",
    "What's {it}?",
    "Evaluate {it}.",
    "What is the value of {it}?",
)

OPENINGS = ("Brackets first, then *, then + and -", "Step by step")

Drawn = tuple[str, str, int]
"""An expression as text, its outermost operator (none for a number), and its value."""


class MixedArithmetic(TextFamily):
    """Precedence and brackets."""

    name = "mixed_arithmetic"
    description = "Compute an expression with +, -, × and brackets."
    levels = ("three numbers up to 12", "four numbers up to 12", "five numbers up to 20")

    def draw(self, rng: Random, level: int) -> Draft:
        count, most, factor = SIZES[level]
        while True:
            drawn = _draw(rng, count, most, factor)
            if drawn and "*" in drawn[0] and re.search("[+-]", drawn[0]):
                break
        shown = re.sub(r"[-+*]", r" \g<0> ", drawn[0]).replace("*", rng.choice("×*"))
        return self.ask(asked(rng, WORDINGS, it=squeezed(rng, shown)), drawn[0], key=ordered(drawn[0]))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        lines: list[str] = []
        value = 0
        for expression, a, operator, b in _steps(problem.gold):
            value = result(a, operator, b)
            if effort == "low":
                lines += briefly(a, operator, b)
            else:
                lines += [expression, *steps(a, operator, b), statement(a, operator, b)]
        if effort != "low":
            lines.insert(0, rng.choice(OPENINGS))
        return self.answer(told(rng, lines), value)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        *_, (_, a, operator, b) = _steps(problem.gold)
        return same_text(answer, str(result(a, operator, b)))


def _draw(rng: Random, count: int, most: int, factor: int) -> Drawn | None:
    """Any expression over so many numbers; nothing when a step leaves the range or multiplies what is too large."""
    if count == 1:
        number = rng.randint(2, most)
        return str(number), "", number
    split = rng.randint(1, count - 1)
    operator: Operator = rng.choice(("+", "-", "*"))
    left, right = _draw(rng, split, most, factor), _draw(rng, count - split, most, factor)
    if not left or not right:
        return None
    (first, inner, a), (second, other, b) = left, right
    value = result(a, operator, b)
    if not 1 <= value <= MOST or (operator == "*" and (max(a, b) > factor or min(a, b) > 9)):
        return None
    if operator == "*" and inner in ("+", "-"):
        first = f"({first})"
    if other in ("+", "-") or (operator == "*" and other):
        second = f"({second})"
    return f"{first}{operator}{second}", operator, value


def ordered(expression: str) -> str:
    """An expression with its terms and factors in order, so that those which only swap them are the same."""
    return _ordered(ast.parse(expression, mode="eval").body)


def _ordered(node: ast.expr) -> str:
    match node:
        case ast.BinOp(op=ast.Mult()):
            return "*".join(sorted(_ordered(factor) for factor in _factors(node)))
        case ast.BinOp():
            return f"({''.join(sorted(_terms(node)))})"
        case _:
            return ast.unparse(node)


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def _terms(node: ast.expr) -> list[str]:
    """What is added and what is taken away, each with its sign. A bracket that is taken away stays whole."""
    match node:
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [*_terms(left), *_terms(right)]
        case ast.BinOp(left=left, op=ast.Sub(), right=right):
            return [*_terms(left), f"-{_ordered(right)}"]
        case _:
            return [f"+{_ordered(node)}"]


def _steps(expression: str) -> Iterator[tuple[str, int, Operator, int]]:
    """One operation after another: the expression so far, and what is done in it next. The first bracket without
    another in it comes first; there, the first product, else the first operation."""
    while not expression.isdigit():
        place = re.search(r"\(([^()]*)\)", expression) or re.match(r"(.*)", expression)
        assert place is not None
        inside = place[1]
        step = re.search(r"(\d+)(\*)(\d+)", inside) or re.match(r"(\d+)([+-])(\d+)", inside)
        assert step is not None
        a, operator, b = int(step[1]), cast(Operator, step[2]), int(step[3])
        yield expression, a, operator, b
        inside = f"{inside[: step.start()]}{result(a, operator, b)}{inside[step.end() :]}"
        closed = inside if inside.isdigit() or place[0] == place[1] else f"({inside})"
        expression = f"{expression[: place.start()]}{closed}{expression[place.end() :]}"


FAMILY = MixedArithmetic()
