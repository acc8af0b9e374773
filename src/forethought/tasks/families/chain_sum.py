"""Sums of several numbers, added one after another; of two also the difference."""

from itertools import accumulate, chain
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import briefly, fully, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import CALCULATIONS, asked, squeezed

COUNTS = {2: 3, 3: 4}
"""Level: how many numbers; on level 1, two."""

DIFFERENCES = 0.35
"""How often two numbers are subtracted."""

SUMS = (
    "What is {it}?",
    "Compute {it}.",
    "{it} = ?",
    "Add up: {it}.",
    "{it}",
    "{it} =",
    "How much is {it}?",
    "Calculate {it}.",
    "What is {spoken}?",
    "What's {spoken}?",
    "How much is {spoken}?",
    "Add {listed}.",
    "What is the sum of {listed}?",
    "Can you add {listed}?",
    "What do {listed} add up to?",
)
MINUSES = (
    *CALCULATIONS,
    "What is {a} minus {b}?",
    "What's {a} minus {b}?",
    "How much is {a} minus {b}?",
    "Subtract {b} from {a}.",
    "Take {b} away from {a}.",
    "What is left of {a} without {b}?",
)

OPENINGS = ("Column by column", "From the ones up")


class ChainSum(TextFamily):
    """Mental addition."""

    name = "chain_sum"
    description = "Add up several numbers, or subtract one from another."
    levels = (
        "a sum or a difference of two numbers up to 199",
        "three numbers of two digits",
        "four numbers of two digits",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        if level == 1:
            # Smaller numbers more often.
            a, b = (min(rng.randint(2, 199), rng.randint(2, 199)) for _ in range(2))
            if a != b and rng.random() < DIFFERENCES:
                a, b = max(a, b), min(a, b)
                question = asked(rng, MINUSES, it=squeezed(rng, f"{a} - {b}"), a=a, b=b)
                return self.ask(question, [a, -b], key=f"{a}-{b}")
            numbers = [a, b]
        else:
            numbers = [rng.randint(10, 99) for _ in range(COUNTS[level])]
        shown = [str(number) for number in numbers]
        question = asked(
            rng,
            SUMS,
            it=squeezed(rng, " + ".join(shown)),
            spoken=" plus ".join(shown),
            listed=f"{', '.join(shown[:-1])} and {shown[-1]}",
        )
        return self.ask(question, numbers, key="+".join(map(str, sorted(numbers))))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        numbers: list[int] = problem.gold
        total = sum(numbers)
        if effort == "low":
            return self.answer(told(rng, _added(numbers, full=False)), total)
        lines = [rng.choice(OPENINGS), *_added(numbers, full=True)]
        return self.answer(told(rng, lines), total)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(sum(problem.gold)))


def _added(numbers: list[int], *, full: bool) -> list[str]:
    """The numbers, added one after another; those below zero are subtracted."""
    tell = fully if full else briefly
    pairs = zip(accumulate(numbers), numbers[1:], strict=False)
    return list(chain.from_iterable(tell(a, "+" if b > 0 else "-", abs(b)) for a, b in pairs))


FAMILY = ChainSum()
