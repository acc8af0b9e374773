"""Verifiers with holes are found before a run can learn to use them."""

import signal
from random import Random

import pytest

from forethought.model.conversation import Conversation, Effort, Message
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.judging import judge
from forethought.tasks.problem import CORRECT, Draft, Problem, Transcript, Verdict
from forethought.tasks.registry import families
from forethought.train.probes import hole


class Echo(TextFamily):
    """A family that a test spoils."""

    name = "echo"
    description = "Say the number."
    levels = ("one", "two", "three")

    def draw(self, rng: Random, level: int) -> Draft:
        number = rng.randint(10, 10**9)
        return Draft(Conversation((Message.of("user", f"Say {number}."),)), str(number), str(number))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        return self.answer("It is there.", problem.gold)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, problem.gold)


class AcceptsNothing(Echo):
    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        said = [item.text for item in transcript if isinstance(item, Message)]
        return CORRECT if not said or said == [""] else super().verify(problem, transcript)


class AcceptsAnything(Echo):
    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return CORRECT


class Hangs(Echo):
    def accepts(self, problem: Problem, answer: str) -> Verdict:
        while True:
            pass


@pytest.mark.parametrize("name", sorted(families()))
def test_no_family_of_ours_has_a_hole(name: str):
    known = families()[name]
    assert all(hole(known, level, 8, (1,)) is None for level in range(1, len(known.levels) + 1))


def test_a_verifier_that_accepts_an_empty_answer_is_found():
    said = hole(AcceptsNothing(), 2, 4, (1,))
    assert said == "The verifier of echo, level 2, accepts an attempt without an answer."


def test_a_verifier_that_accepts_anything_is_found():
    assert hole(AcceptsAnything(), 1, 4, (1,)) == "The verifier of echo, level 1, accepts 'x' for 4 of 4 problems."


def test_a_verifier_that_hangs_costs_one_verdict():
    problem = Hangs().problem(1, 1)
    verdict = judge(Hangs(), problem, (Message.of("assistant", "1"),), seconds=0.05)
    assert verdict == Verdict(False, "no verdict within 0.05 s")


def test_a_timer_that_runs_already_goes_on():
    before = signal.setitimer(signal.ITIMER_REAL, 200.0)
    judge(Echo(), Echo().problem(1, 1), ())
    left, _ = signal.setitimer(signal.ITIMER_REAL, *before)
    assert 190 < left <= 200


def test_a_verdict_in_time_is_the_verifiers_own():
    problem = Echo().problem(1, 1)
    assert judge(Echo(), problem, (Message.of("assistant", problem.gold),)) == CORRECT
