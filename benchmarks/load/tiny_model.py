"""A Llama with random weights that costs next to nothing: for a server whose front end alone is to be measured."""

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

WIDTH, KEYS = 64, 32
"""Of the residual stream, and of the one head of keys (the smallest that vLLM computes)."""

COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")
SHAPE = {
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": WIDTH // KEYS,
    "num_key_value_heads": 1,
    "head_dim": KEYS,
    "dtype": "bfloat16",
}


def make(model_dir: Path, target: Path) -> Path:
    """Writes it to `target`, with the tokenizer and the prompt format of a Llama in the layout of Hugging Face."""
    if (target / "model.safetensors").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copy(model_dir / name, target / name)
    config = json.loads((model_dir / "config.json").read_text()) | SHAPE
    (target / "config.json").write_text(json.dumps(config, indent=1))
    layer, square = "model.layers.0", (WIDTH, WIDTH)
    shapes = {
        "model.embed_tokens.weight": (config["vocab_size"], WIDTH),
        "model.norm.weight": (WIDTH,),
        f"{layer}.input_layernorm.weight": (WIDTH,),
        f"{layer}.post_attention_layernorm.weight": (WIDTH,),
        f"{layer}.self_attn.q_proj.weight": square,
        f"{layer}.self_attn.k_proj.weight": (KEYS, WIDTH),
        f"{layer}.self_attn.v_proj.weight": (KEYS, WIDTH),
        f"{layer}.self_attn.o_proj.weight": square,
        **{f"{layer}.mlp.{name}_proj.weight": square for name in ("gate", "up", "down")},
    }
    draw = np.random.default_rng(0)
    tensors = {name: draw.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target
