"""Sums of several numbers, added one after another."""

from itertools import accumulate, chain
from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.columns import briefly, fully, told
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict

COUNTS = {1: 2, 2: 3, 3: 4}
"""Level: how many numbers."""

WORDINGS = ("What is {sum}?", "Compute {sum}.", "{sum} = ?", "Add up: {sum}.")

OPENINGS = ("Column by column", "From the ones up")

CHECKS = {True: ("Check: take away", "Backwards"), False: ("Check from the end", "Again from the last")}
"""Whether there are only two numbers: how the check begins."""


class ChainSum(TextFamily):
    """Mental addition."""

    name = "chain_sum"
    description = "Add up several numbers."
    levels = ("two numbers of two digits", "three numbers of two digits", "four numbers of two digits")

    def draw(self, rng: Random, level: int) -> Draft:
        numbers = [rng.randint(10, 99) for _ in range(COUNTS[level])]
        question = rng.choice(WORDINGS).format(sum=" + ".join(map(str, numbers)))
        return self.ask(question, numbers, key="+".join(map(str, sorted(numbers))))

    def trace(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        numbers: list[int] = problem.gold
        total = sum(numbers)
        if effort == "low":
            return self.answer(told(rng, _added(numbers, full=False)), total)
        lines = [rng.choice(OPENINGS), *_added(numbers, full=True)]
        if effort == "high":
            two = len(numbers) == 2
            other = fully(total, "-", numbers[1]) if two else _added(numbers[::-1], full=True)
            lines += [rng.choice(CHECKS[two]), *other, rng.choice(("Right", f"So {total}"))]
        return self.answer(told(rng, lines), total)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(sum(problem.gold)))


def _added(numbers: list[int], *, full: bool) -> list[str]:
    """The numbers, added one after another."""
    pairs = zip(accumulate(numbers), numbers[1:], strict=False)
    return list(chain.from_iterable((fully if full else briefly)(a, "+", b) for a, b in pairs))


FAMILY = ChainSum()
