"""The decoder's layers with an adapter attached: the base's weights, frozen and shared, and what is trained beside.

Each takes the place of a layer and keeps the name of its weight; the names of the adapter's parameters are PEFT's
without the prefix. Adapter weights are float32 whatever the base is, so that small updates are not rounded away.

A layer computes with the sum of both, in the base's dtype, which it makes anew whenever one of them has changed. That
is what an engine gets when the adapter is merged, so a model learns with the weights that it samples with, to the bit;
and the low-rank products cost time in the backward pass only.

Sizes: B rows, T tokens, C hidden size, V vocabulary, N trained rows, M tokens of all rows, I and O inputs and outputs
of a layer, R the rank.
"""

import math
from collections.abc import Callable
from threading import Lock
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from forethought.model.autograd import apply
from forethought.model.decoder import Embedding, Linear
from forethought.model.products import factors


class Derived:
    """Tensors computed from others, and again when one of those has been written to. Threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._versions: tuple[tuple[int, int], ...] = ()
        self._tensors: tuple[torch.Tensor, ...] = ()

    def get(
        self, sources: tuple[torch.Tensor, ...], compute: Callable[[], tuple[torch.Tensor, ...]]
    ) -> tuple[torch.Tensor, ...]:
        """What `compute` makes of `sources`."""
        versions = tuple((source.data_ptr(), source._version) for source in sources)
        with self._lock:
            if versions != self._versions:
                with torch.no_grad():
                    self._tensors = compute()
                self._versions = versions
            return self._tensors


class LoraLinear(Linear):
    """A linear layer with a low-rank update: `W x + scale · B A dropout(x)`. A fresh one has B = 0: no change yet.

    `unrounded_OI` is the base's weight where the base has been rounded to a shorter dtype: the update is added to it,
    and the sum rounded once.
    """

    def __init__(
        self, base: Linear, rank: int, scale: float, dropout: float, unrounded_OI: torch.Tensor | None = None
    ) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")  # pyright: ignore[reportUnknownMemberType]
        self.weight, self.bias = base.weight, base.bias
        device = base.weight.device
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, device=device, dtype=torch.float32)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, device=device, dtype=torch.float32)
        self.dropout, self.scale = dropout, scale
        self._unrounded_OI, self._derived = unrounded_OI, Derived()
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def merged(self) -> torch.Tensor:
        """The weight with the update in it, `weight_OI` in the base's dtype; valid until the adapter changes."""
        return self._compute()[0]

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if self.training and self.dropout:
            dropped = F.dropout(input.float(), self.dropout)
            output = super().forward(input)
            return (output + self.lora_B(self.lora_A(dropped)) * self.scale).to(output.dtype)
        _, weight_OI, a_RI, b_OR = self._compute()
        output = apply(_LowRank, input, self.lora_A.weight, self.lora_B.weight, weight_OI, a_RI, b_OR)
        return output if self.bias is None else output + self.bias  # pyright: ignore[reportUnnecessaryComparison]

    def _compute(self) -> tuple[torch.Tensor, ...]:
        """The merged weight, then what is multiplied: that weight, and the two low-rank ones in its dtype and times the
        scale, as the gradient of each has the other one and the scale in it."""
        dtype, a_RI, b_OR = self.weight.dtype, self.lora_A.weight, self.lora_B.weight
        base_OI = self.weight if self._unrounded_OI is None else self._unrounded_OI

        def compute() -> tuple[torch.Tensor, ...]:
            wide = torch.promote_types(base_OI.dtype, torch.float32)
            merged_OI = torch.addmm(base_OI.to(wide), b_OR.to(wide), a_RI.to(wide), alpha=self.scale)
            merged_OI = merged_OI.to(dtype)
            return merged_OI, *factors(merged_OI, (a_RI * self.scale).to(dtype), (b_OR * self.scale).to(dtype))

        return self._derived.get((base_OI, a_RI, b_OR), compute)


class _LowRank(torch.autograd.Function):
    """Forward with the merged weight; backward to the input and to the two factors."""

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        weight_OI: torch.Tensor,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
    ) -> torch.Tensor:
        ctx.save_for_backward(input, weight_OI, a_RI, b_OR)
        ctx.dtype = a.dtype
        return F.linear(*factors(input, weight_OI)).to(input.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input, weight_OI, a_RI, b_OR, grad = factors(*ctx.saved_tensors, *grads)
        grad_MO, input_MI = grad.flatten(0, -2), input.flatten(0, -2)
        of_a = (grad_MO @ b_OR).t() @ input_MI
        # The tall factor's gradient is computed lying down: that way round the product is twice as fast.
        of_b = (input_MI @ a_RI.t()).t() @ grad_MO
        of_input = (grad_MO @ weight_OI).view(input.shape).to(grads[0].dtype) if ctx.needs_input_grad[0] else None
        return of_input, of_a.to(ctx.dtype), of_b.t().to(ctx.dtype), None, None, None


class TokenRows(nn.Module):
    """Trained rows that take the place of a few of a table's. They begin as the table's own."""

    def __init__(self, table_VC: torch.Tensor, token_ids: tuple[int, ...]) -> None:
        super().__init__()
        token_ids_N = torch.tensor(token_ids, device=table_VC.device)
        rows_NC = table_VC.detach()[token_ids_N].float()
        slots_V = torch.full((len(table_VC),), -1, device=table_VC.device)
        slots_V[token_ids_N] = torch.arange(len(token_ids), device=table_VC.device)
        self.trainable_tokens_delta = nn.Parameter(rows_NC)  # PEFT's name; they are values, not differences
        self.register_buffer("token_ids_N", token_ids_N, persistent=False)
        self.register_buffer("slots_V", slots_V, persistent=False)
        self.token_ids_N: torch.Tensor
        self.slots_V: torch.Tensor
        self._derived = Derived()

    def merged(self, table_VC: torch.Tensor) -> torch.Tensor:
        """The table with the trained rows in it; valid until they change."""
        return self._compute(table_VC)[0]

    def factor(self, table_VC: torch.Tensor) -> torch.Tensor:
        """The same as it is multiplied (`products.factors`)."""
        return self._compute(table_VC)[1]

    def _compute(self, table_VC: torch.Tensor) -> tuple[torch.Tensor, ...]:
        def compute() -> tuple[torch.Tensor, ...]:
            merged_VC = table_VC.index_copy(0, self.token_ids_N, self.trainable_tokens_delta.to(table_VC.dtype))
            return merged_VC, *factors(merged_VC)

        return self._derived.get((table_VC, self.trainable_tokens_delta), compute)

    def look_up(self, token_ids_BT: torch.Tensor, embeddings_BTC: torch.Tensor) -> torch.Tensor:
        """The embeddings, with the trained rows in their places."""
        slots_BT = self.slots_V[token_ids_BT]
        trained_BT = slots_BT >= 0
        rows = self.trainable_tokens_delta[slots_BT[trained_BT]]
        return embeddings_BTC.index_put((trained_BT,), rows.to(embeddings_BTC.dtype))

    def score(self, hidden_BTC: torch.Tensor, logits_BTV: torch.Tensor) -> torch.Tensor:
        """Overwrites the logits of the trained rows."""
        scores_BTN = F.linear(hidden_BTC, self.trainable_tokens_delta.to(hidden_BTC.dtype))
        return logits_BTV.index_copy_(-1, self.token_ids_N, scores_BTN)


class TokenRowEmbedding(Embedding):
    """The token table with some rows trained; a tied output uses them too."""

    def __init__(self, base: Embedding, token_ids: tuple[int, ...]) -> None:
        super().__init__(base.num_embeddings, base.embedding_dim, device="meta")  # pyright: ignore[reportUnknownMemberType]
        self.weight = base.weight
        self.token_adapter = TokenRows(base.weight, token_ids)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.token_adapter.look_up(input, super().forward(input))

    def project(self, hidden_BTC: torch.Tensor) -> torch.Tensor:
        """Logits `BTV` of a tied model."""
        return self.token_adapter.score(hidden_BTC, super().project(hidden_BTC))


class TokenRowHead(Linear):
    """The output projection of an untied model with some rows trained."""

    def __init__(self, base: Linear, token_ids: tuple[int, ...]) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")  # pyright: ignore[reportUnknownMemberType]
        self.weight = base.weight
        self.token_adapter = TokenRows(base.weight, token_ids)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.token_adapter.score(input, super().forward(input))
