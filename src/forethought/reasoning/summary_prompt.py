"""What the summariser is asked, and the shape that its answer must have.

A part is a title in bold, a blank line, and a few sentences of plain prose. The shape is a grammar, and there is an
example in the conversation: so even a model that is too weak to follow the instructions writes something of the kind.
"""

import re
from typing import Final

from forethought.model.conversation import Conversation, Message
from forethought.reasoning.format import Regex
from forethought.reasoning.summary_settings import Detail

INSTRUCTIONS: Final = (
    "The user shows you private notes. Describe them for somebody who may not read them: first a short title in bold,"
    " then a blank line, then {sentences} about what the notes try, find or decide. Use your own words. Never quote,"
    " and do not continue the notes."
)
EXAMPLE_NOTES: Final = (
    "I need to find how long the train takes. It covers 240 km at 80 km/h. Time is distance over speed, so 240 / 80 is"
    " 3. So three hours. And it leaves at nine, so it would arrive at noon. Wait, is there a stop on the way? No."
)
EXAMPLE_TITLE: Final = "**Working out the arrival**"
EXAMPLE_SENTENCES: Final = (
    "The duration of the journey is computed from its length and the speed, and added to the departure.",
    "Nothing turns out to delay the train.",
    "The result is a time around the middle of the day.",
)

TITLE: Final = re.compile(r"\*\*[^*\n]+\*\*")
"""What the text of a part begins with."""

# No symbols, no emoji, nothing above U+FFFF, and other letters than Latin ones only where the notes have some: a weak
# model that is not allowed the word it wants begins another character by its first byte, and never finds back.
_LATIN = r"[\x{0}-\x{24f}]"
_SCRIPTS = r"[\x{0}-\x{1fff}\x{3040}-\x{d7ff}]"
_PROSE = r"""\p{Sc}–—“”‘’„«»()'"%&/+=<>×÷−°,;:，、；：-"""
_SENTENCE_END = "[.!?。！？]"


def summary_conversation(segment: str, detail: Detail) -> Conversation:
    """What the summariser reads: the instructions, an example, and a segment of the thinking as what a user says."""
    fewest, most = detail.sentences
    range_of = str(most) if fewest == most else f"{fewest} to {most}"
    sentences = f"{range_of} {'sentence' if most == 1 else 'sentences'}"
    return Conversation(
        (
            Message.of("developer", INSTRUCTIONS.format(sentences=sentences)),
            Message.of("user", EXAMPLE_NOTES),
            Message.of("assistant", f"{EXAMPLE_TITLE}\n\n{' '.join(EXAMPLE_SENTENCES[:most])}"),
            Message.of("user", segment),
        )
    )


def summary_shape(segment: str, detail: Detail) -> Regex:
    """What a part about this segment looks like. Words stand apart by one space, and only the title is marked up."""
    scripts = _LATIN if all(c < "\u0250" or not c.isalpha() for c in segment) else _SCRIPTS
    capital = rf"[[\p{{Lu}}\p{{Lt}}\p{{Lo}}]&&{scripts}]"
    letter = rf"[[\p{{L}}\p{{M}}\p{{Nd}}]&&{scripts}]"
    word = rf"[{letter}'’,&/+-]{{1,20}}"
    shortest, longest = detail.sentence
    # The point in a number ends no sentence.
    inner = rf"(?: ?(?:[{letter}{_PROSE}]|[0-9][.][0-9])){{{shortest - 1},{longest - 1}}}"
    sentence = rf"{capital}{inner}{_SENTENCE_END}"
    fewest, most = detail.sentences
    return Regex(rf"\*\*{capital}{word}(?: {word}){{0,5}}\*\*\n\n{sentence}(?: {sentence}){{{fewest - 1},{most - 1}}}")
