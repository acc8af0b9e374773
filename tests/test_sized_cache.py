"""A cache that holds what was used last, as much of it as there is room for."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.sized_cache import ENTRY, SizedCache


def never() -> str:
    raise AssertionError("it is there")


def making(value: str) -> Callable[[], str]:
    return lambda: value


def cache(room: int) -> SizedCache[str, str]:
    return SizedCache(room, lambda key, value: len(value))


def test_what_is_kept_is_made_once() -> None:
    kept = cache(10 * ENTRY)
    assert [kept.get("a", making("x")), kept.get("a", never)] == ["x", "x"]


def test_what_was_not_used_for_longest_gives_way_to_what_is_new() -> None:
    kept = cache(2 * ENTRY + 10)
    for key in ("a", "b", "a", "c"):
        kept.get(key, making("x"))
    assert kept.get("a", never) == kept.get("c", never) == "x"
    with pytest.raises(AssertionError):
        kept.get("b", never)


def test_what_is_larger_than_all_room_is_made_and_not_kept() -> None:
    kept = cache(2 * ENTRY)
    kept.get("small", making("x"))
    assert len(kept.get("large", making("x" * 2 * ENTRY))) == 2 * ENTRY
    assert kept.get("small", never) == "x"
    assert len(kept) == 1


def test_what_cannot_be_made_is_not_kept() -> None:
    kept = cache(2 * ENTRY)
    with pytest.raises(AssertionError):
        kept.get("a", never)
    assert kept.get("a", making("x")) == "x"


@given(st.integers(0, 8 * ENTRY), st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2 * ENTRY))))
def test_there_is_never_more_than_there_is_room_for(room: int, asked: list[tuple[int, int]]) -> None:
    kept = cache(room)
    sizes: dict[str, int] = {}
    for key, size in asked:
        sizes.setdefault(str(key), size)
        assert kept.get(str(key), making("x" * sizes[str(key)])) == "x" * sizes[str(key)]
        assert kept.held == sum(size for _, size in kept._kept.values()) <= room
