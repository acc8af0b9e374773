"""A small Llama as a GGUF file, written with the `gguf` package: every tensor type that we read, SmolLM2's tokenizer
kind, and weights from a seed."""

import json
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, TokenType
from gguf.quants import quantize

from conftest import tiny_tokenizer
from forethought.model.config import DecoderConfig
from forethought.model.rope_config import RopeConfig

CHAT_TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"

Q4_0, Q4_1, Q8_0 = GGMLQuantizationType.Q4_0, GGMLQuantizationType.Q4_1, GGMLQuantizationType.Q8_0
F16, F32 = GGMLQuantizationType.F16, GGMLQuantizationType.F32


def tiny_config() -> DecoderConfig:
    """What the file's metadata describe."""
    return DecoderConfig(
        vocab_size=tiny_tokenizer().get_vocab_size(),
        hidden_size=64,
        intermediate_size=96,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        max_positions=256,
        rope=RopeConfig(theta=50_000.0),
        rms_eps=1e-5,
        tied=True,
    )


def write_tiny_gguf(path: Path, *, seed: int = 0, tokenizer: bool = True, odd_tensor: str | None = None) -> None:
    """Writes the file; `odd_tensor` adds one of that name."""
    writer = GGUFWriter(path, "llama")
    config = tiny_config()
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.layers)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope.theta)
    writer.add_layer_norm_rms_eps(config.rms_eps)
    writer.add_vocab_size(config.vocab_size)
    if tokenizer:
        _add_tokenizer(writer)
    _add_tensors(writer, config, seed, odd_tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: GGUFWriter) -> None:
    content = json.loads(tiny_tokenizer().to_str())
    special = {token["id"] for token in content["added_tokens"]}
    vocabulary = sorted(content["model"]["vocab"], key=content["model"]["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary)
    writer.add_token_types(
        [TokenType.CONTROL if index in special else TokenType.NORMAL for index in range(len(vocabulary))]
    )
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    ids = {token: index for index, token in enumerate(vocabulary)}
    writer.add_bos_token_id(ids["<|im_start|>"])
    writer.add_eos_token_id(ids["<|im_end|>"])
    writer.add_pad_token_id(ids["<|im_end|>"])
    writer.add_unk_token_id(ids["<|endoftext|>"])
    writer.add_chat_template(CHAT_TEMPLATE)


def _add_tensors(writer: GGUFWriter, config: DecoderConfig, seed: int, odd_tensor: str | None) -> None:
    random = np.random.default_rng(seed)

    def add(name: str, kind: GGMLQuantizationType, *shape: int) -> None:
        values = random.standard_normal(shape, dtype=np.float32)
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)

    keys = config.kv_heads * config.head_dim
    add("token_embd.weight", Q8_0, config.vocab_size, config.hidden_size)
    for layer in range(config.layers):
        block = f"blk.{layer}"
        add(f"{block}.attn_norm.weight", F32, config.hidden_size)
        add(f"{block}.attn_q.weight", Q4_1, config.hidden_size, config.hidden_size)
        add(f"{block}.attn_k.weight", Q4_0, keys, config.hidden_size)
        add(f"{block}.attn_v.weight", F16, keys, config.hidden_size)
        add(f"{block}.attn_output.weight", Q4_1, config.hidden_size, config.hidden_size)
        add(f"{block}.ffn_norm.weight", F32, config.hidden_size)
        add(f"{block}.ffn_gate.weight", Q4_0, config.intermediate_size, config.hidden_size)
        add(f"{block}.ffn_up.weight", Q8_0, config.intermediate_size, config.hidden_size)
        add(f"{block}.ffn_down.weight", Q4_1, config.hidden_size, config.intermediate_size)
    add("output_norm.weight", F32, config.hidden_size)
    if odd_tensor is not None:
        add(odd_tensor, F32, config.hidden_size)
