"""Proves what can be proved about a family without a model. What it finds wrong, it says with the seed that shows it.

For each level, on problems of both splits:

- **gold**: the trace of every effort (the solution of a family that has none) is accepted, thinks if the problem is to
  be thought about, and its tool results are those that `respond` gives.
- **empty**, **perturbed**, **padded**, **doubled**, **long**: none of these changes of a right output is accepted
  (`wrong_attempts`; a changed letter is pardoned where the wording is free); nor, but for one time in twenty (two
  summaries may fit), is **another** problem's answer.
  **raises**: nor does any of them make the verifier raise or hang, and nothing else of the family raises either.
- **reproducible**: a seed makes the same problem and the same trace again, in this process.
- **split**: no question text and no key stands in both splits, at any level; **key**: the same text never has two keys.
  (That problems with the same work have the same key, however they are worded, is up to the family.)
- **leak**: no cheap look at the question gives the answer. The answer may well stand in the question (a table that is
  looked up, a word that is sorted), but it may not stand there as a hint: what follows the last "=", ":" or "answer",
  the first or last word or line, or the last quotation, must not be right more often than every other time.
  **constant**: nor may one and the same answer be right three times out of four.
- **levels**: there are three or more where there are worked solutions, and none has less to read and to write than the
  first, in question and worked solution together: a stand-in for being harder, which is measured with a model.
  **efforts**: more effort thinks longer.
- **scarce**: there are as many different test problems as were asked for.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import mean
from typing import Any, Final, Literal

from forethought.errors import TaskError
from forethought.model.conversation import Effort, Message, Thinking, ToolCall, ToolResult
from forethought.reasoning.summary_words import units
from forethought.statistics import wilson
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.family import Family
from forethought.tasks.json_values import write_json
from forethought.tasks.judging import judge
from forethought.tasks.problem import Problem, Transcript, Verdict
from forethought.tasks.wrong_attempts import Kind, output_text, split_output, wrong_attempts

Check = Literal[
    Kind, "gold", "another", "raises", "reproducible", "split", "key", "leak", "constant", "levels", "efforts", "scarce"
]

EFFORTS: Final[tuple[Effort, ...]] = ("low", "medium", "high")
PROBLEMS: Final = 120
"""Different problems of each level and split that are looked at."""
CLOSELY: Final = 10
"""Of these, so many have every wrong attempt tried on them: problems of a level are alike."""
HINTS: Final = 0.5
CONSTANT: Final = 0.75
CHANCE: Final = 0.05
"""The shares that are spoken of above."""
LESS: Final = 0.9
"""A level that has less than this share of the work of the first is no harder one. (A sample's mean varies.)"""
SEEN: Final = ("conversation", "key", "output_format", "thinks")
"""Of a problem; its gold may be anything."""
QUOTED: Final = 60
"""Characters of an answer that are told."""

_CUES: Final = (
    re.compile(r".*=\s*(.+?)[.?!]?\s*", re.DOTALL),
    re.compile(r".*:\s*(.+?)[.?!]?\s*", re.DOTALL),
    re.compile(
        r".*\b(?:answer|solution|result|hint|gold)\b\W*(?:is|are)?\W*(.+?)[.?!)]*\s*", re.DOTALL | re.IGNORECASE
    ),
    re.compile(r".*[\"“‘'`](.+?)[\"”’'`][^\"”’'`]*", re.DOTALL),
    re.compile(r".*\((.+?)\)[^)]*", re.DOTALL),
    re.compile(r"(?:.*\n)?(.+?)\s*", re.DOTALL),
    re.compile(r"\s*(.+?)\n.*", re.DOTALL),
    re.compile(r".*?(\S+?)[.?!)]*\s*", re.DOTALL),
    re.compile(r"\s*(\S+?)[,:]?\s.*", re.DOTALL),
)
"""Where a hint would stand."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a family: first seen at `seed`, `times` in all. `level` is 0 where it is about several."""

    family: str
    level: int
    check: Check
    seed: int
    message: str
    times: int = 1


def validate(family: Family, *, problems: int = PROBLEMS, closely: int = CLOSELY) -> list[Finding]:
    """All that is wrong with a family; nothing, if all is well. The same family gives the same findings."""
    return _Validation(family, problems, closely).run()


class _Validation:
    def __init__(self, family: Family, problems: int, closely: int) -> None:
        self._family = family
        self._problems = problems
        self._closely = closely
        self._found: dict[tuple[int, Check], Finding] = {}

    def run(self) -> list[Finding]:
        drawn: dict[int, dict[str, list[Problem]]] = {}
        for level in range(1, len(self._family.levels) + 1):
            try:
                drawn[level] = {
                    split: distinct_problems(self._family, level, split, self._problems) for split in ("train", "test")
                }
            except TaskError as error:
                self._find(level, "scarce", 0, error.message)
                continue
            except Exception as error:  # noqa: BLE001 (the family's failure is what is looked for)
                self._find(level, "raises", 0, f"{error!r} where problems are drawn")
                continue
            self._sound(level, drawn[level])
        if len(self._family.levels) < 3 and self._family.has_traces:
            self._find(0, "levels", 0, f"has {len(self._family.levels)} levels, and needs 3")
        self._splits([problem for level in drawn.values() for split in level.values() for problem in split])
        if not any(finding.check == "raises" for finding in self._found.values()):
            self._lengths({level: [*of["train"], *of["test"]] for level, of in drawn.items()})
        return [self._found[place] for place in sorted(self._found)]

    def _sound(self, level: int, drawn: dict[str, list[Problem]]) -> None:
        """Looks at a level, as far as its worked solutions can be had."""
        for problem in (*drawn["train"], *drawn["test"]):
            try:
                for effort in EFFORTS:
                    self._trace(problem, effort)
            except Exception as error:  # noqa: BLE001 (as above)
                self._find(level, "raises", problem.seed, f"{error!r} in its worked solution")
        if (level, "raises") not in self._found:
            self._level(level, drawn["train"], drawn["test"])

    def _find(self, level: int, check: Check, seed: int, message: str) -> None:
        """Keeps the first of each kind, and counts the others."""
        before = self._found.get((level, check))
        first = Finding(self._family.name, level, check, seed, message) if before is None else before
        times = 1 if before is None else before.times + 1
        self._found[level, check] = Finding(first.family, level, check, first.seed, first.message, times)

    def _level(self, level: int, train: list[Problem], test: list[Problem]) -> None:
        if len(test) < self._problems:
            self._find(level, "scarce", 0, f"has {len(test)} different test problems, not {self._problems}")
        for problem in (*train, *test):
            self._gold(problem)
        for problem in (*train[: self._closely // 2], *test[: -(-self._closely // 2)]):
            self._again(problem)
            self._rejects(problem)
        self._others(test)
        self._guesses(level, [*train, *test])

    def _verdict(self, problem: Problem, attempt: Transcript, what: str) -> Verdict | None:
        """The verdict; None, and a finding, where there is none."""
        try:
            verdict = judge(self._family, problem, attempt)
        except Exception as error:  # noqa: BLE001 (a verifier's failure is what is looked for)
            self._find(problem.level, "raises", problem.seed, f"{type(error).__name__} on {what}")
            return None
        if verdict.reason.startswith("no verdict within"):
            self._find(problem.level, "raises", problem.seed, f"{verdict.reason} on {what}")
        return verdict

    def _trace(self, problem: Problem, effort: Effort) -> Transcript:
        """The worked solution; the solution alone where there is no such thing."""
        if not self._family.has_traces:
            return self._family.solution(problem)
        return self._family.trace(problem, effort, Random(f"{problem.seed}/{effort}"))

    def _gold(self, problem: Problem) -> None:
        for effort in EFFORTS:
            trace = self._trace(problem, effort)
            verdict = self._verdict(problem, trace, f"the {effort} trace")
            if verdict is not None and not verdict.correct:
                self._find(problem.level, "gold", problem.seed, f"rejects the {effort} trace: {verdict.reason}")
            thoughts = [item.text.strip() for item in trace if isinstance(item, Thinking)]
            if not (thoughts and all(thoughts) if problem.thinks and self._family.has_traces else not thoughts):
                self._find(problem.level, "gold", problem.seed, f"the {effort} trace does not think as it should")
            self._results(problem, effort, trace)

    def _results(self, problem: Problem, effort: Effort, trace: Transcript) -> None:
        """Replays the tools."""
        for place, item in enumerate(trace):
            goes_on = place + 1 < len(trace)
            if not isinstance(item, ToolCall | ToolResult | Message):
                continue
            if goes_on and isinstance(item, ToolCall) and isinstance(trace[place + 1], ToolCall):
                continue
            try:
                told = () if isinstance(item, ToolResult) else self._family.respond(problem, trace[: place + 1])
            except Exception as error:  # noqa: BLE001 (as above)
                self._find(problem.level, "raises", problem.seed, f"{error!r} in its tools")
                return
            shown = trace[place + 1 : place + 1 + len(told)]
            if told != shown or (not told and isinstance(item, ToolCall) and goes_on):
                self._find(problem.level, "gold", problem.seed, f"the tools of the {effort} trace say something else")

    def _again(self, problem: Problem) -> None:
        again = self._family.problem(problem.seed, problem.level, problem.split)
        same = all(getattr(again, name) == getattr(problem, name) for name in SEEN)
        if not same or any(self._trace(again, effort) != self._trace(problem, effort) for effort in EFFORTS):
            self._find(problem.level, "reproducible", problem.seed, "the seed makes something else the second time")

    def _rejects(self, problem: Problem) -> None:
        for kind, attempt in wrong_attempts(self._trace(problem, "low"), Random(problem.seed)):
            told = _told(attempt)
            verdict = self._verdict(problem, attempt, told)
            pardoned = kind == "perturbed" and self._family.free_wording
            if verdict is not None and verdict.correct and not pardoned:
                self._find(problem.level, kind, problem.seed, f"accepts {told}")

    def _others(self, problems: Sequence[Problem]) -> None:
        accepted: list[tuple[Problem, Transcript]] = []
        for problem, other in pairwise(problems):
            before, said = split_output(self._trace(problem, "low"))
            _, instead = split_output(self._trace(other, "low"))
            if _said(said) != _said(instead):
                verdict = self._verdict(problem, (*before, *instead), "another problem's answer")
                accepted += [(problem, instead)] if verdict is not None and verdict.correct else []
        if len(accepted) > CHANCE * len(problems):
            for problem, instead in accepted:
                told = _told(instead)
                self._find(problem.level, "another", problem.seed, f"accepts another problem's answer: {told}")

    def _guesses(self, level: int, problems: Sequence[Problem]) -> None:
        answers = [output_text(self._trace(problem, "low")) for problem in problems]
        questions = [_question(problem) for problem in problems]
        for cue in _CUES:
            hints = [found.group(1) if (found := cue.fullmatch(question)) else "" for question in questions]
            if self._share(problems, hints) > HINTS:
                seed = problems[0].seed
                self._find(level, "leak", seed, f"a hint gives the answer away: {_shortened(hints[0])}")
                break
        [(commonest, _)] = Counter(answers).most_common(1)
        if commonest and self._share(problems, [commonest] * len(problems)) > CONSTANT:
            self._find(level, "constant", problems[0].seed, f"{_shortened(commonest)} is nearly always right")

    def _share(self, problems: Sequence[Problem], guesses: Sequence[str]) -> float:
        """How often such guesses are right at least."""
        right = 0
        for problem, guess in zip(problems, guesses, strict=True):
            before, said = split_output(self._trace(problem, "low"))
            if guess and any(isinstance(item, Message) for item in said):
                verdict = self._verdict(problem, (*before, Message.of("assistant", guess)), "a guess")
                right += verdict is not None and verdict.correct
        return wilson(right, len(problems)).low

    def _splits(self, problems: Sequence[Problem]) -> None:
        seen: dict[str, Problem] = {}
        for problem in problems:
            other = seen.setdefault(_asked(problem), problem)
            if other.key != problem.key:
                self._find(problem.level, "key", problem.seed, f"two keys for {_shortened(_question(problem))}")
            if other.split != problem.split:
                self._find(problem.level, "split", problem.seed, f"in both splits: {_shortened(_question(problem))}")
        keys: dict[str, Problem] = {}
        for problem in problems:
            if keys.setdefault(problem.key, problem).split != problem.split:
                self._find(problem.level, "split", problem.seed, f"in both splits: the key {_shortened(problem.key)}")

    def _lengths(self, levels: dict[int, list[Problem]]) -> None:
        work = {level: mean(map(self._work, problems)) for level, problems in levels.items()}
        for level in levels:
            if work[level] < LESS * work[min(levels)]:
                message = f"question and solution have {work[level]:.0f} words and marks, those of level {min(levels)}"
                self._find(level, "levels", 0, f"{message} {work[min(levels)]:.0f}")
        for level, problems in levels.items():
            low, medium, high = (mean(_thought(self._trace(one, effort)) for one in problems) for effort in EFFORTS)
            if problems[0].thinks and self._family.has_traces and not low < medium < high:
                message = f"low, medium and high effort think {low:.0f}, {medium:.0f} and {high:.0f} characters"
                self._find(level, "efforts", 0, message)

    def _work(self, problem: Problem) -> int:
        """Words, digits and marks to be read and written."""
        trace = self._trace(problem, "medium")
        thought = [item.text for item in trace if isinstance(item, Thinking)]
        return sum(len(units(text)) for text in (_asked(problem), *thought, *map(str, _said(trace))))


def _question(problem: Problem) -> str:
    """What is asked, as a person reads it."""
    return "\n".join(item.text for item in problem.conversation.items if isinstance(item, Message))


def _asked(problem: Problem) -> str:
    """What is asked, and which tools are on offer for it."""
    tools = [(tool.name, tool.description, tool.parameters) for tool in problem.conversation.tools]
    return f"{_question(problem)}\n{write_json(tools)}"


def _said(output: Transcript) -> list[Any]:
    """What an output says, without the ids of its calls."""
    return [
        (item.name, item.arguments) if isinstance(item, ToolCall) else item.text
        for item in output
        if not isinstance(item, Thinking)
    ]


def _thought(transcript: Transcript) -> int:
    return sum(len(item.text) for item in transcript if isinstance(item, Thinking))


def _told(attempt: Transcript) -> str:
    """An attempt in a few words."""
    said = [item for item in split_output(attempt)[1] if not isinstance(item, Thinking)]
    parts = [f"{item.name}({item.arguments})" if isinstance(item, ToolCall) else repr(item.text) for item in said]
    return _shortened(" and ".join(parts)) if parts else "an attempt without any output"


def _shortened(text: str) -> str:
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}… ({len(text)} characters)"
