"""A few of the runs that `make accept-streams` takes by the thousand, and what they are made of."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import tiny_tokenizer
from forethought.api import sse
from forethought.model.conversation import Item, Message, Thinking
from forethought.model.tokenizer import Tokenizer
from runs.house import Houses, open_houses
from runs.maker import PERCENT, Maker
from runs.run import Break, Output, Run
from runs.sdk import Sdk
from runs.series import Series
from runs.shrink import describe, smallest
from runs.splits import Splitter
from runs.sse import read_events
from runs.streams import check_streams

TINY = Tokenizer(tiny_tokenizer().to_str())
MAKER = Maker(1, noise=range(TINY.vocab_size))
KINDS = [MAKER.kind(number) for number in range(100)]
NUMBERS = sorted({*range(12), *map(KINDS.index, PERCENT)})
"""The first few, and the first of each kind."""


@pytest.fixture(scope="module")
def houses(tiny_checkpoint: Path) -> Iterator[Houses]:
    with open_houses(tiny_checkpoint) as houses:
        yield houses
        houses.main.check_accounts()


@pytest.fixture(scope="module")
def sdk() -> Iterator[Sdk]:
    with Sdk() as sdk:
        yield sdk


@pytest.mark.parametrize("number", NUMBERS)
def test_a_run_keeps_the_laws_of_a_stream(houses: Houses, sdk: Sdk, number: int) -> None:
    run = MAKER.make(number)
    assert check_streams(houses, sdk, run), describe(run)


def test_a_server_that_forgets_the_end_of_a_stream_is_caught(
    tiny_checkpoint: Path, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "DONE", b"")
    with open_houses(tiny_checkpoint) as houses, pytest.raises(AssertionError):
        check_streams(houses, sdk, MAKER.make(KINDS.index("whole")))


def test_a_run_comes_from_its_seed_and_number_alone() -> None:
    assert [MAKER.make(number) for number in range(50)] == [MAKER.make(number) for number in range(50)]
    assert MAKER.make(0) != MAKER.make(100)
    assert MAKER.make(0) != Maker(2, MAKER.noise).make(0)


@given(st.text(), st.integers())
def test_every_split_of_an_output_says_the_same(text: str, seed: int) -> None:
    marker = min(TINY.special_ids)
    tokens = [marker, *TINY.encode(text), marker]
    split = Splitter(TINY).split(tokens, Random(seed))
    assert TINY.decode(split) == TINY.decode(tokens)
    assert (split[0], split[-1]) == (marker, marker)


def test_splits_differ_and_cut_characters() -> None:
    splits = {tuple(Splitter(TINY).split(TINY.encode("the answer: é😀"), Random(seed))) for seed in range(20)}
    assert len(splits) > 10
    assert any("\ufffd" in TINY.decode(split[:place]) for split in splits for place in range(len(split)))


def test_a_run_that_fails_is_told_by_the_smallest_one_that_does() -> None:
    items: tuple[Item, ...] = (Thinking("so"), Message.of("assistant", "one"), Message.of("assistant", "bad"))
    output = Output(items, noise=((0.5, (1,)),), split=7, ends=Break("max_tokens", 0.5))
    run = Run("whole", "chat", "/", {"model": "m", "messages": [1, 2], "seed": 1}, (output,), summariser="fails")

    def fails(run: Run) -> bool:
        return any(isinstance(item, Message) and "bad" in item.text for item in run.outputs[0].items)

    small = smallest(run, fails)
    assert small.body.keys() == {"model", "messages"}
    assert small.summariser == "writes"
    assert small.outputs == (Output((Thinking(""), Message.of("assistant", "bad"))),)
    assert "bad" in describe(small)


def test_a_series_counts_its_runs_and_tells_of_those_that_fail(capsys: pytest.CaptureFixture[str]) -> None:
    renewed: list[None] = []

    def check(number: int, run: Run) -> str:
        assert number != 3
        return "well"

    series = Series(1, MAKER.make, check, lambda: renewed.append(None))
    series.take(range(5))
    assert (series.kinds.total(), series.ends.total(), len(series.failures)) == (5, 4, 1)
    assert series.failures[0].startswith("run 3 of seed 1\n")
    assert renewed, "whatever a failure left behind is gone"


@pytest.mark.parametrize(
    "raw",
    [
        b'data: {"a": 1}\n\n',
        b'data: {"a": 1}\n\ndata: [DONE]\n',
        b'data: {"a": 1}\n\ndata: [DONE]\n\ndata: [DONE]\n\n',
        b'data: [DONE]\n\ndata: {"a": 1}\n\n',
        b'data: {"a":\ndata: 1}\n\ndata: [DONE]\n\n',
        b'event: x\ndata: {"type": "y"}\n\ndata: [DONE]\n\n',
        b"data: 1\n\ndata: [DONE]\n\n",
    ],
)
def test_bytes_that_are_no_stream_are_not_read_as_one(raw: bytes) -> None:
    with pytest.raises((AssertionError, ValueError)):
        read_events(raw, named=b"event" in raw)


def test_comments_stand_between_events() -> None:
    raw = b': ping\n\ndata: {"a": 1}\n\n: ping\n\ndata: [DONE]\n\n'
    assert read_events(raw, named=False) == [{"a": 1}]
