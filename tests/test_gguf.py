"""GGUF files: read and dequantised to the bit, and turned back into the Hugging Face checkpoint they came from."""

from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from forethought.errors import CheckpointError
from forethought.model import gguf_llama
from forethought.model.gguf import GgufTensor, read_gguf
from forethought.model.tokenizer import Tokenizer
from tiny_gguf import CHAT_TEMPLATE, F16, F32, Q4_0, Q4_1, Q8_0, tiny_config, write_tiny_gguf

KINDS = [F32, F16, Q8_0, Q4_0, Q4_1]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small Llama's file."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_tiny_gguf(path)
    return path


def no_progress(done: int, count: int) -> None:
    assert 0 < done <= count


def test_metadata_and_tensors_are_those_that_the_gguf_package_reads(tiny: Path) -> None:
    ours, theirs = read_gguf(tiny), GGUFReader(tiny)
    expected = {name: field.contents() for name, field in theirs.fields.items() if not name.startswith("GGUF.")}
    assert ours.metadata == expected
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        reference = dequantize(tensor.data, tensor.tensor_type)
        found = ours.tensors[tensor.name].dequantise()
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.view(np.uint32), reference.view(np.uint32))


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), scale=st.sampled_from([1e-6, 0.02, 1.0, 3e3]))
def test_dequantising_equals_the_gguf_package_bit_for_bit(
    kind: GGMLQuantizationType, seed: int, rows: int, scale: float
) -> None:
    values = np.random.default_rng(seed).standard_normal((rows, 96), dtype=np.float32) * np.float32(scale)
    packed = quantize(values, kind)
    found = GgufTensor("t", values.shape, kind.name, packed.view(np.uint8).reshape(-1)).dequantise()
    reference = dequantize(packed, kind).astype(np.float32)
    np.testing.assert_array_equal(found.view(np.uint32), reference.view(np.uint32))


def test_weights_equal_those_that_transformers_takes_from_the_file(tiny: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(tiny.parent, gguf_file=tiny.name, dtype=torch.float32).state_dict()
    ours = gguf_llama.hf_tensors(read_gguf(tiny), no_progress)
    assert ours.keys() == theirs.keys() - {"lm_head.weight"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_config_is_read_from_the_metadata_with_the_decimals_of_its_author(tiny: Path) -> None:
    assert gguf_llama.decoder_config(read_gguf(tiny)) == tiny_config()


def test_the_tokenizer_gives_the_ids_of_transformers_conversion_where_no_digit_follows_white_space(tiny: Path) -> None:
    ours = Tokenizer(gguf_llama.tokenizer_json(read_gguf(tiny)))
    theirs = AutoTokenizer.from_pretrained(tiny.parent, gguf_file=tiny.name)
    for text in ("the user answers", "x=1;y=23", "  é\n\n日本 🎉", "<|im_start|>the<|im_end|>"):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert ours.special_tokens == {
        token.content: index for index, token in theirs.added_tokens_decoder.items() if token.special
    }
    assert gguf_llama.chat_template(read_gguf(tiny)) == CHAT_TEMPLATE


def test_a_file_without_a_tokenizer_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "bare.gguf"
    write_tiny_gguf(path, tokenizer=False)
    with pytest.raises(CheckpointError, match=r"tokenizer\.ggml\.tokens"):
        gguf_llama.decoder_config(read_gguf(path))


def test_a_tensor_that_a_llama_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    write_tiny_gguf(path, odd_tensor="rope_freqs.weight")
    with pytest.raises(CheckpointError, match=r"rope_freqs\.weight"):
        gguf_llama.hf_tensors(read_gguf(path), no_progress)


def test_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a readable GGUF file"):
        read_gguf(tmp_path / "none.gguf")


@pytest.mark.parametrize("content", [b"", b"GGUF", b"PK\x03\x04" * 9, b"GGUF\x02\0\0\0" + bytes(16)])
def test_another_file_is_a_checkpoint_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable GGUF file"):
        read_gguf(tmp_path / "x")


def test_an_alignment_of_nothing_is_a_checkpoint_error(tmp_path: Path) -> None:
    path = tmp_path / "unaligned.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_uint32("general.alignment", 0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(CheckpointError, match="alignment is 0"):
        read_gguf(path)


@given(cut=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_anywhere_is_a_checkpoint_error(
    cut: float, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = tiny.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "cut.gguf"
    path.write_bytes(content[: int(len(content) * cut)])
    with pytest.raises(CheckpointError, match="not a readable GGUF file"):
        read_gguf(path)


@given(data=st.data())
def test_a_damaged_header_is_read_or_refused_and_never_breaks_the_reader(
    data: st.DataObject, tiny: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(tiny.read_bytes())
    for position in data.draw(st.lists(st.integers(4, 8000), min_size=1, max_size=8)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "damaged.gguf"
    path.write_bytes(content)
    try:
        file = read_gguf(path)
    except CheckpointError:
        return
    for tensor in file.tensors.values():
        with np.errstate(all="ignore"):
            tensor.dequantise()
