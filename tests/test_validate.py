"""What `validate` proves about a family: nothing against a sound one, and every planted fault is found."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any, ClassVar

import pytest

from attempt_scene import Lookup
from forethought.model.conversation import (
    Conversation,
    Effort,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from forethought.tasks.family import Family, TextFamily, same_text
from forethought.tasks.problem import CORRECT, Draft, Problem, Transcript, Verdict, wrong
from forethought.tasks.registry import families
from forethought.tasks.validate import Check, Finding, validate
from forethought.tasks.wrong_attempts import wrong_attempts

Accepts = Callable[[str, str], bool]


class Doubling(TextFamily):
    """A sound family. The planted faults change one thing each."""

    name = "doubling"
    description = "Double a number."
    levels: ClassVar[tuple[str, ...]] = ("three digits", "four digits", "five digits")

    def draw(self, rng: Random, level: int) -> Draft:
        number = rng.randint(10 ** (level + 1), 10 ** (level + 2) - 1)
        return self.ask(f"Double the number {number} for me.", number * 2, str(number))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        steps = {"low": 1, "medium": 2, "high": 3}[effort]
        return self.answer(" ".join([f"Twice is {problem.gold}."] * steps), problem.gold)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, str(problem.gold))


class Calling(Family):
    """A sound family of calls, judged by `accepts`."""

    name = "calling"
    description = "Ask for the weather."
    levels = ("one city", "two cities", "three cities")

    def draw(self, rng: Random, level: int) -> Draft:
        cities = [f"City{rng.randint(1000, 9999)}" for _ in range(level)]
        tools = (ToolDefinition("weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}}),)
        question = Message.of("user", f"How is the weather in {' and '.join(cities)}?")
        return Draft(Conversation((question,), tools), cities, " ".join(cities))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        thinking = Thinking("I ask. " * {"low": 1, "medium": 2, "high": 3}[effort])
        calls = (ToolCall(f"call_{city}", "weather", json.dumps({"city": city})) for city in problem.gold)
        return thinking, *calls

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        said = [item for item in transcript if not isinstance(item, Thinking)]
        return CORRECT if self.accepts(problem.gold, said) else wrong("other calls")

    def accepts(self, cities: list[str], said: list[Any]) -> bool:
        if not all(isinstance(item, ToolCall) and item.name == "weather" and not item.custom for item in said):
            return False
        return [self.read(item.arguments) for item in said] == [{"city": city} for city in cities]

    @staticmethod
    def read(arguments: str) -> Any:
        try:
            return json.loads(arguments)
        except (ValueError, RecursionError):
            return None


def found(family: Family, **options: int) -> dict[Check, Finding]:
    told = {"problems": 30, "closely": 4} | options
    return {finding.check: finding for finding in validate(family, **told)}


def accepting(accepts: Accepts) -> Family:
    """A family whose verifier is this: the answer, and the right one."""

    class Lenient(Doubling):
        def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
            said = "".join(item.text for item in transcript if isinstance(item, Message))
            return CORRECT if accepts(said, str(problem.gold)) else wrong("other")

    return Lenient()


@pytest.mark.parametrize("family", families().values(), ids=families())
def test_a_family_that_ships_has_no_fault(family: Family) -> None:
    assert validate(family, problems=20, closely=4) == []


@pytest.mark.parametrize("family", [Doubling(), Calling(), Lookup()], ids=lambda family: family.name)
def test_a_sound_family_has_no_fault(family: Family) -> None:
    assert validate(family, problems=30, closely=4) == []


def test_a_family_that_raises_is_told_with_its_seed() -> None:
    class Failing(Doubling):
        def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
            if problem.level == 2 and problem.gold % 5 == 0:
                raise KeyError("a city")
            return super().work(problem, effort, rng)

    class Drawing(Doubling):
        def draw(self, rng: Random, level: int) -> Draft:
            if level == 3:
                raise ZeroDivisionError
            return super().draw(rng, level)

    class Answering(Lookup):
        def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
            return Lookup().work(problem, effort, rng)

        def respond(self, problem: Problem, transcript: Transcript) -> tuple[ToolResult, ...]:
            raise ValueError("no such tool")

    (failing,) = validate(Failing(), problems=30, closely=4)
    assert (failing.level, failing.check, failing.message) == (2, "raises", "KeyError('a city') in its worked solution")
    assert failing.times > 1
    drawing = found(Drawing())["raises"]
    assert (drawing.level, drawing.message) == (3, "ZeroDivisionError() where problems are drawn")
    assert "ValueError('no such tool') in its tools" in found(Answering())["raises"].message


def test_shipped_problems_do_not_depend_on_how_a_process_hashes() -> None:
    code = """
import hashlib
from random import Random
from forethought.tasks.registry import families
digest = hashlib.sha256()
for family in families().values():
    for level in range(1, len(family.levels) + 1):
        for seed in range(3):
            problem = family.problem(seed, level)
            trace = family.trace(problem, "medium", Random(seed))
            digest.update(repr((problem.conversation, problem.key, [getattr(i, "text", i) for i in trace])).encode())
print(digest.hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("check", "accepts"),
    [
        ("empty", lambda said, gold: said.strip() in ("", gold)),
        ("perturbed", lambda said, gold: said.isdecimal() and abs(int(said[:9]) - int(gold)) <= 9),
        ("perturbed", lambda said, gold: said[:9].lstrip("+0") == gold),
        ("perturbed", lambda said, gold: said[:99].isdecimal() and int(said[:99]) == int(gold)),
        ("padded", lambda said, gold: gold in said.split()),
        ("padded", lambda said, gold: said.strip('"*` \n') == gold),
        ("doubled", lambda said, gold: set(said.split()) == {gold}),
        ("long", lambda said, gold: said.startswith(gold)),
        ("another", lambda said, gold: said.isdecimal() and len(said) == len(gold)),
        ("raises", lambda said, gold: int(said) == int(gold)),
        ("gold", lambda said, gold: said == f"{gold}."),
    ],
)
def test_a_hole_in_a_verifier_of_texts_is_found(check: Check, accepts: Accepts) -> None:
    finding = found(accepting(accepts))[check]
    assert finding.times > 1
    assert finding.family == "doubling"


@pytest.mark.parametrize(
    ("check", "fault"),
    [
        ("empty", {"accepts": lambda self, cities, said: not said or Calling.accepts(self, cities, said)}),
        ("padded", {"accepts": lambda self, cities, said: Calling.accepts(self, cities, said[-len(cities) :])}),
        ("doubled", {"accepts": lambda self, cities, said: Calling.accepts(self, cities, said[: len(cities)])}),
        ("perturbed", {"accepts": lambda self, cities, said: len(said) == len(cities)}),
        ("perturbed", {"read": staticmethod(lambda text: {"city": str(Calling.read(text) or 0)[10:-2].strip("x")})}),
        ("raises", {"read": staticmethod(json.loads)}),
        ("another", {"accepts": lambda self, cities, said: len(said) == len(cities)}),
        ("gold", {"accepts": lambda self, cities, said: False}),
    ],
)
def test_a_hole_in_a_verifier_of_calls_is_found(check: Check, fault: dict[str, Any]) -> None:
    assert check in found(type("Faulty", (Calling,), fault)())


def test_a_verifier_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.tasks.judging.SECONDS", 0.01)
    monkeypatch.setattr("forethought.tasks.judging.judge.__defaults__", (0.01,))

    def slow(said: str, gold: str) -> bool:
        while len(said) > 10_000:
            pass
        return said == gold

    assert "no verdict within" in found(accepting(slow), problems=3, closely=1)["raises"].message


NUMBERS = count()
FAULTS: list[tuple[Check, dict[str, Any]]] = [
    ("reproducible", {"trace": lambda self, problem, effort, rng: self.answer(f"{next(NUMBERS)}", problem.gold)}),
    (
        "reproducible",
        {"draw": lambda self, rng, level: self.ask(f"Double {(n := 2000 + next(NUMBERS))}.", 2 * n, str(n))},
    ),
    # The wording is in the key, so the same question comes in both splits.
    (
        "split",
        {"draw": lambda self, rng, level: self.ask(f"Double {(n := rng.randint(1, 30))}.", 2 * n, str(rng.random()))},
    ),
    (
        "key",
        {"draw": lambda self, rng, level: self.ask(f"Double {(n := rng.randint(1, 30))}.", 2 * n, str(rng.random()))},
    ),
    (
        "leak",
        {"draw": lambda self, rng, level: self.ask(f"{(n := rng.randint(1, 9999))} * 2 = {2 * n}", 2 * n, str(n))},
    ),
    (
        "leak",
        {"draw": lambda self, rng, level: self.ask(f"Double {(n := rng.randint(1, 9999))}. (Hint: {2 * n}.)", 2 * n)},
    ),
    (
        "leak",
        {"draw": lambda self, rng, level: self.ask(f"{2 * (n := rng.randint(1, 9999))}\nHalf of it, twice?", 2 * n)},
    ),
    ("constant", {"draw": lambda self, rng, level: self.ask(f"Is {rng.randint(1, 9999)} a number?", 1)}),
    ("scarce", {"draw": lambda self, rng, level: self.ask(f"Double {(n := rng.randint(1, 9))}.", 2 * n)}),
    ("levels", {"levels": ("one", "two")}),
    (
        "levels",
        {"draw": lambda self, rng, level: self.ask("x " * (30 - 9 * level) + f"{(n := rng.randint(1, 9999))}", 2 * n)},
    ),
    ("efforts", {"trace": lambda self, problem, effort, rng: self.answer("Easy.", problem.gold)}),
    ("gold", {"trace": lambda self, problem, effort, rng: self.answer("", problem.gold)}),
    ("gold", {"trace": lambda self, problem, effort, rng: self.answer("So it is.", problem.gold + 1)}),
]


@pytest.mark.parametrize(("check", "fault"), FAULTS, ids=[f"{check}-{n}" for n, (check, _) in enumerate(FAULTS)])
def test_a_fault_of_the_problems_or_traces_is_found(check: Check, fault: dict[str, Any]) -> None:
    assert check in found(type("Faulty", (Doubling,), fault)())


def test_tools_that_say_something_else_than_the_trace_are_found() -> None:
    class Other(Lookup):
        def respond(self, problem: Problem, transcript: Transcript) -> Any:
            results = super().respond(problem, transcript)
            return tuple(type(one)(one.call_id, (Text("9"),)) for one in results) if len(transcript) > 1 else results

    assert "tools" in found(Other())["gold"].message


def test_a_fault_is_told_once_for_each_level_and_counted() -> None:
    every = validate(accepting(lambda said, gold: said.strip() in ("", gold)), problems=10, closely=2)
    findings = [one for one in every if one.check == "empty"]
    assert [one.level for one in findings] == [1, 2, 3]
    assert {one.times for one in findings} == {2 * 5}
    assert findings[0].message == "accepts an attempt without any output"


def test_the_same_family_gives_the_same_findings() -> None:
    family = accepting(lambda said, gold: gold in said)
    assert validate(family, problems=10, closely=2) == validate(family, problems=10, closely=2)


@pytest.mark.parametrize(
    "answer", ["7", "-12", "yes", "a b c", '{"a": [1, {"b": "x"}], "c": true}', "**T**\n\nOne is two."]
)
def test_no_wrong_attempt_is_the_right_one(answer: str) -> None:
    right: Transcript = (Thinking("So."), Message.of("assistant", answer))
    attempts = [attempt for _, attempt in wrong_attempts(right, Random(1))]
    assert right not in attempts
    assert {kind for kind, _ in wrong_attempts(right, Random(1))} == {"empty", "perturbed", "padded", "doubled", "long"}
    assert attempts == [attempt for _, attempt in wrong_attempts(right, Random(1))]
