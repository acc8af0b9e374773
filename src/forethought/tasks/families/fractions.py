"""Fractions: which is larger, lowest terms, sums and differences."""

from fractions import Fraction
from math import gcd
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import briefly, fully, statement, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

KINDS = {1: ("compare", "reduce"), 2: ("+", "-"), 3: ("+", "-")}
"""Level: what is asked."""

LARGEST = {1: 9, 2: 9, 3: 12}
"""Level: the largest numerator and denominator; of a fraction in lowest terms, before it is expanded, 12."""

PRIMES = (2, 3, 5, 7, 11)
"""What a numerator and a denominator may both be divided by, at low effort."""

WORDINGS = {
    "compare": (
        "Which is larger, {a} or {b}?",
        "Compare {a} and {b}: which one is larger?",
        "Larger: {a} or {b}?",
        "Which fraction is larger, {a} or {b}?",
        "Which is bigger, {a} or {b}?",
        "What is more, {a} or {b}?",
        "Is {a} or {b} greater?",
    ),
    "reduce": (
        "Write {a} in lowest terms.",
        "Reduce the fraction {a}.",
        "Simplify {a}.",
        "Simplify the fraction {a}.",
        "What is {a} in lowest terms?",
        "Reduce {a} to lowest terms.",
        "What is {a} in its simplest form?",
    ),
    "+": (
        "What is {a} + {b}? Answer as a fraction in lowest terms.",
        "{a} + {b} = ? (a fraction in lowest terms)",
        "What is {a} + {b}?",
        "{a} + {b} = ?",
        "{a} + {b}",
        "Add {a} and {b}.",
        "What's {a} plus {b}?",
        "Compute {a} + {b}.",
        "How much is {a} + {b}?",
        "What is the sum of {a} and {b}?",
    ),
    "-": (
        "What is {a} - {b}? Answer as a fraction in lowest terms.",
        "{a} - {b} = ? (a fraction in lowest terms)",
        "What is {a} - {b}?",
        "{a} - {b} = ?",
        "{a} - {b}",
        "Subtract {b} from {a}.",
        "What's {a} minus {b}?",
        "Compute {a} - {b}.",
        "How much is {a} - {b}?",
        "Take {b} away from {a}.",
    ),
}

OPENINGS = {
    "compare": ("Multiply crosswise", "Crosswise"),
    "reduce": ("Greatest common divisor", "Divide both"),
    "+": ("One denominator", "Common denominator"),
    "-": ("One denominator", "Common denominator"),
}

Pair = tuple[int, int]


class Fractions(TextFamily):
    """Arithmetic with fractions. A result is never whole, so that it has one form."""

    name = "fractions"
    description = "Compare, reduce, add or subtract fractions."
    levels = (
        "compare fractions up to 9/9, or reduce one up to 108/108",
        "sums and differences of fractions up to 9/9",
        "sums and differences of fractions up to 12/12",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        kind = rng.choice(KINDS[level])
        if kind == "reduce":
            (top, bottom), times = _fraction(rng, 12), rng.randint(2, 9)
            whole = top * times, bottom * times
            question = asked(rng, WORDINGS[kind], a=_text(whole))
            return self.ask(question, [kind, *whole], key=f"{kind} {_text(whole)}")
        while True:
            a, b = _fraction(rng, LARGEST[level]), _fraction(rng, LARGEST[level])
            value = Fraction(*a) + (Fraction(*b) if kind == "+" else -Fraction(*b))
            if a[1] != b[1] and (kind == "compare" or (value > 0 and value.denominator > 1)):
                break
        pair = (a, b) if kind == "-" else sorted((a, b))
        question = asked(rng, WORDINGS[kind], a=_text(a), b=_text(b))
        return self.ask(question, [kind, *a, *b], key=f"{kind} {_text(pair[0])} {_text(pair[1])}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        kind, a, b = _asked(problem)
        answer, full = _solved(problem), effort != "low"
        lines = [rng.choice(OPENINGS[kind])] if full else []
        if kind == "compare":
            lines += _compared(a, b, effort)
        else:
            whole = _over_common(a, kind, b)
            lines += [
                *([] if kind == "reduce" else _combined(a, kind, b, full=full)),
                *(_reduced(whole) if full else _shortened(whole)),
            ]
        return self.answer(told(rng, lines if lines[-1] == answer else [*lines, answer]), answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, _solved(problem))


def _fraction(rng: Random, largest: int) -> Pair:
    """A fraction in lowest terms that is not whole."""
    while True:
        top, bottom = rng.randint(1, largest), rng.randint(2, largest)
        if gcd(top, bottom) == 1:
            return top, bottom


def _text(fraction: Pair) -> str:
    return f"{fraction[0]}/{fraction[1]}"


def _asked(problem: Problem) -> tuple[str, Pair, Pair]:
    """What is asked of which fractions; with only one, the other counts as nothing."""
    kind, top, bottom, *other = problem.gold
    return kind, (top, bottom), (other[0], other[1]) if other else (0, 1)


def _solved(problem: Problem) -> str:
    kind, a, b = _asked(problem)
    if kind == "compare":
        return _text(max(a, b, key=lambda pair: Fraction(*pair)))
    return str(Fraction(*_over_common(a, kind, b)))


def _compared(a: Pair, b: Pair, effort: Effort) -> list[str]:
    """Both numerators over the product of the denominators."""
    first, second = a[0] * b[1], b[0] * a[1]
    lines = [statement(a[0], "*", b[1]), statement(b[0], "*", a[1])]
    sign = ">" if first > second else "<"
    lines = [f"{_text(a)}:{lines[0]}", f"{_text(b)}:{lines[1]}"] if effort != "low" else lines
    lines.append(f"{first}{sign}{second}")
    return [*lines, f"{_text(a)}{sign}{_text(b)}"]


def _over_common(a: Pair, kind: str, b: Pair) -> Pair:
    """The sum or difference over the product of the denominators."""
    first, second = a[0] * b[1], b[0] * a[1]
    return (first - second if kind == "-" else first + second), a[1] * b[1]


def _combined(a: Pair, kind: str, b: Pair, *, full: bool) -> list[str]:
    """The steps to that."""
    first, second = a[0] * b[1], b[0] * a[1]
    lines = [statement(a[1], "*", b[1]), statement(a[0], "*", b[1]), statement(b[0], "*", a[1])]
    lines += (fully if full else briefly)(first, "+" if kind == "+" else "-", second)
    return [*lines, _text(_over_common(a, kind, b))] if full else lines


def _reduced(fraction: Pair) -> list[str]:
    """The greatest common divisor by Euclid's steps, and both divided by it."""
    x, y = max(fraction), min(fraction)
    lines: list[str] = []
    while y > 1 and x % y:
        lines.append(statement(x, "-", x - x % y))
        x, y = y, x % y
    lines.append(f"gcd {y}")
    if y == 1:
        return lines
    return [*lines, *(f"{number}/{y}={number // y}" for number in fraction)]


def _shortened(fraction: Pair) -> list[str]:
    """Divided by each prime that divides both."""
    top, bottom = fraction
    lines: list[str] = []
    for prime in PRIMES:
        while top % prime == 0 and bottom % prime == 0:
            lines += [f"{top}/{prime}={top // prime}", f"{bottom}/{prime}={bottom // prime}"]
            top, bottom = top // prime, bottom // prime
            lines.append(_text((top, bottom)))
    return lines


FAMILY = Fractions()
