"""Thinking is cut where a reader would cut it, and the same way however it streams."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from forethought.reasoning.summary_segments import LONGEST, Segmenter

thinking = st.text("ab \n", max_size=300)


def cut(parts: Iterable[str], least: int = 20, most: int = 99) -> list[str]:
    segmenter = Segmenter(least, most)
    segments = [segment for part in parts for segment in segmenter.feed(part)]
    rest = segmenter.finish()
    return segments if rest is None else [*segments, rest]


def test_a_segment_ends_at_the_first_paragraph_border_behind_its_least_length() -> None:
    paragraphs = ["one two\n\n", "three four five six\n\n", "seven eight nine ten\n\n"]
    assert cut(paragraphs) == ["one two\n\nthree four five six\n\n", "seven eight nine ten\n\n"]


def test_without_a_border_it_ends_between_two_words() -> None:
    assert cut(["one two three four five six seven eight"]) == ["one two three four five six ", "seven eight"]


def test_a_text_without_any_white_space_is_cut_all_the_same() -> None:
    assert list(map(len, cut(["x" * 100]))) == [30, 30, 30, 10]


@given(thinking, st.integers(1, 40), st.data())
def test_the_cuts_do_not_depend_on_how_the_thinking_comes_in(text: str, least: int, data: st.DataObject) -> None:
    points = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    split = [text[a:b] for a, b in zip([0, *points], [*points, len(text)], strict=True)]
    assert cut(split, least) == cut([text], least) == cut(text, least)


@given(thinking, st.integers(1, 40))
def test_segments_joined_are_the_thinking_up_to_a_rest_not_worth_a_part(text: str, least: int) -> None:
    segments = cut([text], least)
    rest = text.removeprefix("".join(segments))
    assert text.startswith("".join(segments))
    assert not rest.strip() or len(rest) < least // 4
    assert all(len(segment) >= least for segment in segments[:-1])


@given(thinking, st.integers(1, 5))
def test_there_are_never_more_than_the_most(text: str, most: int) -> None:
    assert len(cut([text], 3, most)) <= most


def test_later_segments_of_a_long_thinking_grow_up_to_a_limit() -> None:
    sentence = "I should look at this from another side. "
    lengths = list(map(len, cut([sentence] * 20_000, 600)))
    assert lengths[20] > 5 * lengths[0]
    assert max(lengths) <= LONGEST * 1.5


def test_however_short_the_thinking_it_is_a_segment_unless_it_is_blank() -> None:
    assert cut(["Hm."]) == ["Hm."]
    assert cut([" \n\n "]) == []
