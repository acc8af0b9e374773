"""Questions as people put them: in many words, now and then in a hurry or with good manners."""

from collections.abc import Sequence
from random import Random
from typing import Final

CALCULATIONS: Final = (
    "What is {it}?",
    "Compute {it}.",
    "{it} = ?",
    "{it}",
    "{it} =",
    "How much is {it}?",
    "Calculate {it}.",
)
"""For whatever is written as an expression."""
HELLOS: Final = (
    "Hi! ",
    "Hello. ",
    "Please help: ",
    "Quick question: ",
    "I have a question. ",
    "Tell me: ",
    "Question: ",
)
THANKS: Final = (" Thanks!", " Thank you.", " Please help me.")
HURRIED, GREETED, THANKED = 0.12, 0.1, 0.06
"""How often somebody leaves out the capital and the last mark, begins with a word of greeting, or ends with thanks."""
SQUEEZED: Final = 0.25
"""How often somebody writes an expression without spaces."""


def asked(rng: Random, wordings: Sequence[str], **parts: object) -> str:
    """One of the wordings, with its parts filled in."""
    wording = rng.choice(wordings)
    text = wording.format(**parts)
    if rng.random() < HURRIED:
        text = text.rstrip(".? ")
        return text[0].lower() + text[1:] if wording[0].isupper() else text
    return addressed(rng, text)


def addressed(rng: Random, text: str) -> str:
    """A question as it is, or with good manners."""
    chance = rng.random()
    if chance < GREETED:
        return rng.choice(HELLOS) + text
    return text + rng.choice(THANKS) if chance < GREETED + THANKED else text


def squeezed(rng: Random, text: str) -> str:
    """An expression that has spaces around its signs, which some people leave out."""
    return text.replace(" ", "") if rng.random() < SQUEEZED else text
