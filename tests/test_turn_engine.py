"""Turns of a real (random, tiny) model on the real engine: everything between a conversation and its events."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from forethought.errors import ContextLengthError, GrammarError
from forethought.model.conversation import Conversation, Message, Thinking, ToolDefinition
from forethought.reasoning.answer import Answer
from forethought.reasoning.events import Event, ItemDone, TextDelta
from forethought.reasoning.format import JsonSchema, Lark, Regex
from forethought.reasoning.reasoner import Reasoner
from turn_laws import check_laws, done

QUESTION = Conversation((Message.of("user", "What is two and two?"),))
SCHEMA = {
    "type": "object",
    "properties": {"sum": {"type": "integer", "minimum": 0, "maximum": 99}, "sure": {"type": "boolean"}},
    "required": ["sum", "sure"],
    "additionalProperties": False,
}

Run = Callable[[Callable[[Reasoner], Awaitable[Any]]], Any]


async def collect(reasoner: Reasoner, conversation: Conversation = QUESTION, **options: Any) -> list[Event]:
    async with reasoner.turn(conversation, **options) as turn:
        return [event async for event in turn]


def test_many_turns_at_once_keep_the_laws(run: Run) -> None:
    tools = Conversation(QUESTION.items, tools=(ToolDefinition("add"),))

    async def all_at_once(reasoner: Reasoner) -> list[list[Event]]:
        turns = (
            collect(reasoner, tools, think=seed % 2 == 0, max_output_tokens=20 + 5 * seed, seed=seed, stop=("e",))
            for seed in range(24)
        )
        return await asyncio.gather(*turns)

    for events in run(all_at_once):
        check_laws(events)


def test_the_same_seed_gives_the_same_answer(run: Run) -> None:
    async def twice(reasoner: Reasoner) -> list[str]:
        answers = [await reasoner.turn(QUESTION, seed=7, max_output_tokens=30).answer() for _ in range(2)]
        return [answer.text for answer in answers]

    first, second = run(twice)
    assert first == second


def test_thinking_never_outgrows_its_budget_and_always_leaves_an_answer(run: Run) -> None:
    async def think(reasoner: Reasoner) -> list[Answer]:
        options = {"think": True, "effort": "low", "max_output_tokens": 80}
        return [await reasoner.turn(QUESTION, seed=seed, **options).answer() for seed in range(20)]

    answers = run(think)
    for answer in answers:
        thought, *rest = answer.items
        assert isinstance(thought.item, Thinking)
        assert thought.status == "completed"
        assert rest
        assert answer.done.usage.reasoning_tokens <= 20  # a quarter of 80
    assert {"budget", "stop"} <= {answer.done.thinking_closed for answer in answers}


@pytest.mark.parametrize("think", [False, True])
@pytest.mark.parametrize(
    ("output_format", "fits"),
    [
        (JsonSchema(SCHEMA), lambda text: set(json.loads(text)) == {"sum", "sure"}),
        (Regex("[a-c]{3}[0-9]"), lambda text: len(text) == 4 and text[3].isdigit()),
        (Lark('start: "yes" | "no"'), lambda text: text in ("yes", "no")),
    ],
)
def test_an_answer_fits_its_format_with_and_without_thinking(
    run: Run, output_format: Any, fits: Callable[[str], bool], think: bool
) -> None:
    async def bound(reasoner: Reasoner) -> list[Answer]:
        options = {"think": think, "output_format": output_format, "max_output_tokens": 300}
        return await asyncio.gather(*(reasoner.turn(QUESTION, seed=n, **options).answer() for n in range(8)))

    for answer in run(bound):
        assert answer.done.status == "completed"
        assert fits(answer.text)


def test_a_grammar_that_cannot_be_compiled_is_refused_before_any_event(run: Run) -> None:
    async def refused(reasoner: Reasoner) -> None:
        with pytest.raises(GrammarError):
            await collect(reasoner, output_format=Regex("(unclosed"))

    run(refused)


def test_a_conversation_longer_than_the_context_is_refused(run: Run) -> None:
    async def refused(reasoner: Reasoner) -> None:
        with pytest.raises(ContextLengthError):
            reasoner.turn(Conversation((Message.of("user", "a" * 3000),)))

    run(refused)


def test_a_cancelled_turn_ends_lawfully_and_keeps_what_was_said(run: Run) -> None:
    async def cancelled(reasoner: Reasoner) -> list[Event]:
        events: list[Event] = []
        async with reasoner.turn(QUESTION, seed=1, output_format=Regex("[a-z]{400}")) as turn:
            async for event in turn:
                events.append(event)
                if isinstance(event, TextDelta):
                    turn.cancel()
        return events

    events = run(cancelled)
    check_laws(events)
    assert done(events).status == "cancelled"
    assert Answer.of(events).text


def test_a_turn_that_is_left_frees_its_request(run: Run) -> None:
    async def left(reasoner: Reasoner) -> None:
        async with reasoner.turn(QUESTION, output_format=Regex("[a-z]{400}")) as turn:
            await anext(turn)
        assert (await reasoner.turn(QUESTION, max_output_tokens=3, seed=1).answer()).done.usage.output_tokens <= 3
        metrics = reasoner.engine.metrics()
        assert (metrics.cancelled, metrics.running) == (1, 0)

    run(left)


def test_the_next_turn_finds_the_conversation_in_the_cache(run: Run) -> None:
    async def two_turns(reasoner: Reasoner) -> tuple[Answer, Answer]:
        first = await reasoner.turn(QUESTION, seed=1, max_output_tokens=40).answer()
        longer = Conversation((*QUESTION.items, *first.history, Message.of("user", "And three?")))
        return first, await reasoner.turn(longer, seed=1, max_output_tokens=4).answer()

    first, second = run(two_turns)
    assert second.done.usage.cached_tokens >= first.done.usage.input_tokens // 2


def test_log_probabilities_spell_the_answer(run: Run) -> None:
    async def spelled(reasoner: Reasoner) -> Answer:
        return await reasoner.turn(QUESTION, seed=1, logprobs=2, output_format=Regex("[a-z ]{20}")).answer()

    answer = run(spelled)
    assert b"".join(entry.token_bytes for entry in answer.logprobs).decode() == answer.text
    assert all(len(entry.top) == 2 and entry.logprob <= 0 for entry in answer.logprobs)


def test_closing_the_engine_cancels_its_turns(run: Run) -> None:
    async def closed(reasoner: Reasoner) -> list[Event]:
        turn = reasoner.turn(QUESTION, output_format=Regex("[a-z]{400}"))
        events = [await anext(turn)]
        await reasoner.engine.close()
        return [*events, *[event async for event in turn]]

    events = run(closed)
    check_laws(events)
    assert done(events).status == "cancelled"
    assert [event.status for event in events if isinstance(event, ItemDone)][-1] == "incomplete"
