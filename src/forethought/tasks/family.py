"""What a family is: problems out of seeds, program-written traces, a strict verifier.

A family is one file and holds no state. Most ask a question that has one short answer: those are
`TextFamily`. Third parties add theirs under the entry point group `forethought.families`.
"""

from abc import ABC, abstractmethod
from random import Random
from typing import ClassVar, Final

from forethought.errors import TaskError
from forethought.model.conversation import Conversation, Effort, Message, Thinking, ToolCall, ToolResult
from forethought.tasks.problem import CORRECT, Draft, Problem, Split, Transcript, Verdict, split_of, wrong

MOST_DRAWS: Final = 1000
"""Draws until one falls into the split that was asked for. One in five does; a family where none does is too small."""

MOST_CHARACTERS: Final = 400
"""A longer answer is wrong unread, unless the family says otherwise."""

SECOND_LOOK: Final = "\nAgain\n"
"""Where thinking begins anew, at high effort. What is behind it does not build on what is in front of it, which may be
wrong: training that judges token by token (`train/credit.py`) goes on behind it."""


class Family(ABC):
    """A kind of task."""

    name: ClassVar[str]
    """Small letters and digits, with ".", "-" and "_" between them."""
    description: ClassVar[str]
    """What the model has to do, in one sentence."""
    levels: ClassVar[tuple[str, ...]]
    """What each level asks, from the easiest: level 1 is the first. At least three."""
    free_wording: ClassVar[bool] = False
    """Whether answers are in the model's own words, so that a slip of the pen need not make one wrong."""
    has_traces: ClassVar[bool] = True
    """Whether there are worked solutions. False: `work` raises a `TaskError`, and the family has a `solution` of its
    own."""

    @abstractmethod
    def draw(self, rng: Random, level: int) -> Draft:
        """A problem of this level. The same `rng` draws the same."""

    @abstractmethod
    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        """The right answer, and thinking that a small model can follow to it step by step: at "low" effort briefly, at
        "medium" with every step spelled out, and each in several styles. "high" is never asked for (`trace`)."""

    @abstractmethod
    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        """Judges an attempt. Thinking is not looked at. Never raises for anything a model can write."""

    def trace(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        """A worked solution. At "high" effort everything is worked out twice (`SECOND_LOOK`)."""
        if effort != "high":
            return self.work(problem, effort, rng)
        return tuple(
            Thinking(f"{item.text}{SECOND_LOOK}{item.text}") if isinstance(item, Thinking) and item.text else item
            for item in self.work(problem, "medium", rng)
        )

    def solution(self, problem: Problem) -> Transcript:
        """The right output, without thinking."""
        trace = self.trace(problem, "low", Random(problem.seed))
        return tuple(item for item in trace if not isinstance(item, Thinking))

    def respond(self, problem: Problem, transcript: Transcript) -> tuple[ToolResult, ...]:
        """The results of the calls at the end of an unfinished transcript; none when the attempt is over."""
        return ()

    def problem(self, seed: int, level: int, split: Split = "train") -> Problem:
        """The problem of a seed. Raises `TaskError` for a level that does not exist."""
        if not 1 <= level <= len(self.levels):
            raise TaskError(f"{self.name} has no level {level}.", f"Its levels are 1 to {len(self.levels)}.")
        rng = Random(f"{self.name}/{level}/{split}/{seed}")
        for _ in range(MOST_DRAWS):
            draft = self.draw(rng, level)
            if split_of(self.name, draft.key) == split:
                return Problem(
                    self.name,
                    level,
                    split,
                    seed,
                    draft.conversation,
                    draft.gold,
                    draft.key,
                    draft.output_format,
                    draft.thinks,
                )
        raise TaskError(f"{self.name} level {level} has no {split} problem in {MOST_DRAWS} draws.", "Widen its range.")


class TextFamily(Family):
    """A family whose problems are a question of the user, and whose answer is one short text."""

    most_characters: ClassVar[int] = MOST_CHARACTERS
    """Of an answer that is read at all."""

    @abstractmethod
    def accepts(self, problem: Problem, answer: str) -> Verdict:
        """Judges an answer without white space around it; not empty, and not long."""

    def ask(self, question: str, gold: object, key: str | None = None) -> Draft:
        """A draft of one question."""
        return Draft(Conversation((Message.of("user", question),)), gold, question if key is None else key)

    def answer(self, thinking: str, answer: object) -> Transcript:
        """A transcript of thinking and an answer."""
        return Thinking(thinking), Message.of("assistant", str(answer))

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        """Exactly one message, and nothing but the answer in it."""
        text = only_message(transcript, self.most_characters)
        if isinstance(text, Verdict):
            return text
        return self.accepts(problem, text)


def only_message(transcript: Transcript, most_characters: int = MOST_CHARACTERS) -> str | Verdict:
    """The text of the one message of an attempt without calls; a verdict when there is no such thing."""
    if any(isinstance(item, ToolCall | ToolResult) for item in transcript):
        return wrong("called a tool")
    messages = [item.text.strip() for item in transcript if isinstance(item, Message)]
    if len(messages) != 1 or not messages[0]:
        return wrong("no answer")
    if len(messages[0]) > most_characters:
        return wrong("too long")
    return messages[0]


def same_text(answer: str, gold: str) -> Verdict:
    """Whether the answer is this text, letter for letter."""
    return CORRECT if answer == gold else wrong(f"not {gold}")
