"""A Llama-family GGUF as the Hugging Face checkpoint that it was made from: names, order of rows, config, tokenizer.

llama.cpp renames the tensors, interleaves the rows of the query and key projections (its rotary embedding turns
neighbours, Hugging Face's turns halves), and keeps a tokenizer as three lists and a name. All of that is undone here.
"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import numpy as np
import torch

from forethought.errors import CheckpointError
from forethought.model.config import DecoderConfig
from forethought.model.gguf import Float32, GgufFile, GgufTensor
from forethought.model.rope_config import RopeConfig

_REMEDY = "Use a Hugging Face directory of this model instead."

_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_LAYER_TENSOR = re.compile(r"blk\.(\d+)\.(\w+)\.weight")

_CONTROL_TOKEN = 3  # of llama.cpp's token types: a marker that text never becomes

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    # Each digit stands alone. (transformers' conversion of a GGUF leaves that step out, and so splits the white space
    # before a digit in another way than the model was trained with.)
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTE_LEVEL]},
    "gpt-2": _BYTE_LEVEL,
}


def decoder_config(file: GgufFile) -> DecoderConfig:
    """The config that the metadata describe.

    Raises:
        CheckpointError: another architecture, a scaled RoPE, or an entry that is missing.
    """
    architecture = _entry(file, "general.architecture")
    if architecture != "llama":
        raise CheckpointError(f"A GGUF of architecture {architecture!r} cannot be converted.", _REMEDY)
    scaling = file.metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise CheckpointError(f"A GGUF with {scaling!r} RoPE scaling cannot be converted.", _REMEDY)
    hidden, heads = int(_entry(file, "llama.embedding_length")), int(_entry(file, "llama.attention.head_count"))
    return DecoderConfig(
        vocab_size=len(_entry(file, "tokenizer.ggml.tokens")),
        hidden_size=hidden,
        intermediate_size=int(_entry(file, "llama.feed_forward_length")),
        layers=int(_entry(file, "llama.block_count")),
        heads=heads,
        kv_heads=int(file.metadata.get("llama.attention.head_count_kv", heads)),
        head_dim=int(file.metadata.get("llama.rope.dimension_count", hidden // heads)),
        max_positions=int(_entry(file, "llama.context_length")),
        rope=RopeConfig(theta=_shortest(float(file.metadata.get("llama.rope.freq_base", 10000.0)))),
        rms_eps=_shortest(float(_entry(file, "llama.attention.layer_norm_rms_epsilon"))),
        tied="output.weight" not in file.tensors,
    )


def hf_tensors(file: GgufFile, progress: Callable[[int, int], None]) -> dict[str, torch.Tensor]:
    """Every tensor, dequantised to float32, under its Hugging Face name and in the file's order.

    `progress` is called with the numbers of tensors done and in all.

    Raises:
        CheckpointError: the file holds a tensor that a Llama does not have.
    """
    config = decoder_config(file)
    names = {tensor.name: _hf_name(tensor.name) for tensor in file.tensors.values()}
    tensors: dict[str, torch.Tensor] = {}
    with ThreadPoolExecutor() as pool:  # numpy releases the interpreter's lock
        arrays = pool.map(partial(_hf_array, config), file.tensors.values())
        for done, (name, array) in enumerate(zip(names.values(), arrays, strict=True), start=1):
            tensors[name] = torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]
            progress(done, len(names))
    return tensors


def tokenizer_json(file: GgufFile) -> str:
    """The `tokenizer.json` that the metadata describe (byte-level BPE).

    Raises:
        CheckpointError: a tokenizer of another kind.
    """
    kind, pre = _entry(file, "tokenizer.ggml.model"), file.metadata.get("tokenizer.ggml.pre", "gpt-2")
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        raise CheckpointError(f"A GGUF with a tokenizer of kind {kind}/{pre} cannot be converted.", _REMEDY)
    model: dict[str, Any] = {
        "type": "BPE",
        "dropout": None,
        "unk_token": None,
        "continuing_subword_prefix": None,
        "end_of_word_suffix": None,
        "fuse_unk": False,
        "byte_fallback": False,
        "ignore_merges": False,
        "vocab": {token: index for index, token in enumerate(_tokens(file))},
        "merges": [merge.split(" ") for merge in cast("list[str]", _entry(file, "tokenizer.ggml.merges"))],
    }
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added_token(index, token) for index, token in _control_tokens(file)],
        "normalizer": None,
        "pre_tokenizer": _PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": model,
    }
    return json.dumps(content, ensure_ascii=False, indent=2) + "\n"


def tokenizer_config(file: GgufFile) -> dict[str, Any]:
    """What `tokenizer_config.json` says.

    The class is the one that takes `tokenizer.json` as it is; a model's own class (`GPT2Tokenizer`) would rebuild the
    pre-tokenizer and quietly give other ids.
    """
    tokens = _tokens(file)
    roles = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    named = {name: tokens[index] for role, name in roles.items() if (index := special_token(file, role)) is not None}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": int(_entry(file, "llama.context_length")),
        "added_tokens_decoder": {
            str(index): {key: value for key, value in _added_token(index, token).items() if key != "id"}
            for index, token in _control_tokens(file)
        },
    }


def chat_template(file: GgufFile) -> str:
    """The Jinja chat template that the model was tuned with."""
    return str(_entry(file, "tokenizer.chat_template"))


def special_token(file: GgufFile, role: str) -> int | None:
    """The id of the token in a role (`bos`, `eos`, `unknown`, `padding`), if the model has one."""
    return cast("int | None", file.metadata.get(f"tokenizer.ggml.{role}_token_id"))


def _entry(file: GgufFile, key: str) -> Any:
    if key not in file.metadata:
        raise CheckpointError(f"The GGUF's metadata lack {key}.", _REMEDY)
    return file.metadata[key]


def _tokens(file: GgufFile) -> list[str]:
    return cast("list[str]", _entry(file, "tokenizer.ggml.tokens"))


def _control_tokens(file: GgufFile) -> Iterator[tuple[int, str]]:
    types = cast("list[int]", _entry(file, "tokenizer.ggml.token_type"))
    return ((index, token) for index, token in enumerate(_tokens(file)) if types[index] == _CONTROL_TOKEN)


def _added_token(index: int, token: str) -> dict[str, Any]:
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": token, **plain}


def _hf_name(name: str) -> str:
    match = _LAYER_TENSOR.fullmatch(name)
    if match and match[2] in _LAYER_NAMES:
        return f"model.layers.{match[1]}.{_LAYER_NAMES[match[2]]}.weight"
    if name not in _NAMES:
        raise CheckpointError(f"The GGUF holds a tensor {name}, which a plain Llama does not have.", _REMEDY)
    return _NAMES[name]


def _hf_array(config: DecoderConfig, tensor: GgufTensor) -> Float32:
    values = tensor.dequantise()
    if tensor.name.endswith(".attn_q.weight"):
        return _halves(values, config.heads)
    if tensor.name.endswith(".attn_k.weight"):
        return _halves(values, config.kv_heads)
    return values


def _halves(rows: Float32, heads: int) -> Float32:
    """Rows of each head from llama.cpp's order (0, half, 1, half + 1, …) back to Hugging Face's (0, 1, 2, …)."""
    pairs = rows.reshape(heads, -1, 2, rows.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _shortest(value: float) -> float:
    """The shortest decimal that is the same float32: the file says 9.99999974e-06, the model's author said 1e-05."""
    return float(str(np.float32(value)))
