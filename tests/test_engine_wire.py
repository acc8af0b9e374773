"""Messages between the engine process and its parent: they arrive as they were sent, however the bytes are cut."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.protocol import EngineEvent, Finished, TokenEvent
from forethought.engine.wire import Cancel, FrameReader, Refused, frame, pack_event, unpack_event
from forethought.errors import ContextLengthError

tokens = st.builds(
    TokenEvent,
    st.integers(0, 2**31),
    forced=st.booleans(),
    logprob=st.none() | st.floats(max_value=0),
    top_logprobs=st.just(()),
)
alternatives = st.lists(st.tuples(st.integers(0, 2**31), st.floats(max_value=0)), max_size=20).map(tuple)
scored_tokens = st.builds(
    TokenEvent, st.integers(0, 2**31), st.booleans(), st.floats(max_value=0), top_logprobs=alternatives
)
ends = st.builds(
    Finished,
    st.sampled_from(["stop_token", "max_tokens", "error"]),
    st.integers(0),
    st.integers(0),
    st.integers(0),
    error=st.none() | st.text(),
)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20), st.lists(st.integers(1, 50), min_size=1))
def test_messages_arrive_in_order_however_their_bytes_are_cut(numbers: list[int], cuts: list[int]) -> None:
    data = b"".join(frame(Cancel(number)) for number in numbers)
    reader = FrameReader()
    arrived: list[Cancel] = []
    position = turn = 0
    while position < len(data):
        size = cuts[turn % len(cuts)]
        arrived += reader.feed(data[position : position + size])
        position, turn = position + size, turn + 1
    assert arrived == [Cancel(number) for number in numbers]


@given(st.integers(1), tokens | scored_tokens | ends)
def test_an_event_arrives_as_it_was(number: int, event: EngineEvent) -> None:
    packed = pickle.loads(pickle.dumps(pack_event(number, event), protocol=5))
    assert packed[0] == number
    assert unpack_event(packed) == event


def test_an_error_arrives_with_its_type_message_and_remedy() -> None:
    (message,) = FrameReader().feed(frame(Refused(3, ContextLengthError("Too long.", "Shorten it."))))
    assert message.number == 3
    assert type(message.error) is ContextLengthError
    assert (message.error.message, message.error.remedy) == ("Too long.", "Shorten it.")


def test_a_plain_token_travels_as_two_numbers() -> None:
    assert pack_event(7, TokenEvent(42)) == (7, 42)


@pytest.mark.parametrize("end", [Finished("max_tokens", 1, 2, 3, 4, "budget")])
def test_how_thinking_ended_arrives(end: Finished) -> None:
    assert unpack_event(pack_event(1, end)) == end
