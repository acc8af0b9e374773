"""Questions that need no tool, though tools are on offer."""

from dataclasses import dataclass
from random import Random

from forethought.model.conversation import Conversation, Effort, Item, Message
from forethought.tasks.calls import listed, sought
from forethought.tasks.family import TextFamily, same_text
from forethought.tasks.functions import Function, Request, draw_functions, draw_request, said
from forethought.tasks.parameters import ALL, PLAIN
from forethought.tasks.pools import drawn_apart, pool
from forethought.tasks.problem import Draft, Problem, Split, Transcript, Verdict
from forethought.tasks.small_questions import NO_TOOL, NO_TOOL_RULE, SmallQuestion, draw_question
from forethought.tasks.words import NAMES

SIZES = {1: (1, 2), 2: (2, 3), 3: (3, 4)}
"""Level: between how many functions are on offer."""


@dataclass(frozen=True, slots=True)
class Gold:
    """What is asked, the functions that are left alone, and the request that none of them meets, if it is one."""

    question: SmallQuestion
    functions: tuple[Function, ...]
    unmet: Request | None = None


class ToolNone(TextFamily):
    """Leaving tools alone."""

    name = "tool_none"
    description = "Answer without a call where none is needed, though tools are on offer."
    levels = (
        "a small question, one or two functions",
        "a small question or one about a quoted request, two or three functions",
        "a quoted request, or one that no function meets, three or four functions",
    )

    def draw(self, rng: Random, level: int) -> Draft:
        return drawn_apart(self.name, rng, lambda split: self._draw(rng, level, split))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        gold: Gold = problem.gold
        answer = gold.question.answer
        none = rng.choice(("No tool is needed.", "This needs no call."))
        if gold.unmet:
            none = rng.choice(("No tool does that.", "None of the tools fits."))
        if effort == "low":
            return self.answer(rng.choice((f"{none} {answer}.", f"{none} Answer: {answer}.")), answer)
        step = f"{none} {gold.question.step}"
        if gold.unmet:
            step = f"{sought(gold.unmet, gold.question.text, rng)}: none. {none}"
        return self.answer(f"{listed(gold.functions)}\n{step} The answer is {answer}.", answer)

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return same_text(answer, problem.gold.question.answer)

    def _draw(self, rng: Random, level: int, split: Split) -> Draft:
        kinds = PLAIN if level == 1 else ALL
        *functions, other = draw_functions(rng, split, rng.randint(*SIZES[level]) + 1, kinds, 1)
        items: tuple[Item, ...] = ()
        unmet: Request | None = None
        if level == 3 and rng.random() < 0.5:
            request = draw_request(rng, split, other)
            question, unmet = SmallQuestion(said(rng, request), NO_TOOL, ""), request
            items = (Message.of("developer", NO_TOOL_RULE),)
            key = f"{request.key} with {_names(functions)}"
        else:
            quoted = level == 3 or (level == 2 and rng.random() < 0.5)
            question = _quoting(rng, split, functions[0]) if quoted else draw_question(rng, split)
            key = f"{question.text} with {_names(functions)}"
        functions = tuple(rng.sample(functions, len(functions)))
        tools = tuple(function.definition() for function in functions)
        conversation = Conversation((*items, Message.of("user", question.text)), tools)
        return Draft(conversation, Gold(question, functions, unmet), key)


def _quoting(rng: Random, split: Split, function: Function) -> SmallQuestion:
    """A question about somebody's request. The request is not the user's."""
    writer, reader = rng.sample(pool(NAMES, split), 2)
    request = said(rng, draw_request(rng, split, function))
    asked, answer, step = rng.choice(
        (
            ("Who wrote that?", writer, f"{writer} wrote that."),
            ("To whom is that?", reader, f"{writer} wrote to {reader}."),
        )
    )
    text = f'{writer} wrote to {reader}: "{request}" {asked} Answer with the name.'
    return SmallQuestion(text, answer, step)


def _names(functions: list[Function]) -> str:
    return ", ".join(sorted(function.name for function in functions))


FAMILY = ToolNone()
