"""Titled parts of summaries, about what other families think: the live summary's own conversation.

The summariser does not think, and its answers have the shape of the live summary (`reasoning/summary_prompt.py`).
"""

import re
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Final

from forethought.errors import TaskError
from forethought.model.conversation import Effort, Message, Thinking, ToolCall
from forethought.reasoning.summary_prompt import summary_conversation, summary_shape
from forethought.reasoning.summary_settings import DETAILS, SummaryDetail
from forethought.reasoning.summary_words import named, terms, units
from forethought.tasks import families as shipped
from forethought.tasks.family import Family, TextFamily
from forethought.tasks.json_values import read_json
from forethought.tasks.pools import marked
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict, wrong
from forethought.tasks.registry import families
from forethought.tasks.summary_check import judge_result, judge_summary, sentences_of
from forethought.tasks.summary_writer import tellable, write_summary

EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
LEVELS: Final[dict[int, tuple[tuple[SummaryDetail, ...], int, int]]] = {
    1: (("concise", "auto"), 42, 84),
    2: (("concise", "auto"), 65, 145),
    3: (("auto", "detailed"), 110, 400),
}
"""Level: the details, and between which lengths the thinking is, in words, digits and marks."""

MOST_TRIES: Final = 500
LONGEST_RESULT: Final = 7
"""Words, digits and marks. What is longer would be a quotation."""

_SAYABLE: Final = re.compile(r"(?:[^\W_]|[ ,:/+=<>()-]|(?<=\d)\.(?=\d))+")
"""What the shape of a summary lets through."""


@dataclass(frozen=True, slots=True)
class Gold:
    """The thinking, the family that it is from, what it came to, as far as the thinking names it, and the detail."""

    thinking: str
    source: str
    result: tuple[str, ...]
    detail: SummaryDetail


class Summaries(TextFamily):
    """Summarising thinking."""

    name = "summaries"
    description = "Write a titled summary of some thinking, which names only what is there."
    free_wording = True
    most_characters = 700
    levels = ("short thinking, one or two sentences", "longer thinking", "long thinking, up to three sentences")

    def draw(self, rng: Random, level: int) -> Draft:
        details, least, most = LEVELS[level]
        named_detail = rng.choice(details)
        detail = DETAILS[named_detail]
        split: Split = rng.choice(("train", "test"))
        for _ in range(MOST_TRIES):
            source = rng.choice(_sources())
            problem = source.problem(rng.randrange(2**32), rng.randint(1, len(source.levels)), split)
            transcript = source.trace(problem, rng.choice(EFFORTS), rng)
            thinking = "\n\n".join(item.text for item in transcript if isinstance(item, Thinking))
            result = tellable(thinking, _result(transcript, thinking))
            if result and least <= len(units(thinking)) <= most:
                # Thinking about test problems is in the test problems here too.
                key = marked(self.name, f"{problem.family}: {problem.key}", problem.split)
                return Draft(
                    summary_conversation(thinking, detail),
                    Gold(thinking, source.name, result, named_detail),
                    key,
                    summary_shape(thinking, detail),
                    thinks=False,
                )
        raise TaskError(f"No family thinks between {least} and {most} words and marks.", "Change the levels.")

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: Gold = problem.gold
        sentences = DETAILS[gold.detail].sentences
        return (Message.of("assistant", write_summary(gold.source, gold.thinking, gold.result, sentences, rng)),)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        """A summary of this thinking that tells its result in no more sentences than were asked for."""
        gold: Gold = problem.gold
        verdict = judge_summary(gold.thinking, answer)
        if verdict.correct and sentences_of(answer) > DETAILS[gold.detail].sentences[1]:
            return wrong("more sentences than were asked for")
        return judge_result(answer, gold.result) if verdict.correct else verdict


@cache
def _sources() -> list[Family]:
    """The families that ship: what else is installed does not change the problems."""
    own = f"{shipped.__name__}."
    return [
        family for family in families().values() if type(family).__module__.startswith(own) and family is not FAMILY
    ]


def _result(transcript: Transcript, thinking: str) -> tuple[str, ...]:
    """What the transcript came to, as far as the thinking names it: its answer, or the functions that it called."""
    said = [item.text for item in transcript if isinstance(item, Message)]
    known = set(terms(thinking))
    found: list[str] = []
    for part in _leaves(said[-1]) if said else [item.name for item in transcript if isinstance(item, ToolCall)]:
        whole = part.replace("_", " ").removesuffix(".")
        found += [whole] if _SAYABLE.fullmatch(whole) else named(part)
    tellable = [
        part for part in found if terms(part) and set(terms(part)) <= known and len(units(part)) <= LONGEST_RESULT
    ]
    return tuple(dict.fromkeys(tellable))[:3]


def _leaves(answer: str) -> list[str]:
    """The texts and numbers of a JSON document; an answer that is none is one text."""
    value = read_json(answer)
    if not isinstance(value, dict):
        return [answer]
    found: list[str] = []
    waiting: list[Any] = [value]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, dict | list):
            waiting = [*(part.values() if isinstance(part, dict) else part), *waiting]
        elif not isinstance(part, bool):
            found.append(str(part))
    return found


FAMILY = Summaries()
