"""Sums, differences and products of decimal numbers.

The last decimal of a result is never zero, so nobody has to say whether it is written.
"""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import Operator, fully, minus, plus, result, times, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked, squeezed

WORDINGS = (
    "What is {it}?",
    "Compute {it}.",
    "{it} = ?",
    "{it}",
    "How much is {it}?",
    "Calculate {it}.",
    "What is {spoken}?",
    "What's {spoken}?",
    "How much is {spoken}?",
)
SPOKEN: dict[Operator, str] = {"+": "plus", "-": "minus", "*": "times"}

OPENINGS = {
    "+": ("Point under point", "As whole columns"),
    "-": ("Point under point", "As whole columns"),
    "*": ("Without the point first", "As whole numbers"),
}

INVERSE: dict[Operator, Operator] = {"+": "-", "-": "+"}


class Decimals(TextFamily):
    """Arithmetic with a decimal point."""

    name = "decimals"
    description = "Add, subtract or multiply decimal numbers."
    levels = (
        "sums and differences with one decimal, below 10",
        "sums and differences with one and two decimals, below 50",
        "the same below 200, and two decimals times one digit",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        while True:
            a, operator, b, places = self._operands(rng, level)
            value = result(a, operator, b)
            if value > 0 and value % 10:
                break
        first = _pointed(a, places)
        second = str(b) if operator == "*" else _pointed(b, places)
        sign = "×" if operator == "*" else operator
        shown = [first.rstrip("0"), second.rstrip("0")]
        it, spoken = squeezed(rng, f" {sign} ".join(shown)), f" {SPOKEN[operator]} ".join(shown)
        question = asked(rng, WORDINGS, it=it, spoken=spoken)
        pair = sorted((first, second)) if operator == "+" else (first, second)
        return self.ask(question, [a, operator, b, places], key=operator.join(pair))

    def _operands(self, rng: Random, level: int) -> tuple[int, Operator, int, int]:
        """Two numbers in units of their last decimal, and how many decimals that are. None of them is whole."""
        operator: Operator = rng.choice(("+", "-"))
        if level == 1:
            return rng.randint(0, 9) * 10 + rng.randint(1, 9), operator, rng.randint(0, 9) * 10 + rng.randint(1, 9), 1
        if level == 3 and rng.random() < 0.5:
            return rng.randint(1, 29) * 100 + rng.randint(1, 99), "*", rng.randint(3, 9), 2
        whole = 49 if level == 2 else 199
        tenths = rng.randint(0, whole) * 100 + rng.randint(1, 9) * 10
        hundredths = rng.randint(0, whole) * 100 + rng.randint(0, 9) * 10 + rng.randint(1, 9)
        a, b = rng.sample((tenths, hundredths), 2)
        return a, operator, b, 2

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        a, operator, b, places = problem.gold
        value = _pointed(result(a, operator, b), places)
        full = effort != "low"
        lines = _times(a, b, full=full) if operator == "*" else _aligned(a, operator, b, places, full=full)
        if effort != "low":
            lines.insert(0, rng.choice(OPENINGS[operator]))
        return self.answer(told(rng, lines), value)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        a, operator, b, places = problem.gold
        return same_text(answer, _pointed(result(a, operator, b), places))


def _pointed(units: int, places: int) -> str:
    """A number of tenths or hundredths with its point."""
    return f"{units // 10**places}.{units % 10**places:0{places}}"


def _aligned(a: int, operator: Operator, b: int, places: int, *, full: bool) -> list[str]:
    """Both numbers with the same number of decimals, and their columns."""
    question = f"{_pointed(a, places)}{operator}{_pointed(b, places)}"
    value = _pointed(result(a, operator, b), places)
    return [question, *(plus if operator == "+" else minus)(a, b), f"{question}={value}" if full else value]


def _times(a: int, digit: int, *, full: bool) -> list[str]:
    """The product without the point, and the point put back."""
    if not full:
        return [*times(a, digit), _pointed(a * digit, 2)]
    return [*fully(a, "*", digit), f"2 decimals, {_pointed(a * digit, 2)}"]


FAMILY = Decimals()
