"""Products, worked out digit by digit."""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import fully, plus, statement, times, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import CALCULATIONS, asked, squeezed

FACTORS = {1: (11, 299, 2, 9), 2: (300, 999, 3, 9), 3: (12, 99, 12, 99)}
"""Level: between which numbers each of the two factors lies."""

WORDINGS = (
    *CALCULATIONS,
    "What is {a} times {b}?",
    "What's {a} times {b}?",
    "How much is {a} times {b}?",
    "Multiply {a} by {b}.",
    "Multiply {a} and {b}.",
    "What is the product of {a} and {b}?",
)


class Products(TextFamily):
    """Long multiplication."""

    name = "products"
    description = "Multiply two numbers."
    levels = (
        "a number up to 299 and one digit",
        "a number of three digits and one digit",
        "two numbers of two digits",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        least, most, low, high = FACTORS[level]
        a, b = rng.randint(least, most), rng.choice([number for number in range(low, high + 1) if number % 10])
        first, second = rng.sample((a, b), 2)
        shown = squeezed(rng, f"{first} {rng.choice('×*x')} {second}")
        question = asked(rng, WORDINGS, it=shown, a=first, b=second)
        return self.ask(question, [a, b], key="*".join(map(str, sorted((a, b)))))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        a, b = problem.gold
        one_digit = b < 10
        if effort == "low":
            lines = _digit_briefly(a, b) if one_digit else _long_briefly(a, b)
        else:
            lines = fully(a, "*", b) if one_digit else _long(a, b)
            lines.insert(0, rng.choice(("Digit by digit", "From the ones up")))
        return self.answer(told(rng, lines), a * b)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        a, b = problem.gold
        return same_text(answer, str(a * b))


def _digit_briefly(a: int, digit: int) -> list[str]:
    return [*times(a, digit, joined=True), str(a * digit)]


def _long_briefly(a: int, b: int) -> list[str]:
    """Both partial products and the columns of their sum."""
    tens, ones = divmod(b, 10)
    first, second = a * ones, a * tens * 10
    if not ones:
        return [*times(a, tens, joined=True), str(second)]
    partial = [*_digit_briefly(a, ones), *times(a, tens, joined=True), str(second)]
    return [*partial, *plus(first, second), str(a * b)]


def _long(a: int, b: int) -> list[str]:
    """The same with each product and the sum named before it is worked out."""
    tens, ones = divmod(b, 10)
    second = [*fully(a, "*", tens), statement(a, "*", tens * 10)]
    return [*fully(a, "*", ones), *second, *fully(a * ones, "+", a * tens * 10), statement(a, "*", b)]


FAMILY = Products()
