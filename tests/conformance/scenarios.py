"""The runs whose answers tell which events and fields are sent: all that a model can do, and all that can befall it.

Each is asked for as a stream and as a document.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from conformance.house import ANSWER, THOUGHT, House
from forethought.engine.script import Fail, Pause, Say, Script, Step
from forethought.errors import EngineError, QueueFull, RequestError
from forethought.model.conversation import Message, Thinking, ToolCall

SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}}
LOOK = {"name": "look", "description": "Looks.", "parameters": SCHEMA, "strict": True}
REGEX = {"syntax": "regex", "definition": "[ab]+"}
WRITE = {"name": "write", "description": "Writes."}
LATE_SECONDS = 0.05
"""When an engine refuses that has been waited for."""
HI = [{"role": "user", "content": "Hi"}]


@dataclass(frozen=True)
class Scenario:
    """What is asked of a model of a kind, and what its engine does then."""

    body: Mapping[str, Any]
    script: Script
    kind: str = "default"
    summary: tuple[Step, ...] | None = None


@dataclass(frozen=True)
class Sent:
    """All documents and all events of some runs."""

    documents: list[dict[str, Any]]
    events: list[dict[str, Any]]


def responses(house: House) -> list[Scenario]:
    """For the Responses API."""
    hidden = {"include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}}
    tools = [
        {"type": "function", **LOOK},
        {"type": "custom", **WRITE, "format": {"type": "grammar", **REGEX}},
        {"type": "custom", "name": "sing", "format": {"type": "text"}},
    ]
    named = [{"type": "function", "name": "look"}, {"type": "custom", "name": "write"}]
    echoed = {
        **dict.fromkeys(["instructions", "prompt_cache_key", "safety_identifier", "user"], "mine"),
        "metadata": {"of": "mine"},
        "prompt_cache_retention": "in_memory",
        "truncation": "auto",
        "text": {"format": {"type": "json_schema", "name": "sum", "description": "Added up.", "schema": SCHEMA}},
    }
    spoiled = Say(house.writes(Message.of("assistant", "**Adding**\n\nTwo numbers")).token_ids[:-1])
    cut_off = (spoiled, Fail(EngineError("The engine died.")))
    scenarios = [
        Scenario({}, house.answering),
        Scenario(hidden, house.answering),
        Scenario(hidden, house.answering, summary=cut_off),
        Scenario({"max_output_tokens": 4}, house.answering),
        Scenario({"max_output_tokens": 80, "tools": tools}, _calling(house)),
        Scenario(hidden, house.answering, "broken"),
        Scenario({"stream_options": {"include_obfuscation": True}}, house.answering),
        Scenario(echoed, house.answering),
        Scenario({"text": {"format": {"type": "json_object"}}}, house.answering, "unthinking"),
        Scenario({"include": ["message.output_text.logprobs"], "top_logprobs": 2}, house.answering, "lenient"),
        *(Scenario({"tools": tools, "tool_choice": choice}, _calling(house)) for choice in ("auto", *named)),
        Scenario(
            {"tools": tools, "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": named}}, _calling(house)
        ),
        *(Scenario({"tools": tools}, script) for script in _faults(house)),
    ]
    return [_of(scenario, input="Hi") for scenario in scenarios]


def chat(house: House) -> list[Scenario]:
    """For Chat Completions."""
    tools = [{"type": "function", "function": LOOK}, {"type": "custom", "custom": WRITE}]
    scenarios = [
        Scenario({}, house.answering),
        Scenario({"n": 2, "stream_options": {"include_usage": True}}, house.answering),
        Scenario({"stream_options": {"include_obfuscation": True}}, house.answering),
        Scenario({"max_completion_tokens": 4}, house.answering),
        Scenario({"logprobs": True, "top_logprobs": 2}, house.answering, "lenient"),
        Scenario({"tools": tools}, _calling(house)),
    ]
    return [_of(scenario, messages=HI) for scenario in scenarios]


async def play(house: House, path: str, scenarios: Iterable[Scenario]) -> Sent:
    """Runs the scenarios, and keeps what was sent; refusals aside, which `parameters` are about."""
    sent = Sent([], [])
    usual = house.summary
    with patch("forethought.api.turns.REFUSAL_SECONDS", LATE_SECONDS / 2):
        for scenario in scenarios:
            house.script, house.summary = scenario.script, scenario.summary or usual
            for streamed in (True, False):
                body = {name: value for name, value in scenario.body.items() if streamed or name != "stream_options"}
                run = await house.post(path, scenario.kind, {**body, "stream": streamed})
                if streamed:
                    sent.events.extend(run.answer.events)
                elif run.status == 200:
                    sent.documents.append(run.document)
    house.script, house.summary = house.answering, usual
    return sent


def _of(scenario: Scenario, **asked: Any) -> Scenario:
    return Scenario({**asked, **scenario.body}, scenario.script, scenario.kind, scenario.summary)


def _calling(house: House) -> Script:
    """The model says something, and calls a function and a custom tool."""
    calls = (ToolCall("", "look", '{"sum":4}'), ToolCall("", "write", "ab", custom=True))
    return always(house.writes(Thinking(THOUGHT), Message.of("assistant", ANSWER), *calls))


def _faults(house: House) -> list[Script]:
    """The engine dies while the model thinks, answers and calls, or refuses late."""
    items = (Thinking(THOUGHT), Message.of("assistant", ANSWER), ToolCall("", "look", '{"sum":1234567890}'))
    broken = EngineError("The engine died.")
    begun = [Say(house.writes(*items[:count]).token_ids[:-8]) for count in (1, 2, 3)]
    deaths = [(said, Fail(broken)) for said in begun]
    late = [(Pause(LATE_SECONDS), Fail(error)) for error in (QueueFull("It is full."), RequestError("It is wrong."))]
    return [always(*steps) for steps in (*deaths, *late)]


def always(*steps: Step) -> Script:
    """Every request is answered by the same steps."""
    return lambda request: steps
