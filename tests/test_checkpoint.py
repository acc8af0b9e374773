"""Checkpoints: opened from any Hugging Face directory, saved as one, and refused when they do not fit together."""

import datetime
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from forethought.errors import CheckpointError, DigestMismatch
from forethought.model import base, lora, registry
from forethought.model.checkpoint import UNDATED, Capabilities, Checkpoint
from forethought.model.generation import GenerationDefaults
from forethought.model.layout import (
    ADAPTER_CONFIG,
    CHAT_TEMPLATE,
    CONFIG,
    GENERATION,
    MANIFEST,
    TOKENIZER,
    TOKENIZER_CONFIG,
    read_object,
    write_object,
)
from forethought.model.manifest import Manifest, read_manifest, write_manifest
from forethought.settings import load_settings

CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


@pytest.fixture
def directory(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to change."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


DAY = datetime.date(2026, 11, 23)


@pytest.fixture
def tiny(tiny_checkpoint: Path) -> Checkpoint:
    return Checkpoint.open(tiny_checkpoint)


def some_adapter(checkpoint: Checkpoint) -> tuple[lora.LoraConfig, dict[str, torch.Tensor]]:
    """A random adapter that changes the checkpoint's outputs."""
    config = lora.LoraConfig(rank=2, alpha=4.0, target_modules=("q_proj", "up_proj"), input_token_ids=(5,))
    torch.manual_seed(1)
    tensors = {name: torch.randn(value.shape) for name, value in lora.attach(checkpoint.decoder(), config).items()}
    return config, tensors


def change_manifest(directory: Path, **changes: Any) -> None:
    write_object(directory / MANIFEST, read_object(directory / MANIFEST) | changes)


def logits(checkpoint: Checkpoint, ids: torch.Tensor) -> torch.Tensor:
    decoder = checkpoint.decoder()
    with torch.no_grad():
        return decoder.logits(decoder(ids))


def test_the_base_declares_what_it_is(base_directory: Path) -> None:
    checkpoint = Checkpoint.open(base_directory)
    assert checkpoint.capabilities == Capabilities(context_length=8192)
    assert checkpoint.renderer.name == "forethought"
    assert checkpoint.generation == GenerationDefaults(temperature=0.2, top_p=0.9, stop_token_ids=(2,))


def test_a_directory_without_our_file_speaks_through_its_chat_template(directory: Path) -> None:
    (directory / MANIFEST).unlink()
    (directory / CHAT_TEMPLATE).write_text(CHATML)
    write_object(directory / GENERATION, {"eos_token_id": 2})
    checkpoint = Checkpoint.open(directory)
    assert checkpoint.renderer.name == "template"
    assert checkpoint.capabilities == Capabilities(context_length=checkpoint.config.max_positions)


def test_a_saved_checkpoint_is_the_same_to_us_and_opens_in_transformers(tiny: Checkpoint, tmp_path: Path) -> None:
    saved = tiny.save(tmp_path / "saved")
    assert saved.digest() == tiny.digest()
    ids = torch.tensor([saved.tokenizer.encode("the model answers")])
    model = AutoModelForCausalLM.from_pretrained(saved.directory)
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, logits(tiny, ids), atol=1e-5, rtol=0)
    assert AutoTokenizer.from_pretrained(saved.directory)("the model answers").input_ids == ids[0].tolist()


def test_saving_keeps_the_dtype_and_can_replace_tensors_and_capabilities(tiny: Checkpoint, tmp_path: Path) -> None:
    halved = {name: tensor.bfloat16() for name, tensor in tiny.tensors().items()}
    saved = tiny.save(tmp_path / "a", halved, Capabilities(thinks=True, context_length=64))
    assert saved.capabilities == Capabilities(thinks=True, context_length=64)
    again = saved.save(tmp_path / "b")
    assert {tensor.dtype for tensor in again.tensors().values()} == {torch.bfloat16}
    assert read_object(again.directory / CONFIG)["dtype"] == "bfloat16"
    assert again.digest() == saved.digest()


def test_saving_never_overwrites(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="exists already"):
        tiny.save(tmp_path)


def test_a_save_that_fails_leaves_nothing_behind(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(AttributeError):
        tiny.save(tmp_path / "broken", {"x": None})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


# PEFT asks transformers for something that transformers has renamed; neither is ours to change.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_merged_and_decoder_apply_the_adapter_as_peft_does(tiny: Checkpoint, tmp_path: Path) -> None:
    adapted = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny))
    ids = torch.tensor([tiny.tokenizer.encode("the model thinks before it answers")])
    model = AutoModelForCausalLM.from_pretrained(tiny.directory)
    with torch.no_grad():
        expected = PeftModel.from_pretrained(model, tmp_path / "adapter")(ids).logits
    torch.testing.assert_close(logits(adapted, ids), expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(logits(tiny, ids), expected, atol=1e-2)
    merged = adapted.save(tmp_path / "merged")
    torch.testing.assert_close(logits(merged, ids), expected, atol=1e-5, rtol=1e-5)
    assert all(torch.equal(tensor, adapted.tensors()[name]) for name, tensor in tiny.tensors().items())


def test_an_adapter_inherits_what_it_does_not_declare(tiny: Checkpoint, tmp_path: Path) -> None:
    adapted = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny))
    assert adapted.generation == tiny.generation
    assert adapted.renderer.name == tiny.renderer.name
    assert adapted.capabilities == tiny.capabilities


def test_an_adapter_may_declare_its_own(tiny: Checkpoint, tmp_path: Path) -> None:
    thinks = Capabilities(thinks=True, context_length=256)
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny), thinks).adapter
    assert adapter is not None
    write_object(adapter / GENERATION, {"temperature": 0.6})
    adapted = Checkpoint.open(tiny.directory, adapter)
    assert adapted.capabilities == thinks
    assert adapted.generation.temperature == 0.6
    merged = adapted.save(tmp_path / "merged")
    assert (merged.capabilities, merged.generation) == (adapted.capabilities, adapted.generation)


TEMPLATE = {"name": "template", "version": 1}


@pytest.fixture
def speaking(directory: Path) -> Checkpoint:
    """A base that speaks through its own chat template."""
    change_manifest(directory, renderer=TEMPLATE)
    (directory / CHAT_TEMPLATE).write_text(CHATML)
    write_object(directory / TOKENIZER_CONFIG, {"eos_token": "<|im_end|>"})
    return Checkpoint.open(directory)


@pytest.mark.parametrize("declared", [None, TEMPLATE], ids=["undeclared", "declared"])
@pytest.mark.parametrize("file", [CHAT_TEMPLATE, TOKENIZER_CONFIG, None])
def test_what_is_saved_renders_as_the_base_with_the_adapter_did(
    speaking: Checkpoint, tmp_path: Path, declared: dict[str, Any] | None, file: str | None
) -> None:
    adapter = speaking.save_adapter(tmp_path / "adapter", *some_adapter(speaking)).adapter
    assert adapter is not None
    if declared:
        change_manifest(adapter, renderer=declared)
    own = "{{ bos_token }}" + CHATML
    if file is not None:
        chosen = {"chat_template": own} if file == TOKENIZER_CONFIG else {}
        write_object(adapter / TOKENIZER_CONFIG, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"} | chosen)
    if file == CHAT_TEMPLATE:
        (adapter / CHAT_TEMPLATE).write_text(own)
    adapted = Checkpoint.open(speaking.directory, adapter)
    used = own if declared and file else CHATML
    assert adapted.renderer.options["templates"]["default"] == used
    again = adapted.save_adapter(tmp_path / "again", *some_adapter(speaking))
    for saved in (adapted.save(tmp_path / "saved"), again):
        assert (saved.renderer.name, saved.renderer.options) == ("template", adapted.renderer.options)


def test_an_adapter_refuses_another_base(tiny: Checkpoint, directory: Path, tmp_path: Path) -> None:
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny)).adapter
    write_object(directory / GENERATION, {"temperature": 0.5})
    with pytest.raises(DigestMismatch, match=tiny.digest()):
        Checkpoint.open(directory, adapter)


def test_an_adapter_that_names_no_base_is_refused_with_what_to_write(tiny: Checkpoint, tmp_path: Path) -> None:
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny)).adapter
    assert adapter is not None
    (adapter / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="does not say which base") as refusal:
        Checkpoint.open(tiny.directory, adapter)
    written = refusal.value.remedy[refusal.value.remedy.index("{") : refusal.value.remedy.index("}") + 1]
    (adapter / MANIFEST).write_text(written)
    assert Checkpoint.open(tiny.directory, adapter).adapter == adapter


def test_a_directory_without_an_adapter_is_told_apart_from_one(tiny: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no adapter in"):
        Checkpoint.open(tiny.directory, tmp_path / "missing")


def test_an_adapter_with_another_tokenizer_is_refused(tiny: Checkpoint, tmp_path: Path) -> None:
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny)).adapter
    assert adapter is not None
    write_object(adapter / TOKENIZER, read_object(tiny.directory / TOKENIZER) | {"normalizer": {"type": "NFC"}})
    with pytest.raises(CheckpointError, match="not the tokenizer of"):
        Checkpoint.open(tiny.directory, adapter)


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        Checkpoint.open(directory)


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE])
def test_a_file_that_is_no_text_is_named(speaking: Checkpoint, name: str) -> None:
    (speaking.directory / name).write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        Checkpoint.open(speaking.directory)


@pytest.mark.parametrize("template", [5, [5], [{"name": "default"}], {"default": "x"}])
def test_a_chat_template_of_an_unknown_form_is_refused(speaking: Checkpoint, template: Any) -> None:
    write_object(speaking.directory / TOKENIZER_CONFIG, {"eos_token": "<|im_end|>", "chat_template": template})
    with pytest.raises(CheckpointError, match="chat_template"):
        Checkpoint.open(speaking.directory)


@pytest.mark.parametrize("content", ["", "[1]", "{'a': 1}", "\x00"])
def test_a_broken_file_is_named(directory: Path, content: str) -> None:
    (directory / CONFIG).write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Checkpoint.open(directory)


def test_a_context_beyond_the_models_positions_is_refused(directory: Path) -> None:
    change_manifest(directory, capabilities={"context_length": 100_000})
    with pytest.raises(CheckpointError, match="100000"):
        Checkpoint.open(directory)


def test_a_tokenizer_with_more_ids_than_the_model_is_refused(directory: Path) -> None:
    write_object(directory / CONFIG, read_object(directory / CONFIG) | {"vocab_size": 100})
    with pytest.raises(CheckpointError, match="do not belong together"):
        Checkpoint.open(directory)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"schema_version": 2}, "schema version 2"),
        ({"schema_version": None}, "schema_version"),
        ({"thinks": True}, "thinks"),
        ({"capabilities": {"context_length": "8192"}}, "context_length"),
        ({"capabilities": {"context_length": 8, "flies": True}}, "flies"),
        ({"capabilities": {"thinks": True}}, "context_length"),
        ({"renderer": {"name": "forethought"}}, "renderer.version"),
        ({"renderer": {"name": "forethought", "version": 1, "markers": {"nope": "x"}}}, "nope"),
        ({"base": "sha256:abc"}, "base"),
        ({"created": "yesterday"}, "created"),
    ],
)
def test_what_our_file_says_wrongly_is_named(directory: Path, changes: dict[str, Any], named: str) -> None:
    change_manifest(directory, **changes)
    with pytest.raises(CheckpointError, match=named):
        Checkpoint.open(directory)


def test_a_checkpoint_is_dated_by_what_it_says_of_itself(directory: Path, tmp_path: Path) -> None:
    assert Checkpoint.open(directory).created == UNDATED
    change_manifest(directory, created="2026-11-23")
    dated = Checkpoint.open(directory)
    assert dated.created == DAY
    assert dated.digest() == replace(dated, created=UNDATED).digest()
    adapter = dated.save_adapter(tmp_path / "adapter", *some_adapter(dated)).adapter
    assert adapter is not None
    change_manifest(adapter, created="2026-11-24")
    assert Checkpoint.open(directory, adapter).created == datetime.date(2026, 11, 24)
    change_manifest(adapter, created=None)
    assert Checkpoint.open(directory, adapter).created == DAY


def test_what_is_saved_is_of_today(tiny: Checkpoint, tmp_path: Path) -> None:
    before = datetime.datetime.now(datetime.UTC).date()
    saved = tiny.save(tmp_path / "saved").created
    assert before <= saved <= datetime.datetime.now(datetime.UTC).date()


def test_manifests_come_back_as_written(tmp_path: Path) -> None:
    manifest = Manifest(capabilities=Capabilities(sees=True, context_length=7), base="sha256:" + "0" * 64, created=DAY)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert read_manifest(tmp_path / "nowhere") == Manifest()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, GenerationDefaults()),
        ({"do_sample": False, "temperature": 0.9}, GenerationDefaults(temperature=0.0)),
        ({"do_sample": False, "top_k": 1, "top_p": 0.5, "min_p": 0.1}, GenerationDefaults(temperature=0.0)),
        ({"temperature": 0, "top_k": 1}, GenerationDefaults(temperature=0.0)),
        (
            {"do_sample": True, "temperature": 0.6, "top_k": 20, "eos_token_id": [1, 2], "max_length": 99},
            GenerationDefaults(temperature=0.6, top_k=20, stop_token_ids=(1, 2)),
        ),
        ({"temperature": None, "num_beams": 1, "eos_token_id": 7}, GenerationDefaults(stop_token_ids=(7,))),
    ],
)
def test_generation_defaults_are_read_as_transformers_means_them(
    content: dict[str, Any], expected: GenerationDefaults
) -> None:
    found = GenerationDefaults.from_hf(content, 9)
    assert found == expected
    assert GenerationDefaults.from_hf(json.loads(json.dumps(found.to_hf())), 9) == found


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"num_beams": 4}, "num_beams"),
        ({"top_k": float("inf")}, "top_k"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"min_p": float("nan")}, "min_p"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"eos_token_id": ["a"]}, "eos"),
        ({"eos_token_id": True}, "eos"),
        ({"eos_token_id": [1, 9]}, "below 9"),
    ],
)
def test_generation_defaults_that_cannot_act_are_refused(content: dict[str, Any], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        GenerationDefaults.from_hf(content, 9)


def test_a_model_is_found_by_name_by_directory_and_by_its_adapter(
    tiny: Checkpoint, tmp_path: Path, base_directory: Path
) -> None:
    settings = load_settings()
    known = registry.resolve(base.NAME, settings)
    assert (known.directory, known.created) == (base_directory, base.CREATED)
    assert registry.resolve(str(tiny.directory), settings).directory == tiny.directory
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny)).adapter
    found = registry.resolve(str(adapter), settings)
    assert (found.directory, found.adapter) == (tiny.directory, adapter)


def test_an_adapter_of_a_known_base_is_portable(
    tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(registry.MODELS[base.NAME], digest=tiny.digest())
    monkeypatch.setitem(registry.MODELS, base.NAME, known)
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny)).adapter
    assert adapter is not None
    assert read_object(adapter / ADAPTER_CONFIG)["base_model_name_or_path"] == base.NAME
    elsewhere = load_settings(cache_dir=tmp_path / "another machine")
    with pytest.raises(CheckpointError, match=f"forethought models pull {base.NAME}"):
        registry.resolve(str(adapter), elsewhere)
    pulled = Path(shutil.copytree(tiny.directory, base.model_directory(elsewhere.cache_dir)))
    # Adapters that were trained elsewhere with PEFT name a directory of that machine.
    for named in (base.NAME, "/somewhere/else"):
        config = read_object(adapter / ADAPTER_CONFIG)
        write_object(adapter / ADAPTER_CONFIG, config | {"base_model_name_or_path": named})
        assert registry.resolve(str(adapter), elsewhere).directory == pulled


@pytest.mark.parametrize(("named", "says"), [(None, "where its base is"), ("adapter", "another adapter")])
def test_an_adapter_that_names_no_usable_base_is_refused(
    tiny: Checkpoint, tmp_path: Path, named: str | None, says: str
) -> None:
    adapter = tiny.save_adapter(tmp_path / "adapter", *some_adapter(tiny)).adapter
    assert adapter is not None
    config = read_object(adapter / ADAPTER_CONFIG)
    write_object(adapter / ADAPTER_CONFIG, config | {"base_model_name_or_path": named and str(tmp_path / named)})
    with pytest.raises(CheckpointError, match=says):
        registry.resolve(str(adapter), load_settings())


def test_a_model_that_is_not_here_comes_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="forethought models pull"):
        registry.resolve(base.NAME, load_settings(cache_dir=tmp_path))


def test_a_name_that_nobody_knows_comes_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=base.NAME):
        registry.resolve(str(tmp_path / "nope"), load_settings())
