"""Any data set of the package `reasoning-gym` as a family, under the name `gym:NAME` (the extra `gym` installs it).

Its scorers pay for substrings and for numbers that are nearly right, and some of them run what they judge. So an answer
counts if it is the canonical one; another one counts only if it has the same words and numbers in another order or with
other marks between them, and the scorer pays for it in full, but not for it with anything around it.
"""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from random import Random
from typing import Any, ClassVar, Final

from forethought.errors import TaskError
from forethought.model.conversation import Effort, Message
from forethought.tasks.family import MOST_CHARACTERS, TextFamily
from forethought.tasks.problem import CORRECT, Draft, Problem, Transcript, Verdict, wrong

PREFIX: Final = "gym:"
LEVELS: Final = 3
MOST_TRIES: Final = 20
"""Draws for an entry whose own answer can be judged."""

PADDINGS: Final = ("{0} {0}", "{0}\n{0}", "The answer is {0}", "{0} or 0", "x{0}", "{0}1")
"""What a scorer must not pay for, where its word for another answer than the canonical one shall count."""

ARITHMETIC: Final = frozenset("+-*/()")

_PARTS: Final = re.compile(r"[^\W\d_]+|\d+")
_POWER: Final = re.compile(r"(?<!\*\*)(?<!\w)\w+\*\*\w+(?!\w|\*\*)")
_MARK: Final = re.compile(r"[^\w\s]|_")
_NUMBER: Final = re.compile(r"[-+]?[\d.,]*\d[\d.,]*(?:[eE][-+]?\d+)?%?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a data set, and the data set, which scores it."""

    data_set: Any
    entry: dict[str, Any]

    @property
    def answer(self) -> Any:
        """The canonical answer."""
        return self.entry["answer"]

    def score(self, answer: str) -> float:
        """What the data set's own scorer gives; nothing where it breaks."""
        try:
            return float(self.data_set.score_answer(answer, self.entry))
        except Exception:  # noqa: BLE001 (somebody else's code judges what a model wrote: its failure is a verdict)
            return 0.0

    def proves(self, answer: str) -> bool:
        """Whether the scorer's word shows that an answer that is not the canonical one is right too."""
        if _NUMBER.fullmatch(answer) or not _made_of(answer, self.answer.strip()):
            return False
        return self.score(answer) == 1.0 and all(self.score(form.format(answer)) < 1.0 for form in PADDINGS)


class GymFamily(TextFamily):
    """One data set. Its levels are the lowest ones of the data set's curriculum, or the data set as it comes."""

    has_traces = False
    data_set: ClassVar[str]
    """Its name in the package."""

    def draw(self, rng: Random, level: int) -> Draft:
        for _ in range(MOST_TRIES):
            entry = self._make(level, rng.randrange(2**31))
            answer = entry.answer
            if isinstance(answer, str) and 0 < len(answer.strip()) <= MOST_CHARACTERS and entry.score(answer) == 1.0:
                return self.ask(f"{entry.entry['question'].strip()}\nGive the answer only.", entry)
        raise TaskError(f"{self.name} has no answers that could be judged.", "Use another data set.")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        """There is none."""
        raise TaskError(f"{self.name} has no traces.", "Leave it out of the cold start; it is for learning by trying.")

    def solution(self, problem: Problem) -> Transcript:
        entry: Entry = problem.gold
        return (Message.of("assistant", entry.answer.strip()),)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        entry: Entry = problem.gold
        canonical = entry.answer.strip()
        return CORRECT if answer == canonical or entry.proves(answer) else wrong(f"not {canonical}")

    def _make(self, level: int, seed: int) -> Entry:
        factory = _factory()
        wanted = {"seed": seed, "size": 1}
        try:
            if factory.has_curriculum(self.data_set):
                curriculum = factory.create_curriculum(self.data_set)
                curriculum.set_global_level(level - 1)
                data_set = factory.DATASETS[self.data_set][0](curriculum.generate_configuration(wanted))
            else:
                data_set = factory.create_dataset(self.data_set, **wanted)
            return Entry(data_set, data_set[0])
        except Exception as error:  # noqa: BLE001 (somebody else's code: what it cannot make is data)
            raise TaskError(f"{self.name} has no level {level}: {error!r}.", "Use another level or data set.") from None


@cache
def gym_family(name: str) -> GymFamily:
    """The family `gym:NAME`. Raises `TaskError`: the package is not installed, or has no such data set."""
    data_set = name.removeprefix(PREFIX)
    factory = _factory()
    if data_set not in factory.DATASETS:
        raise TaskError(f"reasoning-gym has no data set {data_set!r}.", f"It has: {', '.join(factory.DATASETS)}.")
    levels = tuple(f"level {n} of its curriculum" for n in range(LEVELS))
    told = {
        "name": PREFIX + data_set,
        "description": f"The data set {data_set} of reasoning-gym.",
        "levels": levels if factory.has_curriculum(data_set) else ("as it comes",),
        "data_set": data_set,
    }
    return type("GymFamily", (GymFamily,), told)()


def _factory() -> Any:
    try:
        import_module("reasoning_gym")
    except ImportError as error:
        raise TaskError(f"reasoning-gym cannot be loaded: {error}.", "Install forethought[gym].") from None
    return import_module("reasoning_gym.factory")


def _made_of(answer: str, canonical: str) -> bool:
    """Whether an answer has the same words and numbers as the canonical one, each as often, on as many lines, and no
    other marks than that has, or those of arithmetic. Neither contains the other. No other power comes in: so a scorer
    that computes what it reads is given nothing that takes it long."""
    if answer in canonical or canonical in answer or not _powers(answer) <= _powers(canonical):
        return False
    unpadded = all(line == " ".join(line.split()) for line in answer.splitlines())
    marks = set(_MARK.findall(answer)) <= set(_MARK.findall(canonical)) | ARITHMETIC
    lines = len(answer.splitlines()) == len(canonical.splitlines())
    return unpadded and marks and lines and Counter(_PARTS.findall(answer)) == Counter(_PARTS.findall(canonical))


def _powers(text: str) -> Counter[str]:
    """What is raised to what. One that cannot be told apart (a power of a power) is like no other."""
    found = Counter(_POWER.findall(text.replace(" ", "")))
    rest = text.count("**") - sum(found.values())
    return found + Counter({text: rest})
