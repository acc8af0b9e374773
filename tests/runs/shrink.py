"""The smallest run that still fails, and how it is told."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

from forethought.model.conversation import Item, Message, Thinking, ToolCall
from runs.run import Output, Run
from runs.texts import shortened

MOST_TRIES = 200
QUESTION = {"responses": {"input": "Hello"}, "chat": {"messages": [{"role": "user", "content": "Hello"}]}}
NEEDED = ("model", "input", "messages", "n")


def smallest(run: Run, fails: Callable[[Run], bool]) -> Run:
    """Leaves out of a run that fails whatever can be left out."""
    tries = 0
    found = True
    while found:
        found = False
        for smaller in _smaller(run):
            tries += 1
            if tries > MOST_TRIES:
                return run
            if smaller != run and fails(smaller):
                run, found = smaller, True
                break
    return run


def describe(run: Run) -> str:
    """A run in a few lines; long texts are cut."""
    plain = Run(run.kind, run.api, run.path, {}, ())
    told = {field.name: getattr(run, field.name) for field in fields(run)}
    lines = [f"{name}: {_told(value)}" for name, value in told.items() if value != getattr(plain, name)]
    return "\n".join([f"{run.kind}, {run.path}", *lines])


def _smaller(run: Run) -> Iterator[Run]:
    yield replace(run, body={**run.body, **QUESTION[run.api]})
    yield replace(run, stream_options=None)
    yield replace(run, summariser="writes")
    if run.leave is not None:
        yield replace(run, leave=replace(run.leave, events=run.leave.events // 2))
    for name in run.body.keys() - set(NEEDED):
        yield replace(run, body={key: value for key, value in run.body.items() if key != name})
    for place, output in enumerate(run.outputs):
        for smaller in _smaller_outputs(output):
            yield replace(run, outputs=(*run.outputs[:place], smaller, *run.outputs[place + 1 :]))


def _smaller_outputs(output: Output) -> Iterator[Output]:
    yield replace(output, raw=())
    yield replace(output, noise=())
    yield replace(output, ends=None)
    yield replace(output, split=0)
    for place, item in enumerate(output.items):
        before, behind = output.items[:place], output.items[place + 1 :]
        if place or not isinstance(item, Thinking):
            yield replace(output, items=before + behind)
        yield replace(output, items=(*before, _halved(item), *behind))


def _halved(item: Item) -> Item:
    match item:
        case Thinking(text):
            return Thinking(text[: len(text) // 2])
        case Message():
            return Message.of("assistant", item.text[: len(item.text) // 2])
        case ToolCall(custom=True):
            return replace(item, arguments=item.arguments[: len(item.arguments) // 2])
        case _:
            return item


def _told(value: Any) -> str:
    match value:
        case str():
            return shortened(repr(value))
        case dict():
            return "{" + ", ".join(f"{name}: {_told(part)}" for name, part in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_told, value)) + "]"
        case Output():
            told = {field.name: getattr(value, field.name) for field in fields(value)}
            return f"Output({', '.join(f'{name}={_told(part)}' for name, part in told.items() if part)})"
        case _:
            return shortened(repr(value), 400)
