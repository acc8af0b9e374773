"""Write a family of problems of your own, and prove that its verifier and its worked solutions hold.

In a package with an entry point (CONTRIBUTING.md says which) recipes can name it, and `forethought tasks` shows it.

    python examples/family.py
"""

from random import Random

from forethought.model.conversation import Effort, Message, Thinking
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.validate import validate


class Remainder(TextFamily):
    """What is left of a division."""

    name = "remainder"
    description = "Give the remainder of a division."
    levels = ("of numbers below 100", "of numbers below 1,000", "of numbers below 10,000")

    def draw(self, rng: Random, level: int) -> Draft:
        a, b = rng.randrange(10**level, 10 ** (level + 1)), rng.randint(3, 9)
        return self.ask(f"What is left when {a} is divided by {b}?", (a, b), key=f"{a}%{b}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        a, b = problem.gold
        steps = [f"{b}*{a // b}={a // b * b}", f"{a}-{a // b * b}={a % b}"]
        if effort != "low":
            steps.insert(0, rng.choice(("Divide first", "How often does it fit")))
        return self.answer("; ".join(steps), a % b)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        a, b = problem.gold
        return same_text(answer, str(a % b))


FAMILY = Remainder()


def main() -> None:
    problem = FAMILY.problem(seed=7, level=2)
    for item in (*problem.conversation.items, *FAMILY.trace(problem, "high", Random(7))):
        print(item.text if isinstance(item, Message | Thinking) else item)
    print(FAMILY.verify(problem, (Message.of("assistant", "12"),)))
    print(f"{len(validate(FAMILY))} findings")


if __name__ == "__main__":
    main()
