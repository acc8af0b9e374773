"""Probes: does a family's verifier reward what is no answer? Asked before a run learns to give just that."""

from typing import Final

from forethought.model.conversation import Message, Thinking
from forethought.tasks.family import Family
from forethought.tasks.judging import judge
from forethought.tasks.problem import Transcript
from forethought.train.seeds import seed_of

EMPTY: Final[tuple[Transcript, ...]] = (
    (),
    (Thinking("Let me see."),),
    (Message.of("assistant", ""),),
    (Message.of("assistant", " \n\t"),),
    (Thinking("Let me see."), Message.of("assistant", "")),
)
"""Attempts without an answer: right for no problem."""

JUNK: Final = ("x", "?", "the answer", "\\boxed{}", "a" * 5000)
"""Answers that can be right for a problem by chance, but not for most."""


def hole(family: Family, level: int, problems: int, place: tuple[object, ...]) -> str | None:
    """What the verifier accepts and should not, in one sentence; None when nothing of the kind is found."""
    drawn = [family.problem(seed_of(*place, family.name, level, number), level) for number in range(problems)]
    where = f"The verifier of {family.name}, level {level},"
    for transcript in EMPTY:
        if any(judge(family, problem, transcript).correct for problem in drawn):
            return f"{where} accepts an attempt without an answer."
    for text in JUNK:
        transcript = (Message.of("assistant", text),)
        accepted = sum(judge(family, problem, transcript).correct for problem in drawn)
        if 2 * accepted > len(drawn):
            return f"{where} accepts {text[:20]!r} for {accepted} of {len(drawn)} problems."
    return None
