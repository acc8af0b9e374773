"""Attention within a pack: each segment sees its parents and, causally, itself.

Segments of similar size are computed together, as a batch of plain matrix products padded to the longest. For rows of
a hundred tokens that costs a CPU a third of what its flash kernel with a mask does, most of it saved in the backward
pass. Scores and softmax are float32, as in the engine; the products around them have the dtype of the model.

Sizes: T tokens of a pack; S segments of a group, Q queries and K keys of each; H query heads, G key-value heads, R of
the first for each of the second; D head dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from forethought.model.autograd import apply, softmax_backward
from forethought.model.config import DecoderConfig
from forethought.model.products import factors
from forethought.train.packing import ALIGNMENT, Pack, Segment

WASTE = 16_384
"""Pairs of query and key that may be computed in vain to spare a segment a group of its own."""


@dataclass(frozen=True, slots=True)
class Group:
    """Segments computed together.

    `queries_N` are rows of the pack's queries (token times H plus head) in the order S, G, R, Q, and `keys_N` rows of
    its keys (token times G plus head) in the order S, G, K: places that no token fills take row 0. `real_M` are the
    places that one does, and `rows_M` the rows that stand there. `bias_S1QK` is 0 where a query sees a key and -inf
    where not.
    """

    segments: int
    queries: int
    keys: int
    queries_N: torch.Tensor
    keys_N: torch.Tensor
    real_M: torch.Tensor
    rows_M: torch.Tensor
    bias_S1QK: torch.Tensor

    def to(self, device: torch.device) -> Group:
        """The same there."""
        tensors = (self.queries_N, self.keys_N, self.real_M, self.rows_M, self.bias_S1QK)
        return Group(self.segments, self.queries, self.keys, *(tensor.to(device) for tensor in tensors))


class TreeAttention:
    """An `Attention` (model/attention.py) for one pass over a pack on `device`, in a batch of one row."""

    def __init__(self, pack: Pack, config: DecoderConfig, device: torch.device) -> None:
        heads = config.heads, config.kv_heads
        groups = (_group(pack, members, heads, config.sliding_window) for members in _alike(pack.segments))
        self._groups = [group.to(device) for group in groups]
        self._scale = config.head_dim**-0.5

    def __call__(
        self, layer: int, queries_BTHD: torch.Tensor, keys_BTGD: torch.Tensor, values_BTGD: torch.Tensor
    ) -> torch.Tensor:
        return apply(_Mixing, queries_BTHD[0], keys_BTGD[0], values_BTGD[0], self._groups, self._scale)[None]


class _Mixing(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries_THD: torch.Tensor,
        keys_TGD: torch.Tensor,
        values_TGD: torch.Tensor,
        groups: list[Group],
        scale: float,
    ) -> torch.Tensor:
        dtype, wide = queries_THD.dtype, torch.promote_types(queries_THD.dtype, torch.float32)
        mixed_THD = torch.zeros_like(queries_THD, memory_format=torch.contiguous_format)
        saved: list[torch.Tensor] = []
        for group in groups:
            batches = group.segments * keys_TGD.shape[1]
            queries = _taken(queries_THD, group.queries_N).view(batches, -1, queries_THD.shape[2])
            keys, values = (
                _taken(heads_TGD, group.keys_N).view(batches, group.keys, -1) for heads_TGD in (keys_TGD, values_TGD)
            )
            scores = torch.bmm(queries.to(wide).mul(scale), keys.to(wide).transpose(1, 2))
            scores.view(group.segments, -1, group.queries, group.keys).add_(group.bias_S1QK)
            weights = torch.softmax(scores, -1).to(dtype)
            mixed = torch.bmm(*factors(weights, values)).to(dtype).flatten(0, 1)
            mixed_THD.flatten(0, 1).index_copy_(0, group.rows_M, mixed.index_select(0, group.real_M))
            saved += [queries, keys, values, weights]
        ctx.save_for_backward(*saved)
        ctx.groups, ctx.scale, ctx.shape = groups, scale, keys_TGD.shape
        return mixed_THD

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad_THD,) = grads
        dtype = grad_THD.dtype
        of_queries_THD = torch.zeros_like(grad_THD, memory_format=torch.contiguous_format)
        # A shared segment gathers what all its children say: in float32, for they may be many.
        wide = torch.promote_types(dtype, torch.float32)
        of_keys_TGD, of_values_TGD = (grad_THD.new_zeros(ctx.shape, dtype=wide) for _ in range(2))
        saved = iter(ctx.saved_tensors)
        for group in ctx.groups:
            queries, keys, values, weights = factors(*(next(saved) for _ in range(4)))
            grad = torch.zeros_like(queries)
            grad.flatten(0, 1).index_copy_(0, group.real_M, _taken(grad_THD, group.rows_M).to(grad.dtype))
            _add(of_values_TGD, torch.bmm(weights.transpose(1, 2), grad), group.keys_N)
            of_weights = torch.bmm(grad, values.transpose(1, 2))
            of_scores = softmax_backward(of_weights, weights)
            of_queries = torch.bmm(of_scores, keys).mul_(ctx.scale).flatten(0, 1)
            of_queries_THD.flatten(0, 1).index_copy_(
                0, group.rows_M, of_queries.index_select(0, group.real_M).to(dtype)
            )
            _add(of_keys_TGD, torch.bmm(of_scores.transpose(1, 2), queries).mul_(ctx.scale), group.keys_N)
        return of_queries_THD, of_keys_TGD.to(grad_THD.dtype), of_values_TGD.to(grad_THD.dtype), None, None


def _taken(heads: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Rows of D numbers, one a token and head."""
    return heads.reshape(-1, heads.shape[-1]).index_select(0, rows)


def _add(heads: torch.Tensor, batched: torch.Tensor, rows: torch.Tensor) -> None:
    """Adds a gradient of keys or values where they came from. What stands at places that no token fills is zero."""
    heads.flatten(0, 1).index_add_(0, rows, batched.flatten(0, 1).to(heads.dtype))


def _alike(segments: Sequence[Segment]) -> list[list[int]]:
    """Indices of segments, in groups of similar size."""

    def keys_of(index: int) -> int:
        return segments[index].length + sum(segments[parent].length for parent in segments[index].parents)

    groups: list[list[int]] = []
    queries = keys = 0
    for index in sorted(range(len(segments)), key=lambda index: (-segments[index].length, -keys_of(index), index)):
        length, seen = segments[index].length, keys_of(index)
        widest = max(keys, seen)
        # What this one wastes in the group, and what the others do if it makes them wider.
        waste = queries * widest - length * seen + (len(groups[-1]) * queries * (widest - keys) if groups else 0)
        if not groups or waste > WASTE:
            groups.append([])
            queries, widest = length, seen
        groups[-1].append(index)
        keys = widest
    return groups


def _group(pack: Pack, members: list[int], heads: tuple[int, int], window: int | None) -> Group:
    query_heads, kv_heads = heads
    paths = [[*pack.segments[index].parents, index] for index in members]
    tokens = [_tokens(pack.segments[index]) for index in members]
    seen = [torch.cat([_tokens(pack.segments[index]) for index in path]) for path in paths]
    queries, keys = (math.ceil(max(map(len, each)) / ALIGNMENT) * ALIGNMENT for each in (tokens, seen))
    tokens_SQ = torch.zeros(len(members), queries, dtype=torch.long)
    real_SQ = torch.zeros(len(members), queries, dtype=torch.bool)
    keys_SK = torch.zeros(len(members), keys, dtype=torch.long)
    sees_SQK = torch.zeros(len(members), queries, keys, dtype=torch.bool)
    for row, (own, all_seen) in enumerate(zip(tokens, seen, strict=True)):
        tokens_SQ[row, : len(own)] = own
        real_SQ[row, : len(own)] = True
        keys_SK[row, : len(all_seen)] = all_seen
        distance_QK = pack.positions_T[own][:, None] - pack.positions_T[all_seen][None, :]
        sees_QK = distance_QK >= 0
        if window is not None:
            sees_QK &= distance_QK < window
        sees_SQK[row, : len(own), : len(all_seen)] = sees_QK
        sees_SQK[row, len(own) :, 0] = True  # a softmax needs something; nobody reads what comes of it
    heads_H, heads_G = torch.arange(query_heads), torch.arange(kv_heads)
    queries_SHQ = tokens_SQ[:, None, :] * query_heads + heads_H[:, None]
    real_N = real_SQ[:, None, :].expand_as(queries_SHQ).flatten()
    return Group(
        segments=len(members),
        queries=queries,
        keys=keys,
        queries_N=queries_SHQ.flatten(),
        keys_N=(keys_SK[:, None, :] * kv_heads + heads_G[:, None]).flatten(),
        real_M=real_N.nonzero()[:, 0],
        rows_M=queries_SHQ.flatten()[real_N],
        bias_S1QK=torch.zeros(sees_SQK.shape).masked_fill_(~sees_SQK, -math.inf)[:, None],
    )


def _tokens(segment: Segment) -> torch.Tensor:
    return torch.arange(segment.start, segment.start + segment.length)
