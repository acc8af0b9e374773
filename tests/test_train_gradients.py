"""The steps of autograd that are written by hand, checked numerically in float64."""

import pytest
import torch
from torch.autograd import gradcheck

from forethought.model.autograd import apply
from forethought.model.checkpoint import Checkpoint
from forethought.model.decoder import Linear
from forethought.model.lora_layers import Derived, LoraLinear
from forethought.model.norm import rms_norm
from forethought.model.rope import rotate
from forethought.train.packing import Taught, pack_rows
from forethought.train.scoring import CHUNK, _Logprobs
from forethought.train.tree_attention import TreeAttention
from learner_scene import some_rows


def wanted(*shape: int) -> torch.Tensor:
    """Random numbers that want a gradient."""
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


def test_the_norm() -> None:
    assert gradcheck(lambda hidden, weight: rms_norm(hidden, weight, 1e-5), (wanted(2, 3, 8), wanted(8)))


def test_the_rotation() -> None:
    angles = torch.linspace(0, 3, 12, dtype=torch.float64).view(1, 3, 4)
    assert gradcheck(lambda heads: rotate(heads, angles.cos(), angles.sin()), (wanted(1, 3, 2, 8),))


def test_attention_within_a_pack(checkpoint: Checkpoint) -> None:
    (pack,) = pack_rows(some_rows(checkpoint, 2, branches=2), 200, 512)
    attention = TreeAttention(pack, checkpoint.config, torch.device("cpu"))
    config, tokens = checkpoint.config, len(pack.token_ids_T)
    heads = wanted(1, tokens, config.heads, config.head_dim)
    keys, values = (wanted(1, tokens, config.kv_heads, config.head_dim) for _ in range(2))
    weights = torch.randn(heads.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # What fills the end of a pack is seen by nobody, and wants nothing.
    weights[:, pack.tokens :] = 0
    assert gradcheck(lambda q, k, v: (attention(0, q, k, v) * weights).sum(), (heads, keys, values), fast_mode=True)


@pytest.mark.parametrize("rows", [None, (1, 4)], ids=["whole table", "rows"])
def test_log_probabilities_over_several_chunks(rows: tuple[int, ...] | None) -> None:
    count = CHUNK + 3
    hidden, table = wanted(count, 4), wanted(6, 4)
    targets = torch.arange(count) % 6
    ids = None if rows is None else torch.tensor(rows)

    def logprobs(hidden_NC: torch.Tensor, trained: torch.Tensor) -> torch.Tensor:
        whole = trained.detach() if ids is None else table.detach().index_copy(0, ids, trained.detach())
        return apply(_Logprobs, hidden_NC, targets, whole, trained, ids, None, whole)

    trained = table if ids is None else table.detach()[ids].requires_grad_()
    assert gradcheck(logprobs, (hidden, trained), fast_mode=True)
    plain = (hidden @ table.T).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    torch.testing.assert_close(logprobs(hidden, trained), plain)


@pytest.mark.parametrize("rows", [None, (1, 4)], ids=["whole table", "rows"])
def test_divergences_from_a_teacher(rows: tuple[int, ...] | None) -> None:
    count = CHUNK + 3
    hidden, table, teacher, states = wanted(count, 4), wanted(6, 4), wanted(6, 4).detach() * 2, wanted(3, 4).detach()
    targets = torch.arange(count) % 6
    ids = None if rows is None else torch.tensor(rows)
    taught = Taught(torch.tensor([0, 5, CHUNK + 1]), states)

    def logprobs(hidden_NC: torch.Tensor, trained: torch.Tensor) -> torch.Tensor:
        whole = trained.detach() if ids is None else table.detach().index_copy(0, ids, trained.detach())
        return apply(_Logprobs, hidden_NC, targets, whole, trained, ids, taught, teacher)

    trained = table if ids is None else table.detach()[ids].requires_grad_()
    assert gradcheck(logprobs, (hidden, trained), fast_mode=True)
    plain = (hidden @ table.T).log_softmax(-1)
    expected = plain.gather(1, targets[:, None])[:, 0]
    wanted_M = (states @ teacher.T).log_softmax(-1)
    expected[taught.places_M] = (wanted_M.exp() * (plain[taught.places_M] - wanted_M)).sum(-1)
    torch.testing.assert_close(logprobs(hidden, trained), expected)


def test_a_low_rank_update() -> None:
    layer = LoraLinear(Linear(6, 5, bias=True), rank=2, scale=0.5, dropout=0.0).double()
    a, b = layer.lora_A.weight, layer.lora_B.weight
    with torch.no_grad():
        b.normal_()

    def output(hidden: torch.Tensor, _a: torch.Tensor, _b: torch.Tensor) -> torch.Tensor:
        layer._derived = Derived()  # the check moves the factors behind autograd's back
        return layer(hidden)

    assert gradcheck(output, (wanted(2, 3, 6), a, b))
