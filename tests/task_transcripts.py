"""Attempts at problems, for tests of the families that call tools, fill schemas or keep rules."""

import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from forethought.model.conversation import Effort, Message, Thinking, ToolCall
from forethought.tasks.family import Family
from forethought.tasks.problem import Problem, Split, Transcript

EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")


def problems(family: Family, level: int, count: int, split: Split = "train") -> Iterator[Problem]:
    """The problems of the first seeds."""
    return (family.problem(seed, level, split) for seed in range(count))


def traced(family: Family, problem: Problem, effort: Effort = "medium") -> Transcript:
    """A worked solution."""
    return family.trace(problem, effort, Random(f"{problem.seed} {effort}"))


def said(text: str) -> Transcript:
    """An attempt that answers."""
    return Thinking("Hm."), Message.of("assistant", text)


def answer_of(transcript: Transcript) -> str:
    """What an attempt says at its end."""
    last = transcript[-1]
    assert isinstance(last, Message)
    return last.text


def thought(transcript: Transcript) -> str:
    """All that an attempt thinks."""
    return "\n".join(item.text for item in transcript if isinstance(item, Thinking))


def calls_of(transcript: Transcript) -> list[ToolCall]:
    """The calls of an attempt."""
    return [item for item in transcript if isinstance(item, ToolCall)]


def with_first_call(transcript: Transcript, **changes: Any) -> Transcript:
    """The attempt with another first call."""
    first = calls_of(transcript)[0]
    return tuple(replace(item, **changes) if item is first else item for item in transcript)


def spoiled_arguments(call: ToolCall) -> Iterator[str]:
    """Arguments that are nearly those of a call."""
    arguments = json.loads(call.arguments)
    name, value = next(iter(arguments.items()))
    yield ""
    yield "{}"
    yield "null"
    yield call.arguments + call.arguments
    yield call.arguments[:-1]
    yield json.dumps({**arguments, "extra": 1})
    yield json.dumps({**arguments, name: [value]})
    yield json.dumps({f"{name}x": value} | {key: arguments[key] for key in arguments if key != name})
    yield json.dumps({**arguments, name: spoiled(value)})
    yield f"{{{json.dumps(name)}:{json.dumps(value)},{call.arguments[1:]}"
    if isinstance(value, int):
        yield json.dumps({**arguments, name: str(value)})
        yield json.dumps({**arguments, name: float(value)})


def spoiled(value: Any) -> Any:
    """A value of the same type that is another one."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}."
        case dict():
            return dict(list(value.items())[1:])
        case _:
            return value[:-1]
