"""No part of a summary has more than a bounded run in common with the thinking, however either is spelled."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forethought.model.tokenizer import Tokenizer
from forethought.reasoning.summary_verbatim import MAX_LETTERS, MAX_TOKENS, Gate, Thought, Units
from verbatim_oracle import letters, longest_run, plain_tokens

THINKING = (
    "The user wants the sum of all even numbers below fifty. That is an arithmetic series with twenty-four terms, so"
    " I multiply the mean of the first and the last by their number: 25 * 24 = 600."
)
OWN_WORDS = "**Adding up a series**\n\nThe numbers form a regular row. Its total is found with a well-known rule."


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> Tokenizer:
    return Tokenizer.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def units(tokenizer: Tokenizer) -> Units:
    return Units(tokenizer)


def let_through(units: Units, summary: str | Iterable[str], *thinking: str) -> tuple[str, bool]:
    """What a gate gives of a summary, and whether it closed."""
    thought = Thought(units)
    for text in thinking or (THINKING,):
        thought.learn(text)
    gate = Gate(thought)
    parts = [summary] if isinstance(summary, str) else summary
    shown = "".join([*map(gate.feed, parts), gate.finish()])
    return shown, gate.closed


def measured(units: Units, text: str) -> Thought:
    """A text in the gate's own units."""
    thought = Thought(units)
    thought.learn(text)
    return thought


def test_a_summary_in_its_own_words_comes_through_whole(units: Units) -> None:
    assert let_through(units, OWN_WORDS) == (OWN_WORDS, False)


def test_a_copy_ends_before_the_run_that_it_copies(units: Units) -> None:
    shown, closed = let_through(units, f"{OWN_WORDS} {THINKING}")
    assert closed
    assert shown.startswith(OWN_WORDS)
    assert len(shown) <= len(OWN_WORDS) + 1


@pytest.mark.parametrize(
    "disguise",
    [
        str.upper,
        str.title,
        lambda text: text.replace(" ", "\n\n  "),
        lambda text: text.replace(" ", ""),
        lambda text: " ".join(text),
        lambda text: text.replace(" ", ", "),
        lambda text: "-".join(text.split()),
        lambda text: "*".join(text),
        lambda text: text.translate({ord(c): ord(c) + 0xFEE0 for c in map(chr, range(0x21, 0x7F))}),  # full width
        lambda text: "".join(f"{c}\u0301" if c.isalpha() else c for c in text),  # accents
    ],
    ids=["upper", "title", "spaced", "joined", "spelled out", "commas", "hyphens", "stars", "full width", "accents"],
)
def test_no_disguise_makes_a_copy_pass(units: Units, disguise: object) -> None:
    shown, closed = let_through(units, f"{OWN_WORDS} {disguise(THINKING)}")  # type: ignore[operator]
    assert closed
    assert len(shown) <= len(OWN_WORDS) + 1


def test_a_copy_of_digits_and_marks_is_a_copy(units: Units) -> None:
    thinking = "So: 1 + 2 = 3, 3 + 3 = 6, 6 + 4 = 10, 10 + 5 = 15."
    shown, closed = let_through(units, f"Sums. {thinking}", thinking)
    assert closed
    assert shown == "Sums. "


def test_a_copy_in_a_script_without_spaces_is_a_copy(units: Units) -> None:
    thinking = "用户想知道一百以内所有偶数的和，我先列出等差数列。"
    shown, closed = let_through(units, f"求和。{thinking}", thinking)
    assert closed
    assert len(shown) <= len("求和。") + 1


def test_a_run_across_two_stretches_of_thinking_counts(units: Units) -> None:
    assert let_through(units, THINKING, THINKING[:60], THINKING[60:])[1]


def test_a_short_thinking_is_not_told_whole_by_a_title(units: Units) -> None:
    thinking = "Rome is the capital of Italy."
    for copy in (thinking, "**Rome is the capital of Italy**", "**R-o-m-e i.s t.h.e capi-tal of Ita-ly**"):
        assert let_through(units, copy, thinking)[1]
    said = "**Looking up a city** The city is Rome."
    assert let_through(units, said, thinking) == (said, False)


def test_common_words_do_not_close_the_gate(units: Units) -> None:
    text = "The user wants a result. So the sum is computed. That is all."
    assert let_through(units, text) == (text, False)


def test_what_might_become_a_copy_is_held_back_until_it_is_not_one(units: Units) -> None:
    thought = Thought(units)
    thought.learn(THINKING)
    gate = Gate(thought)
    assert gate.feed("It says the user wants ") == "It says"
    more = gate.feed("help. Fine")
    assert more.startswith(" the user wants")
    assert more + gate.finish() == " the user wants help. Fine"


WORDS = ["the", "sum", "SUM", "of", "even", "Numbers", "25", "*", "=", "600", "和", "né", ".", "\n"]
texts = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)
slow = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@slow
@given(thinking=texts, summary=texts, data=st.data())
def test_what_comes_through_has_no_long_run_and_is_a_beginning_of_the_summary(
    units: Units, tokenizer: Tokenizer, thinking: str, summary: str, data: st.DataObject
) -> None:
    points = data.draw(st.lists(st.integers(0, len(summary)), max_size=6).map(sorted))
    split = [summary[a:b] for a, b in zip([0, *points], [*points, len(summary)], strict=True)]
    shown, closed = let_through(units, split, thinking)
    assert (shown, closed) == let_through(units, summary, thinking)
    assert summary.startswith(shown)
    if not closed:
        assert shown.strip() == summary.strip()
    assert longest_run(letters(shown), letters(thinking)) <= MAX_LETTERS
    assert longest_run(plain_tokens(tokenizer, shown), plain_tokens(tokenizer, thinking)) <= MAX_TOKENS
    # How much of a short thinking that is depends on how words are cut: in the gate's own measure.
    told, known = measured(units, shown), measured(units, thinking)
    assert longest_run(told.tokens, known.tokens) <= len(known.tokens) // 2
    assert longest_run(told.letters, known.letters) <= len(known.letters) * 3 // 4


@slow
@given(thinking=texts, summary=texts)
def test_a_summary_is_cut_only_because_of_a_long_run(units: Units, thinking: str, summary: str) -> None:
    if let_through(units, summary, thinking)[1]:
        told, known = measured(units, summary), measured(units, thinking)
        long = longest_run(told.tokens, known.tokens) > min(MAX_TOKENS, len(known.tokens) // 2)
        assert long or longest_run(told.letters, known.letters) > min(MAX_LETTERS, len(known.letters) * 3 // 4)


def test_the_bound_holds_for_the_default_bases_tokenizer(base_tokenizer: Tokenizer) -> None:
    units = Units(base_tokenizer)
    shown, closed = let_through(units, f"{OWN_WORDS} Then it {THINKING[9:90]}.")
    assert closed
    assert longest_run(plain_tokens(base_tokenizer, shown), plain_tokens(base_tokenizer, THINKING)) <= MAX_TOKENS
    assert let_through(units, OWN_WORDS) == (OWN_WORDS, False)
