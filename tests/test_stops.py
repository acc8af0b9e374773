"""Stop strings are found in the bytes of the answer, wherever token borders fall."""

from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.stops import StopStrings


def found_at(stops: tuple[str, ...], pieces: list[bytes]) -> int | None:
    """The index of the piece that completes a stop string."""
    watcher = StopStrings(stops, pieces.__getitem__)
    return next((index for index in range(len(pieces)) if watcher.found(index)), None)


def test_a_stop_string_may_span_tokens() -> None:
    assert found_at(("STOP",), [b"aS", b"T", b"", b"OP!", b"x"]) == 3


def test_a_stop_string_may_stand_inside_a_token() -> None:
    assert found_at(("b",), [b"a", b"abc"]) == 1


def test_a_character_may_be_split_between_tokens() -> None:
    snow = "☃".encode()
    assert found_at(("☃",), [b"a", snow[:1], snow[1:2], snow[2:]]) == 3


def test_no_stop_string_means_going_on() -> None:
    assert found_at(("xyz",), [b"x", b"y", b"x", b"yx"]) is None


@given(
    text=st.text("abé☃", max_size=30),
    stops=st.lists(st.text("abé☃", min_size=1, max_size=4), min_size=1, max_size=3),
    data=st.data(),
)
def test_the_first_stop_string_is_found_wherever_cuts_fall(text: str, stops: list[str], data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    ends = [raw.find(stop.encode()) + len(stop.encode()) for stop in stops if stop.encode() in raw]
    index = found_at(tuple(stops), pieces)
    if not ends:
        assert index is None
        return
    assert index is not None
    before, through = sum(map(len, pieces[:index])), sum(map(len, pieces[: index + 1]))
    assert before < min(ends) <= through
