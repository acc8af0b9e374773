"""The one decoder of the Llama family: the same code trains, samples and serves.

Parameter names are those of Hugging Face. What differs between uses is only the `Attention` that a forward pass is
given (see `attention.py`). Sizes: B rows, T tokens, C hidden size, V vocabulary, H and G query and key-value heads,
D head dimensions.
"""

from collections.abc import Mapping, Set

import torch
import torch.nn.functional as F
from torch import nn

from forethought.errors import CheckpointError
from forethought.model.attention import Attention, FullAttention, causal_mask
from forethought.model.config import DecoderConfig
from forethought.model.norm import rms_norm
from forethought.model.rope import inverse_frequencies, rope_angles, rotate

INITIAL_DEVIATION = 0.02
"""Standard deviation of freshly made weights, as in every model of this family."""


_MISMATCH_REMEDY = "Weights and config.json do not belong together; fetch the checkpoint again."


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32; what comes out has the dtype of its weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return rms_norm(hidden, self.weight, self.eps)


class Linear(nn.Linear):
    """A linear layer with the initial weights of this family."""

    def reset_parameters(self) -> None:
        """Draws the weights, except on the meta device, where that would import a second of compiler."""
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=INITIAL_DEVIATION)
            if self.bias is not None:  # pyright: ignore[reportUnnecessaryComparison] (torch's annotation)
                nn.init.zeros_(self.bias)


class Embedding(nn.Embedding):
    """The token table, which tied models also use the other way round."""

    def reset_parameters(self) -> None:
        """As in `Linear`."""
        if not self.weight.is_meta:
            nn.init.normal_(self.weight, std=INITIAL_DEVIATION)

    def project(self, hidden_BTC: torch.Tensor) -> torch.Tensor:
        """Logits `BTV` of a tied model."""
        return F.linear(hidden_BTC, self.weight)


class SelfAttention(nn.Module):
    """Projections, norms and rotation around an `Attention`."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = Linear(config.hidden_size, queries, bias=config.qkv_bias)
        self.k_proj = Linear(config.hidden_size, keys, bias=config.qkv_bias)
        self.v_proj = Linear(config.hidden_size, keys, bias=config.qkv_bias)
        self.o_proj = Linear(queries, config.hidden_size, bias=config.o_bias)
        self.q_norm = RMSNorm(config.head_dim, config.rms_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_dim, config.rms_eps) if config.qk_norm else nn.Identity()

    def forward(
        self, hidden_BTC: torch.Tensor, cos_BTK: torch.Tensor, sin_BTK: torch.Tensor, attention: Attention
    ) -> torch.Tensor:
        shape = (*hidden_BTC.shape[:2], -1, self.head_dim)
        queries_BTHD = rotate(self.q_norm(self.q_proj(hidden_BTC).view(shape)), cos_BTK, sin_BTK)
        keys_BTGD = rotate(self.k_norm(self.k_proj(hidden_BTC).view(shape)), cos_BTK, sin_BTK)
        values_BTGD = self.v_proj(hidden_BTC).view(shape)
        return self.o_proj(attention(self.layer, queries_BTHD, keys_BTGD, values_BTGD).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden_BTC: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(hidden_BTC)) * self.up_proj(hidden_BTC))


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and added to the stream."""

    def __init__(self, config: DecoderConfig, layer: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(config, layer)
        self.mlp = FeedForward(config)
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_eps)

    def forward(
        self, hidden_BTC: torch.Tensor, cos_BTK: torch.Tensor, sin_BTK: torch.Tensor, attention: Attention
    ) -> torch.Tensor:
        hidden_BTC = hidden_BTC + self.self_attn(self.input_layernorm(hidden_BTC), cos_BTK, sin_BTK, attention)
        return hidden_BTC + self.mlp(self.post_attention_layernorm(hidden_BTC))


class Stack(nn.Module):
    """Everything but the output projection; Hugging Face calls it `model`."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_eps)


class Decoder(nn.Module):
    """Token ids in, hidden states out; `logits` turns those into scores of the vocabulary.

    A fresh decoder has random weights; `from_tensors` makes one of given weights. A tied one has no `lm_head`.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Stack(config)
        self.lm_head = None if config.tied else Linear(config.hidden_size, config.vocab_size, bias=False)
        # No buffer: converting the module to bfloat16 must not round the frequencies.
        self._frequencies_K = inverse_frequencies(config)

    @classmethod
    def from_tensors(
        cls,
        config: DecoderConfig,
        tensors: Mapping[str, torch.Tensor],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "Decoder":
        """A decoder with a copy of `tensors` (Hugging Face names), converted to `dtype` on `device`.

        Raises:
            CheckpointError: a tensor is missing, left over, or of the wrong shape.
        """
        given = fitting_tensors(config, tensors, complete=True)
        with torch.device("meta"):
            decoder = cls(config)
        # Always a copy: training in place must not reach the caller's tensors or a mapped file.
        copies = {name: tensor.to(device, dtype, copy=True) for name, tensor in given.items()}
        decoder.load_state_dict(copies, assign=True)
        return decoder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.embed_tokens.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        return self.model.embed_tokens.weight.dtype

    def embed(self, token_ids_BT: torch.Tensor) -> torch.Tensor:
        """Looks up `embeddings_BTC`; a caller with images writes theirs over a copy and hands it to `forward`."""
        return self.model.embed_tokens(token_ids_BT)

    def forward(
        self,
        token_ids_BT: torch.Tensor,
        positions_BT: torch.Tensor | None = None,
        segments_BT: torch.Tensor | None = None,
        embeddings_BTC: torch.Tensor | None = None,
        attention: Attention | None = None,
    ) -> torch.Tensor:
        """Returns the normed hidden states of the last layer, `hidden_BTC`.

        Args:
            positions_BT: position of each token in its sequence; 0, 1, 2 … in every row by default.
            segments_BT: which packed sequence a token belongs to; tokens see only their own segment. Positions
                then start anew in each segment, and the caller says so in `positions_BT`.
            embeddings_BTC: takes the place of the looked-up embeddings.
            attention: how tokens see each other; by default causally within the batch, `segments_BT` and the
                sliding window respected. One that is given does all of that itself, and takes no `segments_BT`.
        """
        tokens = token_ids_BT.shape[1]
        if positions_BT is None:
            positions_BT = torch.arange(tokens, device=token_ids_BT.device)[None]
        if attention is None:
            attention = FullAttention(causal_mask(tokens, self.device, segments_BT, self.config.sliding_window))
        elif segments_BT is not None:
            raise TypeError("segments_BT is for the default attention; the one that is given has its own mask")
        frequencies_K = self._frequencies_K.to(self.device)
        cos_BTK, sin_BTK = rope_angles(frequencies_K, self.config.rope.attention_factor, positions_BT)
        hidden_BTC = self.embed(token_ids_BT) if embeddings_BTC is None else embeddings_BTC
        for layer in self.model.layers:
            hidden_BTC = layer(hidden_BTC, cos_BTK, sin_BTK, attention)
        return self.model.norm(hidden_BTC)

    def logits(self, hidden_BTC: torch.Tensor) -> torch.Tensor:
        """Scores `logits_BTV` of hidden states (any leading dimensions). Training has its own way, a slice of tokens at
        a time (train/scoring.py)."""
        if self.lm_head is None:
            return self.model.embed_tokens.project(hidden_BTC)
        return self.lm_head(hidden_BTC)

    @torch.no_grad()
    def replace(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Overwrites the tensors of these names (any dtype and device) in place; the others stay.

        Raises:
            CheckpointError: a name is unknown or a shape is wrong; then nothing has changed.
        """
        own = self.state_dict()
        for name, tensor in _fitting(own, self.config, tensors, complete=False).items():
            own[name].copy_(tensor)


def fitting_tensors(
    config: DecoderConfig, tensors: Mapping[str, torch.Tensor], *, complete: bool
) -> dict[str, torch.Tensor]:
    """The tensors of a decoder among those given: without what some checkpoints carry needlessly.

    Raises:
        CheckpointError: a name is unknown, a shape is wrong or, if they must be `complete`, one is missing.
    """
    with torch.device("meta"):
        own = Decoder(config).state_dict()
    return _fitting(own, config, tensors, complete=complete)


def _fitting(
    own: Mapping[str, torch.Tensor], config: DecoderConfig, tensors: Mapping[str, torch.Tensor], *, complete: bool
) -> dict[str, torch.Tensor]:
    """`own` are the decoder's tensors; with an adapter attached it has more than its config says."""
    given = {name: tensor for name, tensor in tensors.items() if not _redundant(name, config)}
    if complete and (missing := own.keys() - given.keys()):
        raise CheckpointError(f"The weights lack {_some(missing)}.", _MISMATCH_REMEDY)
    if unknown := given.keys() - own.keys():
        raise CheckpointError(f"The weights hold the unknown {_some(unknown)}.", _MISMATCH_REMEDY)
    for name, tensor in given.items():
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"Tensor {name} has shape {tuple(tensor.shape)}; config.json makes it {tuple(own[name].shape)}.",
                _MISMATCH_REMEDY,
            )
    return given


def _redundant(name: str, config: DecoderConfig) -> bool:
    """Tensors that some checkpoints carry without need: a tied output, and tables that follow from the config."""
    return (config.tied and name == "lm_head.weight") or name.endswith(".rotary_emb.inv_freq")


def _some(names: Set[str]) -> str:
    return min(names) + (f" and {len(names) - 1} more" if len(names) > 1 else "")
