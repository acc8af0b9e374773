"""Several calls in one turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random

from forethought.model.conversation import Conversation, Effort, Message, Thinking
from forethought.tasks.calls import made_exactly, question, thinking, wanted, written
from forethought.tasks.family import Family
from forethought.tasks.functions import Function, Request, draw_functions, draw_request, said
from forethought.tasks.parameters import ALL, PLAIN
from forethought.tasks.pools import drawn_apart
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict

Shape = tuple[int, ...]
"""How often each function on offer is called."""

SHAPES: dict[int, tuple[Shape, ...]] = {
    1: ((2,),),
    2: ((3,), (2, 0), (1, 1), (1, 1, 0)),
    3: ((2, 1, 0), (1, 1, 1), (3, 0, 0), (2, 2, 0), (1, 1, 1, 0)),
}


@dataclass(frozen=True, slots=True)
class Gold:
    """The requests that have to be met, those of one function together, and all functions on offer."""

    requests: tuple[Request, ...]
    functions: tuple[Function, ...]


class ToolParallel(Family):
    """Calling functions at once."""

    name = "tool_parallel"
    description = "Make several calls in one turn, each with exact arguments."
    levels = (
        "one function called twice, with a string or whole number",
        "two or three calls of one or two functions, arguments of all types",
        "three or four calls (seldom two) of up to three functions, one or two arguments of all types",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        return drawn_apart(self.name, rng, lambda split: self._draw(rng, level, split))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: Gold = problem.gold
        thought = thinking(gold.requests, gold.functions, question(problem), effort, rng)
        return Thinking(thought), *written(wanted(gold.requests))

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        return made_exactly(transcript, wanted(problem.gold.requests))

    def _draw(self, rng: Random, level: int, split: Split) -> Draft:
        shape = rng.choice(SHAPES[level])
        functions = draw_functions(rng, split, len(shape), PLAIN if level == 1 else ALL, 2 if level == 3 else 1)
        requests: list[Request] = []
        for function, times in zip(functions, shape, strict=True):
            requests += _different(rng, split, function, times)
        asked = " ".join(said(rng, *group) for _, group in groupby(requests, key=lambda one: one.function.name))
        functions = tuple(rng.sample(functions, len(functions)))
        conversation = Conversation((Message.of("user", asked),), tuple(one.definition() for one in functions))
        return Draft(conversation, Gold(tuple(requests), functions), _key(requests))


def _different(rng: Random, split: Split, function: Function, times: int) -> list[Request]:
    """So many requests of a function, no two alike; fewer where it has no more to ask for."""
    found: dict[str, Request] = {}
    for _ in range(20 * times):
        if len(found) == times:
            break
        request = draw_request(rng, split, function)
        found.setdefault(request.key, request)
    return list(found.values())


def _key(requests: Sequence[Request]) -> str:
    return "; ".join(sorted(request.key for request in requests))


FAMILY = ToolParallel()
