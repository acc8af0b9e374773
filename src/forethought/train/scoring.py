"""Log-probabilities of learned tokens, without a table of scores that outlives its use.

Scores exist for a few dozen tokens at a time. What the gradient needs of them is taken at once: the derivative of each
token's log-probability to its hidden state, which the loss only has to scale. So nothing is computed twice, and one row
of C numbers is kept for a token instead of one of V.

A token with a teacher stands for the teacher's whole distribution. In place of its log-probability comes the expected
one less the teacher's own: minus the divergence from the teacher, 0 where both agree (https://arxiv.org/abs/1503.02531).

Sizes: N learned tokens, M of them with a teacher, C hidden size, V vocabulary, R rows of the output that are trained.
"""

import threading
from dataclasses import dataclass
from typing import Any

import torch

from forethought.model.autograd import apply
from forethought.model.decoder import Decoder
from forethought.model.lora_layers import TokenRowEmbedding, TokenRowHead
from forethought.model.products import factors
from forethought.train.packing import Pack, Taught
from forethought.train.tree_attention import TreeAttention

CHUNK = 128
"""Tokens whose scores exist at once."""


def predicting_states(decoder: Decoder, pack: Pack) -> torch.Tensor:
    """The hidden states of a pack that predict its learned tokens, `hidden_NC` in the pack's order."""
    device = decoder.device
    attention = TreeAttention(pack, decoder.config, device)
    token_ids_BT, positions_BT = (each_T[None].to(device) for each_T in (pack.token_ids_T, pack.positions_T))
    # The stream between the layers is float32: sixty additions in bfloat16 would blur it.
    embeddings_BTC = decoder.embed(token_ids_BT).float()
    hidden_BTC = decoder(token_ids_BT, positions_BT, embeddings_BTC=embeddings_BTC, attention=attention)
    return hidden_BTC[0].index_select(0, pack.predictors_N.to(device))


def token_logprobs(
    decoder: Decoder,
    hidden_NC: torch.Tensor,
    targets_N: torch.Tensor,
    taught: Taught | None = None,
    teacher_VC: torch.Tensor | None = None,
) -> torch.Tensor:
    """Float32 `logprobs_N` of the targets, each predicted by its hidden state. For those that are `taught`, minus
    the divergence from their teacher, whose output table is `teacher_VC` (None: the decoder's own without
    its trained rows). All of them are where the decoder is."""
    head = decoder.model.embed_tokens if decoder.lm_head is None else decoder.lm_head
    if isinstance(head, TokenRowEmbedding | TokenRowHead):
        rows = head.token_adapter
        table_VC = rows.factor(head.weight)
        trained, ids_R = rows.trainable_tokens_delta, rows.token_ids_N
    else:
        (table_VC,), trained, ids_R = factors(head.weight.detach()), head.weight, None
    if not torch.is_grad_enabled():
        trained = trained.detach()  # a parameter asks for a gradient even where none is taken
    if taught is not None:
        (teacher_VC,) = factors(head.weight.detach() if teacher_VC is None else teacher_VC)
    return apply(_Logprobs, hidden_NC, targets_N, table_VC, trained, ids_R, taught, teacher_VC)


class _Workspace(threading.local):
    """Scores as computed, and in the wider dtype three times. Allocated once a thread: to get as much fresh memory for
    each chunk would take the kernel a quarter of the time."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] | None = None
        self._buffers: tuple[torch.Tensor, ...] = ()

    def buffers(self, hidden_nC: torch.Tensor, vocabulary: int, wide: torch.dtype) -> tuple[torch.Tensor, ...]:
        """Tables of `CHUNK` rows where the hidden states are: one of their dtype, three of `wide`."""
        device, dtype = hidden_nC.device, hidden_nC.dtype
        key = vocabulary, device, dtype, wide
        if key != self._key:
            dtypes = dtype, wide, wide, wide
            self._buffers = tuple(torch.empty(CHUNK, vocabulary, dtype=each, device=device) for each in dtypes)
            self._key = key
        return self._buffers


_workspace = _Workspace()


class _Logprobs(torch.autograd.Function):
    """`trained` are the rows `ids_R` of the table, or the whole table if `ids_R` is None."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_NC: torch.Tensor,
        targets_N: torch.Tensor,
        table_VC: torch.Tensor,
        trained: torch.Tensor,
        ids_R: torch.Tensor | None,
        taught: Taught | None,
        teacher_VC: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.dtype = hidden_NC.dtype
        (hidden_NC,) = factors(hidden_NC)
        wide = torch.promote_types(hidden_NC.dtype, torch.float32)
        logprobs_N = hidden_NC.new_empty(len(hidden_NC), dtype=wide)
        wants_hidden, wants_table = ctx.needs_input_grad[0], ctx.needs_input_grad[3]
        slopes_NC = torch.empty_like(hidden_NC) if wants_hidden else None
        kept: list[torch.Tensor] = []
        for start in range(0, len(hidden_NC), CHUNK):
            chunk = slice(start, start + CHUNK)
            hidden_nC, targets_n = hidden_NC[chunk], targets_N[chunk]
            own_nC = table_VC[targets_n]
            lesson = None
            if taught is not None and teacher_VC is not None:
                lesson = _lesson(taught, start, hidden_nC, teacher_VC, wide)
            if lesson is not None:
                own_nC[lesson.places_m] = lesson.shares_mV.to(table_VC.dtype) @ table_VC
            logprobs_N[chunk], shares_nV = _chunk(hidden_nC, targets_n, own_nC, table_VC, wide, lesson)
            if not (wants_hidden or wants_table):
                continue
            surplus_nV = _surplus(shares_nV, targets_n, lesson)
            # Rounded only now: of a token that is nearly sure, what is missing to 1 would be lost.
            short_nV = _workspace.buffers(hidden_nC, len(table_VC), wide)[0][: len(own_nC)].copy_(surplus_nV)
            if slopes_NC is not None:
                slopes_NC[chunk] = short_nV @ table_VC
            if wants_table:
                kept.append(short_nV.clone() if ids_R is None else short_nV[:, ids_R])
        ctx.save_for_backward(hidden_NC, slopes_NC, torch.cat(kept) if kept else None)
        ctx.trained_dtype = trained.dtype
        return logprobs_N

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_NC, slopes_NC, surplus = ctx.saved_tensors
        grad_N1 = grads[0].to(hidden_NC.dtype)[:, None]
        of_hidden = None if slopes_NC is None else (slopes_NC * grad_N1).to(ctx.dtype)
        of_trained = None
        if surplus is not None:
            of_trained = ((surplus * grad_N1).t() @ hidden_NC).to(ctx.trained_dtype)
        return of_hidden, None, None, of_trained, None, None, None


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What the teacher has to say in a chunk of n tokens: for those at `places_m`, its shares of the vocabulary, valid
    until the next chunk. `plain_n` tells which tokens have no teacher."""

    places_m: torch.Tensor
    shares_mV: torch.Tensor
    plain_n: torch.Tensor


def _lesson(
    taught: Taught, start: int, hidden_nC: torch.Tensor, teacher_VC: torch.Tensor, wide: torch.dtype
) -> _Lesson | None:
    """Of the chunk that begins at `start`; None where nothing in it has a teacher."""
    count = len(hidden_nC)
    here = (taught.places_M >= start) & (taught.places_M < start + count)
    if not here.any():
        return None
    places_m = taught.places_M[here] - start
    buffers = _workspace.buffers(hidden_nC, len(teacher_VC), wide)
    raw, shares = (buffer[: len(places_m)] for buffer in (buffers[0], buffers[3]))
    torch.mm(taught.states_MC[here].to(hidden_nC.dtype), teacher_VC.t(), out=raw)
    torch.softmax(raw.to(wide), -1, out=shares)
    plain_n = hidden_nC.new_ones(count, dtype=torch.bool).index_fill_(0, places_m, False)
    return _Lesson(places_m, shares, plain_n)


def _surplus(shares_nV: torch.Tensor, targets_n: torch.Tensor, lesson: _Lesson | None) -> torch.Tensor:
    """What should be there less what is, in the place of what is."""
    wanted_n1 = torch.ones_like(targets_n[:, None], dtype=shares_nV.dtype)
    if lesson is not None:
        wanted_n1.mul_(lesson.plain_n[:, None])
    surplus_nV = shares_nV.neg_().scatter_add_(1, targets_n[:, None], wanted_n1)
    if lesson is not None:
        surplus_nV[lesson.places_m] += lesson.shares_mV
    return surplus_nV


def _chunk(
    hidden_nC: torch.Tensor,
    targets_n: torch.Tensor,
    own_nC: torch.Tensor,
    table_VC: torch.Tensor,
    wide: torch.dtype,
    lesson: _Lesson | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`logprobs_n`, and the softmax `shares_nV`; the latter is valid until the next chunk."""
    buffers = _workspace.buffers(hidden_nC, len(table_VC), wide)
    raw, scores, shares = (buffer[: len(hidden_nC)] for buffer in buffers[:3])
    torch.mm(hidden_nC, table_VC.t(), out=raw)
    scores.copy_(raw)
    # A product rounds its results to the short dtype. The target's own score counts most: it is taken exactly.
    own_n = exact_n = (hidden_nC.to(wide) * own_nC.to(wide)).sum(-1)
    if lesson is not None:
        exact_n = own_n.where(lesson.plain_n, scores.gather(1, targets_n[:, None])[:, 0])
    scores.scatter_(1, targets_n[:, None], exact_n[:, None])
    torch.softmax(scores, -1, out=shares)
    # The best token's share tells the logarithm of the sum, and is never too small for it.
    logprobs_n = own_n - scores.amax(-1) + shares.amax(-1).log()
    if lesson is not None:
        logprobs_n[lesson.places_m] -= torch.xlogy(lesson.shares_mV, lesson.shares_mV).sum(-1)
    return logprobs_n, shares
