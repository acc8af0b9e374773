"""What a decoder is: its sizes and switches, read from and written to a Hugging Face `config.json`.

Four architectures share one shape: Llama, Mistral (sliding window), Qwen2 (bias on the QKV projections) and Qwen3
(norms on queries and keys). A field that would change what the model computes and that our decoder does not have is
refused by name; defaults for absent keys are those of transformers' own config classes, but for the number of key
heads, which is that of the query heads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from forethought.errors import CheckpointError
from forethought.model.rope_config import RopeConfig

ARCHITECTURES: Mapping[str, str] = MappingProxyType(
    {
        "llama": "LlamaForCausalLM",
        "mistral": "MistralForCausalLM",
        "qwen2": "Qwen2ForCausalLM",
        "qwen3": "Qwen3ForCausalLM",
    }
)
"""The `model_type` of a config.json and the architecture that goes with it."""

_REMEDY = "Use a checkpoint of a supported kind: " + ", ".join(ARCHITECTURES.values()) + "."

# Fields that change the arithmetic, with the only value that ours has.
_FIXED = {
    "hidden_act": "silu",
    "mlp_bias": False,
    "rope_interleaved": False,
    "quantization_config": None,
}


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes and switches of a decoder. `sliding_window` counts the positions a query sees, itself included."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    max_positions: int
    rope: RopeConfig
    rms_eps: float = 1e-6
    tied: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    qk_norm: bool = False
    sliding_window: int | None = None
    model_type: str = "llama"

    def __post_init__(self) -> None:
        for name in ("vocab_size", "hidden_size", "intermediate_size", "layers", "heads", "kv_heads", "max_positions"):
            if getattr(self, name) < 1:
                raise CheckpointError(f"The decoder's {name} is {getattr(self, name)}.", "It must be at least 1.")
        if self.heads % self.kv_heads:
            raise CheckpointError(
                f"{self.heads} attention heads cannot share {self.kv_heads} key-value heads evenly.",
                "num_attention_heads must be a multiple of num_key_value_heads.",
            )
        if self.head_dim < 2 or self.head_dim % 2:
            raise CheckpointError(f"head_dim is {self.head_dim}.", "Rotary embeddings need an even head_dim.")
        if self.sliding_window is not None and self.sliding_window < 1:
            raise CheckpointError(f"sliding_window is {self.sliding_window}.", "It must be at least 1, or null.")

    @classmethod
    def from_hf(cls, data: Mapping[str, Any]) -> "DecoderConfig":
        """Reads the keys of a `config.json` (of transformers 4 or 5).

        Raises:
            CheckpointError: a key is missing, or says something that our decoder does not do.
        """
        model_type = _model_type(data)
        _refuse_unsupported(data)
        hidden, heads = _integer(data, "hidden_size"), _integer(data, "num_attention_heads")
        max_positions = _integer(data, "max_position_embeddings")
        biased = bool(data.get("attention_bias"))
        return cls(
            vocab_size=_integer(data, "vocab_size"),
            hidden_size=hidden,
            intermediate_size=_integer(data, "intermediate_size"),
            layers=_integer(data, "num_hidden_layers"),
            heads=heads,
            kv_heads=_integer(data, "num_key_value_heads", heads),
            head_dim=_integer(data, "head_dim", 128 if model_type == "qwen3" else hidden // max(heads, 1)),
            max_positions=max_positions,
            rope=RopeConfig.from_hf(data, max_positions),
            rms_eps=_positive(data, "rms_norm_eps", 1e-6),
            tied=bool(data.get("tie_word_embeddings", False)),
            qkv_bias=biased or model_type == "qwen2",
            o_bias=biased and model_type != "qwen2",
            qk_norm=model_type == "qwen3",
            sliding_window=_sliding_window(data, model_type),
            model_type=model_type,
        )

    def to_hf(self) -> dict[str, Any]:
        """The keys of a `config.json` that transformers (4 and 5) and vLLM read back as the same decoder."""
        data: dict[str, Any] = {
            "architectures": [ARCHITECTURES[self.model_type]],
            "model_type": self.model_type,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_positions,
            "hidden_act": "silu",
            "rms_norm_eps": self.rms_eps,
            "tie_word_embeddings": self.tied,
            **self.rope.to_hf(),
        }
        if self.model_type != "qwen2":
            data["attention_bias"] = self.qkv_bias
        if self.model_type != "llama":
            data["sliding_window"] = self.sliding_window
        if self.model_type in ("qwen2", "qwen3"):
            windowed = self.sliding_window is not None
            data |= {"use_sliding_window": windowed, "max_window_layers": 0 if windowed else self.layers}
        return data


def _model_type(data: Mapping[str, Any]) -> str:
    model_type = str(data.get("model_type"))
    if model_type not in ARCHITECTURES:
        raise CheckpointError(f"config.json says model_type {model_type!r}, which is not supported.", _REMEDY)
    architectures = data.get("architectures") or [ARCHITECTURES[model_type]]
    if architectures != [ARCHITECTURES[model_type]]:
        raise CheckpointError(f"config.json says architectures {architectures!r}, which is not supported.", _REMEDY)
    return model_type


def _refuse_unsupported(data: Mapping[str, Any]) -> None:
    for name, only in _FIXED.items():
        value = data.get(name, only)
        if value != only:
            raise CheckpointError(f"config.json says {name} {value!r}; only {only!r} is supported.", _REMEDY)


def _integer(data: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """`default` stands in for an absent or null key; without one the key is required."""
    value = data.get(name)
    if value is None:
        value = default
    if not isinstance(value, int) or isinstance(value, bool):
        raise CheckpointError(f"config.json says {name} {value!r}.", "The file must give it as a whole number.")
    return value


def _positive(data: Mapping[str, Any], name: str, default: float) -> float:
    value = data.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        raise CheckpointError(f"config.json says {name} {value!r}.", "The file must give it as a number above 0.")
    return float(value)


def _window(data: Mapping[str, Any]) -> int | None:
    """4096 where the key is absent; null is no window."""
    return None if data.get("sliding_window", 4096) is None else _integer(data, "sliding_window", 4096)


def _layer_types(data: Mapping[str, Any]) -> set[str]:
    value: Any = data.get("layer_types") or []
    if not isinstance(value, list) or not all(isinstance(kind, str) for kind in cast("list[Any]", value)):
        raise CheckpointError(f"config.json says layer_types {value!r}.", "The file must name the kind of each layer.")
    return set(cast("list[str]", value))


def _sliding_window(data: Mapping[str, Any], model_type: str) -> int | None:
    """One window for all layers or none: mixtures of both kinds are not supported."""
    kinds = _layer_types(data)
    if model_type == "mistral":
        window = _window(data)
    elif model_type == "llama" or not data.get("use_sliding_window"):
        window = None
    else:
        window = _window(data)
        layers, full = _integer(data, "num_hidden_layers"), _integer(data, "max_window_layers", 28)
        kinds = kinds or {"full_attention" if layer < full else "sliding_attention" for layer in range(layers)}
        window = None if kinds == {"full_attention"} else window
    if kinds and kinds != {"full_attention" if window is None else "sliding_attention"}:
        raise CheckpointError(
            f"config.json mixes layer_types {sorted(kinds)} with sliding_window {window!r}, which is not supported.",
            "All layers must have the same kind of attention.",
        )
    return window
