"""Prime numbers: to tell, to find the next one, to find the smallest factor; by trial division.

2, 3 and 5 show in the digits. By a larger prime a number is divided as on paper, from the left: 523 by 7 is 52-49=3
and, with the next digit, 33-28=5.
"""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import statement, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

PRIMES = (2, 3, 5, 7, 11, 13, 17, 19, 23)

RANGES = {
    1: {"which": (10, 80)},
    2: {"which": (121, 288), "is": (20, 360), "next": (20, 356), "factor": (20, 999)},
    3: {"which": (289, 528), "is": (289, 528), "next": (289, 523), "factor": (289, 999)},
}
"""Level: what is asked, and of which numbers. A prime up to 528 is tried with 19 at most."""

CHOICES = {1: 3, 2: 2, 3: 2}
"""Level: among how many numbers the prime is."""

FARTHEST = 4
"""The next prime is at most so far away: two odd numbers are tried."""

LARGEST_FACTOR = {2: 13, 3: 19}
"""Level: the smallest factor is at most this, when a number beyond the range of `is` is to be taken apart."""

WORDINGS = {
    "which": (
        "Which of these is prime: {it}?",
        "One of {it} is a prime number. Which one?",
        "Find the prime number: {it}.",
        "Which one is prime: {it}?",
        "Which of {it} is a prime number?",
        "Only one of {it} is prime. Which?",
        "Which number is prime, {either}?",
    ),
    "is": (
        "Is {it} a prime number? Answer yes or no.",
        "Is {it} prime? Answer with yes or no only.",
        "Is {it} prime?",
        "Is {it} a prime number?",
        "Is the number {it} prime?",
        "Is {it} prime, yes or no?",
    ),
    "next": (
        "What is the next prime number after {it}?",
        "Find the smallest prime greater than {it}.",
        "What's the next prime after {it}?",
        "Which prime comes next after {it}?",
        "Name the first prime above {it}.",
    ),
    "factor": (
        "What is the smallest prime factor of {it}?",
        "Find the smallest prime that divides {it}.",
        "What's the smallest prime factor of {it}?",
        "Name the smallest prime factor of {it}.",
        "Which is the smallest prime number that divides {it}?",
    ),
}


class Primes(TextFamily):
    """Trial division."""

    name = "primes"
    description = "Tell primes from other numbers, find the next prime or the smallest prime factor."
    levels = (
        "which of three numbers up to 80",
        "which of two, is it prime, or the next one, up to 360; the smallest factor, 13 at most, up to 999",
        "the same from 289 to 528; factors up to 19",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        kind = rng.choice(sorted(RANGES[level]))
        numbers = _numbers(rng, level, kind)
        shown = [str(number) for number in numbers]
        either = f"{', '.join(shown[:-1])} or {shown[-1]}"
        question = asked(rng, WORDINGS[kind], it=", ".join(shown), either=either)
        return self.ask(question, [kind, *numbers], key=f"{kind} {' '.join(map(str, sorted(numbers)))}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        kind, *numbers = problem.gold
        answer = _solved(problem)
        if kind == "next":
            numbers = [number for number in range(numbers[0] + 1, int(answer) + 1) if number % 2]
        lines = [] if effort == "low" else [rng.choice(("Try small primes", "Small primes first"))]
        for number in numbers:
            lines += _tried(number, effort)
        return self.answer(told(rng, [*lines, answer]), answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, _solved(problem))


def smallest_factor(number: int) -> int:
    """The smallest prime that divides a number above 1."""
    return next((candidate for candidate in range(2, number) if number % candidate == 0), number)


def _numbers(rng: Random, level: int, kind: str) -> list[int]:
    """What is asked about: one number, or several with one prime among them."""
    least, most = RANGES[level][kind]
    if kind == "is":
        return [_drawn(rng, least, most, prime=rng.random() < 0.5)]
    while True:
        if kind == "which":
            numbers = [_drawn(rng, least, most, prime=place == 0) for place in range(CHOICES[level])]
            fits = len(set(numbers)) == len(numbers)
        elif kind == "next":
            numbers = [rng.randint(least, most)]
            fits = _next_prime(numbers[0]) <= numbers[0] + FARTHEST
        else:
            numbers = [rng.randint(least, most)]
            factor = smallest_factor(numbers[0])
            small = numbers[0] <= RANGES[level]["is"][1] or factor <= LARGEST_FACTOR[level]
            fits = small and (factor > 2 or rng.random() < 0.3)
        if fits:
            return rng.sample(numbers, len(numbers))


def _next_prime(number: int) -> int:
    return next(later for later in range(number + 1, 2 * number + 1) if smallest_factor(later) == later)


def _drawn(rng: Random, least: int, most: int, *, prime: bool) -> int:
    """A prime, or a number that is none: most of these are not even and don't end in 5."""
    while True:
        number = rng.randint(least, most)
        plain = number % 2 == 0 or number % 5 == 0
        if (smallest_factor(number) == number) == prime and (not plain or rng.random() < 0.15):
            return number


def _solved(problem: Problem) -> str:
    kind, first, *others = problem.gold
    if kind == "is":
        return "yes" if smallest_factor(first) == first else "no"
    if kind == "factor":
        return str(smallest_factor(first))
    if kind == "next":
        return str(_next_prime(first))
    return str(next(number for number in (first, *others) if smallest_factor(number) == number))


def _tried(number: int, effort: Effort) -> list[str]:
    """Prime after prime, until one divides the number or its square is larger."""
    lines = [str(number)]
    for prime in PRIMES:
        if prime * prime > number:
            lines += [] if effort == "low" else [f"{prime}*{prime}={prime * prime}, more"]
            break
        divides = number % prime == 0
        # Whether a number is even or ends in 5 is seen without a word; its digit sum is not.
        if effort != "low" or divides or prime not in (2, 5):
            lines.append(_division(number, prime))
        if divides:
            return [*lines, f"by {prime}"]
    return [*lines, "prime"]


def _division(number: int, prime: int) -> str:
    """What shows whether a prime divides the number."""
    if prime == 2:
        return "odd" if number % 2 else "even"
    if prime == 3:
        return f"{'+'.join(str(number))}={sum(map(int, str(number)))}"
    if prime == 5:
        return f"ends in {number % 10}"
    return f"{prime}:{','.join(_long_division(number, prime))}"


def _long_division(number: int, prime: int) -> list[str]:
    """The subtractions from the left, and the last remainder if there is nothing to take away from it."""
    steps: list[str] = []
    part = rest = 0
    for digit in str(number):
        part = 10 * rest + int(digit)
        rest = part % prime
        if part >= prime:
            steps.append(statement(part, "-", part - rest))
    return steps if part >= prime else [*steps, str(part)]


FAMILY = Primes()
