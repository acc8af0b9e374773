"""Who is the tallest? Short deductions from comparisons that make one chain."""

from itertools import pairwise
from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict
from forethought.tasks.wording import addressed
from forethought.tasks.words import NAMES

PEOPLE: Final = {1: 3, 2: 4, 3: 5}

RELATIONS: Final = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("heavier", "lighter", "heaviest", "lightest"),
    ("louder", "quieter", "loudest", "quietest"),
    ("stronger", "weaker", "strongest", "weakest"),
)
PLACES: Final = ("", "second ", "third ")
FORMS: Final = (" Answer with the name.", " Answer with the name only.", " Give only the name.", "", "")


class Ordering(TextFamily):
    """Building a chain out of its links."""

    name = "ordering"
    description = "Deduce an order from comparisons."
    levels = ("three people", "four people, turned comparisons", "five people, turned comparisons")

    def draw(self, rng: Random, level: int) -> Draft:
        chain: list[str] = rng.sample(NAMES, PEOPLE[level])
        more, less, most, least = rng.choice(RELATIONS)
        links = rng.sample(list(pairwise(chain)), len(chain) - 1)
        # A turned comparison names the lesser one first.
        turned = [rng.random() < (0.2 if level == 1 else 0.5) for _ in links]
        facts = [
            f"{low} is {less} than {high}." if turn else f"{high} is {more} than {low}."
            for (high, low), turn in zip(links, turned, strict=True)
        ]
        place = rng.randrange(len(chain))
        wanted, found = _asked(rng, chain, place, most, least)
        question = addressed(rng, f"{' '.join(facts)} {wanted}{rng.choice(FORMS)}")
        gold = {"chain": chain, "links": [list(link) for link in links], "found": found, "answer": chain[place]}
        return self.ask(question, gold, key=f"{'>'.join(chain)} {place}")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: dict[str, Any] = problem.gold
        chain: list[str] = gold["chain"]
        links: list[list[str]] = gold["links"]
        facts = ", ".join(f"{high}>{low}" for high, low in links)
        answer: str = gold["answer"]
        found = f"{gold['found']}: {answer}. {rng.choice(('So', 'That is'))} {answer}."
        if effort == "low":
            numbered = ", ".join(f"{place} {name}" for place, name in enumerate(chain, 1))
            return self.answer(f"{facts}: {numbered}. {found}", answer)
        # The first of the chain is the only one who never stands on the right.
        lesser = ", ".join(low for _, low in links)
        steps = f"{facts}. {rng.choice(('On the right', 'Right sides'))}: {lesser}. Not {chain[0]}, so {chain[0]} is 1."
        for place, (high, low) in enumerate(pairwise(chain), 2):
            steps += f" {high}>{low}: {low} is {place}."
        steps += f" {found}"
        return self.answer(steps, answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, problem.gold["answer"])


def _asked(rng: Random, chain: list[str], place: int, most: str, least: str) -> tuple[str, str]:
    """A question for the one at this place, and the place that it asks for."""
    middle = len(chain) // 2
    if 0 < place < len(chain) - 1 and len(chain) > 3 and rng.random() < 0.3:
        neighbours = rng.sample([chain[place - 1], chain[place + 1]], 2)
        sides = " and ".join(f"{name} {chain.index(name) + 1}" for name in neighbours)
        return f"Who is between {neighbours[0]} and {neighbours[1]}?", f"Between {sides} is {place + 1}"
    if len(chain) % 2 and place == middle and rng.random() < 0.6:
        return "Who is in the middle?", f"In the middle is {place + 1}"
    if place < middle or (len(chain) % 2 and place == middle and rng.random() < 0.5):
        title = f"{PLACES[place]}{most}"
    else:
        title = f"{PLACES[len(chain) - 1 - place]}{least}"
    return f"Who is the {title}?", f"{title.capitalize()} is {place + 1}"


FAMILY = Ordering()
