"""Tensors go to disk and come back the same, in one file or in shards; a broken file says so."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from forethought.errors import CheckpointError
from forethought.model.weights import INDEX_FILE, SINGLE_FILE, read_tensors, write_file, write_tensors


def make_tensors() -> dict[str, torch.Tensor]:
    """Five of 400 bytes, of several dtypes."""
    torch.manual_seed(0)
    tensors = {f"layer.{i}.weight": torch.randn(10, 10) for i in range(4)}
    return tensors | {"norm.weight": torch.randn(200).bfloat16()}


def assert_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_small_tensors_go_into_one_file(tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors())
    assert [path.name for path in tmp_path.iterdir()] == [SINGLE_FILE]
    assert_same(read_tensors(tmp_path), make_tensors())


@pytest.mark.parametrize(("limit", "shards"), [(1, 5), (400, 5), (799, 5), (800, 3), (1600, 2)])
def test_shards_stay_below_the_limit(limit: int, shards: int, tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors(), shard_bytes=limit)
    names = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert names == [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    for name in names:
        size = sum(tensor.nbytes for tensor in load_file(tmp_path / name).values())
        assert size <= max(limit, 400)
    assert_same(read_tensors(tmp_path), make_tensors())


def test_the_index_names_the_shard_of_each_tensor(tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors(), shard_bytes=800)
    index = json.loads((tmp_path / INDEX_FILE).read_text())
    assert index["metadata"] == {"total_size": 2000}
    assert index["weight_map"].keys() == make_tensors().keys()
    for name, shard in index["weight_map"].items():
        assert name in load_file(tmp_path / shard)


@pytest.mark.parametrize(("first", "second"), [(800, 5000), (5000, 800), (1, 800)])
def test_a_save_replaces_an_earlier_one(first: int, second: int, tmp_path: Path) -> None:
    write_tensors(tmp_path, {"old": torch.zeros(1000)} | make_tensors(), shard_bytes=first)
    write_tensors(tmp_path, make_tensors(), shard_bytes=second)
    assert_same(read_tensors(tmp_path), make_tensors())
    (tmp_path / "elsewhere").mkdir()
    write_tensors(tmp_path / "elsewhere", make_tensors(), shard_bytes=second)
    left, fresh = ({path.name for path in place.glob("*.*")} for place in (tmp_path, tmp_path / "elsewhere"))
    assert left == fresh


def test_views_are_saved_as_they_look(tmp_path: Path) -> None:
    matrix = torch.arange(12.0).view(3, 4)
    write_tensors(tmp_path, {"turned": matrix.T, "column": matrix[:, 1]})
    assert_same(read_tensors(tmp_path), {"turned": matrix.T, "column": matrix[:, 1]})


def test_a_failed_write_leaves_the_earlier_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / SINGLE_FILE
    write_file(path, {"a": torch.ones(2)})

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("forethought.model.weights.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        write_file(path, {"a": torch.zeros(2)})
    assert torch.equal(load_file(path)["a"], torch.ones(2))


def test_writing_to_a_tensor_does_not_reach_the_file(tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors())
    read_tensors(tmp_path)["norm.weight"].zero_()
    assert_same(read_tensors(tmp_path), make_tensors())


def test_an_empty_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        read_tensors(tmp_path)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors(), shard_bytes=800)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00003\.safetensors"):
        read_tensors(tmp_path)


def test_a_tensor_that_the_index_promises_must_be_there(tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors(), shard_bytes=800)
    write_file(tmp_path / "model-00002-of-00003.safetensors", {"other": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=r"lack 2 tensors .* layer\.2\.weight"):
        read_tensors(tmp_path)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_truncated_file_is_named(cut: int, tmp_path: Path) -> None:
    write_tensors(tmp_path, make_tensors())
    path = tmp_path / SINGLE_FILE
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CheckpointError, match=SINGLE_FILE):
        read_tensors(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_text(text)
    with pytest.raises(CheckpointError, match=INDEX_FILE):
        read_tensors(tmp_path)


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "sub/x.safetensors"])
def test_an_index_cannot_lead_out_of_its_directory(shard: str, tmp_path: Path) -> None:
    (tmp_path / INDEX_FILE).write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="outside"):
        read_tensors(tmp_path)
