"""The families of shaped answers: filled schemas, and a developer's rules that a user cannot lift; sums in tables."""

import json
import re
from dataclasses import replace
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.grammar import GrammarCompiler
from forethought.model.conversation import Message, ToolCall
from forethought.model.renderer.forethought import ForethoughtRenderer
from forethought.model.tokenizer import Tokenizer
from forethought.reasoning.format import JsonSchema, grammar_for
from forethought.tasks.families import instruction_hierarchy, structured, table_lookup
from forethought.tasks.family import Family
from forethought.tasks.rules import REFUSALS
from task_transcripts import EFFORTS, answer_of, problems, said, spoiled, thought, traced

ALL: tuple[Family, ...] = (structured.FAMILY, instruction_hierarchy.FAMILY)
LEVELS = (1, 2, 3)
LONGEST = {"low": 40, "medium": 90, "high": 183}

every = pytest.mark.parametrize("family", ALL, ids=lambda family: family.name)
leveled = pytest.mark.parametrize("level", LEVELS)


@every
@leveled
def test_a_trace_is_right_at_every_effort(family: Family, level: int) -> None:
    for split in ("train", "test"):
        for problem in problems(family, level, 60, split):
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
def test_there_are_many_test_problems_and_none_is_a_training_problem(family: Family, level: int) -> None:
    test = {problem.key for problem in problems(family, level, 350, "test")}
    assert len(test) >= 300
    assert not test & {problem.key for problem in problems(family, level, 350, "train")}


@every
@leveled
def test_an_answer_that_is_empty_padded_doubled_or_long_is_wrong(family: Family, level: int) -> None:
    for problem in problems(family, level, 40):
        answer = answer_of(traced(family, problem))
        bads = (
            "",
            f"{answer} {answer}",
            f"{answer}\n{answer}",
            f"Answer: {answer}",
            f"{answer}!",
            answer[1:],
            "x" * 9999,
        )
        for bad in bads:
            assert not family.verify(problem, said(bad)).correct
        assert not family.verify(problem, (*said(answer), Message.of("assistant", answer))).correct
        assert not family.verify(problem, (ToolCall("c", "answer", answer),)).correct
        assert family.verify(problem, said(f"\n{answer} ")).correct


@every
@leveled
def test_more_effort_thinks_longer_and_within_its_bounds(family: Family, level: int, base_tokenizer: Tokenizer) -> None:
    lengths = {
        effort: mean(
            len(base_tokenizer.encode(thought(traced(family, problem, effort))))
            for problem in problems(family, level, 60)
        )
        for effort in EFFORTS
    }
    assert lengths["low"] < lengths["medium"] < lengths["high"]
    assert all(lengths[effort] <= LONGEST[effort] * (1.6 if level == 3 else 1) for effort in EFFORTS)


@every
@leveled
def test_prompts_are_short(family: Family, level: int, base_tokenizer: Tokenizer) -> None:
    renderer = ForethoughtRenderer(base_tokenizer)
    for problem in problems(family, level, 60):
        conversation = replace(problem.conversation, effort="medium", budget=1024)
        assert len(renderer.render(conversation, think=True).token_ids) <= 200


@every
@given(text=st.text(), level=st.sampled_from(LEVELS))
def test_whatever_a_model_writes_is_judged(family: Family, text: str, level: int) -> None:
    problem = family.problem(1, level)
    answer = answer_of(traced(family, problem))
    assert not family.verify(problem, said(text + "." + answer)).correct


@leveled
def test_a_document_is_one_that_its_schema_admits(level: int, base_tokenizer: Tokenizer) -> None:
    compiler = GrammarCompiler(base_tokenizer, base_tokenizer.vocab_size, threads=1)
    for problem in problems(structured.FAMILY, level, 10):
        assert isinstance(problem.output_format, JsonSchema)
        grammar = grammar_for(problem.output_format, None)
        assert grammar is not None
        state = compiler.compile(grammar)
        for token in base_tokenizer.encode(answer_of(traced(structured.FAMILY, problem))):
            state.observe(token)


@leveled
def test_a_document_with_another_value_type_or_name_is_wrong(level: int) -> None:
    family = structured.FAMILY
    for problem in problems(family, level, 40):
        document = json.loads(answer_of(traced(family, problem)))
        for name, value in document.items():
            rest = {other: document[other] for other in document if other != name}
            for bad in ({**document, name: spoiled(value)}, {**document, name: [value]}, rest, {**document, "x": 1}):
                assert not family.verify(problem, said(json.dumps(bad))).correct
        assert family.verify(problem, said(json.dumps(document, indent=2))).correct


def test_the_documents_of_test_problems_hold_new_values() -> None:
    def items(split: str) -> set[str]:
        found = problems(structured.FAMILY, 1, 300, "test" if split == "test" else "train")
        return {json.loads(answer_of(traced(structured.FAMILY, problem)))["item"] for problem in found}

    assert len(items("test")) > 30
    assert not items("test") & items("train")


@leveled
def test_an_answer_that_breaks_the_rule_is_wrong(level: int) -> None:
    family = instruction_hierarchy.FAMILY
    broken = 0
    for problem in problems(family, level, 100):
        rule = problem.gold.rule
        # What leads to the answer ends with it, or with what that is compared with.
        step = rule.step.partition(" Open")[0]
        plain = "Yes, of course." if rule.answer in REFUSALS else step.rstrip(".").split()[-1]
        if plain != rule.answer:
            broken += 1
            assert not family.verify(problem, said(plain)).correct
    assert broken > 60


@leveled
def test_the_rule_is_the_developers_and_the_question_the_users(level: int) -> None:
    for problem in problems(instruction_hierarchy.FAMILY, level, 40):
        developer, user = problem.conversation.items
        assert isinstance(developer, Message)
        assert isinstance(user, Message)
        assert (developer.role, user.role) == ("developer", "user")
        assert sorted(developer.text) == sorted(" ".join(problem.gold.rule.texts))
        assert all(text in developer.text for text in problem.gold.rule.texts)
        assert problem.gold.rule.question in user.text
        assert bool(problem.gold.wish) == (level > 1)
        assert problem.gold.wish in user.text


def test_a_closed_topic_leaves_other_questions_open() -> None:
    found = [problem.gold.rule for problem in problems(instruction_hierarchy.FAMILY, 1, 300)]
    closed = [rule for rule in found if "answer exactly" in rule.texts[0]]
    refused = [rule for rule in closed if rule.answer in REFUSALS]
    assert 0.35 < len(refused) / len(closed) < 0.65


def test_a_form_beside_a_closed_topic_does_not_tell_whether_the_question_is_closed() -> None:
    found = [problem.gold.rule for problem in problems(instruction_hierarchy.FAMILY, 3, 400)]
    for kind in ("Begin", "End", "Put", "Say every", "Say yes", "Write every", "Write in"):
        formed = [rule for rule in found if rule.texts[1].startswith(kind)]
        assert 0.2 < sum(rule.answer in REFUSALS for rule in formed) / len(formed) < 0.8


@leveled
def test_no_secret_is_in_an_open_question_or_its_answer(level: int) -> None:
    for problem in problems(instruction_hierarchy.FAMILY, level, 300, "test"):
        rule = problem.gold.rule
        secret = re.search(r"The code word is (\w+)|Do not talk about the (\w+)", rule.texts[0])
        if secret is not None and rule.answer not in REFUSALS:
            assert secret[secret.lastindex or 0] not in f"{rule.question} {rule.answer}".casefold()


@leveled
def test_an_answer_that_the_developer_quotes_is_exact(level: int) -> None:
    family = instruction_hierarchy.FAMILY
    for problem in problems(family, level, 60):
        rule = problem.gold.rule
        quoted = f'answer exactly "{rule.answer}" whatever other rule there is.' in rule.texts[0]
        assert quoted == (rule.answer in REFUSALS)
        assert not family.verify(problem, said(f"{rule.answer}.")).correct


@leveled
def test_json_that_a_rule_wants_is_judged_by_its_value(level: int) -> None:
    family = instruction_hierarchy.FAMILY
    documents = [problem for problem in problems(family, level, 100) if problem.gold.rule.answer.startswith("{")]
    assert documents
    for problem in documents:
        [(name, value)] = json.loads(problem.gold.rule.answer).items()
        assert family.verify(problem, said(json.dumps({name: value}, indent=1))).correct
        for bad in ({name: f"{value} "}, {name: [value]}, {f"{name}s": value}, {name: value, "x": value}, value):
            assert not family.verify(problem, said(json.dumps(bad))).correct


def test_a_sum_of_two_rows_takes_them_as_the_question_does() -> None:
    sums = [problem for problem in problems(table_lookup.FAMILY, 2, 200) if problem.gold["kind"] == "sum"]
    assert len(sums) > 20
    for problem in sums:
        first, second = problem.gold["names"]
        question = problem.conversation.items[0]
        assert f"{first} and {second} have together" in str(question)
        steps = thought(traced(table_lookup.FAMILY, problem))
        assert steps.index(first) < steps.index(second)
