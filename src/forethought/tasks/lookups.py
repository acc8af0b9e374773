"""Questions that only the results of calls can answer, with the results and what is read off them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from forethought.tasks.calls import Wanted, wanted
from forethought.tasks.functions import STYLES, Function, Request, draw_action, draw_property, draw_request, said
from forethought.tasks.parameters import ASKED
from forethought.tasks.pools import number, pool
from forethought.tasks.problem import Split
from forethought.tasks.words import NAMES, PROPERTIES, each

ROLES: Final = each(
    "owner author seller driver painter maker builder buyer keeper designer teacher pilot singer editor farmer baker"
    " sailor tailor writer guard captain lawyer doctor agent tenant boss"
)
"""Who has to do with a thing: what the first of two calls finds out."""

VALUE_ONLY: Final = "Answer with the value only."
NAMED: Final = ("city", "person", "thing")
"""Kinds of parameters whose values can be an answer."""


@dataclass(frozen=True, slots=True)
class Step:
    """Calls that can be made at once, their results, and what is read off them."""

    requests: tuple[Request, ...]
    results: tuple[Any, ...]
    reading: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """A question, the steps in the order in which they become possible, and the answer."""

    question: str
    steps: tuple[Step, ...]
    functions: tuple[Function, ...]
    answer: str

    @property
    def key(self) -> str:
        """What is looked up, and for what."""
        calls = (request.key for step in self.steps for request in step.requests)
        return "; ".join((*calls, self.steps[-1].reading.rpartition(" is ")[2]))

    @property
    def calls(self) -> tuple[Wanted, ...]:
        """All calls."""
        return tuple(call for step in self.steps for call in wanted(step.requests))

    @property
    def results(self) -> tuple[Any, ...]:
        """What each call gives."""
        return tuple(result for step in self.steps for result in step.results)


def told(rng: Random, split: Split) -> Lookup:
    """One property of one thing."""
    function = draw_property(rng, split, (rng.choice(ASKED),), rng.choice(STYLES))
    request = draw_request(rng, split, function)
    value = number(rng, 2, 999, split)
    step = Step((request,), (_as_result(rng, function, value),), f"The {function.noun} is {value}.")
    return Lookup(f"{said(rng, request)} {VALUE_ONLY}", (step,), (function,), str(value))


def field(rng: Random, split: Split) -> Lookup:
    """One of the properties that a call tells of a thing."""
    function = draw_action(rng, split, (rng.choice(("city", "person", "date")),), rng.choice(STYLES), verb="get")
    request = draw_request(rng, split, function)
    names = rng.sample(pool(PROPERTIES, split), 3)
    values = {name: number(rng, 2, 999, split) for name in names}
    asked = rng.choice(names)
    step = Step((request,), (values,), f"The {asked} is {values[asked]}.")
    phrase = request.phrases(function.parameters)
    question = f"What is the {asked} of the {function.noun} {phrase}? {VALUE_ONLY}"
    return Lookup(question, (step,), (function,), str(values[asked]))


def compared(rng: Random, split: Split) -> Lookup:
    """Which of two has more."""
    return _ranked(rng, split, 2, ("higher", "lower"))


def extreme(rng: Random, split: Split) -> Lookup:
    """Which of three has most or least."""
    return _ranked(rng, split, 3, ("highest", "lowest"))


def chained(rng: Random, split: Split) -> Lookup:
    """A property of somebody whom another call has to find."""
    style = rng.choice(STYLES)
    first = draw_property(rng, split, ("thing",), style, noun=rng.choice(pool(ROLES, split)))
    second = draw_property(rng, split, ("person",), style)
    finding = draw_request(rng, split, first)
    somebody = rng.choice(pool(NAMES, split))
    asking = Request(second, {second.parameters[0].name: somebody})
    value = number(rng, 2, 999, split)
    thing = finding.phrases(first.parameters)
    steps = (
        Step((finding,), (_as_result(rng, first, somebody),), f"The {first.noun} is {somebody}."),
        Step((asking,), (_as_result(rng, second, value),), f"The {second.noun} is {value}."),
    )
    question = f"What is the {second.noun} of the {first.noun} {thing}? {VALUE_ONLY}"
    return Lookup(question, steps, tuple(rng.sample((first, second), 2)), str(value))


KINDS: Final[Mapping[int, Sequence[Callable[[Random, Split], Lookup]]]] = {
    1: (told,),
    2: (field, compared),
    3: (extreme, chained),
}
"""What each level asks."""


def _ranked(rng: Random, split: Split, count: int, words: tuple[str, str]) -> Lookup:
    function = draw_property(rng, split, (rng.choice(NAMED),), rng.choice(STYLES))
    found: dict[str, tuple[Request, int]] = {}
    values: set[int] = set()
    while len(found) < count:
        request, value = draw_request(rng, split, function), number(rng, 10, 99, split)
        name = str(next(iter(request.arguments.values())))
        if name not in found and value not in values:
            found[name] = request, value
            values.add(value)
    upper = rng.random() < 0.5
    word = words[0] if upper else words[1]
    name, (_, best) = (max if upper else min)(found.items(), key=lambda pair: pair[1][1])
    listed = ", ".join(f"{one} {value}" for one, (_, value) in found.items())
    requests = tuple(request for request, _ in found.values())
    *others, last = (f"the {function.noun} {request.phrases(function.parameters)}" for request in requests)
    names = " or ".join(found) if count == 2 else f"{', '.join(list(found)[:-1])} or {list(found)[-1]}"
    bare = rng.random() < 0.5
    results = tuple(value if bare else {function.noun: value} for _, value in found.values())
    reading = f"{listed}. The {word} is {best}, that is {name}."
    question = f"Which is {word}: {', '.join(others)} or {last}? Answer with {names}."
    return Lookup(question, (Step(requests, results, reading),), (function,), name)


def _as_result(rng: Random, function: Function, value: Any) -> Any:
    """The bare value, or an object with the name of what it is."""
    return value if rng.random() < 0.5 else {function.noun: value}
