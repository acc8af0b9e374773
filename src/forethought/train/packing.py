"""Rows into packs: many rows in one forward pass, and every beginning that they share computed once.

A pack is a forest. A *segment* is a run of tokens; its parents are the segments before it, back to the beginning of the
text. Rows of a pack that begin alike (the system message of an effort, as a rule) hang from one segment, and so do the
branches of a prompt. A token sees its own segment up to itself, and its parents: nothing else, so that packed and
unpacked rows have the same loss.

Sizes: T tokens of a pack, N learned tokens.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from forethought.errors import TrainError
from forethought.train.rows import Branch, Row

if TYPE_CHECKING:
    from numpy.typing import NDArray

ALIGNMENT = 16
"""A pack has a multiple of so many tokens. Kernels are made anew for every shape, so few shapes are fast."""

SHORTEST_SHARED = 16
"""Rows share a beginning of at least so many tokens."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `start` to `start + length` of a pack, behind those of its `parents` (indices of segments, outermost
    first)."""

    start: int
    length: int
    parents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Taught:
    """The learned tokens at `places_M` (among the N of a pack) are learned from a teacher: its hidden states."""

    places_M: torch.Tensor
    states_MC: torch.Tensor

    def to(self, device: torch.device) -> Taught:
        """The same there."""
        return Taught(self.places_M.to(device), self.states_MC.to(device))


@dataclass(frozen=True, slots=True)
class Pack:
    """One forward pass; its tensors are in main memory. The hidden state at `predictors_N` predicts `targets_N`;
    `order_N` is each learned token's place among all those of the rows that were packed. `tokens` counts without the
    filling at the end."""

    token_ids_T: torch.Tensor
    positions_T: torch.Tensor
    tokens: int
    segments: tuple[Segment, ...]
    predictors_N: torch.Tensor
    targets_N: torch.Tensor
    order_N: torch.Tensor
    advantages_N: torch.Tensor
    sampler_logprobs_N: torch.Tensor | None
    reference_logprobs_N: torch.Tensor | None
    taught: Taught | None


def pack_rows(rows: Sequence[Row], limit: int, context_length: int) -> list[Pack]:
    """Packs of about `limit` tokens at most, more only where a single branch and its prompt have more. They are of
    about the same size, and an even number of them if rows can be had for one more: packs are computed side by side,
    so the slowest thread tells how long a step takes. A branch is never cut.

    Rows are sorted by their prompts, so that those which begin alike meet in a pack. What they share is estimated from
    neighbours. The branches of a row that is longer than a pack are spread over several.

    Raises:
        TrainError: a row does not fit the context, or no token is learned.
    """
    if not any(row.learned_tokens for row in rows):
        raise TrainError("Nothing in these rows is learned.", "Give rows with branches that hold learned tokens.")
    placed: list[tuple[Row, int]] = []
    first = 0
    for row in chain.from_iterable(_pieces(row, limit) for row in rows):
        longest = len(row.prompt_ids) + max((len(branch.token_ids) for branch in row.branches), default=0)
        if longest > context_length:
            message = f"A row has {longest} tokens, and the context holds {context_length}."
            raise TrainError(message, "Leave it out, or shorten its prompt.")
        if row.learned_tokens:
            placed.append((row, first))
        first += row.learned_tokens
    placed.sort(key=lambda each: each[0].prompt_ids)
    starts = _even_starts([row for row, _ in placed], limit)
    return [_pack(placed[start:stop]) for start, stop in zip(starts, [*starts[1:], len(placed)], strict=True)]


def _even_starts(rows: Sequence[Row], limit: int) -> list[int]:
    """The first row of each pack, so that the largest pack is as small as it can be for their number."""
    sizes = [row.tokens for row in rows]
    added = [sizes[0], *(row.tokens - _shared(before, row) for before, row in pairwise(rows))]
    count = len(_starts(sizes, added, max(limit, *sizes)))
    if count > 1 and count % 2 and count < len(rows):
        count += 1
    possible = range(max(sizes), sum(added) + 1)
    least = bisect_left(possible, True, key=lambda most: len(_starts(sizes, added, most)) <= count)
    return _starts(sizes, added, possible[least])


def _starts(sizes: Sequence[int], added: Sequence[int], most: int) -> list[int]:
    """The first row of each pack when every pack is filled up to `most` tokens. A row has so many tokens (`sizes`), and
    adds so many to a pack with the row before it (`added`)."""
    starts: list[int] = []
    size = most
    for place, (alone, more) in enumerate(zip(sizes, added, strict=True)):
        size += more
        if size > most:
            starts.append(place)
            size = alone
    return starts


def _shared(before: Row, row: Row) -> int:
    """Tokens that `row` does not add to a pack, as it begins like the row before."""
    shared = _common(before.prompt_ids, row.prompt_ids)
    return shared if shared >= SHORTEST_SHARED else 0


def _pieces(row: Row, limit: int) -> Iterator[Row]:
    """The row, or, where it is longer than `limit`, rows of the same prompt with a few of its branches each."""
    branches: list[Branch] = []
    room = limit - len(row.prompt_ids)
    for branch in row.branches:
        if branches and sum(len(each.token_ids) for each in branches) + len(branch.token_ids) > room:
            yield Row(row.prompt_ids, tuple(branches))
            branches = []
        branches.append(branch)
    yield Row(row.prompt_ids, tuple(branches))


def _pack(rows: list[tuple[Row, int]]) -> Pack:
    """Rows in the order of their prompts; beside each, the place of its first learned token among those of all rows."""
    writer = _Writer()
    _write(writer, rows, (), 0)
    return writer.pack()


def _write(writer: _Writer, rows: list[tuple[Row, int]], parents: tuple[int, ...], depth: int) -> None:
    """Writes rows whose prompts agree in the first `depth` tokens, which `parents` hold."""
    start = 0
    while start < len(rows):
        # As many of the next rows as share enough with the first of them, and how much all of those share.
        prompt = rows[start][0].prompt_ids
        stop, shared = start + 1, len(prompt)
        while stop < len(rows):
            common = _common(prompt, rows[stop][0].prompt_ids)
            if common - depth < SHORTEST_SHARED:
                break
            stop, shared = stop + 1, min(shared, common)
        if stop - start == 1:
            writer.row(*rows[start], parents, depth)
        else:
            # A branch hangs from a segment with the prompt's last token: that one is never shared between rows.
            shared = min(shared, min(len(row.prompt_ids) for row, _ in rows[start:stop]) - 1)
            segment = writer.segment(prompt[depth:shared], depth, parents)
            _write(writer, rows[start:stop], (*parents, segment), shared)
        start = stop


class _Writer:
    """The tensors of a pack while they grow."""

    def __init__(self) -> None:
        self._token_ids: list[int] = []
        self._positions: list[int] = []
        self._segments: list[Segment] = []
        self._learned: list[tuple[int, int, int]] = []
        self._numbers: list[tuple[float, float | None, float | None]] = []
        self._taught: list[tuple[int, NDArray[np.float32]]] = []

    def segment(self, token_ids: Sequence[int], position: int, parents: tuple[int, ...]) -> int:
        """Writes a segment whose first token has this position, and returns its index."""
        self._segments.append(Segment(len(self._token_ids), len(token_ids), parents))
        self._token_ids.extend(token_ids)
        self._positions.extend(range(position, position + len(token_ids)))
        return len(self._segments) - 1

    def row(self, row: Row, first: int, parents: tuple[int, ...], depth: int) -> None:
        """Writes what a row has beyond `depth` tokens: one segment if it has one branch, else one for the rest of the
        prompt and one for each branch."""
        prompt, length = row.prompt_ids[depth:], len(row.prompt_ids)
        if len(row.branches) == 1:
            (branch,) = row.branches
            start = len(self._token_ids) + len(prompt)
            self.segment((*prompt, *branch.token_ids), depth, parents)
            self._learn(branch, start, start - 1, first)
            return
        parents = (*parents, self.segment(prompt, depth, parents))
        last = len(self._token_ids) - 1
        for branch in row.branches:
            if not branch.token_ids:
                continue
            start = len(self._token_ids)
            self.segment(branch.token_ids, length, parents)
            self._learn(branch, start, last, first)
            first += branch.learned_tokens

    def _learn(self, branch: Branch, start: int, before: int, first: int) -> None:
        """Notes the learned tokens of a branch that begins at `start`; the token `before` predicts its first."""
        sampler, reference, teacher = branch.sampler_logprobs, branch.reference_logprobs, branch.teacher_LC
        for index, (token, learned) in enumerate(zip(branch.token_ids, branch.learned, strict=True)):
            if learned:
                if teacher is not None and not np.isnan(teacher[index, 0]):
                    self._taught.append((len(self._learned), teacher[index]))
                self._learned.append((start + index - 1 if index else before, token, first))
                first += 1
                self._numbers.append(
                    (
                        branch.advantage,
                        None if sampler is None else sampler[index],
                        None if reference is None else reference[index],
                    )
                )

    def pack(self) -> Pack:
        tokens = len(self._token_ids)
        filling = [0] * (-tokens % ALIGNMENT)
        learned_N3 = torch.tensor(self._learned)
        advantages, samplers, references = zip(*self._numbers, strict=True)
        return Pack(
            token_ids_T=torch.tensor(self._token_ids + filling),
            positions_T=torch.tensor(self._positions + filling),
            tokens=tokens,
            segments=tuple(self._segments),
            predictors_N=learned_N3[:, 0].contiguous(),
            targets_N=learned_N3[:, 1].contiguous(),
            order_N=learned_N3[:, 2].contiguous(),
            advantages_N=torch.tensor(advantages, dtype=torch.float32),
            sampler_logprobs_N=_numbers(samplers),
            reference_logprobs_N=_numbers(references),
            taught=_taught(self._taught),
        )


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many tokens at the beginning are the same."""
    for index, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return index
    return min(len(one), len(other))


def _taught(states: Sequence[tuple[int, NDArray[np.float32]]]) -> Taught | None:
    if not states:
        return None
    places, rows = zip(*states, strict=True)
    return Taught(torch.tensor(places), torch.tensor(np.stack(rows)))


def _numbers(values: tuple[float | None, ...]) -> torch.Tensor | None:
    """A tensor, if there is any number; NaN where one is missing, so that a loss that needs it cannot miss that."""
    if all(value is None for value in values):
        return None
    return torch.tensor([float("nan") if value is None else value for value in values], dtype=torch.float32)
