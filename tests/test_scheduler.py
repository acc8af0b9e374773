"""The scheduler: the most important and the oldest first, prompts in pieces, memory taken from whoever can wait."""

import itertools
from collections import deque
from dataclasses import dataclass
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.engine.blocks import BlockManager, blocks_for
from forethought.engine.runner import BLOCK_SIZE
from forethought.engine.scheduler import AGING_STEPS, Plan, Scheduler
from forethought.engine.sequence import Sequence
from forethought.errors import QueueFull
from forethought.settings import EngineSettings
from runner_double import make_request


class Machine:
    """A scheduler, and steps that compute what it plans. Every sequence emits token 5 until it is removed."""

    def __init__(self, blocks: int = 64, **settings: object) -> None:
        configuration = EngineSettings.model_validate(settings)
        self.blocks = BlockManager(blocks, most=blocks, sharing=configuration.prefix_sharing)
        self.scheduler = Scheduler(self.blocks, configuration)

    def add(self, id_: str, prompt: int | list[int], priority: int = 0) -> Sequence:
        """By default a prompt that shares nothing with others."""
        start = 1000 * crc32(id_.encode())
        ids = prompt if isinstance(prompt, list) else list(range(start, start + prompt))
        request = make_request(id_, ids, priority=priority)
        sequence = Sequence(request, length_limit=10_000, seed=0, stops=None, grammar=None)
        self.scheduler.add(sequence)
        return sequence

    def step(self) -> Plan:
        plan = self.scheduler.schedule()
        for sequence, count in plan.counts:
            self.scheduler.advance(sequence, count)
            if sequence.computed == len(sequence.tokens):
                sequence.accept(5, forced=False)
        return plan

    def running(self) -> list[str]:
        return [sequence.id for sequence in self.scheduler.running]


def counts(plan: Plan) -> dict[str, int]:
    return {sequence.id: count for sequence, count in plan.counts}


def test_requests_run_in_the_order_of_their_arrival() -> None:
    machine = Machine(max_running=2)
    for id_ in "abc":
        machine.add(id_, 10)
    machine.step()
    assert machine.running() == ["a", "b"]
    machine.scheduler.remove(machine.scheduler.running[0])
    machine.step()
    assert machine.running() == ["b", "c"]


def test_the_more_important_run_first() -> None:
    machine = Machine(max_running=2)
    for id_, priority in (("low", 2), ("middle", 1), ("high", 0), ("low too", 2)):
        machine.add(id_, 10, priority)
    machine.step()
    assert machine.running() == ["high", "middle"]


def test_a_more_important_newcomer_takes_the_place_of_the_least_important() -> None:
    machine = Machine(max_running=2)
    old, new = machine.add("old", 10, 1), machine.add("new", 10, 1)
    machine.step()
    machine.add("urgent", 10, 0)
    machine.step()
    assert machine.running() == ["urgent", "old"]
    assert new in machine.scheduler.waiting
    assert old.running


def test_equals_are_not_preempted_by_newcomers() -> None:
    machine = Machine(max_running=1)
    machine.add("first", 10)
    machine.step()
    machine.add("second", 10)
    machine.step()
    assert machine.running() == ["first"]
    assert machine.scheduler.preemptions == 0


def test_waiting_long_enough_beats_any_importance() -> None:
    machine = Machine(max_running=1)
    machine.add("patient", 10, 3)
    for step in range(3 * AGING_STEPS + 2):
        machine.add(f"urgent{step}", 10, 0)
        machine.step()
        if machine.running() == ["patient"]:
            break
        machine.scheduler.remove(machine.scheduler.running[0])
    assert machine.running() == ["patient"]


def test_a_long_prompt_is_computed_in_pieces_while_others_decode() -> None:
    machine = Machine(max_step_tokens=32)
    machine.add("talker", 10)
    machine.step()
    long = machine.add("long", 100)
    plans = [counts(machine.step()) for _ in range(5)]
    assert [plan["long"] for plan in plans] == [31, 31, 31, 7, 1]
    assert all(plan["talker"] == 1 for plan in plans)
    assert long.produced == 2


def test_a_step_computes_no_more_tokens_than_allowed() -> None:
    machine = Machine(max_step_tokens=40, blocks=200)
    for index in range(60):
        machine.add(f"r{index}", 7 * index % 50 + 1)
    for _ in range(100):
        assert sum(counts(machine.step()).values()) <= 40


def test_everyone_who_runs_can_decode_in_every_step() -> None:
    machine = Machine(max_step_tokens=32, max_running=100, blocks=200)
    for index in range(60):
        machine.add(f"r{index}", 1)
    machine.step()
    assert len(machine.running()) == 32
    assert counts(machine.step()) == dict.fromkeys(machine.running(), 1)


def test_a_prompt_asked_for_many_times_is_computed_once() -> None:
    machine = Machine()
    prompt = list(range(70))
    sequences = [machine.add(f"r{index}", prompt) for index in range(16)]
    assert counts(machine.step()) == {"r0": 70}
    plan = machine.step()
    assert counts(plan) == {f"r{index}": 1 for index in range(16)}
    assert [sequence.cached_tokens for sequence in sequences] == [0] + [69] * 15
    assert len(plan.copies) == 15


def test_waiting_for_a_shared_prompt_lets_others_pass() -> None:
    machine = Machine(max_step_tokens=32)
    prompt = list(range(100))
    for id_ in ("leader", "follower"):
        machine.add(id_, prompt)
    machine.add("other", 3)
    plans = [counts(machine.step()) for _ in range(5)]
    assert plans[0] == {"leader": 29, "other": 3}
    assert plans[1:3] == [{"leader": 31, "other": 1}] * 2
    assert plans[3:] == [{"leader": 9, "other": 1}, {"leader": 1, "other": 1, "follower": 1}]


# A long prompt and short ones


def test_a_short_prompt_passes_one_that_is_much_longer() -> None:
    machine = Machine(max_step_tokens=64)
    machine.add("long", 1000)
    assert counts(machine.step()) == {"long": 64}
    machine.add("short", 10)
    assert counts(machine.step()) == {"long": 54, "short": 10}
    assert counts(machine.step()) == {"long": 63, "short": 1}


def test_half_of_a_step_stays_with_the_first_however_many_pass_it() -> None:
    machine = Machine(max_step_tokens=64, blocks=200)
    machine.add("long", 1000)
    for index in range(20):
        machine.add(f"short{index}", 20 - index)
    plan = counts(machine.step())
    assert plan == {"long": 32, **{f"short{index}": 20 - index for index in range(13, 20)}, "short12": 4}


def test_a_prompt_that_is_about_as_long_waits_its_turn() -> None:
    machine = Machine(max_step_tokens=64)
    machine.add("first", 1000)
    machine.add("second", 501)
    assert counts(machine.step()) == {"first": 64}


def test_the_less_important_pass_nobody() -> None:
    machine = Machine(max_step_tokens=64)
    machine.add("long", 1000, 1)
    machine.add("short", 10, 2)
    assert counts(machine.step()) == {"long": 64}


def test_who_passes_leaves_the_memory_that_the_next_one_waits_for() -> None:
    machine = Machine(max_step_tokens=64, blocks=20)
    machine.add("long", 9 * BLOCK_SIZE)
    machine.add("next", 9 * BLOCK_SIZE)
    machine.add("short", 10)
    machine.add("also short", 11)
    machine.step()
    assert machine.running() == ["long", "short"]


@dataclass
class Arrival:
    """A prompt that comes after so many steps, and what became of it: it leaves when it is computed."""

    step: int
    length: int
    in_front: int = 0
    """Tokens to be computed for those in front when it came, and its own."""
    steps: int = 0
    """That it took."""


def computed(arrivals: list[Arrival]) -> list[Arrival]:
    """The arrivals in order, after a machine with steps of 64 tokens has computed them all."""
    machine = Machine(max_step_tokens=64, blocks=3000)
    coming = deque(sorted(arrivals, key=lambda arrival: arrival.step))
    present: dict[str, tuple[Arrival, Sequence]] = {}
    for step in itertools.count():
        while coming and coming[0].step == step:
            arrival = coming.popleft()
            sequence = machine.add(f"{step}/{len(coming)}", arrival.length)
            present[sequence.id] = arrival, sequence
            arrival.in_front = sum(len(one.tokens) - one.computed for _, one in present.values())
        if not present and not coming:
            return arrivals
        assert sum(counts(machine.step()).values()) <= 64
        for arrival, sequence in list(present.values()):
            arrival.steps += 1
            if sequence.produced:
                machine.scheduler.remove(sequence)
                del present[sequence.id]
    raise AssertionError


steps = st.integers(0, 30)
shorts = st.builds(Arrival, steps, st.integers(2, 40))
longs = st.builds(Arrival, steps, st.integers(300, 3000))


@given(st.lists(shorts | longs | st.builds(Arrival, steps, st.integers(41, 299)), min_size=1, max_size=25))
def test_no_prompt_starves_half_of_each_step_goes_to_those_in_front_of_it_and_to_it(arrivals: list[Arrival]) -> None:
    for arrival in computed(arrivals):
        assert arrival.steps <= -(-arrival.in_front // 32)


@given(st.lists(shorts, min_size=1, max_size=20), st.lists(longs, max_size=6))
def test_a_short_prompt_waits_for_shorter_ones_and_not_for_long_ones(short: list[Arrival], long: list[Arrival]) -> None:
    for arrival in computed(short + long)[: len(short)]:
        shorter = sum(other.length for other in short if other.length <= arrival.length)
        # The last steps of a long prompt are not worth passing it: then it is not much longer.
        assert arrival.steps <= -(-shorter // 32) + -(-2 * arrival.length // 32) + 2


def test_nobody_waits_for_the_less_important() -> None:
    machine = Machine(max_step_tokens=32)
    prompt = list(range(100))
    machine.add("low", prompt, 2)
    machine.step()
    machine.add("urgent", prompt, 0)
    assert counts(machine.step()) == {"urgent": 32}


def test_a_short_common_beginning_is_not_waited_for() -> None:
    machine = Machine()
    machine.add("one", [*range(10), *range(100, 160)])
    machine.add("two", [*range(10), *range(200, 260)])
    assert set(counts(machine.step())) == {"one", "two"}


def test_a_follower_goes_on_alone_when_its_leader_leaves() -> None:
    machine = Machine(max_step_tokens=32)
    prompt = list(range(100))
    leader, follower = machine.add("leader", prompt), machine.add("follower", prompt)
    machine.step()
    machine.scheduler.remove(leader)
    machine.step()
    assert follower.running
    assert follower.cached_tokens == 32


def test_when_blocks_run_out_the_latest_gives_way_and_comes_back() -> None:
    machine = Machine(blocks=4)
    first, second = machine.add("first", 30), machine.add("second", 20)
    for _ in range(60):
        assert "first" in counts(machine.step())
    assert machine.scheduler.preemptions > 0
    assert not second.running
    kept = list(second.tokens)
    machine.scheduler.remove(first)
    machine.step()
    assert second.running
    assert second.tokens[: len(kept)] == kept


def test_the_less_important_gives_way_even_if_it_came_first() -> None:
    machine = Machine(blocks=4)
    low, high = machine.add("low", 30, 1), machine.add("high", 30, 0)
    for _ in range(60):
        machine.step()
    assert high.running
    assert not low.running


def test_a_preempted_request_is_not_overtaken_by_a_later_one() -> None:
    machine = Machine(blocks=4)
    machine.add("first", 30)
    second = machine.add("second", 30)
    while second.running or not machine.scheduler.preemptions:
        machine.step()
    late = machine.add("late", 1)
    machine.step()
    assert not late.running


def test_nobody_is_preempted_where_it_does_not_help() -> None:
    machine = Machine(blocks=6)
    machine.add("first", 100)
    machine.add("low", 20, 2)
    machine.step()
    machine.add("big", 5 * BLOCK_SIZE, 1)
    machine.step()
    assert machine.running() == ["first", "low"]


def test_a_newcomer_leaves_a_block_to_each_that_runs() -> None:
    machine = Machine(blocks=4, prefix_sharing=False)
    machine.add("one", 32)
    machine.add("two", 32)
    machine.add("three", 32)
    machine.step()
    assert machine.running() == ["one", "two"]


def test_removing_frees_the_memory_at_once() -> None:
    machine = Machine(blocks=8, prefix_sharing=False)
    sequence = machine.add("one", 200)
    machine.step()
    assert machine.blocks.available == 8 - blocks_for(200)
    machine.scheduler.remove(sequence)
    assert machine.blocks.available == 8
    assert not machine.scheduler.schedule().counts


def test_a_full_queue_says_so() -> None:
    machine = Machine(max_queued=2)
    machine.add("one", 1)
    machine.scheduler.check_room()
    machine.add("two", 1)
    with pytest.raises(QueueFull, match="2 requests are waiting"):
        machine.scheduler.check_room()


def test_a_reset_computes_everything_again() -> None:
    machine = Machine()
    sequence = machine.add("one", 40)
    machine.step()
    machine.step()
    machine.scheduler.preempt_all()
    assert (sequence.computed, sequence.running) == (0, False)
    assert machine.blocks.available == 64
    assert counts(machine.step()) == {"one": 42}
    assert sequence.cached_tokens == 0
