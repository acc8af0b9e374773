"""Functions that a model may be offered, and requests that one of them answers.

A function is an action on a thing (`book_table`) or a question for a property (`get_price`). Its words belong to one
split, so the functions of test problems, and the values that they are called with, are new to a model that has trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from forethought.model.conversation import ToolDefinition
from forethought.tasks.parameters import ASKED, Parameter
from forethought.tasks.pools import pool
from forethought.tasks.problem import Split
from forethought.tasks.words import PROPERTIES, THINGS, VERBS

QUESTION_VERBS: Final = ("get", "find", "read")
STYLES: Final = ("snake", "snake", "snake", "camel", "kebab")
"""How the names of a problem's functions are spelled: `book_table`, `bookTable` or `book-table`."""

ORDERS: Final = ("{}.", "{}.", "Please {}.", "Can you {}?", "I want you to {}.")
QUESTIONS: Final = ("What is {}?", "What is {}?", "Tell me {}.", "I need {}.")


@dataclass(frozen=True, slots=True)
class Function:
    """A function. `verb` is None where it tells a property."""

    name: str
    verb: str | None
    noun: str
    parameters: tuple[Parameter, ...]
    described: bool

    @property
    def does(self) -> str:
        """What it does, in words that a request uses too."""
        return f"the {self.noun}" if self.verb is None else f"{self.verb} the {self.noun}"

    def definition(self) -> ToolDefinition:
        """As it is offered. Where all parameters must be given, saying so is left out."""
        schema: dict[str, Any] = {"type": "object", "properties": {p.name: dict(p.schema) for p in self.parameters}}
        if any(p.optional for p in self.parameters):
            schema["required"] = [p.name for p in self.parameters if not p.optional]
        description = f"{self.does[0].upper()}{self.does[1:]}." if self.described else ""
        return ToolDefinition(self.name, description, schema)


@dataclass(frozen=True, slots=True)
class Request:
    """Something that one call does."""

    function: Function
    arguments: dict[str, Any]

    @property
    def key(self) -> str:
        """What is asked for, in the order of the parameters: `book the table for Anna`."""
        return f"{self.function.does} {self.phrases(self.function.parameters)}"

    def phrases(self, order: Sequence[Parameter]) -> str:
        """The arguments in words, in the order of these parameters."""
        return " ".join(p.phrase(self.arguments[p.name]) for p in order if p.name in self.arguments)

    def shuffled(self, rng: Random) -> str:
        """The arguments in words, in any order."""
        return self.phrases(rng.sample(self.function.parameters, len(self.function.parameters)))


def draw_function(rng: Random, split: Split, kinds: Sequence[str], style: str) -> Function:
    """An action or, where the parameters go with one, a property."""
    asks = "thing" in kinds or (set(kinds) <= set(ASKED) and rng.random() < 0.5)
    return draw_property(rng, split, kinds, style) if asks else draw_action(rng, split, kinds, style)


def draw_action(
    rng: Random, split: Split, kinds: Sequence[str], style: str, *, verb: str | None = None, noun: str | None = None
) -> Function:
    """An action with a parameter of each kind; of the verb or noun, where one is given."""
    verb = verb or rng.choice([word for word in pool(VERBS, split) if word != noun])
    noun = noun or rng.choice([word for word in pool(THINGS, split) if word != verb])
    parameters = tuple(Parameter.draw(rng, split, kind) for kind in kinds)
    return Function(_spelled((verb, noun), style), verb, noun, parameters, rng.random() < 0.5)


def draw_property(rng: Random, split: Split, kinds: Sequence[str], style: str, *, noun: str | None = None) -> Function:
    """A question for a property, with a parameter of each kind."""
    noun = noun or rng.choice(pool(PROPERTIES, split))
    parameters = tuple(Parameter.draw(rng, split, kind) for kind in kinds)
    name = _spelled((rng.choice(QUESTION_VERBS), noun), style)
    return Function(name, None, noun, parameters, rng.random() < 0.5)


def draw_request(rng: Random, split: Split, function: Function) -> Request:
    """A request with a value for everything that is not optional."""
    wanted = [p for p in function.parameters if not p.optional]
    return Request(function, {p.name: p.value(rng, split) for p in wanted})


def said(rng: Random, *requests: Request) -> str:
    """How a user asks for calls of one function: once, and what each call is for."""
    *others, last = (request.shuffled(rng) for request in requests)
    phrases = f"{', '.join(others)} and {last}" if others else last
    function = requests[0].function
    text = rng.choice(QUESTIONS if function.verb is None else ORDERS).format(f"{function.does} {phrases}")
    return f"{text[0].upper()}{text[1:]}"


def with_optional(function: Function, rng: Random, split: Split, kind: str) -> Function:
    """The function with one more parameter, which requests leave out."""
    parameter = replace(Parameter.draw(rng, split, kind), optional=True)
    return replace(function, parameters=(*function.parameters, parameter))


def draw_functions(rng: Random, split: Split, count: int, kinds: Sequence[str], most: int) -> list[Function]:
    """Different functions of one style, each with up to `most` of these kinds of parameters. No two share a noun."""
    style = rng.choice(STYLES)
    functions: dict[str, Function] = {}
    while len(functions) < count:
        function = draw_function(rng, split, rng.sample(kinds, rng.randint(1, most)), style)
        functions.setdefault(function.noun, function)
    return list(functions.values())


def _spelled(words: tuple[str, str], style: str) -> str:
    first, second = words
    match style:
        case "camel":
            return f"{first}{second[0].upper()}{second[1:]}"
        case "kebab":
            return f"{first}-{second}"
        case _:
            return f"{first}_{second}"
