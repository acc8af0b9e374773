"""The decoder's layers with an adapter attached: the base's weights, frozen and shared, and what is trained beside.

Each takes the place of a layer and keeps the name of its weight; the names of the adapter's parameters are PEFT's
without the prefix. Adapter weights are float32 whatever the base is, so that small updates are not rounded away.
Sizes: B rows, T tokens, C hidden size, V vocabulary, N trained rows.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from forethought.model.decoder import Embedding, Linear


class LoraLinear(Linear):
    """A linear layer with a low-rank update: `W x + scale · B A dropout(x)`. A fresh one has B = 0: no change yet."""

    def __init__(self, base: Linear, rank: int, scale: float, dropout: float) -> None:
        super().__init__(base.in_features, base.out_features, bias=False, device="meta")  # pyright: ignore[reportUnknownMemberType]
        self.weight, self.bias = base.weight, base.bias
        device = base.weight.device
        self.lora_A = nn.Linear(base.in_features, rank, bias=False, device=device, dtype=torch.float32)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False, device=device, dtype=torch.float32)
        self.dropout, self.scale = dropout, scale
        nn.init.kaiming_uniform_(self.lora_A.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B.weight)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = super().forward(input)
        dropped = F.dropout(input.float(), self.dropout, self.training)
        return (output + self.lora_B(self.lora_A(dropped)) * self.scale).to(output.dtype)


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

    def look_up(self, token_ids_BT: torch.Tensor, embeddings_BTC: torch.Tensor) -> torch.Tensor:
        """The embeddings, with the trained rows in their places."""
        slots_BT = self.slots_V[token_ids_BT]
        rows_BTC = self.trainable_tokens_delta[slots_BT.clamp(min=0)].to(embeddings_BTC.dtype)
        return torch.where((slots_BT >= 0)[..., None], rows_BTC, embeddings_BTC)

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
