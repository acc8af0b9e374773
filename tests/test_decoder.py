"""The decoder computes what transformers computes, for every architecture and kind of RoPE that it opens."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3Config,
)

from forethought.errors import CheckpointError
from forethought.model.attention import FullAttention
from forethought.model.checkpoint import Checkpoint
from forethought.model.config import DecoderConfig
from forethought.model.decoder import Decoder
from forethought.model.rope import rope_tables
from forethought.model.rope_config import RopeConfig
from forethought.model.weights import read_tensors, write_tensors
from transformers_models import ARCHITECTURES, SIZES, VOCAB, decoder_of, make_model

LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}

ROPES: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default", "rope_theta": 500000.0},
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {"rope_type": "llama3", "factor": 8.0, **LLAMA3},
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    "yarn, original context left out": {"rope_type": "yarn", "factor": 4.0},
    "yarn, untruncated": {"rope_type": "yarn", "factor": 4.0, "truncate": False, "beta_fast": 16.0, "beta_slow": 2.0},
    "yarn, attention factor": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 0.7},
    "yarn, mscale": {"rope_type": "yarn", "factor": 4.0, "mscale": 0.7, "mscale_all_dim": 1.2},
}


def token_ids(rows: int = 2, tokens: int = 100) -> torch.Tensor:
    return torch.randint(0, VOCAB, (rows, tokens), generator=torch.Generator().manual_seed(7))


@torch.no_grad()
def logits(decoder: Decoder, ids_BT: torch.Tensor, **more: Any) -> torch.Tensor:
    return decoder.logits(decoder(ids_BT, **more))


def assert_same_logits(decoder: Decoder, model: PreTrainedModel) -> None:
    with torch.no_grad():
        expected = model(token_ids()).logits
    assert expected.abs().max() > 1
    torch.testing.assert_close(logits(decoder, token_ids()), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_logits_are_those_of_transformers(config: PreTrainedConfig) -> None:
    model = make_model(config)
    assert_same_logits(decoder_of(model), model)


@pytest.mark.parametrize("parameters", ROPES.values(), ids=ROPES.keys())
def test_logits_are_those_of_transformers_for_every_rope(parameters: dict[str, Any]) -> None:
    model = make_model(LlamaConfig(**SIZES, rope_parameters=dict(parameters)))
    assert_same_logits(decoder_of(model), model)


@pytest.mark.parametrize("parameters", ROPES.values(), ids=ROPES.keys())
def test_old_and_new_spelling_of_rope_mean_the_same(parameters: dict[str, Any]) -> None:
    old = {"model_type": "llama", **SIZES, "rope_theta": 5000.0}
    old["rope_scaling"] = {key: value for key, value in parameters.items() if key != "rope_theta"}
    new = {"model_type": "llama", **SIZES, "rope_parameters": {**parameters, "rope_theta": 5000.0}}
    assert DecoderConfig.from_hf(old) == DecoderConfig.from_hf(new)


@pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_transformers_opens_what_we_save(config: PreTrainedConfig, tmp_path: Path) -> None:
    model = make_model(config)
    decoder = decoder_of(model)
    (tmp_path / "config.json").write_text(json.dumps(decoder.config.to_hf()))
    write_tensors(tmp_path, decoder.state_dict(), shard_bytes=40_000)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    reopened = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(reopened) is type(model)
    assert_same_logits(decoder, reopened)


@pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_we_open_what_transformers_saves(config: PreTrainedConfig, tmp_path: Path) -> None:
    model = make_model(config)
    model.save_pretrained(tmp_path, max_shard_size="40KB")
    decoder_config = DecoderConfig.from_hf(json.loads((tmp_path / "config.json").read_text()))
    assert_same_logits(Decoder.from_tensors(decoder_config, read_tensors(tmp_path)), model)


@pytest.mark.parametrize(
    "config",
    [
        *(DecoderConfig.from_hf(config.to_dict()) for config in ARCHITECTURES.values()),
        *(DecoderConfig.from_hf(LlamaConfig(**SIZES, rope_parameters=dict(p)).to_dict()) for p in ROPES.values()),
    ],
)
def test_a_config_survives_writing_and_reading(config: DecoderConfig) -> None:
    assert DecoderConfig.from_hf(json.loads(json.dumps(config.to_hf()))) == config


def test_the_pulled_base_has_the_logits_of_transformers(base_directory: Path) -> None:
    ids_BT = torch.arange(1000, 1120).view(2, 60)
    model = AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32).eval()
    with torch.no_grad():
        expected = model(ids_BT).logits
    decoder = Checkpoint.open(base_directory).decoder()
    torch.testing.assert_close(logits(decoder, ids_BT), expected, atol=1e-3, rtol=0)


def make_small(**changes: Any) -> Decoder:
    return decoder_of(make_model(MistralConfig(**SIZES | {"sliding_window": 9} | changes)))


def test_packed_sequences_do_not_see_each_other() -> None:
    decoder = make_small()
    first, second = token_ids(1, 30), token_ids(1, 20)
    packed = logits(
        decoder,
        torch.cat([first, second], dim=1),
        positions_BT=torch.cat([torch.arange(30), torch.arange(20)])[None],
        segments_BT=torch.tensor([[0] * 30 + [1] * 20]),
    )
    torch.testing.assert_close(packed[:, :30], logits(decoder, first), atol=1e-5, rtol=0)
    torch.testing.assert_close(packed[:, 30:], logits(decoder, second), atol=1e-5, rtol=0)


def test_segments_beside_a_given_attention_are_refused() -> None:
    with pytest.raises(TypeError, match="segments_BT"):
        make_small()(token_ids(), segments_BT=torch.zeros(2, 100), attention=FullAttention())


def test_a_token_does_not_see_what_follows() -> None:
    decoder = make_small(sliding_window=None)
    ids_BT = token_ids(1, 40)
    changed_BT = ids_BT.clone()
    changed_BT[0, 25] = (changed_BT[0, 25] + 1) % VOCAB
    torch.testing.assert_close(logits(decoder, ids_BT)[:, :25], logits(decoder, changed_BT)[:, :25])
    assert not torch.allclose(logits(decoder, ids_BT)[:, 25:], logits(decoder, changed_BT)[:, 25:])


def test_a_shared_prompt_needs_computing_only_once() -> None:
    """Two answers behind one prompt in one row, under a mask of the caller's."""
    decoder = make_small(sliding_window=None)
    prompt, answers = token_ids(1, 10), [token_ids(1, 6), token_ids(1, 5)]
    owner = torch.tensor([-1] * 10 + [0] * 6 + [1] * 5)
    seen_TT = (owner[:, None] == owner) | (owner[None, :] == -1)
    mask_BTT = (seen_TT & torch.ones(21, 21, dtype=torch.bool).tril())[None]
    packed = logits(
        decoder,
        torch.cat([prompt, *answers], dim=1),
        positions_BT=torch.cat([torch.arange(10), torch.arange(10, 16), torch.arange(10, 15)])[None],
        attention=FullAttention(mask_BTT),
    )
    for part, answer in zip(packed[:, 10:].split([6, 5], dim=1), answers, strict=True):
        alone = logits(decoder, torch.cat([prompt, answer], dim=1))[:, 10:]
        torch.testing.assert_close(part, alone, atol=1e-5, rtol=0)


def test_given_embeddings_take_the_place_of_looked_up_ones() -> None:
    decoder = make_small()
    ids_BT = token_ids()
    with torch.no_grad():
        embeddings_BTC = decoder.embed(ids_BT)
    nothing_BT = torch.zeros_like(ids_BT)
    assert torch.equal(logits(decoder, nothing_BT, embeddings_BTC=embeddings_BTC), logits(decoder, ids_BT))


def test_gradients_are_those_of_transformers() -> None:
    model = make_model(ARCHITECTURES["qwen3"])
    decoder = decoder_of(model)
    model(token_ids()).logits.square().mean().backward()
    decoder.logits(decoder(token_ids())).square().mean().backward()
    theirs = dict(model.named_parameters())
    for name, parameter in decoder.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, atol=1e-4, rtol=1e-3)


def test_converting_the_decoder_does_not_round_its_frequencies() -> None:
    decoder = make_small().bfloat16()
    fresh = make_small()
    fresh.load_state_dict(decoder.state_dict())
    far_BT = torch.arange(1_000_000, 1_000_100)[None]
    ids_BT = token_ids(1)
    torch.testing.assert_close(
        logits(decoder.float(), ids_BT, positions_BT=far_BT), logits(fresh, ids_BT, positions_BT=far_BT)
    )


def test_rope_tables_hold_the_attention_factor() -> None:
    config = DecoderConfig(
        8, 8, 8, 1, 2, 1, 4, 64, RopeConfig(kind="yarn", original_positions=16, attention_factor=2.0)
    )
    cos_TK, sin_TK = rope_tables(config, 5)
    assert cos_TK.shape == sin_TK.shape == (5, 2)
    torch.testing.assert_close(cos_TK.square() + sin_TK.square(), torch.full((5, 2), 4.0))


def test_training_in_place_does_not_reach_the_given_tensors() -> None:
    model = make_model(ARCHITECTURES["llama"])
    decoder = decoder_of(model)
    before = model.model.norm.weight.clone()
    with torch.no_grad():
        decoder.model.norm.weight.zero_()
    assert torch.equal(model.model.norm.weight, before)


def test_a_tied_checkpoint_may_repeat_its_table() -> None:
    model = make_model(ARCHITECTURES["llama, tied"])
    tensors = model.state_dict()
    assert "lm_head.weight" in tensors
    names = decoder_of(model).state_dict().keys()
    assert names == tensors.keys() - {"lm_head.weight"}


def test_replaced_tensors_are_used() -> None:
    decoder, other = make_small(), decoder_of(make_model(MistralConfig(**SIZES, sliding_window=9)))
    with torch.no_grad():
        other.model.norm.weight.mul_(2)
    decoder.replace({"model.norm.weight": other.model.norm.weight})
    assert torch.equal(logits(decoder, token_ids()), logits(other, token_ids()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.norm.weight": None}, r"lack model\.norm\.weight"),
        ({"model.norm.bias": torch.zeros(48)}, r"unknown model\.norm\.bias"),
        ({"model.norm.weight": torch.zeros(47)}, r"model\.norm\.weight has shape \(47,\)"),
    ],
)
def test_tensors_that_do_not_fit_are_named(change: Mapping[str, Any], message: str) -> None:
    model = make_model(ARCHITECTURES["llama"])
    tensors = {name: tensor for name, tensor in (model.state_dict() | change).items() if tensor is not None}
    with pytest.raises(CheckpointError, match=message):
        Decoder.from_tensors(DecoderConfig.from_hf(model.config.to_dict()), tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'"),
        ({"model_type": None}, "model_type 'None'"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"mlp_bias": True}, "mlp_bias True"),
        ({"rope_interleaved": True}, "rope_interleaved True"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "kind 'dynamic'"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "kind 'longrope'"),
        ({"rope_scaling": {"rope_type": "linear"}}, "factor None"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "surprise": 1}}, "surprise"),
        ({"rope_parameters": {"full_attention": {"rope_type": "default"}}}, "full_attention"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, **LLAMA3, "high_freq_factor": 1.0}}, "high_freq"),
        ({"rope_theta": 0}, "rope_theta"),
        ({"rope_theta": None}, "rope_theta None"),
        ({"rope_theta": math.nan}, "rope_theta nan"),
        ({"rope_scaling": [1]}, r"RoPE by \[1\]"),
        ({"rope_scaling": {"type": ["linear"]}}, "kind"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, "factor '2'"),
        ({"rope_scaling": {"type": "yarn", "original_max_position_embeddings": "x"}}, "original_max"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_fast": [1]}}, "beta_fast"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "beta_slow": -1}}, "beta_slow -1"),
        ({"rope_scaling": {"type": "yarn", "factor": 2.0, "attention_factor": "x"}}, "attention_factor"),
        ({"rope_scaling": {"type": "yarn"}, "max_position_embeddings": 0}, "max_positions is 0|factor is 0|original"),
        ({"rms_norm_eps": None}, "rms_norm_eps None"),
        ({"rms_norm_eps": "small"}, "rms_norm_eps 'small'"),
        ({"layer_types": 5}, "layer_types 5"),
        ({"layer_types": [["full_attention"]]}, "layer_types"),
        ({"model_type": "mistral", "sliding_window": "x"}, "sliding_window 'x'"),
        ({"hidden_size": None}, "hidden_size None"),
        ({"num_hidden_layers": 0}, "layers is 0"),
        ({"num_key_value_heads": 4}, "4 key-value heads"),
        ({"head_dim": 7}, "head_dim is 7"),
        ({"model_type": "mistral", "sliding_window": 0}, "sliding_window is 0"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            "layer_types",
        ),
        ({"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "layer_types"),
    ],
)
def test_a_config_that_we_cannot_run_is_refused_by_name(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        DecoderConfig.from_hf({"model_type": "llama", **SIZES, **change})


def test_absent_keys_have_the_defaults_of_transformers() -> None:
    for name, config in (("mistral", MistralConfig(**SIZES)), ("qwen3", Qwen3Config(**SIZES))):
        assert DecoderConfig.from_hf({"model_type": name, **SIZES}) == DecoderConfig.from_hf(config.to_dict())
