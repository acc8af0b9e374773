"""Small random models of transformers, one of each kind that our decoder opens."""

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from forethought.model.config import DecoderConfig
from forethought.model.decoder import Decoder

VOCAB = 83

SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}

ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**SIZES),
    "llama, tied": LlamaConfig(**SIZES, tie_word_embeddings=True),
    "llama, biased": LlamaConfig(**SIZES, attention_bias=True),
    "llama, one head for each query": LlamaConfig(**SIZES | {"num_key_value_heads": 6}),
    "mistral": MistralConfig(**SIZES, sliding_window=None),
    "mistral, windowed": MistralConfig(**SIZES, sliding_window=9, head_dim=16),
    "qwen2": Qwen2Config(**SIZES),
    "qwen2, windowed": Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=9, max_window_layers=0),
    "qwen3": Qwen3Config(**SIZES, head_dim=24, tie_word_embeddings=True),
    "qwen3, biased": Qwen3Config(**SIZES, head_dim=24, attention_bias=True),
}


def make_model(config: PreTrainedConfig) -> PreTrainedModel:
    """With weights large enough that every part of it shows in the logits."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(mean=float(parameter.dim() == 1), std=0.2)
    return model


def decoder_of(model: PreTrainedModel) -> Decoder:
    return Decoder.from_tensors(DecoderConfig.from_hf(model.config.to_dict()), model.state_dict())
