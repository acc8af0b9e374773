"""The torch runner gives the logits of the whole sequence, however its tokens were cut into steps and batches."""

from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, PreTrainedConfig

from forethought.engine.protocol import EmbeddingSpan
from forethought.engine.runner import BLOCK_SIZE, StepBatch
from forethought.engine.torch_runner import TorchRunner
from forethought.errors import CheckpointError
from forethought.model.checkpoint import Checkpoint
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
from transformers_models import ARCHITECTURES, decoder_of, make_model

TEXTS = (
    "The quick brown fox jumps over the lazy dog. " * 12,
    "def add(a: int, b: int) -> int:\n    return a + b\n\n\nprint(add(2, 40))\n",
    "Nine times seven is",
    "1",
)


@pytest.mark.parametrize("window", [None, 20])
@given(lengths=st.lists(st.integers(1, 150), min_size=1, max_size=5), random=st.randoms())
@settings(max_examples=25, deadline=None)
def test_logits_do_not_depend_on_chunks_and_batches(window: int | None, lengths: list[int], random: Random) -> None:
    decoder = make_decoder(make_config(window))
    runner = TorchRunner(decoder, blocks=BLOCKS)
    sequences = make_sequences(lengths)
    for logits, sequence in zip(run_in_steps(runner, sequences, random), sequences, strict=True):
        torch.testing.assert_close(logits, expected_logits(decoder, sequence), atol=1e-5, rtol=0)


@pytest.mark.parametrize("config", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_every_architecture_has_the_logits_of_transformers(config: PreTrainedConfig) -> None:
    """In chunks, from the cache and in batches, against one pass over each whole sequence."""
    model = make_model(config)
    runner = TorchRunner(decoder_of(model), blocks=BLOCKS)
    sequences = make_sequences([100, 3, 57, 1])
    for logits, sequence in zip(run_in_steps(runner, sequences, Random(0)), sequences, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([sequence.token_ids])).logits[0]
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_the_pulled_base_has_the_logits_of_transformers(base_directory: Path) -> None:
    """In chunks, from the cache and in batches, against one pass over each whole sequence."""
    model = AutoModelForCausalLM.from_pretrained(base_directory, dtype=torch.float32).eval()
    checkpoint = Checkpoint.open(base_directory)
    runner = TorchRunner(checkpoint.decoder(), blocks=BLOCKS)
    # Text, not random ids: nonsense can stand where float32 itself is off by 1e-2 (transformers' float64 says so).
    prompts = [checkpoint.tokenizer.encode(text) for text in TEXTS]
    sequences = make_sequences([len(prompt) for prompt in prompts])
    for sequence, prompt in zip(sequences, prompts, strict=True):
        sequence.token_ids = prompt
    for logits, sequence in zip(run_in_steps(runner, sequences, Random(0)), sequences, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([sequence.token_ids])).logits[0]
        torch.testing.assert_close(logits, expected, atol=1e-3, rtol=0)


def test_groups_larger_than_the_gather_limit_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("forethought.engine.torch_runner.GATHER_POSITIONS", 2 * BLOCK_SIZE)
    decoder = make_decoder(make_config())
    sequences = make_sequences([20] * 5)
    logits = TorchRunner(decoder, blocks=BLOCKS).forward(make_batch([(s, 20) for s in sequences]))
    expected = torch.cat([expected_logits(decoder, s) for s in sequences])
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_only_the_wanted_rows_are_computed() -> None:
    decoder = make_decoder(make_config())
    everything = TorchRunner(decoder, blocks=BLOCKS).forward(make_batch([(s, 30) for s in make_sequences([30, 30])]))
    batch = make_batch([(s, 30) for s in make_sequences([30, 30])], logit_rows=[29, 59])
    some = TorchRunner(decoder, blocks=BLOCKS).forward(batch)
    assert some.shape == (2, VOCAB)
    assert some.dtype == torch.float32
    torch.testing.assert_close(some, everything[[29, 59]], atol=1e-5, rtol=0)


def test_a_prompt_that_needs_no_logits_gives_none() -> None:
    (sequence,) = make_sequences([10])
    runner = TorchRunner(make_decoder(make_config()), blocks=BLOCKS)
    assert runner.forward(make_batch([(sequence, 10)], logit_rows=[])).shape == (0, VOCAB)


def test_a_copied_block_serves_another_sequence() -> None:
    decoder = make_decoder(make_config())
    runner = TorchRunner(decoder, blocks=BLOCKS)
    (original,) = make_sequences([40])
    runner.forward(make_batch([(original, 40)]))
    unused = next(block for block in range(BLOCKS) if block not in original.table)
    fork = Sequence([*original.token_ids[:35], 1, 2, 3], [original.table[0], unused], cached=35)
    runner.copy_block(original.table[1], fork.table[1])
    logits = runner.forward(make_batch([(fork, 3)]))
    torch.testing.assert_close(logits, expected_logits(decoder, fork)[35:], atol=1e-5, rtol=0)


def poison(batch: StepBatch, tokens: slice) -> StepBatch:
    """Those tokens of the step get embeddings that are not numbers."""
    batch.spans.append((tokens.start, EmbeddingSpan(0, torch.full((tokens.stop - tokens.start, 48), torch.nan), "x")))
    return batch


def test_a_reused_block_keeps_nothing_of_a_request_that_was_not_finite() -> None:
    decoder = make_decoder(make_config())
    runner = TorchRunner(decoder, blocks=BLOCKS)
    (sequence,) = make_sequences([70])
    assert runner.forward(poison(make_batch([(sequence, 70)]), slice(0, 70))).isnan().all()
    healthy = Sequence(make_sequences([50])[0].token_ids, sequence.table)
    logits = torch.cat([runner.forward(make_batch([(healthy, count)])) for count in (10, 1, 30, 9)])
    torch.testing.assert_close(logits, expected_logits(decoder, healthy), atol=1e-5, rtol=0)


def test_a_copied_block_brings_nothing_from_behind_the_part_that_is_shared() -> None:
    decoder = make_decoder(make_config())
    runner = TorchRunner(decoder, blocks=BLOCKS)
    (original,) = make_sequences([BLOCK_SIZE])
    runner.forward(make_batch([(original, 10)]))
    runner.forward(poison(make_batch([(original, BLOCK_SIZE - 10)]), slice(0, BLOCK_SIZE - 10)))
    fork = Sequence([*original.token_ids[:10], 1, 2, 3], [(original.table[0] + 1) % BLOCKS], cached=10)
    runner.copy_block(original.table[0], fork.table[0])
    logits = torch.cat([runner.forward(make_batch([(fork, count)])) for count in (1, 2)])
    torch.testing.assert_close(logits, expected_logits(decoder, fork)[10:], atol=1e-5, rtol=0)


def test_what_is_not_finite_stays_with_its_sequence() -> None:
    """Even when they are computed together, and the shorter one is padded with a block that the other may have."""
    decoder = make_decoder(make_config())
    runner = TorchRunner(decoder, blocks=BLOCKS)
    bad, good = make_sequences([4 * BLOCK_SIZE, 3 * BLOCK_SIZE])
    bad.table = list(range(4))
    good.table = [10, 11, 12]
    first, last = 3 * BLOCK_SIZE, 2 * BLOCK_SIZE
    runner.forward(poison(make_batch([(bad, first), (good, last)]), slice(0, first)))
    logits = runner.forward(make_batch([(bad, BLOCK_SIZE), (good, BLOCK_SIZE)]))[BLOCK_SIZE:]
    torch.testing.assert_close(logits, expected_logits(decoder, good)[last:], atol=1e-5, rtol=0)


def test_an_embedding_span_takes_the_place_of_its_tokens() -> None:
    decoder = make_decoder(make_config())
    (sequence,) = make_sequences([12])
    rows_TD = torch.randn(4, 48)
    span = EmbeddingSpan(3, rows_TD, "sha256:image")
    with torch.no_grad():
        embeddings_BTC = decoder.embed(torch.tensor([sequence.token_ids]))
        embeddings_BTC[0, 3:7] = rows_TD
        expected = decoder.logits(decoder(torch.tensor([sequence.token_ids]), embeddings_BTC=embeddings_BTC))[0]
    batch = make_batch([(sequence, 12)])
    batch.spans.append((3, span))
    logits = TorchRunner(decoder, blocks=BLOCKS).forward(batch)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


def test_updated_weights_are_used_from_the_next_step_on() -> None:
    decoder, other = make_decoder(make_config()), make_decoder(make_config())
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    (sequence,) = make_sequences([12])
    runner = TorchRunner(decoder, blocks=BLOCKS)
    runner.update_weights(other.state_dict())
    logits = runner.forward(make_batch([(sequence, 12)]))
    torch.testing.assert_close(logits, expected_logits(other, sequence), atol=1e-5, rtol=0)


def test_an_update_with_an_unknown_tensor_changes_nothing() -> None:
    decoder = make_decoder(make_config())
    before = decoder.model.norm.weight.clone()
    with pytest.raises(CheckpointError, match="surprise"):
        TorchRunner(decoder, blocks=2).update_weights({"model.norm.weight": before * 2, "surprise": before})
    assert torch.equal(decoder.model.norm.weight, before)


def test_bfloat16_stays_close_to_float32() -> None:
    decoder = make_decoder(make_config())
    (sequence,) = make_sequences([60])
    expected = expected_logits(decoder, sequence)
    logits = TorchRunner(decoder.bfloat16(), blocks=BLOCKS).forward(make_batch([(sequence, 60)]))
    assert logits.dtype == torch.float32
    assert (logits - expected).abs().max() < 0.05 * expected.abs().max()
