"""What the summariser is asked, and the shape that its answer must have.

A part is a title in bold, a blank line, and a few sentences of plain prose. The shape is a grammar, and there is an
example in the conversation: so even a model that is too weak to follow the instructions writes something of the kind.
"""

import re
import unicodedata
from dataclasses import replace
from typing import Final

from forethought.model.conversation import Conversation, Message
from forethought.reasoning.format import Lark
from forethought.reasoning.summary_settings import Detail
from forethought.reasoning.summary_words import CLOSED, SHARE, TERM, named, units

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

SHORT: Final = 42
"""Units of thinking below which a part has a single sentence, and a short one to go by: the summariser has learned how
long a part is, from longer thinking."""
SHORT_NOTES: Final = "It covers 240 km at 80 km/h, so 3 hours. From nine it is noon."
SHORT_SUMMARY: Final = "**Result**\n\nThe result is noon."

TITLE: Final = re.compile(r"\*\*[^*\n]+\*\*")
"""What the text of a part begins with."""

# No symbols, no emoji, nothing above U+FFFF: a weak model that is not allowed the word it wants begins another
# character by its first byte, and never finds back.
_SCRIPTS = r"[\x{0}-\x{1fff}\x{3040}-\x{d7ff}]"
_PROSE = r"""\p{Sc}–—“”‘’„«»()'"%&\/+=<>×÷−°,;:，、；：-"""
_SENTENCE_END = "[.!?。！？]"

_SPACED_UP_TO = "\u0590"
"""Scripts below are those of which `summary_words` knows where a word begins and ends."""
_WORD_LENGTH = 6
"""Characters of a word, about: what turns a sentence's length into words."""
_AROUND = 8
"""Units around the words of a sentence, about: those of a title of four words, line breaks and the end."""
_SHORT = 12
"""Words of a short sentence."""
_ROW, _ROW_OF_WORDS = 3, 6
"""Names in a row: numbers among them, and none."""
_LONGEST_NAME = 8
"""Units of one."""
_OPENING, _CLOSING, _JOINING = '(“„«"', r"[)”“»\"%°]?", r"[:\/+=×&-]"
_IDENTIFIER = re.compile(r"(?<![\w'’])[^\W\d_]+(?:_[^\W_]+)+(?![\w'’]|\.\d)")
# A hyphen right in front of a number is its sign: it comes with a number that has one, or joins it to a word.
_BETWEEN = r"(?:[,;:]?| [=+×÷\/<>&–—−-]) "


def fitting(segment: str, detail: Detail) -> Detail:
    """The detail that there is room for about this segment."""
    return replace(detail, sentences=(1, 1)) if _short(segment) else detail


def _spaced(segment: str) -> bool:
    return all(character < _SPACED_UP_TO for character in segment if character.isalpha())


def _short(segment: str) -> bool:
    return _spaced(segment) and len(units(segment)) < SHORT


def summary_conversation(segment: str, detail: Detail) -> Conversation:
    """What the summariser reads: the instructions, an example, and a segment of the thinking as what a user says."""
    fewest, most = detail.sentences
    range_of = str(most) if fewest == most else f"{fewest} to {most}"
    sentences = f"{range_of} {'sentence' if most == 1 else 'sentences'}"
    notes, summary = EXAMPLE_NOTES, f"{EXAMPLE_TITLE}\n\n{' '.join(EXAMPLE_SENTENCES[:most])}"
    if _short(segment):
        notes, summary = SHORT_NOTES, SHORT_SUMMARY
    return Conversation(
        (
            Message.of("developer", INSTRUCTIONS.format(sentences=sentences)),
            Message.of("user", notes),
            Message.of("assistant", summary),
            Message.of("user", segment),
        )
    )


def summary_shape(segment: str, detail: Detail) -> Lark:
    """What a part about this segment looks like. Words stand apart by one space, and only the title is marked up.

    It names nothing that the segment does not: its words are those of the segment, and such as may be said of any
    thinking (`summary_words`). No sentence has more of them than half of the segment's `units` leave room for. Where
    words are not told apart by spaces, only the form is bound.
    """
    rules = _bound(segment, detail) if _spaced(segment) else _free(detail)
    return Lark(
        "\n".join(("start: PART", r"PART: /\*\*/ TITLE /\*\*\n\n/ SENTENCES", *rules, f"END: /{_SENTENCE_END}/"))
    )


def _bound(segment: str, detail: Detail) -> tuple[str, ...]:
    """A title and sentences of known words, one of which names something if the segment does."""
    said = {word for word in TERM.findall(segment) + _IDENTIFIER.findall(segment) if len(units(word)) <= _LONGEST_NAME}
    # Of the same length: a few letters become two in the other case, or one with a mark that ends a word.
    words = {form for word in said | CLOSED for form in (word, word.lower()) if len(form) == len(word)}
    capitals = {word[0].upper() + word[1:] for word in words if word[0].isalpha() and len(word[0].upper()) == 1}
    names = {word for word in words | capitals if named(word)}
    currencies = {character for character in segment if unicodedata.category(character) == "Sc"}
    opening = f"/[{''.join(sorted(currencies))}{_OPENING}]?/"
    room = len(units(segment)) // SHARE - _AROUND
    shortest, longest = (max(1, length // _WORD_LENGTH) for length in detail.sentence)
    longest = max(shortest, min(longest, room))
    fewest, most = detail.sentences
    rules = (
        f"CAPITAL: {_any_of(capitals)}",
        f"WORD: {_any_of(words | capitals)}",
        f"JOINED: /{_JOINING}/ WORD",
        f"BETWEEN: /{_BETWEEN}/",
        f"INNER: BETWEEN {opening} WORD JOINED{{0,4}} /{_CLOSING}/",
        'TITLE: CAPITAL (" " WORD JOINED{0,4}){0,5}',
        f"SENTENCE: CAPITAL JOINED{{0,4}} INNER{{{shortest - 1},{longest - 1}}} END",
    )
    if not names:
        return *rules, f"SENTENCES: SENTENCE{_more(fewest - 1, most - 1)}"
    # Words that name nothing, names in short rows (long ones would be quotations), and more of both.
    sentences = f"NAMING{_more(fewest - 1, most - 1)}"
    if most > 1 and room > 2 * _SHORT:
        sentences += f' | PLAIN END " " NAMING{_more(fewest - 2, most - 2)}'
    rows, beginnings = [f"NAMED{{1,{_ROW}}}"], ["PLAIN ROW"]
    if lettered := {word for word in names if not any(map(str.isdecimal, word))}:
        rows.append(f"(BETWEEN {_any_of(lettered)}){{1,{_ROW_OF_WORDS}}}")
    if capitals & names:
        beginnings.append(f"{_any_of(capitals & names)} JOINED{{0,4}} ROW?")
    return (
        *rules,
        f"VAGUE: {_any_of((words | capitals) - names)}",
        f"PLAIN: {_any_of(capitals - names)} (BETWEEN VAGUE){{0,{max(1, longest - 2)}}}",
        f"NAMED: BETWEEN {opening} {_any_of(names)} JOINED{{0,4}} /{_CLOSING}/",
        f"ROW: {' | '.join(rows)}",
        f'NAMING: ({" | ".join(beginnings)}) (" " VAGUE ROW?){{0,{longest // 2}}} END',
        f"SENTENCES: {sentences}",
    )


def _more(fewest: int, most: int) -> str:
    """So many sentences behind another."""
    return f' (" " SENTENCE){{{max(0, fewest)},{most}}}' if most > 0 else ""


def _any_of(words: set[str]) -> str:
    return f"/{'|'.join(map(re.escape, sorted(words)))}/"


def _free(detail: Detail) -> tuple[str, ...]:
    """A title and sentences of any words."""
    capital = rf"[[\p{{Lu}}\p{{Lt}}\p{{Lo}}]&&{_SCRIPTS}]"
    letter = rf"[[\p{{L}}\p{{M}}\p{{Nd}}]&&{_SCRIPTS}]"
    word = rf"[{letter}'’,&\/+-]{{1,20}}"
    shortest, longest = detail.sentence
    fewest, most = detail.sentences
    # The point in a number ends no sentence.
    inner = rf"(?: ?(?:[{letter}{_PROSE}]|[0-9][.][0-9])){{{shortest - 1},{longest - 1}}}"
    return (
        f"TITLE: /{capital}{word}(?: {word}){{0,5}}/",
        f"SENTENCE: /{capital}{inner}/ END",
        f"SENTENCES: SENTENCE{_more(fewest - 1, most - 1)}",
    )
