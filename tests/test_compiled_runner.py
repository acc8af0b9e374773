"""The compiled runner computes the decoder in bfloat16, and the same bits however tokens were cut into steps."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.engine.compiled import CompiledRunner, build, packing
from forethought.engine.compiled.library import load
from forethought.engine.protocol import EmbeddingSpan
from forethought.engine.runner import BLOCK_SIZE
from forethought.errors import CheckpointError, EngineError
from forethought.model.config import DecoderConfig
from forethought.model.decoder import Decoder
from runner_steps import (
    BLOCKS,
    VOCAB,
    Sequence,
    expected_logits,
    make_batch,
    make_config,
    make_decoder,
    make_sequences,
    run_in_steps,
)

KINDS = {
    "qwen3": make_config(),
    "window": make_config(sliding_window=20),
    "llama": replace(make_config(), qk_norm=False, model_type="llama", head_dim=64, o_bias=True, qkv_bias=True),
    "odd sizes": replace(make_config(), hidden_size=50, intermediate_size=70, head_dim=10, tied=False),
}
PORTABLE = ("FORETHOUGHT_NO_AMX",)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder for the compiled libraries."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(scope="session")
def make_runner(kernels: Path) -> Callable[..., CompiledRunner]:
    def make(config: DecoderConfig, decoder: Decoder, **options: Any) -> CompiledRunner:
        options = {"blocks": BLOCKS, "cache_dir": kernels, "threads": 2, "max_sequences": 512} | options
        return CompiledRunner(config, decoder.state_dict(), **options)

    return make


def rounded_decoder(config: DecoderConfig) -> Decoder:
    """Its weights are bfloat16 numbers, so that only the arithmetic differs from the reference."""
    return make_decoder(config).bfloat16().float()


def quantised_decoder(config: DecoderConfig, kind: str) -> Decoder:
    """Weights as they come out of a Q4_1 or Q8_0 GGUF file: d * q + m, 32 of a row sharing d and m."""
    decoder = make_decoder(config)
    with torch.no_grad():
        for parameter in (p for p in decoder.parameters() if p.dim() == 2):
            groups = parameter.view(-1, 32)
            low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
            if kind == "int4":
                scale, minimum = ((high - low) / 15).half().float(), low.half().float()
                codes = ((groups - minimum) / scale).round().clamp(0, 15)
            else:
                scale, minimum = (groups.abs().amax(1, keepdim=True) / 127).half().float(), torch.zeros(())
                codes = (groups / scale).round().clamp(-127, 127)
            # The extremes are always there, as in a file that llama.cpp wrote.
            codes[:, 0], codes[:, 1] = codes.new_tensor(0 if kind == "int4" else -127), codes.amax()
            codes[:, 1] = 15 if kind == "int4" else 127
            groups.copy_(codes * scale + minimum)
    return decoder


@pytest.mark.parametrize("defines", [(), PORTABLE], ids=["native", "portable"])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_are_those_of_the_decoder(
    kind: str, defines: tuple[str, ...], make_runner: Callable[..., CompiledRunner]
) -> None:
    decoder = rounded_decoder(KINDS[kind])
    sequences = make_sequences([70, 3, 40])
    logits = make_runner(KINDS[kind], decoder, defines=defines).forward(
        make_batch([(s, len(s.token_ids)) for s in sequences])
    )
    expected = torch.cat([expected_logits(decoder, s) for s in sequences])
    assert (logits - expected).abs().max() < 0.02 * expected.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_float32_logits_are_those_of_the_decoder(kind: str, make_runner: Callable[..., CompiledRunner]) -> None:
    decoder = make_decoder(KINDS[kind])
    sequences = make_sequences([70, 3, 40])
    runner = make_runner(KINDS[kind], decoder, dtype=torch.float32)
    logits = runner.forward(make_batch([(s, len(s.token_ids)) for s in sequences]))
    expected = torch.cat([expected_logits(decoder, s) for s in sequences])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@given(lengths=st.lists(st.integers(1, 150), min_size=1, max_size=5), random=st.randoms())
@settings(max_examples=25, deadline=None)
def test_logits_are_equal_bit_for_bit_however_steps_are_cut(
    dtype: torch.dtype, lengths: list[int], random: Random, make_runner: Callable[..., CompiledRunner]
) -> None:
    config = KINDS["window"]
    decoder = make_decoder(config)
    together = run_in_steps(make_runner(config, decoder, dtype=dtype), make_sequences(lengths), random)
    for index, sequence in enumerate(make_sequences(lengths)):
        alone = make_runner(config, decoder, dtype=dtype).forward(make_batch([(sequence, len(sequence.token_ids))]))
        assert torch.equal(together[index], alone)


def test_logits_do_not_depend_on_the_number_of_threads(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    one, three = (
        make_runner(config, make_decoder(config), threads=threads).forward(
            make_batch([(s, len(s.token_ids)) for s in make_sequences([50, 9])])
        )
        for threads in (1, 3)
    )
    assert torch.equal(one, three)


@pytest.mark.parametrize("kind", ["int4", "int8"])
def test_weights_that_were_quantised_are_kept_at_their_size_and_lose_nothing(
    kind: str, make_runner: Callable[..., CompiledRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(make_config(), hidden_size=64)
    decoder = quantised_decoder(config, kind)
    small = make_runner(config, decoder)
    monkeypatch.setattr("forethought.engine.compiled.packing.EXACT", ())
    large = make_runner(config, decoder)
    assert set(small.formats.values()) == {kind}
    assert set(large.formats.values()) == {"plain"}
    sequences = make_sequences([50, 9])
    expected = torch.cat([expected_logits(decoder, s) for s in sequences])
    first, second = (
        (runner.forward(make_batch([(s, len(s.token_ids)) for s in make_sequences([50, 9])])) - expected).abs().mean()
        for runner in (small, large)
    )
    assert first <= 1.01 * second  # where packed weights are not rounded to bfloat16, it is less


def test_int8_rounds_the_weights_a_little(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    decoder = make_decoder(config)
    runner = make_runner(config, decoder, quantization="int8")
    (sequence,) = make_sequences([60])
    expected = expected_logits(decoder, sequence)
    error = (runner.forward(make_batch([(sequence, 60)])) - expected).abs().max() / expected.abs().max()
    assert set(runner.formats.values()) == {"int8_rounded"}
    assert 0 < error < 0.05


def test_a_copied_block_serves_another_sequence(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    runner = make_runner(config, make_decoder(config))
    (original,) = make_sequences([40])
    runner.forward(make_batch([(original, 40)]))
    first, second, third = [block for block in range(BLOCKS) if block not in original.table][:3]
    fork = Sequence([*original.token_ids[:35], 1, 2, 3], [original.table[0], first], cached=35)
    runner.copy_block(original.table[1], first)
    shared = runner.forward(make_batch([(fork, 3)])).clone()
    alone = runner.forward(make_batch([(Sequence(fork.token_ids, [second, third]), 38)]))
    assert torch.equal(shared, alone[35:])


def test_an_embedding_span_takes_the_place_of_its_tokens(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    decoder = make_decoder(config)
    runner = make_runner(config, decoder)
    (looked_up,), (given_rows,) = make_sequences([12]), make_sequences([12])
    with torch.no_grad():
        rows_TD = decoder.bfloat16().embed(torch.tensor([looked_up.token_ids[3:7]]))[0]
    expected = runner.forward(make_batch([(looked_up, 12)])).clone()
    given_rows.token_ids[3:7] = [0, 0, 0, 0]
    batch = make_batch([(given_rows, 12)])
    batch.spans.append((3, EmbeddingSpan(3, rows_TD, "sha256:image")))
    assert torch.equal(runner.forward(batch), expected)


def test_updated_weights_are_used_from_the_next_step_on(make_runner: Callable[..., CompiledRunner]) -> None:
    config = replace(make_config(), hidden_size=64)
    runner = make_runner(config, quantised_decoder(config, "int4"))
    other = make_decoder(config)
    runner.update_weights({name: tensor.detach() for name, tensor in other.named_parameters()})
    (sequence,) = make_sequences([12])
    updated = runner.forward(make_batch([(sequence, 12)])).clone()
    (again,) = make_sequences([12])
    assert torch.equal(updated, make_runner(config, other).forward(make_batch([(again, 12)])))


def test_an_update_with_an_unknown_tensor_changes_nothing(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    decoder = make_decoder(config)
    runner = make_runner(config, decoder)
    before = runner.forward(make_batch([(s, 5) for s in make_sequences([5])])).clone()
    with pytest.raises(CheckpointError, match="surprise"):
        runner.update_weights({"model.norm.weight": torch.zeros(48), "surprise": torch.zeros(1)})
    assert torch.equal(runner.forward(make_batch([(s, 5) for s in make_sequences([5])])), before)


def test_a_missing_or_misshapen_tensor_is_named(kernels: Path) -> None:
    config = make_config()
    tensors = dict(make_decoder(config).state_dict())
    tensors["model.layers.1.mlp.down_proj.weight"] = torch.zeros(3, 3)
    with pytest.raises(CheckpointError, match=r"layers\.1\.mlp\.down_proj\.weight has shape \(3, 3\)"):
        CompiledRunner(config, tensors, blocks=2, cache_dir=kernels)
    del tensors["model.layers.1.mlp.down_proj.weight"]
    with pytest.raises(CheckpointError, match="lack model"):
        CompiledRunner(config, tensors, blocks=2, cache_dir=kernels)


def test_the_trainer_may_go_on_changing_the_tensors_that_it_handed_over(
    make_runner: Callable[..., CompiledRunner],
) -> None:
    config = make_config()
    decoder = make_decoder(config)
    runner = make_runner(config, decoder)
    before = runner.forward(make_batch([(s, 5) for s in make_sequences([5])])).clone()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(2)
    assert torch.equal(runner.forward(make_batch([(s, 5) for s in make_sequences([5])])), before)


def test_a_block_that_held_nan_serves_the_next_request(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    decoder = make_decoder(config)
    (healthy,) = make_sequences([20])
    expected = make_runner(config, decoder).forward(make_batch([(healthy, 20)])).clone()
    runner = make_runner(config, decoder)
    (poisoned,), (again,) = make_sequences([30]), make_sequences([20])
    batch = make_batch([(poisoned, 30)])
    batch.spans.append((0, EmbeddingSpan(0, torch.full((30, 48), torch.nan), "sha256:nan")))
    assert runner.forward(batch).isnan().all()
    again.table = poisoned.table
    assert torch.equal(runner.forward(make_batch([(again, 20)])), expected)


def test_int8_refuses_weights_that_are_not_finite(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    decoder = make_decoder(config)
    with torch.no_grad():
        decoder.model.embed_tokens.weight[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match="not finite"):
        make_runner(config, decoder, quantization="int8")


def test_python_and_c_agree_on_the_width_of_a_panel(kernels: Path) -> None:
    library = load(kernels)
    assert library.forethought_panel() == packing.PANEL == BLOCK_SIZE


def test_a_step_larger_than_what_was_allocated_is_refused(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    runner = make_runner(config, make_decoder(config), max_tokens=16, max_sequences=4)
    with pytest.raises(EngineError, match="17 tokens"):
        runner.forward(make_batch([(s, 17) for s in make_sequences([17])], logit_rows=[16]))
    with pytest.raises(EngineError, match="5 logit rows"):
        runner.forward(make_batch([(s, 5) for s in make_sequences([5])]))


def test_without_a_compiler_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    build.find_compiler.cache_clear()
    with pytest.raises(EngineError, match=r"forethought\[compiler\]"):
        build.build(tmp_path)


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    false = shutil.which("false")
    assert false
    monkeypatch.setattr(build, "find_compiler", lambda: build.Compiler((false,), "false 1.0"))
    with pytest.raises(EngineError, match=r"false 1\.0 could not build"):
        build.build(tmp_path)
    assert not list((tmp_path / "kernels").iterdir())


@pytest.mark.parametrize("which", ["directory", "library"])
def test_a_library_that_others_could_have_written_is_not_run(tmp_path: Path, which: str) -> None:
    path = build.build(tmp_path, PORTABLE)
    assert path.parent.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o700
    open_to_others = path if which == "library" else path.parent
    open_to_others.chmod(0o777)
    with pytest.raises(EngineError, match=f"Delete {open_to_others}, or set FORETHOUGHT_CACHE_DIR"):
        build.build(tmp_path, PORTABLE)


def test_a_library_of_another_user_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "kernels"
    directory.mkdir()
    facts = os.stat_result((0o40700, 0, 0, 0, os.getuid() + 1, 0, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda self, **options: facts)
    with pytest.raises(EngineError, match="belongs to another user"):
        build.build(tmp_path, PORTABLE)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="FORETHOUGHT_CACHE_DIR"):
        build.build(tmp_path / "file", PORTABLE)


def test_the_library_is_built_once(tmp_path: Path) -> None:
    path = build.build(tmp_path, PORTABLE)
    built = path.stat().st_mtime_ns
    assert build.build(tmp_path, PORTABLE).stat().st_mtime_ns == built
    assert load(tmp_path, PORTABLE).forethought_uses_amx() == 0


def test_vocabulary_is_that_of_the_checkpoint(make_runner: Callable[..., CompiledRunner]) -> None:
    config = make_config()
    assert make_runner(config, make_decoder(config)).vocab_size == VOCAB
