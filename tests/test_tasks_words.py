"""The families of words, time and logic: their traces are right, their verifiers strict, their problems unambiguous."""

import re
from functools import cache
from itertools import permutations
from random import Random
from statistics import mean
from typing import Any

import pytest

from arithmetic_statements import is_true, statements
from forethought.model.conversation import Effort, Message, Thinking
from forethought.tasks.distinct import distinct_problems
from forethought.tasks.pools import pool
from forethought.tasks.problem import Problem, Split, Transcript
from forethought.tasks.registry import family
from forethought.tasks.spelling import LONGEST, SHORTEST, spelled, words
from forethought.tasks.written import divided
from word_tasks_oracle import ORACLES

SEEDS = 120
MANY_SEEDS = 1500
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
CELLS = [pytest.param(name, level, id=f"{name}-{level}") for name in ORACLES for level in (1, 2, 3)]


@cache
def problems(name: str, level: int) -> list[Problem]:
    return [family(name).problem(seed, level) for seed in range(SEEDS)]


def question(problem: Problem) -> str:
    (item,) = problem.conversation.items
    assert isinstance(item, Message)
    return item.text


def parts(transcript: Transcript) -> tuple[str, str]:
    """The thinking and the answer of a trace, which has nothing else."""
    thinking, answer = transcript
    assert isinstance(thinking, Thinking)
    assert isinstance(answer, Message)
    return thinking.text, answer.text


def solved(problem: Problem) -> str:
    return parts(family(problem.family).trace(problem, "low", Random(0)))[1]


def perturbed(answer: str) -> list[str]:
    """Answers near the right one."""
    near = [
        answer[1:],
        answer[:-1],
        answer + answer[-1],
        answer.swapcase() + "!",
        f"0{answer}",
        f"+{answer}",
        f"-{answer}",
    ]
    if answer.isdigit():
        near += [str(int(answer) + 1), str(int(answer) - 1), f"{answer}.0", f"{answer} days", f"{answer},"]
    if ", " in answer:
        near += [", ".join(reversed(answer.split(", "))), answer.replace(", ", " "), answer.rpartition(", ")[0]]
    return near


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_every_trace_ends_in_the_answer_that_is_accepted(name: str, level: int) -> None:
    for problem in problems(name, level):
        for effort in EFFORTS:
            transcript = family(name).trace(problem, effort, Random(problem.seed))
            assert family(name).verify(problem, transcript).correct
            thinking, answer = parts(transcript)
            assert thinking == thinking.strip()
            assert answer in thinking or answer in thinking.replace(" ", "")


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_the_question_has_exactly_one_answer_and_the_trace_gives_it(name: str, level: int) -> None:
    for problem in problems(name, level):
        assert list(ORACLES[name](question(problem))) == [solved(problem)], question(problem)


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_nothing_but_the_answer_is_accepted(name: str, level: int) -> None:
    for problem in problems(name, level):
        answer = solved(problem)
        padded = [f"The answer is {answer}", f"{answer}.", f'"{answer}"', f"{answer} because", f"**{answer}**"]
        doubled = [f"{answer} {answer}", f"{answer}\n{answer}", f"{answer}, {answer}", answer + answer]
        for wrong in ["", " ", "\n", *padded, *doubled, *perturbed(answer), f"{answer} " * 500, "7" * 5000]:
            assert not family(name).verify(problem, (Message.of("assistant", wrong),)).correct, wrong
        assert not family(name).verify(problem, ()).correct
        assert not family(name).verify(problem, (Thinking(answer),)).correct
        assert not family(name).verify(problem, (Message.of("assistant", answer),) * 2).correct


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_more_effort_thinks_longer(name: str, level: int) -> None:
    def length(effort: Effort) -> float:
        traces = (family(name).trace(problem, effort, Random(problem.seed)) for problem in problems(name, level))
        return mean(len(parts(trace)[0]) for trace in traces)

    assert 1.25 * length("low") < length("medium") < length("high") / 1.15


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_a_trace_has_several_styles(name: str, level: int) -> None:
    problem = problems(name, level)[0]
    for effort in EFFORTS:
        told = {parts(family(name).trace(problem, effort, Random(seed)))[0] for seed in range(30)}
        assert len(told) > 1, effort


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_a_seed_makes_the_same_problem_and_trace_again(name: str, level: int) -> None:
    for problem in problems(name, level)[:20]:
        again = family(name).problem(problem.seed, level)
        assert again == problem
        assert family(name).trace(again, "high", Random(3)) == family(name).trace(problem, "high", Random(3))


@pytest.mark.parametrize(("name", "level"), CELLS)
def test_there_are_many_problems_and_training_shares_none_with_the_test(name: str, level: int) -> None:
    train = {family(name).problem(seed, level).key for seed in range(MANY_SEEDS)}
    test = {family(name).problem(seed, level, "test").key for seed in range(MANY_SEEDS // 2)}
    assert len(train) >= 500
    assert len(test) >= 150
    assert train.isdisjoint(test)


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("name", ["letter_count", "sort_words", "spell_backward"])
def test_the_words_of_the_test_are_not_those_of_training(name: str, level: int) -> None:
    def used(split: Split) -> set[str]:
        drawn = [family(name).problem(seed, level, split) for seed in range(200)]
        return {word for problem in drawn for word in re.findall(r"[a-z]+", problem.key.rpartition("/")[2])}

    assert used("train") <= set(pool(words(), "train"))
    assert used("test") <= set(pool(words(), "test"))


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("name", ["letter_count", "sort_words", "spell_backward"])
def test_there_are_hundreds_of_test_problems_though_their_words_are_few(name: str, level: int) -> None:
    assert len(distinct_problems(family(name), level, "test", 300)) == 300


@pytest.mark.parametrize("level", [2, 3])
def test_three_people_who_speak_in_another_order_are_in_the_same_split(level: int) -> None:
    def written(sayings: list[list[Any]], order: tuple[int, ...]) -> str:
        spoken = [sayings[speaker] for speaker in order]
        return str([[what, *sorted(order.index(who) for who in of)] for what, *of in spoken])

    def spoken(split: Split) -> set[str]:
        found = distinct_problems(family("knights_knaves"), level, split, 300)
        orders = list(permutations(range(3)))
        return {written(problem.gold["sayings"], order) for problem in found for order in orders}

    assert not spoken("train") & spoken("test")


def test_a_list_needs_no_space_behind_its_commas() -> None:
    for name, level in (("spell_backward", 2), ("sort_words", 1), ("sort_numbers", 1)):
        for problem in problems(name, level):
            answer = solved(problem).replace(", ", ",")
            assert family(name).verify(problem, (Message.of("assistant", answer),)).correct


@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("name", ["calendar", "clock", "word_problems"])
def test_sums_are_true_and_those_that_carry_are_written_in_columns(name: str, level: int) -> None:
    for problem in problems(name, level):
        for effort in EFFORTS:
            for statement in statements(parts(family(name).trace(problem, effort, Random(problem.seed)))[0]):
                assert is_true(statement), statement
                if found := re.fullmatch(r"(\d\d+)([+-])(\d\d)=(\d\d+)", statement):
                    a, b, result = int(found[1]), int(found[3]), int(found[4])
                    low, high = (a, b) if found[2] == "+" else (b, result)
                    # A round number changes the tens alone.
                    assert b % 10 == 0 or low % 10 + high % 10 < 10, statement


@pytest.mark.parametrize(("a", "b", "told"), [(8, 2, "8/2=4"), (60, 6, "60/6=10"), (60, 3, "20*3=60, 60/3=20")])
def test_a_division_of_the_table_is_one_step(a: int, b: int, told: str) -> None:
    assert divided(a, b) == told


def test_a_longer_division_takes_the_tens_first() -> None:
    assert divided(84, 3) == "84/3: 20*3=60, 84-60=24, 24/3=8, 28"


def test_no_sorted_list_is_asked_to_be_sorted() -> None:
    for name in ("sort_numbers", "sort_words"):
        for level in (1, 2, 3):
            assert not any(solved(problem) in question(problem) for problem in problems(name, level))


def test_words_are_plain_and_none_stands_twice() -> None:
    listed = words()
    assert len(listed) == len(set(listed)) > 2500
    assert all(word.isascii() and word.isalpha() and word.islower() for word in listed)
    assert all(SHORTEST <= len(word) <= LONGEST and word != word[::-1] for word in listed)
    assert spelled("cat") == "c a t"
