"""The digest: it changes with everything that decides how a checkpoint behaves, and with nothing else."""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forethought.model import lora
from forethought.model.checkpoint import Checkpoint, LoadOptions
from forethought.model.digest import json_digest, tensor_records, tensors_digest
from forethought.model.layout import CONFIG, GENERATION, MANIFEST, TOKENIZER, read_object, write_object
from forethought.model.renderer.forethought import ForethoughtRenderer
from forethought.model.weights import read_tensors, write_tensors

Change = Callable[[Path], None]


@pytest.fixture
def directory(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to change."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "copy"))


@pytest.fixture(scope="module")
def original(tiny_checkpoint: Path) -> str:
    return Checkpoint.open(tiny_checkpoint).digest()


def edited(name: str, edit: Callable[[dict[str, Any]], None]) -> Change:
    """A change of one JSON file."""

    def change(directory: Path) -> None:
        content = read_object(directory / name)
        edit(content)
        write_object(directory / name, content)

    return change


def flip_one_bit(directory: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in read_tensors(directory).items()}
    tensors["model.layers.1.mlp.up_proj.weight"].view(torch.int32)[3, 5] ^= 1
    write_tensors(directory, tensors)


def swap_two_tensors(directory: Path) -> None:
    tensors = read_tensors(directory)
    first, second = "model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight"
    write_tensors(directory, {**tensors, first: tensors[second].clone(), second: tensors[first].clone()})


def store_as_bfloat16(directory: Path) -> None:
    write_tensors(directory, {name: tensor.bfloat16() for name, tensor in read_tensors(directory).items()})


def drop_the_last_merge(content: dict[str, Any]) -> None:
    content["model"]["merges"].pop()


def options(**given: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["renderer"].update(given)


BEHAVIOUR: dict[str, Change] = {
    "one bit of one tensor": flip_one_bit,
    "the names of two tensors": swap_two_tensors,
    "the dtype of the tensors": store_as_bfloat16,
    "the base of the rotary embedding": edited(CONFIG, lambda content: content.update(rope_theta=10_001.0)),
    "the epsilon of the norms": edited(CONFIG, lambda content: content.update(rms_norm_eps=1e-4)),
    "a merge of the tokenizer": edited(TOKENIZER, drop_the_last_merge),
    "a default of sampling": edited(GENERATION, lambda content: content.update(temperature=0.7)),
    "a stop token": edited(GENERATION, lambda content: content.update(eos_token_id=3)),
    "an option of the renderer": edited(MANIFEST, options(default_instructions="Be brief.")),
    "a declared capability": edited(MANIFEST, lambda content: content["capabilities"].update(thinks=True)),
}


@pytest.mark.parametrize("change", BEHAVIOUR.values(), ids=BEHAVIOUR)
def test_it_changes_with_behaviour(change: Change, directory: Path, original: str) -> None:
    change(directory)
    assert Checkpoint.open(directory).digest() != original


def test_it_changes_with_the_version_of_the_renderer(
    directory: Path, original: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = Checkpoint.open(directory)
    assert checkpoint.digest() == original
    monkeypatch.setattr(ForethoughtRenderer, "version", 2)
    assert checkpoint.digest() != original


def reshard(directory: Path) -> None:
    write_tensors(directory, {name: tensor.clone() for name, tensor in read_tensors(directory).items()}, 20_000)
    assert len(list(directory.glob("model-*.safetensors"))) > 1


def reverse_the_keys(directory: Path) -> None:
    for name in (CONFIG, GENERATION, TOKENIZER, MANIFEST):
        content = dict(reversed(read_object(directory / name).items()))
        (directory / name).write_text(json.dumps(content), encoding="utf-8")


def reverse_the_tensors(directory: Path) -> None:
    tensors = {name: tensor.clone() for name, tensor in read_tensors(directory).items()}
    write_tensors(directory, dict(reversed(tensors.items())))


STORAGE: dict[str, Change] = {
    "sharding": reshard,
    "the order of keys, and white space": reverse_the_keys,
    "the order of tensors": reverse_the_tensors,
    "the version of transformers": edited(CONFIG, lambda content: content.update(transformers_version="9.9")),
    "a readme": lambda directory: (directory / "README.md").write_text("hello") and None,
}


@pytest.mark.parametrize("change", STORAGE.values(), ids=STORAGE)
def test_it_does_not_change_with_storage(change: Change, directory: Path, original: str) -> None:
    change(directory)
    assert Checkpoint.open(directory).digest() == original


def test_it_does_not_change_with_the_name_of_the_directory(directory: Path, original: str) -> None:
    assert Checkpoint.open(directory.rename(directory.with_name("renamed"))).digest() == original


def test_it_changes_with_what_changes_behaviour_at_load(tiny_checkpoint: Path, original: str) -> None:
    checkpoint = Checkpoint.open(tiny_checkpoint)
    loads = [LoadOptions(), LoadOptions(quantization="int8"), LoadOptions(context_length=128)]
    digests = [checkpoint.digest(load) for load in loads]
    assert digests[0] == original
    assert len(set(digests)) == len(digests)


def test_an_adapter_counts_with_its_tensors_and_its_scale(tiny_checkpoint: Path, tmp_path: Path) -> None:
    base = Checkpoint.open(tiny_checkpoint)

    def digest(name: str, alpha: float = 8.0, seed: int = 0) -> str:
        config = lora.LoraConfig(rank=4, alpha=alpha, target_modules=("q_proj",), dropout=0.1 * seed)
        torch.manual_seed(seed)
        shapes = {name: value.shape for name, value in lora.attach(base.decoder(), config).items()}
        tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
        return base.save_adapter(tmp_path / name, config, tensors).digest()

    merged = digest("a")
    others = [base.digest(), digest("b", alpha=9.0), digest("c", seed=1)]
    assert len({merged, *others}) == 4
    assert merged == digest("d")


@given(st.dictionaries(st.text(max_size=4), st.lists(st.integers(-3, 3), max_size=5), max_size=5))
def test_tensor_records_are_sorted_and_tell_every_tensor_apart(content: dict[str, list[int]]) -> None:
    tensors = {name: torch.tensor(values, dtype=torch.int16) for name, values in content.items()}
    records = tensor_records(tensors)
    assert [record[0] for record in records] == sorted(content)
    assert all(record[1:3] == ["int16", [len(content[record[0]])]] for record in records)
    same = {(record[3], tuple(content[record[0]])) for record in records}
    assert len({hashed for hashed, _ in same}) == len({values for _, values in same}) == len(same)


def test_tensors_are_hashed_by_value_not_by_layout() -> None:
    table = torch.arange(12.0).reshape(3, 4)
    assert tensors_digest({"t": table.t()}) == tensors_digest({"t": table.t().contiguous()})
    assert tensors_digest({"t": table}) != tensors_digest({"t": table.reshape(4, 3)})


def test_canonical_json_is_fixed_for_all_time() -> None:
    # Results and signed decisions name digests: a change of this constant would orphan them.
    expected = hashlib.sha256('{"a":"ü","b":[1,2.5,null,true]}'.encode()).hexdigest()
    assert json_digest({"b": [1, 2.5, None, True], "a": "ü"}) == f"sha256:{expected}"


def test_the_digest_of_tensors_is_fixed_for_all_time() -> None:
    values = hashlib.sha256(struct.pack("<4f", 0, 1, 2, 3)).hexdigest()
    assert tensors_digest({"t": torch.arange(4.0)}) == json_digest([["t", "float32", [4], values]])
