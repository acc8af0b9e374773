"""Calls whose results are needed for the answer."""

from random import Random
from typing import Any

from forethought.model.conversation import Conversation, Effort, Item, Message, Text, Thinking, ToolCall, ToolResult
from forethought.tasks.calls import made_exactly, thinking, wanted, written
from forethought.tasks.family import Family, only_message, same_text
from forethought.tasks.json_values import write_json
from forethought.tasks.lookups import KINDS, Lookup
from forethought.tasks.pools import drawn_apart
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict


class ToolResults(Family):
    """Calling functions and using what they give."""

    name = "tool_results"
    description = "Call functions, then answer from their results."
    levels = (
        "one call, whose result is the answer",
        "a field of a result, or the higher of two results",
        "the highest or lowest of three results, or a call that needs the result of another",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        return drawn_apart(self.name, rng, lambda split: self._draw(rng, level, split))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: Lookup = problem.gold
        items: list[Item] = []
        known = ""
        made = 0
        for step in gold.steps:
            items.append(Thinking(known + thinking(step.requests, gold.functions, gold.question, effort, rng)))
            calls = written(wanted(step.requests), made + 1)
            made += len(calls)
            items += (*calls, *(_result(call, value) for call, value in zip(calls, step.results, strict=True)))
            known = f"{step.reading}\n"
        last = known.strip()
        if effort != "low":
            last = f"{last} {rng.choice(('The answer is', 'So it is'))} {gold.answer}."
        return *items, Thinking(last), Message.of("assistant", gold.answer)

    def respond(self, problem: Problem, transcript: Transcript) -> tuple[ToolResult, ...]:
        """Answers calls that were asked for, each once. A wrong call ends the attempt."""
        gold: Lookup = problem.gold
        made = [item for item in transcript if isinstance(item, ToolCall)]
        told = {item.call_id for item in transcript if isinstance(item, ToolResult)}
        results: list[ToolResult] = []
        left = list(zip(gold.calls, gold.results, strict=True))
        for call in made:
            found = next((pair for pair in left if pair[0].made_by(call)), None)
            if found is None:
                return ()
            left.remove(found)
            if call.call_id not in told:
                results.append(_result(call, found[1]))
        return tuple(results)

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        """All calls, in any order that their results allow, and then the answer."""
        gold: Lookup = problem.gold
        last = max((n for n, item in enumerate(transcript) if isinstance(item, ToolResult)), default=-1)
        verdict = made_exactly(transcript[: last + 1], gold.calls)
        if not verdict.correct:
            return verdict
        text = only_message(transcript[last + 1 :])
        return text if isinstance(text, Verdict) else same_text(text, gold.answer)

    def _draw(self, rng: Random, level: int, split: Split) -> Draft:
        gold = rng.choice(KINDS[level])(rng, split)
        tools = tuple(one.definition() for one in gold.functions)
        return Draft(Conversation((Message.of("user", gold.question),), tools), gold, gold.key)


def _result(call: ToolCall, value: Any) -> ToolResult:
    return ToolResult(call.call_id, (Text(value if isinstance(value, str) else write_json(value)),))


FAMILY = ToolResults()
