"""Numbers put in order."""

from random import Random

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import asked

COUNTS = {1: 3, 2: 5, 3: 7}
MOST = 99

WORDINGS = (
    "Sort these numbers from {order}: {numbers}. Answer with the numbers, separated by commas.",
    "Put {numbers} in order, {order}. Answer with the list only, separated by commas.",
    "Write {numbers} from {order}, separated by commas.",
    "Sort {numbers} from {order}.",
    "Sort these numbers from {order}: {numbers}.",
    "Sort from {order}: {numbers}",
    "Order {numbers} from {order}.",
    "Arrange {numbers} from {order}.",
    "Put {numbers} in {way} order.",
    "Sort {numbers} in {way} order.",
    "Put these numbers in {way} order: {numbers}.",
    "List {numbers} from {order}.",
)
PLAIN = ("Sort these numbers: {numbers}.", "Sort {numbers}.", "Put {numbers} in order.", "Order these: {numbers}.")
"""Nobody has to say that the smallest is first."""
UP = ("smallest to largest", "smallest to largest", "least to greatest", "low to high")
DOWN = ("largest to smallest", "largest to smallest", "greatest to least", "high to low")


class SortNumbers(TextFamily):
    """Selection sort: the smallest that is left, again and again."""

    name = "sort_numbers"
    description = "Sort numbers up or down."
    levels = ("three numbers", "five numbers", "seven numbers")

    def draw(self, rng: Random, level: int) -> Draft:
        down = rng.random() < 0.4
        numbers = rng.sample(range(1, MOST + 1), COUNTS[level])
        while numbers == sorted(numbers, reverse=down):
            rng.shuffle(numbers)
        order, way = rng.choice(DOWN if down else UP), "descending" if down else "ascending"
        wordings = WORDINGS if down else (*WORDINGS, *PLAIN)
        question = asked(rng, wordings, order=order, way=way, numbers=", ".join(map(str, numbers)))
        key = f"{'down' if down else 'up'} {sorted(numbers)}"
        return self.ask(question, {"numbers": numbers, "down": down}, key=key)

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        answer = ", ".join(map(str, _sorted(problem)))
        if effort == "low":
            return self.answer(f"{rng.choice(('In order', 'Sorted', 'One by one'))}: {answer}.", answer)
        word = rng.choice(("Largest", "Most") if problem.gold["down"] else ("Smallest", "Least"))
        left: list[int] = list(problem.gold["numbers"])
        steps: list[str] = []
        for number in _sorted(problem):
            left.remove(number)
            steps.append(f"{word} {number}, left {' '.join(map(str, left))}." if left else f"Last {number}.")
        steps.append(f"So {answer}.")
        return self.answer(" ".join(steps), answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer.replace(", ", ","), ",".join(map(str, _sorted(problem))))


def _sorted(problem: Problem) -> list[int]:
    return sorted(problem.gold["numbers"], reverse=problem.gold["down"])


FAMILY = SortNumbers()
