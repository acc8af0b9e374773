"""What a summary may say of any thinking, what it names (the rest, which has to be in the thinking), and its length."""

import re
from typing import Final

_FUNCTION = (
    "a about after against all also an and another any are as at be before both but by each every first for from"
    " has have here how if in into is it its last more most next no none not of on once one only or other out right"
    " same so some than that the their them then there these they this those to together up was"
    " what when where which while with without"
)
_DESCRIBING = (
    "add added adding adds again answer answering answers argument arguments ask asked asks become becomes begin"
    " begins borrow calculation calendar call called calling calls carry case cases change changed check checked"
    " checking checks choice choose chooses choosing chosen code column columns compare compared compares comparing"
    " compute computed computes computing convert converted converting copied copies count counted counting counts"
    " date day days decimal decimals deduction developer difference digit digits divide divided dividing end ends"
    " fact factor factors facts field fields filled filling find finding finds follow followed following follows"
    " found fraction fractions function functions give given gives item items keep keeping keeps kept larger"
    " largest lead leading leads letter letters line lines list look looked looking looks make makes match matched"
    " matches matching method minus multiplied multiplies multiply multiplying name named names need needed needs"
    " notes number numbers obey obeyed order ordered ordering part parts picked picking picks place placed places"
    " plus product put question read reading reads remainder request result results reverse reversed reversing rule"
    " say saying says second sentence settled share smaller smallest solve solved solving sort sorted sorting spell"
    " spelled spelling start started starting starts step steps story subtract subtracted subtracting subtracts sum"
    " table text time times tool tools total tried tries turn turned turning turns unit units user using"
    " value values way word words work worked working works write writing written yield yields"
)

FUNCTION_WORDS: Final = frozenset(_FUNCTION.split())
"""Words that say nothing by themselves."""

DESCRIBING_WORDS: Final = frozenset(_DESCRIBING.split())
"""Words for what thinking does. A summary may use them for any thinking."""

CLOSED: Final = FUNCTION_WORDS | DESCRIBING_WORDS
"""Words that name nothing."""

TERM = re.compile(r"(?:(?<![\w.)\]])-)?\d+(?:\.\d+)?(?![^\W_])|[^\W_]+(?:['’][^\W\d_]+)?")
"""A number, or a word."""

SHARE: Final = 2
"""A summary is at most one in so many parts of what it is about, in `units`."""

_UNIT = re.compile(r"\d|[^\W\d_]+|[^\w\s]+|_|\n+")


def units(text: str) -> list[str]:
    """Words, digits, runs of marks and of line breaks: about a token each."""
    return _UNIT.findall(text)


def named(text: str) -> list[str]:
    """What a text names, in its order: numbers, and words that are neither function words nor describing words."""
    return [term for term in TERM.findall(text) if term.casefold() not in CLOSED]


def terms(text: str) -> list[str]:
    """What a text names, in lower case."""
    return [term.casefold() for term in named(text)]
