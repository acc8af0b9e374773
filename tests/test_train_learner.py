"""The learner: packed and unpacked rows teach the same, its numbers are the engine's, and its gradients are right."""

import asyncio
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Limits, Request, Sampling
from forethought.errors import CheckpointError, TrainError
from forethought.model import products
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Message
from forethought.model.layout import write_object
from forethought.model.lora import LoraConfig
from forethought.model.processor import Processor
from forethought.model.weights import write_file
from forethought.settings import EngineSettings, Settings
from forethought.train import losses
from forethought.train.adapter import fresh_adapter
from forethought.train.backend import Adapter, LearnerSettings, StepStats
from forethought.train.packing import SHORTEST_SHARED, pack_rows
from forethought.train.rows import Branch, Row, branches, learned_values
from forethought.train.scoring import token_logprobs
from forethought.train.torch_backend import TorchBackend
from learner_scene import FLOAT32, gradients, learner, moved_adapter, single_rows, some_rows

ALL = FLOAT32.model_copy(update={"train": "all"})


def plain_logprobs(backend: TorchBackend, rows: list[Row]) -> torch.Tensor:
    """Branch by branch through the plain decoder, with its own attention."""
    decoder = backend.decoder
    found = []
    for row in single_rows(rows):
        (branch,) = row.branches
        token_ids = torch.tensor([*row.prompt_ids, *branch.token_ids])
        logprobs = decoder.logits(decoder(token_ids[None]))[0].double().log_softmax(-1)
        start = len(row.prompt_ids)
        for index, learned in enumerate(branch.learned):
            if learned:
                found.append(logprobs[start + index - 1, branch.token_ids[index]])
    return torch.stack(found)


@pytest.mark.parametrize("how", [FLOAT32, ALL], ids=["adapter", "all"])
@pytest.mark.parametrize("limit", [16, 100, 1000])
def test_packs_have_the_logprobs_and_gradients_of_single_rows(
    checkpoint: Checkpoint, how: LearnerSettings, limit: int
) -> None:
    backend = learner(checkpoint, how.model_copy(update={"pack_tokens": limit}))
    rows = some_rows(checkpoint, 9)
    expected = plain_logprobs(backend, rows)
    weights = torch.tensor(learned_values(rows, [(b.advantage,) * len(b.token_ids) for b in branches(rows)]))
    (-(weights * expected).sum() * 0.01).backward()
    by_plain_code = gradients(backend)
    stats = backend.forward_backward(rows, losses.sft, 0.01)
    np.testing.assert_allclose(stats.logprobs_N, expected.detach().numpy(), atol=2e-5)
    assert stats.loss == pytest.approx(-(weights * expected.detach()).sum().item() * 0.01, abs=1e-5)
    ours = gradients(backend)
    assert ours.keys() == by_plain_code.keys()
    for name, gradient in by_plain_code.items():
        torch.testing.assert_close(ours[name], gradient, atol=2e-5, rtol=1e-3, msg=name)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([16, 64, 200, 4096]))
def test_however_rows_are_packed_the_logprobs_are_the_same(
    checkpoint: Checkpoint, seed: int, count: int, limit: int
) -> None:
    rows = some_rows(checkpoint, count, seed=seed)
    one = learner(checkpoint, FLOAT32.model_copy(update={"pack_tokens": limit}))
    other = learner(checkpoint, FLOAT32)
    flat = np.concatenate([other.logprobs([row]) for row in single_rows(rows)])
    np.testing.assert_allclose(one.logprobs(rows), flat, atol=2e-5)


def test_a_shared_beginning_is_computed_once(checkpoint: Checkpoint) -> None:
    start = tuple(range(40))
    rows = [Row((*start, token), (Branch.of((token, 2)),)) for token in range(50, 54)]
    stats = learner(checkpoint).forward_backward(rows, losses.sft, 1.0)
    assert stats.tokens == 40 + 4 * 3
    assert stats.packs == 1


@pytest.fixture
def threads() -> Iterator[None]:
    """Gives torch its number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("train", ["adapter", "all"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_learned_does_not_depend_on_the_number_of_threads(
    checkpoint: Checkpoint, train: str, dtype: str
) -> None:
    rows = some_rows(checkpoint, 24)
    found: list[tuple[StepStats, dict[str, torch.Tensor]]] = []
    for count in (1, 2, 3):
        how = FLOAT32.model_copy(update={"train": train, "dtype": dtype, "threads": count})
        backend = learner(checkpoint, how)
        stats = backend.forward_backward(rows, losses.sft, 0.01)
        assert torch.get_num_threads() == count
        assert stats.packs > 3
        found.append((stats, gradients(backend)))
    one, *others = found
    for stats, slopes in others:
        assert np.array_equal(stats.logprobs_N, one[0].logprobs_N)
        assert all(torch.equal(slopes[name], slope) for name, slope in one[1].items())


@pytest.mark.usefixtures("threads")
def test_what_drops_out_does_not_depend_on_the_number_of_threads(checkpoint: Checkpoint) -> None:
    moved = moved_adapter(checkpoint)
    adapter = replace(moved, config=replace(moved.config, dropout=0.3))
    found: list[dict[str, torch.Tensor]] = []
    for count in (1, 2, 2):
        backend = learner(checkpoint, FLOAT32.model_copy(update={"threads": count}), adapter=adapter)
        torch.manual_seed(7)
        assert backend.forward_backward(some_rows(checkpoint, 24), losses.sft, 0.01).packs > 3
        found.append(gradients(backend))
    one, *others = found
    for slopes in others:
        assert all(torch.equal(slopes[name], slope) for name, slope in one.items())


@settings(max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([16, 96, 300]))
def test_packs_hold_every_row_and_keep_their_limit(checkpoint: Checkpoint, seed: int, count: int, limit: int) -> None:
    rows = some_rows(checkpoint, count, seed=seed)
    packs = pack_rows(rows, limit, checkpoint.config.max_positions)
    assert sorted(place for pack in packs for place in pack.order_N.tolist()) == list(
        range(sum(row.learned_tokens for row in rows))
    )
    longest = max(len(row.prompt_ids) + len(branch.token_ids) for row in rows for branch in row.branches)
    for pack in packs:
        # A beginning that only two rows share is estimated to be shared even where it is too short for that.
        assert pack.tokens <= max(limit, longest) + SHORTEST_SHARED * len(pack.segments)


@pytest.mark.parametrize(
    ("count", "limit", "sizes"), [(30, 512, [300, 300]), (31, 300, [160, 160, 160, 140]), (3, 30, [20, 20, 20])]
)
def test_packs_are_even(checkpoint: Checkpoint, count: int, limit: int, sizes: list[int]) -> None:
    rows = [Row((number, *range(10)), (Branch.of(tuple(range(9))),)) for number in range(count)]
    assert [pack.tokens for pack in pack_rows(rows, limit, checkpoint.config.max_positions)] == sizes


@pytest.mark.parametrize("how", [FLOAT32, ALL], ids=["adapter", "all"])
def test_the_gradient_is_the_slope_of_the_loss(checkpoint: Checkpoint, how: LearnerSettings) -> None:
    """A step along a random direction changes the loss as the gradient says."""
    backend = learner(checkpoint, how)
    rows = some_rows(checkpoint, 4)
    loss = losses.with_kl(losses.reinforce, 0.1)

    def value(name: str, tensor: torch.Tensor) -> float:
        with torch.no_grad():
            backend.trained[name].copy_(tensor)
        stats = backend.forward_backward(rows, loss, 1.0)
        gradients(backend)
        return stats.loss

    backend.forward_backward(rows, loss, 1.0)
    slopes = gradients(backend)
    for name, tensor in backend.trained.items():
        before = tensor.detach().clone()
        direction = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(len(name)))
        move = direction * (2e-3 / direction.norm())
        difference = value(name, before + move) - value(name, before - move)
        value(name, before)
        assert difference == pytest.approx((slopes[name] * move).sum().item() * 2, rel=0.05, abs=1e-4), name


def test_what_is_frozen_gets_no_gradient(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint)
    backend.forward_backward(some_rows(checkpoint, 3), losses.sft, 1.0)
    trained = {id(tensor) for tensor in backend.trained.values()}
    frozen = [parameter for parameter in backend.decoder.parameters() if id(parameter) not in trained]
    assert frozen
    assert all(parameter.grad is None for parameter in frozen)
    assert all(tensor.grad is not None for tensor in backend.trained.values())


def test_calls_add_up(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint)
    rows = some_rows(checkpoint, 6)
    backend.forward_backward(rows, losses.sft, 0.1)
    at_once = gradients(backend)
    for row in rows:
        backend.forward_backward([row], losses.sft, 0.1)
    for name, gradient in gradients(backend).items():
        torch.testing.assert_close(gradient, at_once[name], atol=1e-5, rtol=1e-4)


def sampled_rows(reasoner: Any, prompts: list[tuple[int, ...]], most: int = 24) -> list[Row]:
    """Sampled by the engine, with its log-probabilities."""
    requests = [
        Request(f"r{index}", prompt, Limits(most), Sampling(seed=index), logprobs=0)
        for index, prompt in enumerate(prompts)
    ]
    rows = []
    for prompt, completion in zip(prompts, reasoner.engine.generate(requests), strict=True):
        logprobs = tuple(event.logprob for event in completion.tokens)
        ids = completion.token_ids
        rows.append(Row(prompt, (Branch(ids, (True,) * len(ids), 1.0, sampler_logprobs=logprobs),)))
    return rows


@pytest.mark.parametrize("how", [FLOAT32, ALL], ids=["adapter", "all"])
@pytest.mark.parametrize("runner", ["torch", "auto"])
def test_the_learner_and_the_engine_agree_before_and_after_an_update(
    checkpoint: Checkpoint, how: LearnerSettings, runner: str, tmp_path: Path
) -> None:
    engine = EngineSettings(runner=runner, dtype="float32", threads=1, cache_tokens=8192)

    async def main() -> None:
        native = NativeEngine(checkpoint, Settings(cache_dir=tmp_path, engine=engine))
        await native.start()
        try:
            backend = learner(checkpoint, how, engine=native)
            prompts = [row.prompt_ids for row in some_rows(checkpoint, 8)]
            for _ in range(2):
                await backend.publish()
                rows = await asyncio.to_thread(sampled_rows, backend.reasoner, prompts)
                sampled = learned_values(rows, [b.sampler_logprobs or () for b in branches(rows)])
                np.testing.assert_allclose(backend.logprobs(rows), sampled, atol=1e-4)
                backend.forward_backward(rows, losses.sft, 0.01)
                backend.optimizer_step(0.05)
                assert np.abs(backend.logprobs(rows) - np.array(sampled)).max() > 0.05
        finally:
            await native.close()

    asyncio.run(main())


def test_bfloat16_learns_with_the_weights_that_it_publishes(checkpoint: Checkpoint) -> None:
    from forethought.model.lora import merge

    backend = learner(checkpoint, FLOAT32.model_copy(update={"dtype": "bfloat16"}))
    adapter = backend.adapter()
    assert adapter is not None
    merged = merge(checkpoint.tensors(), adapter.config, adapter.tensors)
    for name, tensor in backend.merged().items():
        assert torch.equal(tensor, merged[name].bfloat16()), name


def test_a_low_rank_update_of_the_output_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    directory = tmp_path / "untied"
    shutil.copytree(checkpoint.directory, directory)
    write_object(directory / "config.json", replace(checkpoint.config, tied=False).to_hf())
    tensors = checkpoint.tensors()
    write_file(directory / "model.safetensors", tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"] + 0})
    base = Checkpoint.open(directory)
    config = LoraConfig(2, 2, ("lm_head",))
    tensors = {
        "lm_head.lora_A.weight": torch.zeros(2, base.config.hidden_size),
        "lm_head.lora_B.weight": torch.zeros(base.config.vocab_size, 2),
    }
    with pytest.raises(TrainError, match="low-rank update, which is not trained"):
        TorchBackend(base, FLOAT32, adapter=Adapter(config, tensors))


@pytest.fixture(params=["fast", "slow"])
def any_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is fast at bfloat16, and one that is not."""
    flags = frozenset({"avx2", "amx_bf16"} if request.param == "fast" else {"avx2"})
    monkeypatch.setattr(products, "processor", lambda: Processor("any", "any", flags))


@pytest.mark.usefixtures("any_processor")
@pytest.mark.parametrize("train", ["adapter", "all"])
def test_bfloat16_stays_close_to_float32(checkpoint: Checkpoint, train: str) -> None:
    rows = some_rows(checkpoint, 20)
    exact = learner(checkpoint, FLOAT32.model_copy(update={"train": train}))
    short = learner(checkpoint, FLOAT32.model_copy(update={"train": train, "dtype": "bfloat16"}))
    ratios = np.exp(short.logprobs(rows) - exact.logprobs(rows))
    assert np.quantile(np.abs(ratios - 1), 0.9) < 0.02
    for backend in (exact, short):
        backend.forward_backward(rows, losses.sft, 0.01)
    expected, found = gradients(exact), gradients(short)
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(gradient.flatten(), found[name].flatten(), 0)
        assert cosine > 0.99, name


@pytest.mark.usefixtures("any_processor")
def test_in_bfloat16_too_what_is_nearly_sure_is_learned_by_as_much_as_is_missing(checkpoint: Checkpoint) -> None:
    slopes: list[torch.Tensor] = []
    for dtype in ("float32", "bfloat16"):
        decoder = learner(checkpoint, FLOAT32.model_copy(update={"dtype": dtype})).decoder
        table_VC = decoder.model.embed_tokens.weight.detach()
        targets_N = torch.arange(100, 140)
        with torch.no_grad():  # what points to its target has a logarithm of 1 - p from about -2 to -9
            own_NC = table_VC[targets_N].float()
            far_N1 = torch.linspace(1, 12, len(targets_N))[:, None] + math.log(len(table_VC))
            hidden_NC = own_NC / own_NC.square().sum(-1, keepdim=True) * far_N1
        states_NC = hidden_NC.to(table_VC.dtype).requires_grad_()
        logprobs_N = token_logprobs(decoder, states_NC, targets_N)
        slopes.append(torch.autograd.grad(logprobs_N.sum(), states_NC)[0].float())
    exact_NC, found_NC = slopes
    assert (torch.nn.functional.cosine_similarity(exact_NC, found_NC, -1) > 0.98).all()
    torch.testing.assert_close(found_NC.norm(dim=-1), exact_NC.norm(dim=-1), rtol=0.1, atol=0)


def test_a_step_is_adamw_on_the_clipped_gradient(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint, FLOAT32.model_copy(update={"max_grad_norm": 0.5, "weight_decay": 0.1}))
    rows = some_rows(checkpoint, 4)
    backend.forward_backward(rows, losses.sft, 1.0)
    before = {name: tensor.detach().clone() for name, tensor in backend.trained.items()}
    slopes = {name: tensor.grad.clone() for name, tensor in backend.trained.items() if tensor.grad is not None}
    norm = backend.optimizer_step(0.01)
    assert norm == pytest.approx(sum(g.square().sum().item() for g in slopes.values()) ** 0.5, rel=1e-4)
    for name, tensor in backend.trained.items():
        clipped = slopes[name] * min(1.0, 0.5 / norm)
        decayed = before[name] * (1 - 0.01 * 0.1)
        torch.testing.assert_close(tensor, decayed - 0.01 * clipped / (clipped.abs() + 1e-8), atol=1e-5, rtol=1e-4)


def test_a_gradient_that_is_no_number_changes_nothing(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint)
    before = {name: tensor.detach().clone() for name, tensor in backend.trained.items()}
    backend.forward_backward(some_rows(checkpoint, 2), lambda tokens: tokens.logprobs_N * float("nan"), 1.0)
    assert not np.isfinite(backend.optimizer_step(0.1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in backend.trained.items())
    assert all(tensor.grad is None for tensor in backend.trained.values())


@pytest.mark.parametrize(
    "how",
    [FLOAT32, ALL, FLOAT32.model_copy(update={"dtype": "bfloat16"})],
    ids=["adapter", "all", "bfloat16"],
)
def test_a_saved_state_goes_on_to_the_same_bits(checkpoint: Checkpoint, how: LearnerSettings, tmp_path: Path) -> None:
    def steps(backend: TorchBackend, first: int, last: int) -> None:
        for step in range(first, last):
            backend.forward_backward(some_rows(checkpoint, 5, seed=step), losses.sft, 0.02)
            backend.optimizer_step(0.01)

    through = learner(checkpoint, how)
    steps(through, 0, 2)
    through.save_state(tmp_path / "state")
    steps(through, 2, 4)
    resumed = learner(checkpoint, how)
    steps(resumed, 7, 8)  # which is forgotten
    resumed.load_state(tmp_path / "state")
    steps(resumed, 2, 4)
    assert all(torch.equal(tensor, resumed.trained[name]) for name, tensor in through.trained.items())


def test_a_state_of_another_model_is_refused(checkpoint: Checkpoint, tmp_path: Path) -> None:
    learner(checkpoint, adapter=moved_adapter(checkpoint, rank=2)).save_state(tmp_path / "state")
    with pytest.raises(CheckpointError, match="another model"):
        learner(checkpoint).load_state(tmp_path / "state")


def test_the_reference_is_what_the_learner_began_with(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint, keep_reference=True)
    rows = some_rows(checkpoint, 4)
    before = backend.logprobs(rows)
    backend.forward_backward(rows, losses.sft, 0.1)
    backend.optimizer_step(0.05)
    after = backend.logprobs(rows)
    assert not np.allclose(after, before, atol=1e-2)
    assert np.array_equal(backend.logprobs(rows, reference=True), before)
    assert np.array_equal(backend.logprobs(rows), after)


@pytest.mark.parametrize("train", ["adapter", "all"])
def test_a_checkpoint_opens_as_what_was_trained(checkpoint: Checkpoint, train: str, tmp_path: Path) -> None:
    backend = learner(checkpoint, FLOAT32.model_copy(update={"train": train}))
    rows = some_rows(checkpoint, 4)
    saved = backend.save_checkpoint(tmp_path / "checkpoint")
    assert saved.capabilities.thinks
    assert saved.capabilities.calls_tools
    again = TorchBackend(saved, FLOAT32.model_copy(update={"train": train}))
    np.testing.assert_allclose(again.logprobs(rows), backend.logprobs(rows), atol=0.02)


def test_training_fits_what_it_is_shown(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint, ALL)
    conversation = Conversation((Message.of("user", "the model"),), effort="low", budget=64)
    prompt = checkpoint.renderer.render(conversation, think=True).token_ids
    rows = [Row(prompt, (Branch.of(checkpoint.renderer.render_output((Message.of("assistant", "answers"),))),))]
    found = []
    for _ in range(30):
        found.append(backend.forward_backward(rows, losses.sft, 1 / rows[0].learned_tokens).loss)
        backend.optimizer_step(0.02)
    assert found[-1] < 0.1 * found[0]


def test_rows_that_teach_nothing_and_rows_that_do_not_fit_are_refused(checkpoint: Checkpoint) -> None:
    backend = learner(checkpoint)
    with pytest.raises(TrainError, match="Nothing"):
        backend.forward_backward([Row((1, 2), (Branch((3,), (False,)),))], losses.sft, 1.0)
    with pytest.raises(TrainError, match="context holds 512"):
        backend.forward_backward([Row((1,) * 512, (Branch.of((3,)),))], losses.sft, 1.0)


@pytest.mark.parametrize("what", ["reasoner", "publish"])
def test_without_an_engine_nothing_is_sampled(checkpoint: Checkpoint, what: str) -> None:
    backend = learner(checkpoint)
    with pytest.raises(TrainError, match="engine"):
        asyncio.run(backend.publish()) if what == "publish" else backend.reasoner


def test_an_adapter_must_come_from_somewhere(checkpoint: Checkpoint) -> None:
    with pytest.raises(TrainError, match="no adapter"):
        TorchBackend(checkpoint, FLOAT32)


def test_a_fresh_adapter_changes_nothing_but_tells_the_markers_apart(checkpoint: Checkpoint) -> None:
    adapter = fresh_adapter(checkpoint, rank=4, seed=3)
    renderer = checkpoint.renderer
    assert renderer.thinking is not None
    assert renderer.calls is not None
    thinking, calls = renderer.thinking, renderer.calls
    markers = (thinking.start_id, thinking.end_ids[-1], calls.opening, calls.closing)
    assert adapter.config.input_token_ids == markers
    rows = adapter.tensors["model.embed_tokens.token_adapter.trainable_tokens_delta"]
    units = rows / rows.norm(dim=1, keepdim=True)
    assert (units @ units.T - torch.eye(4)).max() < 0.9
    lengths = checkpoint.tensors()["model.embed_tokens.weight"].norm(dim=1)
    assert rows.norm(dim=1).max() < lengths.median()
    assert all(not tensor.any() for name, tensor in adapter.tensors.items() if name.endswith("lora_B.weight"))
    again = fresh_adapter(checkpoint, rank=4, seed=3)
    assert all(torch.equal(tensor, again.tensors[name]) for name, tensor in adapter.tensors.items())
