"""Knights, who tell the truth, and knaves, who lie: who is who?"""

from collections.abc import Iterator, Sequence
from itertools import permutations, product
from random import Random
from typing import Any, Final

from forethought.model.conversation import Effort
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.pools import marked
from forethought.tasks.problem import Draft, Problem, Transcript, Verdict, split_of
from forethought.tasks.words import NAMES

PEOPLE: Final = {1: 2, 2: 3, 3: 3}
SAYINGS: Final = {
    1: ("knight", "knave", "same", "different", "no knight", "a knave"),
    2: ("knight", "knave", "same", "different", "knights", "knaves"),
    3: (
        *("knight", "knave", "same", "different", "knights", "knaves"),
        *("no knight", "a knave", "one knight", "two knights"),
    ),
}
PAIRS: Final = ("same", "different", "knights", "knaves")
"""What is said of two people."""
OF_ALL: Final = {"no knight": "none", "one knight": "one", "two knights": "two", "a knave": "some N"}
"""What is said of all of them, as the traces have it: how many are knights, or that some are knaves."""
HOW_MANY: Final = ("none", "one", "two")
"""How many are knights; all, when nobody is a knave."""
RULES: Final = (
    "Knights always tell the truth and knaves always lie.",
    "A knight says only what is true, a knave only what is false.",
    "On an island, knights tell the truth and knaves lie.",
)
ASKED: Final = (
    "Who is a knight? Answer with the names in the order above, separated by commas, or with none.",
    "Name the knights in the order above, separated by commas, or answer none.",
)

Saying = list[Any]
"""What is said, and of whom: `["same", 0, 2]`. Said of nobody, it is meant of all."""


class KnightsKnaves(TextFamily):
    """Trying one assumption after another."""

    name = "knights_knaves"
    description = "Find out who tells the truth."
    levels = ("two people", "three people", "three people who speak of all of them")

    def draw(self, rng: Random, level: int) -> Draft:
        people = rng.sample(NAMES, PEOPLE[level])
        while True:
            sayings = [_saying(rng, speaker, level) for speaker in range(len(people))]
            found = solutions(sayings)
            # Statements that name nobody in particular are what makes level 3 hard.
            if len(found) == 1 and (level < 3 or any(len(saying) == 1 for saying in sayings)):
                break
        spoken = [f'{who} says: "{_told(saying, people)}"' for who, saying in zip(people, sayings, strict=True)]
        question = f"{rng.choice(RULES)} {' '.join(spoken)} {rng.choice(ASKED)}"
        knights = [who for who, honest in zip(people, found[0], strict=True) if honest]
        gold = {"people": people, "sayings": sayings, "answer": ", ".join(knights) or "none"}
        # Among three, other names make no new problem. Two people have too little to say of each other for that.
        return self.ask(question, gold, key=" ".join(spoken) if level == 1 else _key(sayings))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        people: list[str] = problem.gold["people"]
        sayings: list[Saying] = problem.gold["sayings"]
        answer: str = problem.gold["answer"]
        tries: list[str] = []
        for kinds in _assumptions(sayings):
            tries.append(_tried(kinds, sayings, people, effort))
            if kinds == solutions(sayings)[0]:
                break
        order = f"{', '.join(people)}. " if effort == "low" else ""
        steps = f"{order}{' '.join(tries)} "
        steps += f"{rng.choice(('Knights', 'Honest'))}: {answer}."
        return self.answer(steps, answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer.replace(", ", ","), problem.gold["answer"].replace(", ", ","))


def _key(sayings: Sequence[Saying]) -> str:
    """Who says what of whom; with marks until it falls into the split of those who say the same in another order."""
    orders = permutations(range(len(sayings)))
    apart = split_of(KnightsKnaves.name, min(_written(sayings, order) for order in orders))
    return marked(KnightsKnaves.name, _written(sayings, range(len(sayings))), apart)


def _written(sayings: Sequence[Saying], order: Sequence[int]) -> str:
    """The sayings of people who speak in this order."""
    return ", ".join(
        " ".join((sayings[speaker][0], *map(str, sorted(order.index(who) for who in sayings[speaker][1:]))))
        for speaker in order
    )


def solutions(sayings: Sequence[Saying]) -> list[tuple[bool, ...]]:
    """All ways to be knights (true) and knaves in which every knight speaks the truth and no knave does."""
    return [
        kinds
        for kinds in product((True, False), repeat=len(sayings))
        if all(is_true(saying, kinds) == kind for saying, kind in zip(sayings, kinds, strict=True))
    ]


def is_true(saying: Saying, kinds: Sequence[bool]) -> bool:
    """Whether what is said holds."""
    what: str = saying[0]
    of: list[bool] = [kinds[index] for index in saying[1:]]
    match what:
        case "knight":
            return of[0]
        case "knave":
            return not of[0]
        case "same":
            return of[0] == of[1]
        case "different":
            return of[0] != of[1]
        case "knights":
            return all(of)
        case "knaves":
            return not any(of)
        case "a knave":
            return not all(kinds)
        case _:
            return sum(kinds) == ("no knight", "one knight", "two knights").index(what)


def _saying(rng: Random, speaker: int, level: int) -> Saying:
    others = [index for index in range(PEOPLE[level]) if index != speaker]
    what = rng.choice(SAYINGS[level])
    if what in ("knight", "knave"):
        return [what, rng.choice(others)]
    if what in PAIRS:
        return [what, *sorted(rng.sample(range(PEOPLE[level]), 2))]
    return [what]


def _told(saying: Saying, people: Sequence[str]) -> str:
    what, of = saying[0], [people[index] for index in saying[1:]]
    match what:
        case "knight" | "knave":
            return f"{of[0]} is a {what}."
        case "same" | "different":
            return f"{of[0]} and {of[1]} are of {'the same kind' if what == 'same' else 'different kinds'}."
        case "knights" | "knaves":
            return f"{of[0]} and {of[1]} are both {what}."
        case "a knave":
            return "At least one of us is a knave."
        case "no knight":
            return "None of us is a knight."
        case _:
            return f"Exactly {what.split()[0]} of us {'is a knight' if what == 'one knight' else 'are knights'}."


def _judged(kinds: Sequence[bool], sayings: Sequence[Saying]) -> list[bool]:
    """Which statements are true, up to the first that a person of this kind would not make."""
    truths: list[bool] = []
    for kind, saying in zip(kinds, sayings, strict=True):
        truths.append(is_true(saying, kinds))
        if truths[-1] != kind:
            break
    return truths


def _assumptions(sayings: Sequence[Saying]) -> Iterator[tuple[bool, ...]]:
    """What is assumed of the people, one way after another. Where a statement fails already because of what the first
    of them are, nothing is assumed of the others."""
    refuted: list[tuple[bool, ...]] = []
    for kinds in product((True, False), repeat=len(sayings)):
        if any(kinds[: len(known)] == known for known in refuted):
            continue
        judged = sayings[: len(_judged(kinds, sayings))]
        of_all = kinds in solutions(sayings) or any(len(saying) == 1 for saying in judged)
        named = [len(judged) - 1, *(index for saying in judged for index in saying[1:])]
        refuted.append(kinds if of_all else kinds[: max(named) + 1])
        yield refuted[-1]


def _tried(kinds: Sequence[bool], sayings: Sequence[Saying], people: Sequence[str], effort: Effort) -> str:
    """One assumption, and the statements up to the first that does not fit it. K is a knight, N a knave: what a K says
    must be true, what an N says must be false. Low effort tells only of the statement that does not fit."""
    letters = ["K" if kind else "N" for kind in kinds]
    full = [*kinds, *[False] * (len(people) - len(kinds))]
    truths = _judged(full, sayings)
    verdict = "fits" if truths == full else "no"
    told = ["true" if truth else "false" for truth in truths]
    if effort == "low":
        failing = f": {people[len(told) - 1]} {letters[len(told) - 1]} {told[-1]}," if verdict == "no" else ""
        return f"{' '.join(letters)}{failing} {verdict}."
    assumed = " ".join(f"{who} {letter}" for who, letter in zip(people, letters, strict=False))
    if any(len(saying) == 1 for saying in sayings[: len(told)]):
        assumed += f" {'all' if all(full) else HOW_MANY[sum(full)]} K"
    judged = [
        f"{who} {_shown(saying, full)} {truth}" for who, saying, truth in zip(people, sayings, told, strict=False)
    ]
    return f"{assumed}: {', '.join(judged)} {verdict}."


def _shown(saying: Saying, kinds: Sequence[bool]) -> str:
    """What is said, and beside it what is assumed of those it is said of."""
    what, *of = saying
    return " ".join([what, *("K" if kinds[index] else "N" for index in of)]) if of else OF_ALL[what]


FAMILY = KnightsKnaves()
