"""LoRA adapters: what PEFT saves we load, what we save PEFT loads, with equal logits; what we cannot do we name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig as PeftLoraConfig
from peft import PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from forethought.errors import CheckpointError
from forethought.model.config import DecoderConfig
from forethought.model.decoder import Decoder
from forethought.model.lora import LoraConfig, attach, load_adapter, merge, save_adapter

# PEFT reads what transformers 5 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

VOCAB = 67

VARIANTS = {
    "list of modules": LoraConfig(rank=4, alpha=8, target_modules=("down_proj", "q_proj")),
    "rank-stabilised": LoraConfig(rank=4, alpha=3, target_modules=("v_proj",), rslora=True),
    "dropout": LoraConfig(rank=2, alpha=4, target_modules=("o_proj",), dropout=0.5),
    "regular expression": LoraConfig(rank=3, alpha=3, target_modules=r"model\.layers\.1\..*(gate|up)_proj"),
    "all-linear": LoraConfig(rank=2, alpha=2, target_modules="all-linear"),
    "token rows": LoraConfig(rank=2, alpha=2, target_modules=("q_proj",), input_token_ids=(9, 5, 60)),
}


def make_base(tied: bool = True) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.2,
        tie_word_embeddings=tied,
    )
    return LlamaForCausalLM(config).eval()


def make_decoder(base: LlamaForCausalLM) -> Decoder:
    return Decoder.from_tensors(DecoderConfig.from_hf(base.config.to_dict()), base.state_dict()).eval()


def make_adapter(decoder: Decoder, config: LoraConfig) -> dict[str, torch.Tensor]:
    """Random tensors for an adapter of this decoder, which is left as it was."""
    copy = Decoder.from_tensors(decoder.config, decoder.state_dict())
    torch.manual_seed(1)
    return {name: torch.randn_like(parameter) * 0.3 for name, parameter in attach(copy, config).items()}


def token_ids() -> torch.Tensor:
    """Every token once, in rows."""
    return torch.arange(VOCAB - 1).view(3, -1).flip(1)


@torch.no_grad()
def logits(decoder: Decoder) -> torch.Tensor:
    return decoder.logits(decoder(token_ids()))


@torch.no_grad()
def peft_logits(model: torch.nn.Module) -> torch.Tensor:
    return model(token_ids()).logits


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_peft_loads_what_we_save(config: LoraConfig, tied: bool, tmp_path: Path) -> None:
    base = make_base(tied)
    decoder = make_decoder(base)
    tensors = make_adapter(decoder, config)
    save_adapter(tmp_path, config, tensors)
    attach(decoder, config, tensors)
    assert not torch.allclose(logits(decoder), peft_logits(base), atol=1e-2)
    assert_same(logits(decoder), peft_logits(PeftModel.from_pretrained(base, tmp_path).eval()))


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_we_load_what_peft_saves(config: LoraConfig, tmp_path: Path) -> None:
    base = make_base()
    decoder = make_decoder(base)
    theirs = get_peft_model(base, peft_config(config)).eval()
    for parameter in theirs.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    theirs.save_pretrained(tmp_path)
    loaded, tensors = load_adapter(tmp_path)
    assert (loaded.rank, loaded.alpha, loaded.dropout) == (config.rank, config.alpha, config.dropout)
    attach(decoder, loaded, tensors)
    assert_same(logits(decoder), peft_logits(theirs))


def test_rows_of_an_untied_output_are_trained_apart(tmp_path: Path) -> None:
    base = make_base(tied=False)
    config = LoraConfig(2, 2, ("q_proj",), input_token_ids=(5, 9), output_token_ids=(5, 7, 11))
    decoder = make_decoder(base)
    tensors = make_adapter(decoder, config)
    save_adapter(tmp_path, config, tensors)
    assert load_adapter(tmp_path)[0] == config
    merged = Decoder.from_tensors(decoder.config, merge(decoder.state_dict(), config, tensors))
    attach(decoder, config, tensors)
    theirs = peft_logits(PeftModel.from_pretrained(base, tmp_path).eval())
    assert_same(logits(decoder), theirs)
    assert_same(logits(merged), theirs)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
def test_merged_and_attached_are_the_same_model(config: LoraConfig) -> None:
    decoder = make_decoder(make_base())
    tensors = make_adapter(decoder, config)
    merged = Decoder.from_tensors(decoder.config, merge(decoder.state_dict(), config, tensors))
    attach(decoder, config, tensors)
    assert_same(logits(merged), logits(decoder))


def test_merging_touches_only_what_the_adapter_changes() -> None:
    decoder = make_decoder(make_base())
    config = VARIANTS["regular expression"]
    base = decoder.state_dict()
    before = {name: tensor.clone() for name, tensor in base.items()}
    merged = merge(base, config, make_adapter(decoder, config))
    changed = {name for name in base if merged[name] is not base[name]}
    assert changed == {f"model.layers.1.mlp.{name}_proj.weight" for name in ("gate", "up")}
    assert all(torch.equal(base[name], before[name]) for name in base)


def test_merging_keeps_the_dtype_of_the_base() -> None:
    decoder = make_decoder(make_base()).bfloat16()
    config = VARIANTS["token rows"]
    merged = merge(decoder.state_dict(), config, make_adapter(decoder, config))
    assert {tensor.dtype for tensor in merged.values()} == {torch.bfloat16}


def test_a_saved_adapter_is_loaded_as_it_was(tmp_path: Path) -> None:
    config = VARIANTS["token rows"]
    tensors = make_adapter(make_decoder(make_base()), config)
    save_adapter(tmp_path, config, tensors, base="somewhere/base")
    loaded, loaded_tensors = load_adapter(tmp_path)
    assert loaded == config
    assert loaded_tensors.keys() == tensors.keys()
    assert all(torch.equal(loaded_tensors[name], tensors[name]) for name in tensors)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "somewhere/base"


def test_a_fresh_adapter_changes_nothing() -> None:
    decoder = make_decoder(make_base())
    before = logits(decoder)
    attach(decoder, LoraConfig(4, 8, "all-linear", input_token_ids=(3, 4)))
    torch.testing.assert_close(logits(decoder), before, atol=1e-6, rtol=0)


def test_training_moves_the_adapter_and_nothing_else() -> None:
    decoder = make_decoder(make_base())
    parameters = attach(decoder, LoraConfig(4, 8, "all-linear", dropout=0.1, input_token_ids=(3, 4)))
    base = {n: p.clone() for n, p in decoder.named_parameters() if n not in parameters}
    optimiser = torch.optim.SGD(parameters.values(), lr=1.0)
    losses: list[float] = []
    decoder.train()
    for _ in range(5):
        scores = decoder.logits(decoder(token_ids()[:, :-1]))
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), token_ids()[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    after = dict(decoder.named_parameters())
    assert all(torch.equal(after[name], base[name]) for name in base)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters.values())


def test_rows_get_the_gradient_of_their_tokens_from_both_ends() -> None:
    """Against the rows of a fully trained tied table."""
    full, decoder = make_decoder(make_base()), make_decoder(make_base())
    config = LoraConfig(2, 2, ("q_proj",), input_token_ids=(9, 5))
    rows = attach(decoder, config)["model.embed_tokens.token_adapter.trainable_tokens_delta"]
    for model in (full, decoder):
        model.logits(model(token_ids())).square().sum().backward()
    assert full.model.embed_tokens.weight.grad is not None
    torch.testing.assert_close(rows.grad, full.model.embed_tokens.weight.grad[[9, 5]], rtol=1e-4, atol=1e-4)


def test_dropout_acts_in_training_only() -> None:
    decoder = make_decoder(make_base())
    config = VARIANTS["dropout"]
    attach(decoder, config, make_adapter(decoder, config))
    assert torch.equal(logits(decoder), logits(decoder))
    decoder.train()
    assert not torch.equal(logits(decoder), logits(decoder))


def test_an_adapter_on_a_bfloat16_base_stays_float32() -> None:
    decoder = make_decoder(make_base()).bfloat16()
    parameters = attach(decoder, LoraConfig(2, 2, "all-linear", input_token_ids=(1,)))
    assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}
    assert logits(decoder).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("lora_bias", True),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 2}),
        ("alpha_pattern", {"q_proj": 2}),
        ("layers_to_transform", [0]),
        ("exclude_modules", ["q_proj"]),
        ("fan_in_fan_out", True),
        ("init_lora_weights", "pissa"),
        ("layer_replication", [[0, 2]]),
        ("target_parameters", ["mlp.experts"]),
        ("peft_type", "IA3"),
        ("task_type", "SEQ_CLS"),
        ("a_key_of_the_future", True),
    ],
)
def test_a_feature_that_we_lack_is_named(name: str, value: Any) -> None:
    data = LoraConfig(2, 2, ("q_proj",)).to_peft() | {name: value}
    with pytest.raises(CheckpointError, match=name):
        LoraConfig.from_peft(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": None}, "r None"),
        ({"r": 0}, "r is 0"),
        ({"lora_dropout": 1.0}, "lora_dropout is 1.0"),
        ({"target_modules": None}, "target_modules None"),
        ({"target_modules": 5}, "target_modules 5"),
        ({"target_modules": [5]}, "target_modules"),
        ({"target_modules": "("}, "target_modules '\\('"),
        ({"r": 2.5}, "r 2.5"),
        ({"r": float("inf")}, "r inf"),
        ({"trainable_token_indices": 5}, "trainable_token_indices 5"),
        ({"trainable_token_indices": ["a"]}, "trainable_token_indices"),
        ({"trainable_token_indices": {"embed_tokens": 5}}, "trainable_token_indices"),
        ({"trainable_token_indices": [3, 3]}, "trainable_token_indices"),
        ({"trainable_token_indices": {"wte": [3]}}, "wte"),
    ],
)
def test_a_value_that_cannot_work_is_named(changes: Mapping[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        LoraConfig.from_peft(LoraConfig(2, 2, ("q_proj",)).to_peft() | changes)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LoraConfig(2, 2, ("q_proj", "c_attn")), "c_attn"),
        (LoraConfig(2, 2, r".*\.c_attn"), "c_attn"),
        (LoraConfig(2, 2, ("embed_tokens",)), "embed_tokens"),
        (LoraConfig(2, 2, ("lm_head",)), "lm_head"),
        (LoraConfig(2, 2, ("q_proj",), input_token_ids=(VOCAB,)), f"token {VOCAB}"),
        (LoraConfig(2, 2, ("q_proj",), output_token_ids=(1,)), "tied"),
    ],
)
def test_an_adapter_for_another_kind_of_model_is_refused(config: LoraConfig, message: str) -> None:
    decoder = make_decoder(make_base(tied=True))
    with pytest.raises(CheckpointError, match=message):
        attach(decoder, config)
    with pytest.raises(CheckpointError, match=message):
        merge(decoder.state_dict(), config, {})


def test_low_rank_and_rows_of_one_table_exclude_each_other() -> None:
    decoder = make_decoder(make_base(tied=False))
    with pytest.raises(CheckpointError, match="both"):
        attach(decoder, LoraConfig(2, 2, ("lm_head",), output_token_ids=(1,)))


def test_tensors_that_do_not_fit_are_named() -> None:
    decoder = make_decoder(make_base())
    config = VARIANTS["list of modules"]
    tensors = make_adapter(decoder, config)
    name = min(tensors)
    with pytest.raises(CheckpointError, match=f"lacks tensor {name}"):
        merge(decoder.state_dict(), config, {n: t for n, t in tensors.items() if n != name})
    with pytest.raises(CheckpointError, match=r"unknown tensor x\.lora_magnitude_vector"):
        attach(decoder, config, tensors | {"x.lora_magnitude_vector": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=f"{name} has shape"):
        attach(decoder, config, tensors | {name: torch.zeros(1, 1)})


def test_a_second_adapter_is_refused() -> None:
    decoder = make_decoder(make_base())
    attach(decoder, VARIANTS["token rows"])
    with pytest.raises(CheckpointError, match="already"):
        attach(decoder, VARIANTS["token rows"])


def peft_config(config: LoraConfig) -> PeftLoraConfig:
    targets = config.target_modules
    return PeftLoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=int(config.alpha),
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        target_modules=targets if isinstance(targets, str) else list(targets),
        trainable_token_indices=list(config.input_token_ids) or None,
    )
