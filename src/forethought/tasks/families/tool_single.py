"""One call: choose the function and copy the arguments."""

from dataclasses import dataclass
from random import Random

from forethought.model.conversation import Conversation, Effort, Message, Thinking
from forethought.tasks.calls import made_exactly, question, thinking, wanted, written
from forethought.tasks.family import Family
from forethought.tasks.functions import (
    STYLES,
    Function,
    Request,
    draw_action,
    draw_functions,
    draw_request,
    said,
    with_optional,
)
from forethought.tasks.parameters import ALL, PLAIN
from forethought.tasks.pools import drawn_apart, pool
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict
from forethought.tasks.small_questions import NO_TOOL_RULE
from forethought.tasks.words import NAMES

WORDINGS = ("{request}",) * 6 + ("{request} Use a tool.", '{name} wrote: "{request}" Do that.')
RULE_SHARE = 0.2
"""So many problems come with the rule of `tool_none`, so that it does not tell that no tool fits."""


@dataclass(frozen=True, slots=True)
class Gold:
    """The request that has to be met, and all functions on offer."""

    request: Request
    functions: tuple[Function, ...]


class ToolSingle(Family):
    """Calling a function."""

    name = "tool_single"
    description = "Choose a function and call it with exact arguments."
    levels = (
        "one or two functions, one or two strings or whole numbers",
        "three or four functions, arguments of all types",
        "four functions that are alike, two or three arguments of all types, one left out",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        return drawn_apart(self.name, rng, lambda split: self._draw(rng, level, split))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: Gold = problem.gold
        thought = thinking((gold.request,), gold.functions, question(problem), effort, rng)
        return Thinking(thought), *written(wanted((gold.request,)))

    def verify(self, problem: Problem, transcript: Transcript) -> Verdict:
        return made_exactly(transcript, wanted((problem.gold.request,)))

    def _draw(self, rng: Random, level: int, split: Split) -> Draft:
        match level:
            case 1:
                functions = draw_functions(rng, split, rng.randint(1, 2), PLAIN, 2)
            case 2:
                count, most = rng.choice(((3, 2), (4, 1)))
                functions = draw_functions(rng, split, count, ALL, most)
            case _:
                functions = _alike(rng, split)
        request = draw_request(rng, split, functions[0])
        functions = tuple(rng.sample(functions, len(functions)))
        wording = rng.choice(WORDINGS).format(request=said(rng, request), name=rng.choice(pool(NAMES, split)))
        items = (Message.of("user", wording),)
        if rng.random() < RULE_SHARE:
            items = (Message.of("developer", NO_TOOL_RULE), *items)
        tools = tuple(function.definition() for function in functions)
        return Draft(Conversation(items, tools), Gold(request, functions), request.key)


def _alike(rng: Random, split: Split) -> list[Function]:
    """Actions that share verb or noun; the first, which is meant, has a parameter that is not needed."""
    style = rng.choice(STYLES)
    *kinds, unneeded = rng.sample(ALL, rng.randint(3, 4))
    meant = draw_action(rng, split, kinds, style)
    functions = {meant.name: with_optional(meant, rng, split, unneeded)}
    while len(functions) < 4:
        verb, noun = rng.choice(((meant.verb, None), (None, meant.noun)))
        other = draw_action(rng, split, rng.sample(ALL, 1), style, verb=verb, noun=noun)
        functions.setdefault(other.name, other)
    return list(functions.values())


FAMILY = ToolSingle()
