"""Whether a text is a usable summary of some thinking: titled, short, in its own words, and naming nothing that is not
there. The family `summaries` trains it, and the evaluations judge the live summary by it. Where it is known what the
thinking comes to, the summary must not tell it otherwise.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from forethought.reasoning.summary_words import CLOSED, SHARE, TERM, terms, units
from forethought.tasks.problem import CORRECT, Verdict, wrong

LONGEST_RUN: Final = 12
"""Units that a summary may have in a row as they stand in the thinking. Above that it would be a quotation."""

SHORT_RESULT: Final = 3
"""Terms of a result that a summary has to name all."""

_NOUNS = "answer result results sum count value word total number difference product remainder time solution"
_RESULT_NOUNS: Final = frozenset(_NOUNS.split())
_RESULT_VERBS: Final = frozenset(("is", "becomes", "give", "gives", "comes", "equals"))
"""A noun and a verb in a row say that the next term is a result; the last one that is said to be one is the result."""

_SENTENCE = r"(?:[^*\s.!?。！？]|(?<=\d)[.](?=\d)| (?! ))+[.!?。！？]"
_SHAPE = re.compile(rf"\*\*(\S(?:[^*\n]*\S)?)\*\*\n\n({_SENTENCE}(?: {_SENTENCE})*)")
_BREAK = re.compile(r"[.!?。！？](?!\d)|\*\*|\n")


def judge_summary(thinking: str, summary: str) -> Verdict:
    """Whether `summary` may stand for `thinking`. Lengths are counted in `units`."""
    summary = summary.strip()
    shape = _SHAPE.fullmatch(summary)
    if shape is None or any(part[0].islower() for part in shape.groups()):
        return wrong("not a title and sentences")
    if len(units(summary)) * SHARE > len(units(thinking)):
        return wrong("longer than half of the thinking")
    foreign = foreign_terms(thinking, summary)
    if foreign:
        return wrong(f"names {foreign[0]}, which is not in the thinking")
    if not terms(summary):
        return wrong("names nothing of the thinking")
    return wrong("quotes the thinking") if _quotes(thinking, summary) else CORRECT


def judge_result(summary: str, result: Sequence[str]) -> Verdict:
    """Whether a summary tells this result, and no other one in its place. `result` is in parts that name something."""
    wanted, named_terms = terms(" ".join(result)), set(terms(summary))
    if not named_terms.intersection(wanted):
        return wrong("names nothing of the result")
    if len(wanted) <= SHORT_RESULT and not named_terms.issuperset(wanted):
        return wrong("names only a part of the result")
    said = [_words(sentence) for sentence in _BREAK.split(summary)]
    claimed = [term for words in said for term in _claimed(words)]
    if claimed and claimed[-1] != wanted[0]:
        return wrong(f"names {claimed[-1]} as the result")
    denied = {("not", term) for term in wanted} - set(pairwise(_words(" ".join(result))))
    return wrong("denies the result") if any(denied.intersection(pairwise(words)) for words in said) else CORRECT


def sentences_of(summary: str) -> int:
    """How many sentences there are below the title of a summary."""
    return len(re.findall(_SENTENCE, summary.rpartition("**")[2]))


def foreign_terms(thinking: str, summary: str) -> list[str]:
    """What a summary names and its thinking does not."""
    known = set(terms(thinking))
    return [term for term in terms(summary) if term not in known]


def _words(text: str) -> list[str]:
    return [word.casefold() for word in TERM.findall(text)]


def _claimed(words: Sequence[str]) -> Iterator[str]:
    """What a sentence says that the result is."""
    for place, (noun, verb) in enumerate(pairwise(words)):
        if noun in _RESULT_NOUNS and verb in _RESULT_VERBS:
            yield from [word for word in words[place + 2 :] if word not in CLOSED][:1]
        elif noun == "result" and verb not in CLOSED:
            yield verb


def _quotes(thinking: str, summary: str) -> bool:
    said, thought = units(summary.casefold()), f" {' '.join(units(thinking.casefold()))} "
    runs = (said[start : start + LONGEST_RUN + 1] for start in range(len(said) - LONGEST_RUN))
    return any(f" {' '.join(run)} " in thought for run in runs)
