"""What the summariser is asked, and the shape that its answer must have.

A part is a title in bold, a blank line, and a few sentences of plain prose. The shape is a grammar, and there is an
example in the conversation: so even a model that is too weak to follow the instructions writes something of the kind.
"""

import re
from typing import Final

from forethought.model.conversation import Conversation, Message
from forethought.reasoning.format import Regex
from forethought.reasoning.summary_settings import Detail
from forethought.reasoning.summary_words import CLOSED, SHARE, TERM, units

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

# No symbols, no emoji, nothing above U+FFFF: a weak model that is not allowed the word it wants begins another
# character by its first byte, and never finds back.
_SCRIPTS = r"[\x{0}-\x{1fff}\x{3040}-\x{d7ff}]"
_PROSE = r"""\p{Sc}–—“”‘’„«»()'"%&/+=<>×÷−°,;:，、；：-"""
_SENTENCE_END = "[.!?。！？]"

_SPACED_UP_TO = "\u0590"
"""Scripts below are those of which `summary_words` knows where a word begins and ends."""
_WORD_LENGTH = 6
"""Characters of a word, about: what turns a sentence's length into words."""
_AROUND = 6
"""Units around the words of a sentence, at least: those of a title of two words, line breaks and the end."""
_OPENING, _CLOSING, _JOINING = r"[\p{Sc}(“„«\"]?", r"[)”“»\"%°]?", r"[:/+=×&-]"
_IDENTIFIER = re.compile(r"(?<![\w'’])[^\W\d_]+(?:_[^\W_]+)+(?![\w'’]|\.\d)")
# A hyphen right in front of a number is its sign: it comes with a number that has one, or joins it to a word.
_BETWEEN = r"(?:[,;:]?| [=+×÷/<>&–—−-]) "


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
    """What a part about this segment looks like. Words stand apart by one space, and only the title is marked up.

    It names nothing that the segment does not: its words are those of the segment, and such as may be said of any
    thinking (`summary_words`). No sentence has more of them than half of the segment's `units` leave room for. Where
    words are not told apart by spaces, only the form is bound.
    """
    spaced = all(character < _SPACED_UP_TO for character in segment if character.isalpha())
    title, sentence = _bound(segment, detail) if spaced else _free(detail)
    fewest, most = detail.sentences
    return Regex(rf"\*\*{title}\*\*\n\n{sentence}(?: {sentence}){{{fewest - 1},{most - 1}}}")


def _bound(segment: str, detail: Detail) -> tuple[str, str]:
    """A title and a sentence of known words."""
    said = {*TERM.findall(segment), *_IDENTIFIER.findall(segment)}
    # Of the same length: a few letters become two in the other case, or one with a mark that ends a word.
    words = {form for word in said | CLOSED for form in (word, word.lower()) if len(form) == len(word)}
    capitals = {word[0].upper() + word[1:] for word in words if word[0].isalpha() and len(word[0].upper()) == 1}
    capital, word = _any_of(capitals), _any_of(words | capitals)
    joined = rf"(?:{_JOINING}{word}){{0,4}}"
    shortest, longest = (max(1, length // _WORD_LENGTH) for length in detail.sentence)
    longest = max(shortest, min(longest, len(units(segment)) // SHARE - _AROUND))
    inner = rf"(?:{_BETWEEN}{_OPENING}{word}{joined}{_CLOSING}){{{shortest - 1},{longest - 1}}}"
    return rf"{capital}(?: {word}{joined}){{0,5}}", rf"{capital}{joined}{inner}{_SENTENCE_END}"


def _any_of(words: set[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(words)))})"


def _free(detail: Detail) -> tuple[str, str]:
    """A title and a sentence of any words."""
    capital = rf"[[\p{{Lu}}\p{{Lt}}\p{{Lo}}]&&{_SCRIPTS}]"
    letter = rf"[[\p{{L}}\p{{M}}\p{{Nd}}]&&{_SCRIPTS}]"
    word = rf"[{letter}'’,&/+-]{{1,20}}"
    shortest, longest = detail.sentence
    # The point in a number ends no sentence.
    inner = rf"(?: ?(?:[{letter}{_PROSE}]|[0-9][.][0-9])){{{shortest - 1},{longest - 1}}}"
    return rf"{capital}{word}(?: {word}){{0,5}}", rf"{capital}{inner}{_SENTENCE_END}"
