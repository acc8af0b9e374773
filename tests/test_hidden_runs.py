"""A few of the runs that `make accept-hidden` takes by the thousand, and whether they would notice."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from forethought.api.responses.output import OutputWriter
from forethought.logs import Hidden, get_logger
from forethought.model.checkpoint import Checkpoint
from forethought.reasoning.events import Event, ThinkingDelta
from forethought.reasoning.summary_verbatim import Gate
from runs.hidden import HIDDEN_PERCENT, HiddenHouses, Tally, canary_of, hidden_maker, open_hidden_houses
from runs.maker import Maker
from runs.shrink import describe

SEED = 1


@pytest.fixture(scope="module")
def maker(tiny_checkpoint: Path) -> Maker:
    return hidden_maker(Checkpoint.open(tiny_checkpoint), SEED)


@pytest.fixture
def tally() -> Tally:
    return Tally()


@pytest.fixture
def houses(tiny_checkpoint: Path, tally: Tally) -> Iterator[HiddenHouses]:
    with open_hidden_houses(tiny_checkpoint, tally) as houses:
        yield houses
        houses.check_accounts()


def take(houses: HiddenHouses, maker: Maker, number: int) -> None:
    canary = canary_of(SEED, number)
    run = maker.make(number, canary.text)
    assert houses.check(number, run, canary), describe(run)


def first(maker: Maker, kind: str, count: int = 1) -> list[int]:
    """The numbers of the first runs of a kind."""
    return [number for number in range(200) if maker.kind(number) == kind][:count]


@pytest.mark.parametrize("kind", HIDDEN_PERCENT)
def test_what_was_thought_is_found_nowhere(houses: HiddenHouses, maker: Maker, kind: str) -> None:
    for number in first(maker, kind, 2):
        take(houses, maker, number)


def test_thinking_is_sealed_and_handed_back_to_the_model_whole(
    houses: HiddenHouses, tally: Tally, maker: Maker
) -> None:
    for number in first(maker, "whole", 100):
        if "encrypted content" in set(maker.make(number).features) and maker.make(number).api == "responses":
            take(houses, maker, number)
        if tally.blobs["handed back with the whole canary"]:
            break
    assert tally.blobs["handed back with the whole canary"] == 1
    assert tally.blobs["holding the whole canary"] > 0


def leaks(houses: HiddenHouses, maker: Maker, kind: str) -> bool:
    """Whether one of the first runs of this kind is caught."""
    for number in first(maker, kind, 8):
        try:
            take(houses, maker, number)
        except AssertionError:
            return True
    return False


def test_a_log_that_spells_thinking_token_by_token_is_caught(
    houses: HiddenHouses, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = OutputWriter.write

    def written(writer: OutputWriter, event: Event) -> object:
        if isinstance(event, ThinkingDelta):
            get_logger("test").debug("more", text=event.text.reveal())
        return write(writer, event)

    monkeypatch.setattr(OutputWriter, "write", written)
    assert leaks(houses, maker, "whole")


def test_a_log_that_shows_hidden_text_is_caught(
    houses: HiddenHouses, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hidden, "__repr__", lambda hidden: hidden.reveal()[::-1])
    assert leaks(houses, maker, "malformed call")


def test_a_summary_that_may_quote_is_caught(
    houses: HiddenHouses, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gate, "feed", lambda gate, text: text)
    assert leaks(houses, maker, "summary copies")


def test_encrypted_content_that_is_bound_to_nothing_is_caught(
    houses: HiddenHouses, maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forethought.api.content_keys._bound", lambda header, tenant, model, item_id: header)
    assert leaks(houses, maker, "whole")
