"""One attempt at a problem: its turns, its verdict, and what is kept to learn from."""

import asyncio
import io
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from attempt_scene import Lookup, answers, called, keeping, play, register, says
from forethought.engine.protocol import Request
from forethought.engine.script import End, Fail, Hang, Say, Step, in_turn
from forethought.errors import EngineDown
from forethought.evals.attempt import ANSWER_TOKENS, MOST_TURNS, Attempt, attempt
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Message, Thinking, ToolCall, ToolResult
from forethought.reasoning.format import Regex
from forethought.reasoning.reasoner import Reasoner
from forethought.tasks import registry
from forethought.tasks.families.chain_sum import ChainSum
from forethought.tasks.problem import Draft, Problem

Run = Callable[[Callable[[Reasoner], Awaitable[Any]]], Any]

SECRET = "the secret of the sum"
SUM = ChainSum().problem(1, 1)
GOLD = str(sum(SUM.gold))
LOOKUP = Lookup().problem(1, 1)
DOWN = EngineDown("The engine process died.", "Ask again.")


@pytest.fixture
def lookup(monkeypatch: pytest.MonkeyPatch) -> Lookup:
    family = Lookup()
    register(monkeypatch, family)
    return family


def tries(checkpoint: Checkpoint, *scripts: Step, problem: Problem = SUM, **options: Any) -> Attempt:
    """An attempt whose turns are answered by these, one after another."""
    told = {"effort": "low", "seed": 1} | options
    script = in_turn(*((step,) for step in scripts))
    return play(checkpoint, script, lambda reasoner: attempt(reasoner, problem, **told))


def test_a_right_answer_is_right_and_all_of_it_is_kept(checkpoint: Checkpoint) -> None:
    said = answers(checkpoint, GOLD, SECRET)
    made = tries(checkpoint, said, logprobs=True)
    assert made.verdict.correct
    assert made.transcript == (Thinking(SECRET), Message.of("assistant", GOLD))
    [turn] = made.turns
    assert turn.output_ids == said.token_ids
    assert turn.forced == (False,) * len(said.token_ids)
    assert turn.logprobs == (math.log(0.5),) * len(said.token_ids)
    assert (turn.reason, turn.thinking_closed, made.error) == ("stop_token", None, None)
    assert turn.thinking_tokens == made.thinking_tokens == len(checkpoint.tokenizer.encode(SECRET))
    assert made.answered
    assert not made.capped


def test_the_prompt_is_the_one_that_serving_would_make(checkpoint: Checkpoint) -> None:
    async def body(reasoner: Reasoner) -> tuple[Attempt, tuple[int, ...]]:
        made = await attempt(reasoner, SUM, effort="medium", seed=1)
        return made, reasoner.prompt(SUM.conversation, effort="medium", think=True).token_ids

    made, prompt = play(checkpoint, (answers(checkpoint, GOLD, SECRET),), body)
    assert made.turns[0].prompt_ids == prompt


def test_a_wrong_answer_is_wrong_for_what_it_says(checkpoint: Checkpoint) -> None:
    verdict = tries(checkpoint, answers(checkpoint, "1", SECRET)).verdict
    assert (verdict.correct, verdict.reason) == (False, f"not {GOLD}")


def test_log_probabilities_are_kept_only_if_asked_for(checkpoint: Checkpoint) -> None:
    assert tries(checkpoint, answers(checkpoint, GOLD, SECRET)).turns[0].logprobs == ()


def test_a_thinking_that_is_ended_by_force_says_which_tokens_were(checkpoint: Checkpoint) -> None:
    made = tries(checkpoint, answers(checkpoint, GOLD, SECRET * 9), budget=5)
    [turn] = made.turns
    assert (turn.thinking_tokens, turn.thinking_closed, made.capped) == (5, "budget", True)
    assert turn.forced[:7] == (False,) * 5 + (True, False)
    assert made.verdict.correct


def test_thinking_can_be_ended_before_the_budget_that_the_model_is_told(checkpoint: Checkpoint) -> None:
    said = answers(checkpoint, GOLD, SECRET * 9)
    told, capped = (tries(checkpoint, said, budget=200, most_thinking=most) for most in (None, 5))
    assert capped.turns[0].prompt_ids == told.turns[0].prompt_ids
    assert (told.capped, capped.thinking_tokens, capped.capped) == (False, 5, True)


@pytest.mark.parametrize("budget", [0, 3, 255, 256, 1024, 4096])
def test_a_whole_budget_can_be_thought_and_room_is_left_for_an_answer(checkpoint: Checkpoint, budget: int) -> None:
    asked: list[Request] = []
    script = keeping(asked, lambda request: (Say((7,) * 6000),))
    play(checkpoint, script, lambda reasoner: attempt(reasoner, SUM, effort="low", budget=budget, seed=1))
    limits = asked[0].limits
    assert limits.thinking is not None
    assert limits.thinking.max_tokens == budget
    assert limits.max_tokens - budget >= max(ANSWER_TOKENS, limits.thinking.reserve)


def test_the_budget_is_what_the_effort_stands_for(checkpoint: Checkpoint) -> None:
    def thought(effort: str) -> int:
        return tries(checkpoint, answers(checkpoint, GOLD, SECRET * 2000), effort=effort).thinking_tokens

    assert [thought(effort) for effort in ("low", "medium", "high")] == [256, 1024, 4096]


def test_without_effort_nothing_is_thought(checkpoint: Checkpoint) -> None:
    asked: list[Request] = []
    script = keeping(asked, lambda request: (answers(checkpoint, GOLD),))
    made = play(checkpoint, script, lambda reasoner: attempt(reasoner, SUM, effort=None, seed=1))
    assert made.verdict.correct
    assert made.transcript == (Message.of("assistant", GOLD),)
    assert asked[0].limits.max_tokens == ANSWER_TOKENS


def test_a_problem_that_is_not_to_be_thought_about_is_answered_at_once(checkpoint: Checkpoint) -> None:
    made = tries(checkpoint, answers(checkpoint, GOLD), problem=replace(SUM, thinks=False), effort="high", budget=99)
    assert made.verdict.correct
    assert made.transcript == (Message.of("assistant", GOLD),)


def test_an_answer_that_never_ends_is_truncated(checkpoint: Checkpoint) -> None:
    made = tries(checkpoint, Say((*checkpoint.tokenizer.encode(f"{GOLD} "),) * 999), effort=None)
    assert (made.verdict.correct, made.verdict.reason, made.reason) == (False, "truncated", "max_tokens")
    assert not made.answered


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_answer_is_none(checkpoint: Checkpoint, text: str) -> None:
    made = tries(checkpoint, answers(checkpoint, text, SECRET))
    assert (made.verdict.correct, made.verdict.reason) == (False, "no answer")
    assert not made.answered


def test_tool_calls_are_answered_until_there_is_an_answer(checkpoint: Checkpoint, lookup: Lookup) -> None:
    turns = (
        says(checkpoint, Thinking("I ask."), called("ask")),
        says(checkpoint, Thinking("So."), Message.of("assistant", str(LOOKUP.gold))),
    )
    made = tries(checkpoint, *turns, problem=LOOKUP)
    assert made.verdict.correct
    assert [type(item) for item in made.transcript] == [Thinking, ToolCall, ToolResult, Thinking, Message]
    first, second = made.turns
    assert (first.output_ids, second.output_ids) == (turns[0].token_ids, turns[1].token_ids)
    told = checkpoint.tokenizer.decode(second.prompt_ids)
    assert f"1 ask\n{LOOKUP.gold}" in told
    assert "I ask." in told
    assert made.thinking_tokens == first.thinking_tokens + second.thinking_tokens


def test_who_never_stops_calling_has_no_answer(checkpoint: Checkpoint, lookup: Lookup) -> None:
    made = tries(checkpoint, says(checkpoint, called("ask")), problem=LOOKUP, effort=None)
    assert (made.verdict.correct, made.verdict.reason) == (False, "too many turns")
    assert len(made.turns) == MOST_TURNS


def test_a_call_that_is_none_ends_the_attempt_where_it_fails(checkpoint: Checkpoint, lookup: Lookup) -> None:
    call = says(checkpoint, called("ask", door=1)).token_ids
    broken = call[:-4]  # in the middle of its arguments
    made = tries(checkpoint, Say((*broken, *call, *call)), problem=LOOKUP, effort=None)
    assert (made.verdict.correct, made.verdict.reason, made.reason) == (False, "malformed call", "malformed")
    # The marker of the second call shows it. What comes behind it is not kept.
    assert made.turns[0].output_ids == (*broken, call[0])
    assert made.error is None


def test_a_tool_that_is_not_offered_cannot_be_called(checkpoint: Checkpoint, lookup: Lookup) -> None:
    made = tries(checkpoint, says(checkpoint, called("other")), problem=LOOKUP, effort=None)
    assert (made.verdict.reason, made.reason) == ("malformed call", "malformed")


@pytest.mark.parametrize(
    "broken",
    [Fail(DOWN), End("error", "It broke."), End("cancelled")],
    ids=["refuses", "breaks", "ends the request"],
)
def test_what_the_engine_could_not_do_is_data_and_not_the_models_fault(checkpoint: Checkpoint, broken: Step) -> None:
    made = tries(checkpoint, broken)
    assert made.error is not None
    assert made.error.startswith("Engine")
    assert (made.verdict.correct, made.verdict.reason, made.reason) == (False, "it broke", "error")


def test_a_problem_that_is_too_long_is_data(checkpoint: Checkpoint) -> None:
    made = play(checkpoint, (Hang(),), lambda r: attempt(r, SUM, effort="low", seed=1), context_length=10)
    assert made.error is not None
    assert made.error.startswith("ContextLengthError")
    assert made.turns == ()


def test_a_verifier_that_breaks_is_data_and_its_place_is_logged(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO
) -> None:
    class Broken(ChainSum):
        def accepts(self, problem: Problem, answer: str) -> Any:
            raise ZeroDivisionError

    register(monkeypatch, Broken())
    made = tries(checkpoint, answers(checkpoint, GOLD, SECRET))
    assert made.error == "ZeroDivisionError in a part of Forethought; the log says where."
    assert len(made.turns) == 1
    assert "in accepts" in log_lines.getvalue()


def test_no_thinking_is_printed_or_logged(checkpoint: Checkpoint, log_lines: io.StringIO) -> None:
    made = tries(checkpoint, answers(checkpoint, GOLD, SECRET), logprobs=True)
    assert SECRET not in repr(made)
    assert str(made.turns[0].output_ids[:3])[:-1] not in repr(made)
    assert SECRET not in log_lines.getvalue()


def test_a_cancelled_attempt_ends_its_request(checkpoint: Checkpoint) -> None:
    async def body(reasoner: Reasoner) -> None:
        running = asyncio.ensure_future(attempt(reasoner, SUM, effort="low", seed=1))
        while not running.done() and not reasoner.engine.metrics().running:
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    play(checkpoint, (Hang(),), body)


def test_the_grammar_is_dropped_only_where_the_model_shall_be_free(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Formatted(ChainSum):
        def ask(self, question: str, gold: object, key: str | None = None) -> Draft:
            draft = super().ask(question, gold, key)
            return Draft(draft.conversation, draft.gold, draft.key, Regex("[0-9]+"))

    family = Formatted()
    register(monkeypatch, family)
    asked: list[Request] = []
    script = keeping(asked, lambda request: (answers(checkpoint, GOLD, SECRET),))

    async def both(reasoner: Reasoner) -> None:
        for bound in (True, False):
            await attempt(reasoner, family.problem(1, 1), effort="low", seed=1, bound=bound)

    play(checkpoint, script, both)
    bound, free = asked
    assert bound.grammar is not None
    assert free.grammar is None
    assert (bound.prompt_ids, bound.sampling) == (free.prompt_ids, free.sampling)


def test_examples_stand_in_front_with_their_answers_and_without_their_thinking(checkpoint: Checkpoint) -> None:
    made = tries(checkpoint, answers(checkpoint, GOLD), effort=None, examples=3)
    told = checkpoint.tokenizer.decode(made.turns[0].prompt_ids)
    assert told.count("<|im_start|>user") == 4
    assert told.index(SUM.conversation.items[0].text) > told.rindex("<|im_end|>\n<|im_start|>user")  # type: ignore[union-attr]
    shown = [problem for problem in map(ChainSum().problem, range(6), [1] * 6) if problem.key != SUM.key][:3]
    for example in shown:
        assert f"assistant\n{sum(example.gold)}<|im_end|>" in told


def test_no_example_is_the_problem_itself(checkpoint: Checkpoint) -> None:
    for seed in range(3):
        problem = ChainSum().problem(seed, 1)
        made = tries(checkpoint, answers(checkpoint, GOLD), problem=problem, effort=None, examples=3)
        told = checkpoint.tokenizer.decode(made.turns[0].prompt_ids)
        assert told.count(problem.conversation.items[0].text) == 1  # type: ignore[union-attr]


def test_the_calls_of_examples_can_be_shown(checkpoint: Checkpoint, lookup: Lookup) -> None:
    made = tries(checkpoint, answers(checkpoint, "7"), problem=LOOKUP, effort=None, examples=2)
    assert made.error is None
    assert checkpoint.tokenizer.decode(made.turns[0].prompt_ids).count("1 ask\n") == 2


def test_examples_with_their_working_think_aloud_and_only_what_is_stated_is_judged(checkpoint: Checkpoint) -> None:
    said = answers(checkpoint, f"I add.\nAnswer: 5? No.\nAnswer: {GOLD}")
    made = tries(checkpoint, said, effort=None, examples=2, worked=True)
    told = checkpoint.tokenizer.decode(made.turns[0].prompt_ids)
    [example, *_] = (problem for problem in map(ChainSum().problem, range(6), [1] * 6) if problem.key != SUM.key)
    thought = ChainSum().trace(example, "low", Random(example.seed))[0].text  # type: ignore[union-attr]
    assert f"assistant\n{thought}\nAnswer: {sum(example.gold)}<|im_end|>" in told
    assert made.verdict.correct
    assert not tries(checkpoint, said, effort=None, examples=2).verdict.correct
    assert not tries(checkpoint, answers(checkpoint, GOLD[::-1] + "0"), effort=None, worked=True).verdict.correct


def test_the_working_of_a_solution_that_calls_tools_cannot_be_shown(checkpoint: Checkpoint, lookup: Lookup) -> None:
    made = tries(checkpoint, answers(checkpoint, "7"), problem=LOOKUP, effort=None, examples=2, worked=True)
    assert made.error is not None
    assert "no plain answers" in made.error


def test_examples_bring_orders_where_the_problem_has_some(checkpoint: Checkpoint) -> None:
    tools = registry.family("tool_none")
    order = 'If no tool does what the user asks, answer "no tool fits"'
    problems = [tools.problem(seed, 3) for seed in range(99)]
    plain = next(each for each in problems if order not in str(each))
    ordered = next(each for each in problems if order in str(each))
    for problem, orders in ((plain, 0), (ordered, 4)):
        made = tries(checkpoint, answers(checkpoint, "x"), problem=problem, effort=None, examples=3)
        told = checkpoint.tokenizer.decode(made.turns[0].prompt_ids)
        assert told.count("<|im_start|>user") == 4
        assert told.count(order) == orders


def test_the_first_turn_can_be_held_to_a_call(checkpoint: Checkpoint, lookup: Lookup) -> None:
    asked: list[Request] = []
    script = keeping(asked, lambda request: (answers(checkpoint, "7"),))

    async def both(reasoner: Reasoner) -> None:
        for must_call in (True, False):
            await attempt(reasoner, LOOKUP, effort=None, seed=1, must_call=must_call)

    play(checkpoint, script, both)
    held, free = (request.grammar for request in asked)
    assert held not in (None, free)


@pytest.mark.parametrize("effort", [None, "low"])
def test_a_real_engine_repeats_an_attempt_by_its_seed(run: Run, effort: Any) -> None:
    async def body(reasoner: Reasoner) -> list[Attempt]:
        options = {"effort": effort, "budget": None if effort is None else 20, "logprobs": True}
        return [await attempt(reasoner, SUM, seed=seed, **options) for seed in (5, 5, 6)]

    [first], [again], [other] = (made.turns for made in run(body))
    assert (first.output_ids, first.forced) == (again.output_ids, again.forced)
    assert first.logprobs == pytest.approx(again.logprobs, abs=1e-5)
    assert first.output_ids != other.output_ids
    assert len(first.output_ids) == len(first.logprobs) == len(first.forced)
    assert all(value <= 0 for value in first.logprobs)


def test_each_turn_of_an_attempt_draws_its_own_numbers(run: Run, lookup: Lookup) -> None:
    family = registry.family("lookup")

    async def body(reasoner: Reasoner) -> set[int | None]:
        seeds: set[int | None] = set()
        submit = reasoner.engine.submit

        def noted(request: Request) -> Any:
            seeds.add(request.sampling.seed)
            return submit(request)

        reasoner.engine.submit = noted  # type: ignore[method-assign]
        made = [await attempt(reasoner, family.problem(seed, 1), effort=None, seed=seed) for seed in range(4)]
        assert len(seeds) == sum(len(one.turns) for one in made)
        return seeds

    assert len(run(body)) >= 4
