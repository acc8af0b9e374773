"""The families of tool use: exact calls, functions that training never sees, results that come on the way."""

import json
from dataclasses import replace
from random import Random
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_formats import items_of
from forethought.errors import TaskError
from forethought.model.conversation import Conversation, Item, Message, Thinking, ToolCall, ToolResult
from forethought.model.renderer.forethought import ForethoughtRenderer
from forethought.model.tokenizer import Tokenizer
from forethought.tasks.families import tool_none, tool_parallel, tool_results, tool_single
from forethought.tasks.family import Family
from forethought.tasks.json_values import read_json, same_value
from forethought.tasks.pools import drawn_apart, number, pool
from forethought.tasks.problem import Draft, Problem, Split, Transcript, split_of
from forethought.tasks.small_questions import NO_TOOL
from task_transcripts import EFFORTS, calls_of, problems, said, spoiled_arguments, thought, traced, with_first_call

CALLING: tuple[Family, ...] = (tool_single.FAMILY, tool_parallel.FAMILY, tool_results.FAMILY)
ALL: tuple[Family, ...] = (*CALLING, tool_none.FAMILY)
LEVELS = (1, 2, 3)
SPLITS: tuple[Split, ...] = ("train", "test")
LONGEST = {"low": 40, "medium": 90, "high": 183}

calling = pytest.mark.parametrize("family", CALLING, ids=lambda family: family.name)
every = pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
leveled = pytest.mark.parametrize("level", LEVELS)


def offered(family: Family, split: Split) -> set[str]:
    """The names of functions in the problems of a split."""
    return {
        tool.name
        for level in LEVELS
        for problem in problems(family, level, 150, split)
        for tool in problem.conversation.tools
    }


def arguments(family: Family, split: Split) -> set[str]:
    """The values that are passed in the problems of a split, without the two that there are of a boolean."""
    found: set[str] = set()
    for level in LEVELS:
        for problem in problems(family, level, 150, split):
            for call in calls_of(traced(family, problem)):
                waiting: list[Any] = list(json.loads(call.arguments).values())
                for value in waiting:
                    if isinstance(value, list):
                        waiting += value
                    elif not isinstance(value, bool):
                        found.add(json.dumps(value))
    return found


@every
@leveled
def test_a_trace_is_right_at_every_effort(family: Family, level: int) -> None:
    for split in ("train", "test"):
        for problem in problems(family, level, 40, split):
            for effort in EFFORTS:
                assert family.verify(problem, traced(family, problem, effort)).reason == ""


@every
@leveled
def test_a_seed_makes_its_problem_and_its_trace_again(family: Family, level: int) -> None:
    for first, second in zip(problems(family, level, 20), problems(family, level, 20), strict=True):
        assert first == second
        assert traced(family, first) == traced(family, second)


@every
@leveled
def test_there_are_many_test_problems(family: Family, level: int) -> None:
    assert len({problem.key for problem in problems(family, level, 350, "test")}) >= 300


@every
def test_the_functions_of_test_problems_are_new(family: Family) -> None:
    train, test = offered(family, "train"), offered(family, "test")
    assert min(len(train), len(test)) > 40
    assert not train & test


@calling
def test_the_arguments_of_test_problems_are_new(family: Family) -> None:
    train, test = arguments(family, "train"), arguments(family, "test")
    assert min(len(train), len(test)) > 40
    assert not train & test


@every
def test_prompts_of_the_first_two_levels_are_short(family: Family, base_tokenizer: Tokenizer) -> None:
    renderer = ForethoughtRenderer(base_tokenizer)
    for level in (1, 2):
        for problem in problems(family, level, 60):
            conversation = replace(problem.conversation, effort="medium", budget=1024)
            assert len(renderer.render(conversation, think=True).token_ids) <= 250


@every
@leveled
def test_more_effort_thinks_longer_and_within_its_bounds(family: Family, level: int, base_tokenizer: Tokenizer) -> None:
    lengths = {
        effort: mean(
            len(base_tokenizer.encode(thought(traced(family, problem, effort))))
            for problem in problems(family, level, 40)
        )
        for effort in EFFORTS
    }
    assert lengths["low"] < lengths["medium"] < lengths["high"]
    assert all(lengths[effort] <= LONGEST[effort] * (1.6 if level == 3 else 1) for effort in EFFORTS)


@every
@leveled
def test_every_turn_of_a_trace_is_read_back_as_it_was_written(
    family: Family, level: int, base_tokenizer: Tokenizer
) -> None:
    renderer = ForethoughtRenderer(base_tokenizer)
    for problem in problems(family, level, 10):
        for before, output in outputs(problem, traced(family, problem)):
            items = (*problem.conversation.items, *before)
            assert renderer.render(replace(problem.conversation, items=items), think=True).thinking_open
            parser = renderer.parser(thinking_open=True)
            read = items_of([*parser.feed(renderer.render_output(output)), *parser.finish()])
            assert [_unnumbered(item) for item in read] == [_unnumbered(item) for item in output]


def _unnumbered(item: Item) -> Item:
    return replace(item, call_id="") if isinstance(item, ToolCall) else item


def outputs(problem: Problem, transcript: Transcript) -> list[tuple[Transcript, Transcript]]:
    """What the model writes in each turn, and what came before it."""
    found: list[tuple[Transcript, Transcript]] = []
    start = 0
    for end, item in enumerate((*transcript, ToolResult("", ()))):
        if isinstance(item, ToolResult):
            if end > start:
                found.append((transcript[:start], transcript[start:end]))
            start = end + 1
    return found


@calling
@leveled
def test_a_call_with_other_arguments_is_wrong(family: Family, level: int) -> None:
    for problem in problems(family, level, 20):
        transcript = traced(family, problem)
        for spoiled in spoiled_arguments(calls_of(transcript)[0]):
            assert not family.verify(problem, with_first_call(transcript, arguments=spoiled)).correct


@calling
@leveled
def test_another_function_or_a_custom_call_is_wrong(family: Family, level: int) -> None:
    for problem in problems(family, level, 20):
        transcript = traced(family, problem)
        assert not family.verify(problem, with_first_call(transcript, name="other")).correct
        assert not family.verify(problem, with_first_call(transcript, custom=True)).correct


@calling
@leveled
def test_a_call_too_few_or_too_many_is_wrong(family: Family, level: int) -> None:
    for problem in problems(family, level, 20):
        transcript = traced(family, problem)
        first = calls_of(transcript)[0]
        fewer = tuple(item for item in transcript if item is not first)
        more = tuple(one for item in transcript for one in ((item, item) if item is first else (item,)))
        assert not family.verify(problem, fewer).correct
        assert not family.verify(problem, more).correct
        assert not family.verify(problem, ()).correct


@calling
@leveled
def test_words_in_place_of_a_call_or_beside_it_are_wrong(family: Family, level: int) -> None:
    for problem in problems(family, level, 20):
        transcript = traced(family, problem)
        first = calls_of(transcript)[0]
        beside = (Message.of("assistant", "Let me see."), *transcript)
        assert not family.verify(problem, beside).correct
        assert not family.verify(problem, said(f"{first.name} {first.arguments}")).correct


@calling
def test_white_space_and_the_order_of_names_are_free(family: Family) -> None:
    for problem in problems(family, 3, 20):
        transcript = traced(family, problem)
        turned = dict(reversed(json.loads(calls_of(transcript)[0].arguments).items()))
        assert family.verify(problem, with_first_call(transcript, arguments=json.dumps(turned, indent=1))).correct


@leveled
def test_parallel_calls_come_in_any_order(level: int) -> None:
    family = tool_parallel.FAMILY
    for problem in problems(family, level, 20):
        calls = calls_of(traced(family, problem))
        assert len(calls) >= 2
        assert family.verify(problem, (Thinking("Hm."), *reversed(calls))).correct


@leveled
def test_a_call_where_none_is_needed_is_wrong(level: int) -> None:
    family = tool_none.FAMILY
    for problem in problems(family, level, 20):
        call = ToolCall("call_1", problem.conversation.tools[0].name, "{}")
        assert not family.verify(problem, (call,)).correct
        assert not family.verify(problem, (*traced(family, problem), call)).correct


@leveled
def test_an_answer_without_tools_is_exact(level: int) -> None:
    family = tool_none.FAMILY
    for problem in problems(family, level, 20):
        answer = problem.gold.question.answer
        for bad in (
            "",
            f"{answer}..",
            f"{answer} {answer}",
            f"The answer is {answer}",
            answer + " " * 9 + "x",
            "x" * 9999,
        ):
            assert not family.verify(problem, said(bad)).correct
        assert family.verify(problem, said(f" {answer}\n")).correct


def test_an_answer_that_the_developer_quotes_is_exact() -> None:
    family = tool_none.FAMILY
    for problem in problems(family, 3, 40):
        answer = problem.gold.question.answer
        quoted = any(f'answer "{answer}".' in str(item) for item in problem.conversation.items)
        assert quoted == (answer == NO_TOOL)
        assert not family.verify(problem, said(f"{answer}.")).correct


def test_that_no_tool_fits_is_said_only_where_none_does() -> None:
    rules = [problem for problem in problems(tool_none.FAMILY, 3, 100) if problem.gold.question.answer == NO_TOOL]
    ruled = [one for one in problems(tool_single.FAMILY, 1, 100) if len(one.conversation.items) == 2]
    assert 20 < len(rules) < 80
    assert 5 < len(ruled) < 50
    for problem in rules:
        assert all(
            tool.name not in thought(traced(tool_none.FAMILY, problem, "low")) for tool in problem.conversation.tools
        )
    for problem in ruled:
        assert not tool_single.FAMILY.verify(problem, said(NO_TOOL)).correct


@leveled
def test_calls_are_answered_as_they_come_until_one_is_wrong(level: int) -> None:
    family = tool_results.FAMILY
    for problem in problems(family, level, 20):
        transcript = traced(family, problem)
        for before, output in outputs(problem, transcript):
            made = calls_of(output)
            results = family.respond(problem, (*before, *output))
            assert [result.call_id for result in results] == [call.call_id for call in made]
            assert all(result in transcript for result in results)
        assert family.respond(problem, transcript) == ()
        first = calls_of(transcript)[0]
        assert family.respond(problem, (replace(first, arguments="{}"),)) == ()
        assert family.respond(problem, (first, replace(first, call_id="again"))) == ()


def test_results_may_be_asked_for_one_after_the_other() -> None:
    family = tool_results.FAMILY
    for problem in problems(family, 2, 20):
        done: Transcript = ()
        for call in calls_of(traced(family, problem)):
            done = (*done, call)
            done = (*done, *family.respond(problem, done))
        assert family.verify(problem, (*done, Message.of("assistant", problem.gold.answer))).correct


@leveled
def test_the_answer_from_results_is_exact(level: int) -> None:
    family = tool_results.FAMILY
    for problem in problems(family, level, 20):
        *transcript, _ = traced(family, problem)
        answer = problem.gold.answer
        for bad in ("", f"{answer}{answer}", f"{answer} {answer}", f"It is {answer}", f"{answer}0", "x" * 9999):
            assert not family.verify(problem, (*transcript, Message.of("assistant", bad))).correct
        assert not family.verify(problem, said(answer)).correct


def test_every_word_and_number_belongs_to_one_split() -> None:
    words = ("table", "lamp", "car", "bed", "nail", "Rome", "Paris")
    assert sorted((*pool(words, "train"), *pool(words, "test"))) == sorted(words)
    numbers = {split: {number(Random(seed), 1, 40, split) for seed in range(400)} for split in SPLITS}
    assert numbers["train"] | numbers["test"] == set(range(1, 41))
    assert not numbers["train"] & numbers["test"]


def test_a_family_without_enough_problems_is_an_error() -> None:
    other: Split = "train" if split_of("one_question", "why") == "test" else "test"
    rng = Random(next(seed for seed in range(99) if Random(seed).choice(SPLITS) == other))
    with pytest.raises(TaskError, match="one_question found no"):
        drawn_apart("one_question", rng, lambda split: Draft(Conversation(()), None, "why"))


@every
@given(text=st.text(), name=st.text(), level=st.sampled_from(LEVELS))
def test_whatever_a_model_writes_is_judged(family: Family, text: str, name: str, level: int) -> None:
    problem = family.problem(0, level)
    transcript = (Thinking(text), Message.of("assistant", text), ToolCall("c", name, text))
    assert not family.verify(problem, transcript).correct
    assert family.respond(problem, transcript) == ()


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)  # no -0.0
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=JSON_VALUES)
def test_a_json_value_is_the_same_after_it_was_written(value: Any) -> None:
    assert same_value(read_json(json.dumps(value)), value)


@given(one=JSON_VALUES, other=JSON_VALUES)
def test_json_values_are_the_same_only_with_the_same_types(one: Any, other: Any) -> None:
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert same_value(read_json(json.dumps(one)), other) == same


@pytest.mark.parametrize(
    ("text", "value"),
    [("3.0", 3), ("3", 3.0), ("true", 1), ("1", True), ('"3"', 3), ("NaN", None), ('{"a":1,"a":1}', {"a": 1})],
)
def test_json_of_another_type_or_none_at_all_is_not_the_same(text: str, value: Any) -> None:
    assert not same_value(read_json(text), value)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5_000, "1e999999999999999999999", ""])
def test_text_that_python_cannot_read_is_no_json_value(text: str) -> None:
    assert not same_value(read_json(text), 9)
