"""Writes good short summaries of traces: what kind of work it is, and what it comes to."""

from collections.abc import Sequence
from random import Random
from typing import Final

from forethought.reasoning.summary_words import SHARE, named, units

KINDS: Final[dict[str, tuple[str, str]]] = {
    "tool_none": ("Answering without a tool", "No tool is needed here and the answer is {}."),
    "tool_results": ("Using the results of tools", "The tools are called and their results give {}."),
    "tool": ("Choosing the tool", "The tool that matches is {} and its arguments are copied."),
    "structured": ("Filling in the fields", "The fields are filled in from the text with {}."),
    "instruction": ("Following the rule", "The rule of the developer is kept and the answer is {}."),
    "chain_sum": ("Adding the numbers", "The numbers are added one after another and the sum is {}."),
    "product": ("Multiplying the numbers", "The numbers are multiplied part by part and the result is {}."),
    "mixed": ("Working in the right order", "The parts are worked out in their order and the value is {}."),
    "decimal": ("Working digit by digit", "The digits are worked out place by place and the result is {}."),
    "fraction": ("Working with fractions", "The fractions are worked out step by step and the result is {}."),
    "gcd": ("Dividing in turn", "The numbers are divided in turn and the result is {}."),
    "prime": ("Looking for factors", "The factors are checked one by one and the answer is {}."),
    "base": ("Converting the number", "The digits are converted one by one and the result is {}."),
    "bit": ("Counting the digits", "The digits are counted one by one and the count is {}."),
    "sort": ("Sorting the list", "The items are compared and sorted and the order begins with {}."),
    "letter": ("Counting the letters", "The letters are counted one after another and the count is {}."),
    "backward": ("Reversing the word", "The letters are read from the end and the word becomes {}."),
    "calendar": ("Counting the days", "The days are counted step by step and the answer is {}."),
    "clock": ("Working out the time", "The times are worked out step by step and the answer is {}."),
    "table": ("Reading the table", "The right line of the table is found and the answer is {}."),
    "order": ("Comparing them in turn", "The facts are followed one by one and the answer is {}."),
    "knight": ("Checking each case", "The cases are checked one by one and the answer is {}."),
    "word_problem": ("Solving the story", "The numbers of the story are worked out and the answer is {}."),
}
"""By what the name of a family contains: a title and a sentence about the result. The first that fits counts."""

OTHERWISE: Final = ("Working out the result", "The steps are worked out one by one and the result is {}.")
SHORT: Final = ("Result", "The steps lead to the result {}.")
BEGINS: Final = (
    "The work begins with {} and the steps follow from there.",
    "It starts with {} and each step is written.",
)
IN_ORDER: Final = "Each of the steps is written in its order."
CHECKED: Final = ("The result is checked once more at the end.", "At the end the result is checked another time.")
ROOM: Final = 0.85
"""Of what is allowed. The rest is for tokenizers that count otherwise."""
CHECKS: Final = ("check", "again", "backwards", "once more", "other way")
"""Words that show that a result is checked."""


def write_summary(family: str, thinking: str, result: Sequence[str], sentences: tuple[int, int], rng: Random) -> str:
    """A summary of a trace with between so many sentences, as rich as half of the trace's length allows. It tells the
    whole result, which has to be `tellable`."""
    title, main = next((kind for part, kind in KINDS.items() if part in family), OTHERWISE)
    fewest, most = sentences
    number = next((term for term in named(thinking) if term[-1].isdigit()), None)
    begins = IN_ORDER if number is None else rng.choice(BEGINS).format(number)
    extra = [begins]
    if any(word in thinking.casefold() for word in CHECKS):
        extra = [rng.choice(CHECKED), begins]
    wanted = rng.randint(fewest, most)
    for count in range(wanted, fewest - 1, -1):
        for name, sentence in ((title, main), SHORT):
            told = [sentence.format(_listed(result)), *extra[: count - 1]]
            if begins in told:
                told.remove(begins)
                told.insert(0, begins)
            text = f"**{name}**\n\n{' '.join(told)}"
            if _has_room(thinking, text):
                return text
    return _shortest(result)


def tellable(thinking: str, result: Sequence[str]) -> tuple[str, ...]:
    """The parts at the beginning of a result for which the shortest summary has room; one at least."""
    most = next((count for count in range(len(result), 1, -1) if _has_room(thinking, _shortest(result[:count]))), 1)
    return tuple(result[:most])


def _shortest(result: Sequence[str]) -> str:
    return f"**{SHORT[0]}**\n\n{SHORT[1].format(_listed(result))}"


def _has_room(thinking: str, summary: str) -> bool:
    return len(units(summary)) * SHARE <= ROOM * len(units(thinking))


def _listed(terms: Sequence[str]) -> str:
    *others, last = terms
    return f"{', '.join(others)} and {last}" if others else last
