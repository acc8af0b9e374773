"""Log-probabilities of learned tokens, without a table of scores that outlives its use.

Scores exist for a few dozen tokens at a time. What the gradient needs of them is taken at once: the derivative of each
token's log-probability to its hidden state, which the loss only has to scale. So nothing is computed twice, and one row
of C numbers is kept for a token instead of one of V.

Sizes: N learned tokens, C hidden size, V vocabulary, R rows of the output that are trained.
"""

import threading
from typing import Any

import torch

from forethought.model.autograd import apply
from forethought.model.decoder import Decoder
from forethought.model.lora_layers import TokenRowEmbedding, TokenRowHead

CHUNK = 128
"""Tokens whose scores exist at once."""


def token_logprobs(decoder: Decoder, hidden_NC: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """Float32 `logprobs_N` of the targets, each predicted by its hidden state."""
    head = decoder.model.embed_tokens if decoder.lm_head is None else decoder.lm_head
    if isinstance(head, TokenRowEmbedding | TokenRowHead):
        rows = head.token_adapter
        table_VC = rows.merged(head.weight)
        trained, ids_R = rows.trainable_tokens_delta, rows.token_ids_N
    else:
        table_VC, trained, ids_R = head.weight.detach(), head.weight, None
    if not torch.is_grad_enabled():
        trained = trained.detach()  # a parameter asks for a gradient even where none is taken
    return apply(_Logprobs, hidden_NC, targets_N, table_VC, trained, ids_R)


class _Workspace(threading.local):
    """Scores as computed, and in the wider dtype twice. Allocated once a thread: to get as much fresh memory for each
    chunk would take the kernel a quarter of the time."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, torch.dtype, torch.dtype], tuple[torch.Tensor, ...]] = {}

    def buffers(self, vocabulary: int, dtype: torch.dtype, wide: torch.dtype) -> tuple[torch.Tensor, ...]:
        """Tables of `CHUNK` rows: one of `dtype`, two of `wide`."""
        key = vocabulary, dtype, wide
        if key not in self._buffers:
            self._buffers = {key: tuple(torch.empty(CHUNK, vocabulary, dtype=each) for each in (dtype, wide, wide))}
        return self._buffers[key]


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
    ) -> torch.Tensor:
        wide = torch.promote_types(hidden_NC.dtype, torch.float32)
        logprobs_N = torch.empty(len(hidden_NC), dtype=wide)
        wants_hidden, wants_table = ctx.needs_input_grad[0], ctx.needs_input_grad[3]
        slopes_NC = torch.empty_like(hidden_NC) if wants_hidden else None
        kept: list[torch.Tensor] = []
        for start in range(0, len(hidden_NC), CHUNK):
            chunk = slice(start, start + CHUNK)
            own_nC = table_VC[targets_N[chunk]]
            logprobs_N[chunk], wide_shares_nV = _chunk(hidden_NC[chunk], targets_N[chunk], own_nC, table_VC, wide)
            if not (wants_hidden or wants_table):
                continue
            shares_nV = _workspace.buffers(len(table_VC), hidden_NC.dtype, wide)[0][: len(own_nC)].copy_(wide_shares_nV)
            if slopes_NC is not None:
                slopes_NC[chunk] = own_nC - shares_nV @ table_VC
            if wants_table:
                kept.append(shares_nV.clone() if ids_R is None else shares_nV[:, ids_R])
        ctx.save_for_backward(hidden_NC, targets_N, slopes_NC, ids_R, torch.cat(kept) if kept else None)
        ctx.trained_dtype = trained.dtype
        return logprobs_N

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden_NC, targets_N, slopes_NC, ids_R, shares = ctx.saved_tensors
        grad_N1 = grads[0].to(hidden_NC.dtype)[:, None]
        of_hidden = None if slopes_NC is None else slopes_NC * grad_N1
        of_trained = None
        if shares is not None:
            weights = -shares * grad_N1
            if ids_R is None:
                weights.scatter_add_(1, targets_N[:, None], grad_N1)
            else:
                weights += (targets_N[:, None] == ids_R) * grad_N1
            of_trained = (weights.t() @ hidden_NC).to(ctx.trained_dtype)
        return of_hidden, None, None, of_trained, None


def _chunk(
    hidden_nC: torch.Tensor, targets_n: torch.Tensor, own_nC: torch.Tensor, table_VC: torch.Tensor, wide: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """`logprobs_n`, and the softmax `shares_nV`; the latter is valid until the next chunk."""
    buffers = _workspace.buffers(len(table_VC), hidden_nC.dtype, wide)
    raw, scores, shares = (buffer[: len(hidden_nC)] for buffer in buffers)
    torch.mm(hidden_nC, table_VC.t(), out=raw)
    scores.copy_(raw)
    # A product rounds its results to the short dtype. The target's own score counts most: it is taken exactly.
    own_n = (hidden_nC.to(wide) * own_nC.to(wide)).sum(-1)
    scores.scatter_(1, targets_n[:, None], own_n[:, None])
    torch.softmax(scores, -1, out=shares)
    # The best token's share tells the logarithm of the sum, and is never too small for it.
    return own_n - scores.amax(-1) + shares.amax(-1).log(), shares
