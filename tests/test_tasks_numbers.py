"""The number families: right answers, true steps, strict verdicts, lengths by effort, enough problems."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import gcd, lcm, prod
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arithmetic_statements import is_true, statements, value_of
from forethought.model import base
from forethought.model.conversation import Effort, Message, Thinking, ToolCall
from forethought.model.tokenizer import Tokenizer
from forethought.settings import load_settings
from forethought.tasks.families import (
    base_conversion,
    bit_count,
    chain_sum,
    decimals,
    fractions,
    gcd_lcm,
    mixed_arithmetic,
    primes,
    products,
)
from forethought.tasks.family import MOST_CHARACTERS, TextFamily
from forethought.tasks.problem import Draft, Problem, Transcript, split_of

FAMILIES: tuple[TextFamily, ...] = tuple(
    module.FAMILY
    for module in (
        chain_sum,
        products,
        mixed_arithmetic,
        decimals,
        fractions,
        gcd_lcm,
        primes,
        base_conversion,
        bit_count,
    )
)
EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")
SEEDS = range(150)
LONGEST = {1: (50, 100, 203), 2: (60, 105, 213), 3: (90, 150, 303)}
"""Level: how many tokens thinking has at most in the mean, at each effort."""
LONGEST_OF_ALL = 500
TWO_QUESTIONS = ("gcd_lcm", "base_conversion")
"""Families whose keys say of which numbers, but not what."""

cells = pytest.mark.parametrize(
    ("family", "level"),
    [pytest.param(family, level, id=f"{family.name}-{level}") for family in FAMILIES for level in (1, 2, 3)],
)


@cache
def problems(family: TextFamily, level: int) -> tuple[Problem, ...]:
    return tuple(family.problem(seed, level) for seed in SEEDS)


@cache
def drafts(family: TextFamily, level: int) -> tuple[Draft, ...]:
    return tuple(family.draw(Random(seed), level) for seed in range(8000))


def question(problem: Problem | Draft) -> str:
    (item,) = problem.conversation.items
    assert isinstance(item, Message)
    return item.text


def thinking(transcript: Transcript) -> str:
    first, _ = transcript
    assert isinstance(first, Thinking)
    return first.text


def answer(transcript: Transcript) -> str:
    _, last = transcript
    assert isinstance(last, Message)
    return last.text


def said(text: str) -> Transcript:
    return Thinking("…"), Message.of("assistant", text)


# What the question asks, worked out from its text alone, by other means than the family's.


def numbers_in(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def in_signs(text: str) -> str:
    return text.replace(" plus ", " + ").replace(" minus ", " - ").replace(" times ", " * ").replace("×", "*")


def summed_in(text: str) -> int:
    numbers = numbers_in(text)
    # Of two numbers the smaller is subtracted.
    return max(numbers) - min(numbers) if re.search("-|minus|ubtract|away|without", text) else sum(numbers)


def expression_in(text: str) -> Fraction:
    (expression,) = re.findall(r"[(\d][-+*/().\d ]*[)\d]", in_signs(text).replace("(a fraction", ""))
    return value_of(expression.replace(" ", ""))


def decimal_in(text: str) -> str:
    return f"{float(expression_in(text)):.4f}".rstrip("0")


def fraction_in(text: str) -> str:
    shown = [Fraction(found) for found in re.findall(r"\d+/\d+", text)]
    if len(shown) == 1:
        return str(shown[0])
    if re.search("arger|bigger|greater|more", text):
        return str(max(shown))
    if re.search("dd |sum", text):
        return str(sum(shown))
    if re.search("ubtract|away", text):
        return str(shown[1] - shown[0])
    return str(expression_in(re.sub(r"(\d+/\d+)", r"(\1)", text)))


def divisor_in(text: str) -> int:
    multiple = "multiple" in text or "lcm" in text.lower() or "smallest" in text
    return lcm(*numbers_in(text)) if multiple else gcd(*numbers_in(text))


def is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def prime_in(text: str) -> str:
    numbers = numbers_in(text)
    if "factor" in text or "divides" in text:
        return str(min(divisor for divisor in range(2, numbers[0] + 1) if numbers[0] % divisor == 0))
    if re.search("next|greater|above", text):
        return str(min(later for later in range(numbers[0] + 1, 2 * numbers[0]) if is_prime(later)))
    if len(numbers) == 1:
        return "yes" if is_prime(numbers[0]) else "no"
    (only,) = filter(is_prime, numbers)
    return str(only)


def converted_in(text: str) -> str:
    (shown,) = re.findall(r"\b(?:0[bx])?([\da-f]{2,})\b", re.sub(r"\(base.*?\)", "", text))
    binary = re.search(r"binary|\b0b|\(base 2\)", text)
    if re.search(r"(in|to) decimal|\? \(base 10\)|decimal number is", text):
        return str(int(shown, 2 if binary else 16))
    return f"{int(shown):b}" if binary else f"{int(shown):x}"


def bits_in(text: str) -> int:
    shown = max(re.findall(r"\d+", text), key=len)
    return f"{int(shown):b}".count("1") if "binary" in text or "set" in text else shown.count("1")


ORACLES: dict[str, Callable[[str], object]] = {
    "chain_sum": summed_in,
    "products": lambda text: prod(numbers_in(text)),
    "mixed_arithmetic": expression_in,
    "decimals": decimal_in,
    "fractions": fraction_in,
    "gcd_lcm": divisor_in,
    "primes": prime_in,
    "base_conversion": converted_in,
    "bit_count": bits_in,
}


@cells
def test_a_trace_ends_with_what_the_question_asks_for(family: TextFamily, level: int) -> None:
    for problem in problems(family, level):
        expected = str(ORACLES[family.name](question(problem)))
        for effort in EFFORTS:
            transcript = family.trace(problem, effort, Random(problem.seed))
            assert answer(transcript) == expected, question(problem)
            assert expected in thinking(transcript)
            assert family.verify(problem, transcript).correct


@cells
def test_every_statement_of_a_trace_is_true(family: TextFamily, level: int) -> None:
    found = 0
    for problem in problems(family, level):
        for effort in EFFORTS:
            for statement in statements(thinking(family.trace(problem, effort, Random(problem.seed)))):
                found += 1
                assert is_true(statement), (statement, question(problem))
    assert found > len(SEEDS) / 2


@pytest.mark.parametrize(
    "text", ["so 2+2=5.", "7:131-70=60,61-56=5", "0.5+0.25=0.8", "3/4<2/3", "84=2*36+11", "1+1=2=3"]
)
def test_a_false_statement_would_be_found(text: str) -> None:
    assert not all(is_true(statement) for statement in statements(text))


def spoiled(right: str) -> list[str]:
    """Answers that are not quite the right one."""
    around = [f"0{right}", f"+{right}", f"-{right}", f"{right}0", f"{right}.0", f"{right}.", f"={right}", f"1{right}"]
    told = [f"The answer is {right}.", f"{right} {right}", f"{right}\n{right}", f"{right}, {right}", right * 2]
    more = [
        f"{right} or 7",
        f"**{right}**",
        f"{right}!",
        f"`{right}`",
        right[:-1],
        right[::-1] + "1",
        right.upper() + " ",
    ]
    long = [right + " " * MOST_CHARACTERS + right, f"{right} " * 5000, "9" * 100_000]
    return [
        text for text in (*around, *told, *more, *long, "", " ", "\n", "yes no", "½", "\x00") if text.strip() != right
    ]


@cells
def test_only_the_answer_is_right(family: TextFamily, level: int) -> None:
    for problem in problems(family, level)[:40]:
        right = answer(family.trace(problem, "low", Random(0)))
        assert family.verify(problem, said(f" {right}\n")).correct
        for text in spoiled(right):
            assert not family.verify(problem, said(text)).correct, (right, text)
        if right.isdigit():
            assert not family.verify(problem, said(str(int(right) + 1))).correct
            assert not family.verify(problem, said("".join(chr(ord(digit) + 0xFEE0) for digit in right))).correct


@cells
def test_an_attempt_is_one_message_and_nothing_else(family: TextFamily, level: int) -> None:
    problem = problems(family, level)[0]
    right = answer(family.trace(problem, "low", Random(0)))
    message = Message.of("assistant", right)
    assert family.verify(problem, (message,)).correct
    for transcript in ((), (Thinking(right),), (message, message), (message, ToolCall("1", "answer", right))):
        assert not family.verify(problem, transcript).correct


@cells
@given(st.data())
def test_no_text_breaks_the_verifier(family: TextFamily, level: int, data: st.DataObject) -> None:
    problem = problems(family, level)[data.draw(st.integers(0, len(SEEDS) - 1))]
    text = data.draw(st.one_of(st.text(), st.from_regex(r"[-+]?[0-9a-f ./]{1,12}", fullmatch=True)))
    right = answer(family.trace(problem, "low", Random(0)))
    assert family.verify(problem, said(text)).correct == (text.strip() == right)


@cache
def tokenizer() -> Tokenizer | None:
    directory = base.model_directory(load_settings().cache_dir)
    return Tokenizer.load(directory) if directory.is_dir() else None


def length(text: str) -> int:
    """In tokens of the base, or where it is not there in characters: of these traces nearly each is a token."""
    known = tokenizer()
    return len(known.encode(text)) if known else len(text)


@cells
def test_more_effort_means_longer_thinking_and_none_is_too_long(family: TextFamily, level: int) -> None:
    means: list[float] = []
    for effort, most in zip(EFFORTS, LONGEST[level], strict=True):
        lengths = [length(thinking(family.trace(problem, effort, Random(0)))) for problem in problems(family, level)]
        assert max(lengths) <= LONGEST_OF_ALL
        means.append(fmean(lengths))
        if tokenizer():
            assert means[-1] <= most
    assert means[0] * 1.1 < means[1] < means[2] / 1.1


@cells
@pytest.mark.parametrize("effort", EFFORTS)
def test_the_same_problem_is_told_in_more_than_one_way(family: TextFamily, level: int, effort: Effort) -> None:
    told = {family.trace(problems(family, level)[0], effort, Random(seed)) for seed in range(12)}
    assert len(told) >= 2
    assert len({answer(transcript) for transcript in told}) == 1


@cells
def test_a_seed_gives_the_same_problem_and_the_same_trace_again(family: TextFamily, level: int) -> None:
    for problem in problems(family, level)[:20]:
        again = family.problem(problem.seed, level)
        assert again == problem
        for effort in EFFORTS:
            assert family.trace(again, effort, Random(5)) == family.trace(problem, effort, Random(5))


@cells
def test_there_are_enough_problems_in_both_splits(family: TextFamily, level: int) -> None:
    keys = {draft.key for draft in drafts(family, level)}
    assert len(keys) >= 1200
    assert sum(split_of(family.name, key) == "test" for key in keys) >= 240


@cells
def test_problems_of_one_key_have_one_answer_whatever_the_wording(family: TextFamily, level: int) -> None:
    questions: dict[tuple[str, str], set[str]] = {}
    for draft in drafts(family, level)[:2500]:
        # Such a key holds two questions about the same numbers: gcd and lcm, or a conversion both ways.
        kind = draft.gold[0] if family.name in TWO_QUESTIONS else ""
        questions.setdefault((draft.key, kind), set()).add(question(draft))
    for asked in questions.values():
        assert len({str(ORACLES[family.name](text)) for text in asked}) == 1
    if len(questions) < 2400:
        assert any(len(asked) > 1 for asked in questions.values())


@pytest.mark.parametrize("effort", EFFORTS)
def test_a_number_is_divided_by_primes_from_the_left(effort: Effort) -> None:
    problem = replace(problems(primes.FAMILY, 3)[0], gold=["is", 523])
    shown = thinking(primes.FAMILY.trace(problem, effort, Random(0)))
    for step in ("5+2+3=10", "7:52-49=3,33-28=5", "13:52-52=0,3", "17:52-51=1,13", "19:52-38=14,143-133=10"):
        assert step in shown


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("4*(5+2)", "(2+5)*4", True),
        ("9-2*3", "9-3*2", True),
        ("1+(2+3)*4-5", "(3+2)*4-5+1", True),
        ("9-2-3", "9-3-2", True),
        ("9-(2+3)", "9-2+3", False),
        ("5+2*4", "(5+2)*4", False),
        ("9-4+2", "9+4-2", False),
    ],
)
def test_to_swap_terms_or_factors_makes_no_new_expression(one: str, other: str, *, same: bool) -> None:
    assert (mixed_arithmetic.ordered(one) == mixed_arithmetic.ordered(other)) == same


def test_to_swap_the_terms_of_a_decimal_sum_makes_no_new_problem() -> None:
    sums = {question(draft).replace("?", "").rstrip("."): draft for draft in drafts(decimals.FAMILY, 1)}
    keys = {tuple(re.findall(r"[\d.]+\d", text)): draft.key for text, draft in sums.items() if draft.gold[1] == "+"}
    swapped = [(keys[pair], keys[pair[::-1]]) for pair in keys if pair[::-1] in keys and pair[0] != pair[1]]
    assert len(swapped) > 100
    assert all(one == other for one, other in swapped)


@pytest.mark.parametrize(
    ("family", "wordings"), [(gcd_lcm.FAMILY, ("gcd", "lcm")), (base_conversion.FAMILY, ("from", "to"))]
)
def test_two_questions_about_the_same_numbers_are_in_one_split(family: TextFamily, wordings: tuple[str, str]) -> None:
    kinds: dict[str, set[str]] = {}
    for draft in drafts(family, 2):
        kinds.setdefault(draft.key, set()).add(draft.gold[0].split()[0])
    assert any(asked == set(wordings) for asked in kinds.values())


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_last_level_takes_longest_to_work_out(family: TextFamily) -> None:
    means = [
        fmean(len(thinking(family.trace(problem, "medium", Random(0)))) for problem in problems(family, level))
        for level in (1, 2, 3)
    ]
    assert means[2] > max(means[:2])
