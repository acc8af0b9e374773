"""The greatest common divisor by Euclid's steps, and the least common multiple by way of it."""

from math import gcd, lcm
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import briefly, fully, statement, steps, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

SIZES = {1: {"gcd": (150, 3)}, 2: {"gcd": (250, 3), "lcm": (60, 3)}, 3: {"gcd": (399, 4), "lcm": (99, 3)}}
"""Level: what is asked, up to which number, and in how many of Euclid's steps at most."""

LARGEST_DIVISOR = 15
"""Common divisors are drawn up to it, the small ones more often, as they have more multiples; few are 1."""

MOST_TIMES = 9
"""No number goes into another more often than this."""

WORDINGS = {
    "gcd": (
        "What is the greatest common divisor of {a} and {b}?",
        "gcd({a}, {b}) = ?",
        "Compute gcd({a}, {b}).",
        "What is the gcd of {a} and {b}?",
        "What's the gcd of {a} and {b}?",
        "GCD of {a} and {b}?",
        "Find the greatest common divisor of {a} and {b}.",
        "Find the largest number that divides both {a} and {b}.",
        "What is the largest number that divides {a} and {b}?",
        "What is the highest common factor of {a} and {b}?",
    ),
    "lcm": (
        "What is the least common multiple of {a} and {b}?",
        "lcm({a}, {b}) = ?",
        "Compute lcm({a}, {b}).",
        "What is the lcm of {a} and {b}?",
        "What's the lcm of {a} and {b}?",
        "LCM of {a} and {b}?",
        "Find the least common multiple of {a} and {b}.",
        "Find the smallest number that both {a} and {b} divide.",
        "What is the smallest common multiple of {a} and {b}?",
        "Find the lowest common multiple of {a} and {b}.",
    ),
}


class GcdLcm(TextFamily):
    """Euclid's algorithm."""

    name = "gcd_lcm"
    description = "Find the greatest common divisor or the least common multiple of two numbers."
    levels = (
        "gcd up to 150",
        "gcd up to 250, lcm of numbers up to 60",
        "gcd up to 399, lcm of numbers up to 99",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        kind = rng.choice(sorted(SIZES[level]))
        most, longest = SIZES[level][kind]
        while True:
            divisor = min(rng.randint(1, LARGEST_DIVISOR), rng.randint(1, LARGEST_DIVISOR))
            a, b = (divisor * rng.randint(1, most // divisor) for _ in range(2))
            pairs = _euclid(a, b)
            easy = len(pairs) <= longest and all(x // y <= MOST_TIMES for x, y in pairs)
            if easy and a != b and gcd(a, b) == divisor and (kind == "gcd" or min(a, b) // divisor <= MOST_TIMES):
                break
        question = asked(rng, WORDINGS[kind], a=a, b=b)
        # Whoever knows the one of a pair nearly knows the other.
        return self.ask(question, [kind, a, b], key=f"{min(a, b)} {max(a, b)}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        kind, a, b = problem.gold
        least, most, divisor = min(a, b), max(a, b), gcd(a, b)
        full = effort != "low"
        lines = [rng.choice(("List multiples and keep the rest", "Euclid"))] if full else []
        for x, y in _euclid(most, least):
            lines += _division(x, y, full=full)
        lines.append(f"gcd {divisor}")
        if kind == "lcm":
            lines += [
                f"{least}/{divisor}={least // divisor}",
                *(fully if full else briefly)(least // divisor, "*", most),
            ]
        return self.answer(told(rng, lines), _solved(problem))

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(_solved(problem)))


def _solved(problem: Problem) -> int:
    kind, a, b = problem.gold
    return gcd(a, b) if kind == "gcd" else lcm(a, b)


def _euclid(a: int, b: int) -> list[tuple[int, int]]:
    """The pairs that are divided, the larger number first, until nothing remains."""
    x, y = max(a, b), min(a, b)
    pairs: list[tuple[int, int]] = []
    while y:
        pairs.append((x, y))
        x, y = y, x % y
    return pairs


def _division(x: int, y: int, *, full: bool) -> list[str]:
    """The multiples of one number until another is reached or exceeded, and what remains of that. At low effort those
    of a digit are known by heart."""
    rest = x % y
    if not full and y < 10:
        return [statement(x, "-", x - rest) if rest else statement(x // y, "*", y)] if y > 1 else []
    lines = [f"{x} by {y}"] if full else []
    if y == 1:
        return lines
    multiples = ",".join(str(multiple) for multiple in range(y, x + y if rest else x + 1, y))
    if not rest:
        return [*lines, f"{multiples} fits"]
    taken = steps(x, "-", x - rest) if (full or x >= 100) and _borrows(x, x - rest) else []
    return [*lines, f"{multiples} more", *taken, statement(x, "-", x - rest)]


def _borrows(a: int, b: int) -> bool:
    """Whether a column of a difference borrows. Where none does, it is one look; with three digits too."""
    return any(top < less for top, less in zip(str(a)[::-1], str(b)[::-1], strict=False))


FAMILY = GcdLcm()
