"""The scheduler: which sequences run, and how many tokens of each are computed in the next step.

Each request has a rank that never changes: the step in which it arrived, plus a handicap for its priority. What has
the lower rank is admitted first, gets its prompt computed first, and is the last to give up its blocks. So within a
priority requests run in the order of their arrival, a more important one overtakes, and none starves: after enough
steps every newcomer has a higher rank. The sequence with the lowest rank is never preempted, and no request is taken
that would not fit alone, so there is always one that gets on. Only a prompt that is much shorter than the one in front
may pass it (`prefill.py`).
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from operator import attrgetter

from forethought.engine.blocks import BlockManager, blocks_for
from forethought.engine.prefill import HeldUp, divide, pending
from forethought.engine.prefix_tree import Match
from forethought.engine.refusals import queue_full
from forethought.engine.runner import BLOCK_SIZE
from forethought.engine.sequence import Sequence
from forethought.settings import EngineSettings

AGING_STEPS = 256
"""The handicap of one level of priority: for so many steps (some 10 s) a more important newcomer overtakes."""

_rank = attrgetter("rank")


def _length(sequence: Sequence) -> int:
    return len(sequence.tokens)


@dataclass(slots=True)
class Plan:
    """One step: sequences that need one token computed, others with how many, and blocks to copy beforehand."""

    decodes: list[Sequence] = field(default_factory=list[Sequence])
    chunks: list[tuple[Sequence, int]] = field(default_factory=list[tuple[Sequence, int]])
    copies: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    @property
    def counts(self) -> list[tuple[Sequence, int]]:
        """All sequences of the step, with how many tokens of each, in the order of the batch."""
        return [*((sequence, 1) for sequence in self.decodes), *self.chunks]


class Scheduler:
    """Owns the waiting and the running sequences, and through `blocks` their memory."""

    def __init__(self, blocks: BlockManager, settings: EngineSettings) -> None:
        self._blocks = blocks
        self._max_waiting = settings.max_queued
        self._max_tokens = settings.max_step_tokens
        # A running sequence computes at least one token a step, or would wait for no reason.
        self._max_running = min(settings.max_running, settings.max_step_tokens)
        self._sharing = settings.prefix_sharing
        self._steps = 0
        self._arrivals = 0
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.preemptions = 0
        self.cached_tokens = 0

    def check_room(self) -> None:
        """Raises `QueueFull` if no more may wait."""
        if len(self.waiting) >= self._max_waiting:
            raise queue_full(len(self.waiting))

    def add(self, sequence: Sequence) -> None:
        """Queues a sequence by its rank, which it gets here."""
        self._arrivals += 1
        sequence.rank = (self._steps + sequence.request.priority * AGING_STEPS, self._arrivals)
        insort(self.waiting, sequence, key=_rank)

    def remove(self, sequence: Sequence, *, discard: bool = False) -> None:
        """Takes a sequence out and frees its memory. What it has computed stays cached, unless it is to be
        discarded."""
        if not sequence.running:
            _take(self.waiting, sequence)
            return
        _take(self.running, sequence)
        if discard:
            self._blocks.discard(sequence.table)
        else:
            self._blocks.commit(sequence.table, sequence.content, sequence.computed, tail=True)
            self._blocks.close(sequence.table)

    def schedule(self) -> Plan:
        """The next step. Makes room by preempting where it must; every token planned has its block."""
        self._steps += 1
        self._grow()
        copies = self._admit()
        decodes = [sequence for sequence in self.running if pending(sequence) == 1]
        return Plan(decodes, divide(self._prompts(), self._max_tokens - len(decodes)), copies)

    def advance(self, sequence: Sequence, count: int) -> None:
        """The KV of `count` more tokens is there."""
        sequence.computed += count
        # The end of a prompt is registered at once: others may be waiting for it.
        prompt_done = sequence.computed == len(sequence.tokens) and (
            count > 1 or sequence.computed == sequence.prompt_length
        )
        if prompt_done or sequence.computed // BLOCK_SIZE > sequence.table.registered:
            self._blocks.commit(sequence.table, sequence.content, sequence.computed, tail=prompt_done)

    def preempt_all(self) -> None:
        """Sends all back to the queue with nothing computed, and empties the prefix cache."""
        for sequence in list(self.running):
            self._preempt(sequence, keep=False)
        self._blocks.clear()

    def _grow(self) -> None:
        """Gives each decoding sequence a block for its next token."""
        for sequence in list(self.running):
            table = sequence.table
            while sequence.running and sequence.computed >= table.capacity and not self._blocks.grow(table):
                # The victim may be the sequence itself.
                self._preempt(self.running[-1])

    def _admit(self) -> list[tuple[int, int]]:
        """Lets in, by rank, as many as can begin in this step, and then who may pass them. The blocks to copy for
        them."""
        copies: list[tuple[int, int]] = []
        index = 0
        while index < len(self.waiting):
            sequence = self.waiting[index]
            if self._claimed(sequence) >= self._max_tokens:
                self._admit_passing(index, copies)
                break
            match = self._blocks.match(sequence.content)
            if self._sharing and self._will_be_cached(sequence, match.tokens):
                index += 1
            elif self._open(sequence, match, copies):
                del self.waiting[index]
            elif self._preempting_helps(sequence, match):
                # The victim goes behind `index`: it ranks higher than the one that it makes room for.
                self._preempt(self.running[-1])
            else:
                break
        return copies

    def _admit_passing(self, index: int, copies: list[tuple[int, int]]) -> None:
        """Lets in the shortest of those that wait from `index` on, as far as their share of the step goes. They leave
        the memory that the first of them waits for."""
        prompts = self._prompts()
        tokens = self._max_tokens - (len(self.running) - len(prompts))
        held = HeldUp.of(prompts, tokens)
        if held is None:
            return
        # What of a prompt is cached is not known before it is looked up, and there may be many.
        short = [each for each in self.waiting[index:] if held.lets_pass(each, len(each.tokens))]
        first = self.waiting[index]
        reserved = 0 if first in short else blocks_for(len(first.tokens))
        behind = (each for each in prompts if each.rank > held.sequence.rank)
        passing = [pending(each) for each in behind if held.lets_pass(each, pending(each))]
        for sequence in sorted(short, key=_length):
            if sum(length for length in passing if length <= len(sequence.tokens)) >= held.passing:
                break
            match = self._blocks.match(sequence.content)
            if self._sharing and self._will_be_cached(sequence, match.tokens):
                continue
            if not self._open(sequence, match, copies, reserved):
                break
            _take(self.waiting, sequence)
            passing.append(pending(sequence))

    def _claimed(self, sequence: Sequence) -> int:
        """Tokens of this step that others get before a sequence: all who decode, and the prompts in front of it."""
        return sum(left for other in self.running if (left := pending(other)) == 1 or other.rank < sequence.rank)

    def _prompts(self) -> list[Sequence]:
        """Those that run and have not begun to decode, by rank."""
        return [sequence for sequence in self.running if pending(sequence) > 1]

    def _open(self, sequence: Sequence, match: Match, copies: list[tuple[int, int]], reserved: int = 0) -> bool:
        """Gives a waiting sequence its blocks and its place, if there is room for both and `reserved` blocks stay."""
        if len(self.running) >= self._max_running:
            return False
        # One block for each that runs, so that the newcomer is not preempted as soon as they grow.
        opened = self._blocks.open(match, len(sequence.tokens), headroom=len(self.running) + reserved)
        if opened is None:
            return False
        sequence.table, copy = opened
        if copy is not None:
            copies.append(copy)
        sequence.computed = match.tokens
        found = min(match.tokens, sequence.prompt_length)
        self.cached_tokens += found
        if sequence.cached_tokens is None:
            sequence.cached_tokens = found
        insort(self.running, sequence, key=_rank)
        return True

    def _preempting_helps(self, sequence: Sequence, match: Match) -> bool:
        """Whether those that run and rank higher hold what this one needs."""
        victims = [victim for victim in self.running if victim.rank > sequence.rank]
        held = sum(len(victim.table.blocks) for victim in victims)
        needed = blocks_for(len(sequence.tokens)) - len(match.blocks)
        return bool(victims) and needed <= self._blocks.available + held

    def _will_be_cached(self, sequence: Sequence, cached: int) -> bool:
        """Whether a sequence in front of this one is about to compute what this one lacks: then it pays to wait for a
        whole block, or for half of what is lacking."""
        lacking = len(sequence.content) - 1 - cached
        if lacking < 1:
            return False
        end = cached + min(BLOCK_SIZE, (lacking + 1) // 2)
        wanted = sequence.content[cached:end]
        return any(
            leader.content[cached:end] == wanted
            for leader in self.running
            if pending(leader) > 1 and leader.rank < sequence.rank
        )

    def _preempt(self, sequence: Sequence, *, keep: bool = True) -> None:
        """Back to the queue, by its old rank. Its tokens stay; their KV is computed again, where not cached."""
        self.remove(sequence, discard=not keep)
        sequence.computed = 0
        insort(self.waiting, sequence, key=_rank)
        self.preemptions += 1


def _take(ranked: list[Sequence], sequence: Sequence) -> None:
    del ranked[bisect_left(ranked, sequence.rank, key=_rank)]
