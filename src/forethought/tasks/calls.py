"""Calls that an attempt has to make, whether it made them, and how thinking works them out."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from forethought.model.conversation import Effort, Item, Message, ToolCall
from forethought.tasks.functions import Function, Request
from forethought.tasks.json_values import read_json, same_value, write_json
from forethought.tasks.parameters import assignment
from forethought.tasks.problem import CORRECT, Problem, Verdict, wrong


@dataclass(frozen=True, slots=True)
class Wanted:
    """A call that has to be made."""

    name: str
    arguments: dict[str, Any]

    def made_by(self, call: ToolCall) -> bool:
        """Whether this call is it, with exactly its arguments."""
        return not call.custom and call.name == self.name and same_value(read_json(call.arguments), self.arguments)


def wanted(requests: Sequence[Request]) -> tuple[Wanted, ...]:
    """The calls that requests come to."""
    return tuple(Wanted(request.function.name, dict(request.arguments)) for request in requests)


def written(calls: Sequence[Wanted], first: int = 1) -> tuple[ToolCall, ...]:
    """The calls as a model makes them; `first` numbers the first one."""
    return tuple(
        ToolCall(f"call_{number}", call.name, write_json(call.arguments)) for number, call in enumerate(calls, first)
    )


def made_exactly(items: Sequence[Item], calls: Sequence[Wanted]) -> Verdict:
    """Whether the items hold these calls, in any order, and no other call and no text."""
    if any(isinstance(item, Message) and item.text.strip() for item in items):
        return wrong("said something in place of a call, or beside it")
    made = [item for item in items if isinstance(item, ToolCall)]
    if len(made) != len(calls):
        return wrong(f"{len(made)} calls, not {len(calls)}")
    missing = list(calls)
    for call in made:
        match = next((one for one in missing if one.made_by(call)), None)
        if match is None:
            return wrong(f"the call to {call.name} is not what was asked for")
        missing.remove(match)
    return CORRECT


def noted(request: Request) -> str:
    """A call in thinking: its function and its arguments as they will be written."""
    arguments = ", ".join(assignment(name, value) for name, value in request.arguments.items())
    return f"{request.function.name} {arguments}"


def thinking(requests: Sequence[Request], offered: Sequence[Function], asked: str, effort: Effort, rng: Random) -> str:
    """How to find the calls that are `asked` for: name the function, copy its arguments; with more effort, first name
    the functions that there are, then say after the user what is sought, and go parameter by parameter."""
    if effort == "low":
        return rng.choice(("", "Call ")) + "; ".join(map(noted, requests))
    return "\n".join(
        [listed(offered), *(f"{sought(request, asked, rng)}: {_reading(request)}" for request in requests)]
    )


def listed(functions: Sequence[Function]) -> str:
    """What is on offer. Without this line a small model calls what it would like to be there."""
    return f"Tools: {', '.join(function.name for function in functions)}."


def sought(request: Request, asked: str, rng: Random) -> str:
    """What is sought, in the order in which it was asked for, as far as it was."""
    function = request.function
    start = rng.choice((f"To {function.does}" if function.verb else f"For {function.does}", f"Asked: {function.does}"))
    phrases = [p.phrase(request.arguments[p.name]) for p in function.parameters if p.name in request.arguments]
    return " ".join([start, *sorted(phrases, key=asked.find)])


def _reading(request: Request) -> str:
    """The function and its arguments. Parameters that the request does not mention are noted as such."""
    function = request.function
    notes = [
        assignment(p.name, request.arguments[p.name]) if p.name in request.arguments else f"{p.name} not given"
        for p in function.parameters
    ]
    return f"{function.name}. {'. '.join(notes)}."


def question(problem: Problem) -> str:
    """What the user says."""
    return "".join(
        item.text for item in problem.conversation.items if isinstance(item, Message) and item.role == "user"
    )
