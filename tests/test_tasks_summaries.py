"""Summaries: what the live summariser is asked, as problems; what counts as a usable summary of some thinking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.grammar import GrammarCompiler, allowed_tokens
from forethought.model.conversation import Thinking
from forethought.model.tokenizer import Tokenizer
from forethought.reasoning.format import grammar_for
from forethought.reasoning.summary_prompt import summary_conversation, summary_shape
from forethought.reasoning.summary_settings import DETAILS
from forethought.reasoning.summary_verbatim import Gate, Thought, Units
from forethought.reasoning.summary_words import named, terms
from forethought.tasks.families import summaries
from forethought.tasks.summary_check import judge_result, judge_summary
from forethought.tasks.summary_writer import BEGINS, CHECKED, IN_ORDER, KINDS, OTHERWISE, SHORT
from task_transcripts import answer_of, problems, said, traced

FAMILY = summaries.FAMILY
THINKING = (
    "Anna has 23 apples and buys 45 more: 23+45=68. Then she gives 8 away: 68-8=60. Check: 60+8=68, 68-45=23. Right, so"
    " there are 60 apples left for Anna at the end of it all."
)
GOOD = "**Counting apples**\n\nThe numbers are added, and Anna has 60 apples in the end."

leveled = pytest.mark.parametrize("level", [1, 2, 3])


@leveled
def test_a_trace_is_right_and_does_not_think(level: int) -> None:
    for split in ("train", "test"):
        for problem in problems(FAMILY, level, 60, split):
            transcript = traced(FAMILY, problem)
            assert FAMILY.verify(problem, transcript).reason == ""
            assert not problem.thinks
            assert not any(isinstance(item, Thinking) for item in transcript)


@leveled
def test_a_seed_makes_its_problem_and_its_trace_again(level: int) -> None:
    for first, second in zip(problems(FAMILY, level, 20), problems(FAMILY, level, 20), strict=True):
        assert first == second
        assert traced(FAMILY, first) == traced(FAMILY, second)


def test_thinking_about_test_problems_is_in_the_test_problems() -> None:
    train, test = ({problem.key for problem in problems(FAMILY, 2, 130, split)} for split in ("train", "test"))
    assert min(len(train), len(test)) > 120
    assert not {key.rstrip("'") for key in train} & {key.rstrip("'") for key in test}


def test_many_families_are_summarised() -> None:
    assert len({problem.gold.source for level in (1, 2, 3) for problem in problems(FAMILY, level, 60)}) >= 10


@leveled
def test_a_problem_is_what_the_live_summariser_is_asked(level: int) -> None:
    for problem in problems(FAMILY, level, 20):
        detail = DETAILS[problem.gold.detail]
        assert problem.conversation == summary_conversation(problem.gold.thinking, detail)
        assert problem.output_format == summary_shape(problem.gold.thinking, detail)


@leveled
def test_a_trace_has_the_shape_length_and_words_of_a_live_summary(level: int, base_tokenizer: Tokenizer) -> None:
    compiler = GrammarCompiler(base_tokenizer, base_tokenizer.vocab_size, threads=1)
    for number, problem in enumerate(problems(FAMILY, level, 60)):
        detail = DETAILS[problem.gold.detail]
        thinking, text = problem.gold.thinking, answer_of(traced(FAMILY, problem))
        tokens = base_tokenizer.encode(text)
        assert len(tokens) <= min(detail.max_tokens, len(base_tokenizer.encode(thinking)) / 2)
        thought = Thought(Units(base_tokenizer))
        thought.learn(thinking)
        gate = Gate(thought)
        assert gate.feed(text) + gate.finish() == text
        if number < 5:
            grammar = grammar_for(problem.output_format, None)
            assert grammar is not None
            state = compiler.compile(grammar)
            for token in tokens:
                masks = compiler.masks([state])
                assert state.allow(masks[0], base_tokenizer.vocab_size)
                assert allowed_tokens(masks[0], base_tokenizer.vocab_size)[token], "not the tokens that are learned"
                state.observe(token)


@leveled
def test_a_summary_without_the_result_is_wrong(level: int) -> None:
    for problem in problems(FAMILY, level, 40):
        result = set(terms(" ".join(problem.gold.result)))
        other = next((term for term in named(problem.gold.thinking) if term.casefold() not in result), None)
        if other is not None:
            text = f"**Result**\n\nThe steps begin with {other}."
            assert FAMILY.verify(problem, said(text)).reason == "names nothing of the result"


@leveled
def test_a_summary_that_is_empty_doubled_padded_or_long_is_wrong(level: int) -> None:
    for problem in problems(FAMILY, level, 40):
        text = answer_of(traced(FAMILY, problem))
        for bad in ("", f"{text}\n\n{text}", f"Summary: {text}", f"{text} Zebras.", text.replace("**", ""), "x" * 9999):
            assert not FAMILY.verify(problem, said(bad)).correct


@leveled
def test_a_summary_in_more_sentences_than_were_asked_for_is_wrong(level: int) -> None:
    for problem in problems(FAMILY, level, 40):
        most = DETAILS[problem.gold.detail].sentences[1]
        text = answer_of(traced(FAMILY, problem))
        told = f"{text}{' It is so.' * (most + 1)}"
        if judge_summary(problem.gold.thinking, told).correct:
            assert FAMILY.verify(problem, said(told)).reason == "more sentences than were asked for"


def test_a_number_in_words_is_a_name() -> None:
    assert judge_summary(THINKING, GOOD.replace("The numbers", "Three numbers")).reason.startswith("names three")


def test_a_good_summary_is_usable() -> None:
    assert judge_summary(THINKING, GOOD).reason == ""


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ("The result is 60 apples.", "not a title and sentences"),
        ("**Counting apples**\nThe result is 60.", "not a title and sentences"),
        ("**Counting apples**\n\nThe result is 60", "not a title and sentences"),
        (f"{GOOD} {GOOD[22:]} {GOOD[22:]} {GOOD[22:]}", "longer than half of the thinking"),
        ("**Counting apples**\n\nThe result is 61.", "names 61, which is not in the thinking"),
        ("**Counting apples**\n\nThe result is 6.", "names 6, which is not in the thinking"),
        ("**Counting pears**\n\nThe result is 60.", "names pears, which is not in the thinking"),
        ("**Result**\n\nThe numbers are added.", "names nothing of the thinking"),
        ("**Apples**\n\nShe gives 8 away: 68-8=60. Check: 60+8=68.", "quotes the thinking"),
    ],
)
def test_what_is_not_usable_says_why(summary: str, reason: str) -> None:
    assert judge_summary(THINKING, summary).reason == reason


@pytest.mark.parametrize(
    ("sentence", "result"),
    [
        ("The sum is 17.", ["17"]),
        ("The answer is 17 and not 8.", ["17"]),
        ("The sum begins with 8 and becomes 17.", ["17"]),
        ("The steps lead to the result 17. The result is checked once more at the end.", ["17"]),
        ("The value is 3.5.", ["3.5"]),
        ("The answer is 2:32 am.", ["2:32 am"]),
        ("The answer is I do not talk about that.", ["I do not talk about that"]),
        ("The order begins with pear and plum.", ["apple, pear, plum, quince"]),
        ("The first sum is 8 and the result is 17.", ["17"]),
    ],
)
def test_a_summary_that_tells_the_result_is_right(sentence: str, result: list[str]) -> None:
    assert judge_result(f"**Result**\n\n{sentence}", result).reason == ""


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ("**Result**\n\nThe answer is 8.", "names nothing of the result"),
        ("**Result**\n\nThe answer is 8 and not 17.", "names 8 as the result"),
        ("**Result**\n\nThe word becomes 8 from 17.", "names 8 as the result"),
        ("**Result**\n\nThe steps lead to the result 8 of 17.", "names 8 as the result"),
        ("**Result**\n\nThe numbers give 17. The count is 8.", "names 8 as the result"),
        ("**The answer is 8**\n\nThe steps begin with 17.", "names 8 as the result"),
        ("**Result**\n\nAfter 17 the total is 8.", "names 8 as the result"),
        ("**Result**\n\nThe right number is 8 and the first was 17.", "names 8 as the result"),
        ("**Result**\n\nIt is 8, not 17.", "denies the result"),
        ("**Result**\n\nThe answer is not 17.", "denies the result"),
    ],
)
def test_a_summary_that_tells_another_result_is_wrong(summary: str, reason: str) -> None:
    assert judge_result(summary, ["17"]).reason == reason


def test_a_short_result_is_told_whole_and_a_long_one_in_part() -> None:
    part = "**Result**\n\nThe answer is 2."
    assert judge_result(part, ["2", "32 am"]).reason == "names only a part of the result"
    assert judge_result(part, ["2, 3, 5, 7"]).reason == ""


@leveled
def test_a_trace_tells_the_whole_result(level: int) -> None:
    for problem in problems(FAMILY, level, 60):
        told = answer_of(traced(FAMILY, problem))
        assert set(terms(told)) >= set(terms(" ".join(problem.gold.result)))


@pytest.mark.parametrize("kind", [*KINDS.values(), OTHERWISE, SHORT])
def test_the_words_of_our_summaries_describe_any_thinking(kind: tuple[str, str]) -> None:
    assert terms(" ".join(kind).replace("{}", "")) == []


@pytest.mark.parametrize("sentence", [*BEGINS, *CHECKED, IN_ORDER])
def test_the_words_of_further_sentences_describe_any_thinking(sentence: str) -> None:
    assert terms(sentence.replace("{}", "")) == []


@given(thinking=st.text(), summary=st.text())
def test_whatever_a_model_writes_is_judged(thinking: str, summary: str) -> None:
    assert not judge_summary(thinking, summary).correct or summary.strip().startswith("**")


@given(numbers=st.lists(st.integers(10, 10**6), min_size=3, max_size=8, unique=True))
def test_a_number_may_be_named_only_as_it_stands_in_the_thinking(numbers: list[int]) -> None:
    thinking = (
        "; ".join(map(str, numbers)) + ". And that is all that there is to think here, said in quite a few words."
    )
    for number in numbers:
        good = judge_summary(thinking, f"**Result**\n\nIt is {number}.")
        assert good.correct or good.reason == "longer than half of the thinking"
        bad = judge_summary(thinking, f"**Result**\n\nIt is {number}5.")
        assert not bad.correct or int(f"{number}5") in numbers
