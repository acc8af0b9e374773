"""Rotary position embeddings: the angles of each position, and turning queries and keys by them.

Convention of Hugging Face ("rotate half"): dimension i is paired with dimension i + head_dim / 2. Frequencies are
computed in float32 in the same order of operations as transformers, so that both give the same bits.
"""

import math
from typing import Any

import torch

from forethought.model.autograd import apply
from forethought.model.config import DecoderConfig
from forethought.model.rope_config import RopeConfig


def inverse_frequencies(config: DecoderConfig) -> torch.Tensor:
    """Radians per position of each pair of dimensions, `frequencies_K` with K = head_dim / 2, float32 on the CPU."""
    rope, dim = config.rope, config.head_dim
    powers_K = rope.theta ** (torch.arange(0, dim, 2, dtype=torch.float32, device="cpu") / dim)
    if rope.kind == "linear":
        return 1.0 / powers_K / rope.factor
    if rope.kind == "llama3":
        return _llama3(1.0 / powers_K, rope)
    if rope.kind == "yarn":
        return _yarn(powers_K, rope, dim)
    return 1.0 / powers_K


def _llama3(frequencies_K: torch.Tensor, rope: RopeConfig) -> torch.Tensor:
    """Llama 3.1: long wavelengths are stretched by `factor`, short ones kept, those between blended."""
    wavelengths_K = 2 * math.pi / frequencies_K
    longest = rope.original_positions / rope.low_freq_factor
    shortest = rope.original_positions / rope.high_freq_factor
    stretched_K = torch.where(wavelengths_K > longest, frequencies_K / rope.factor, frequencies_K)
    blend_K = (rope.original_positions / wavelengths_K - rope.low_freq_factor) / (
        rope.high_freq_factor - rope.low_freq_factor
    )
    blended_K = (1 - blend_K) * stretched_K / rope.factor + blend_K * stretched_K
    between_K = (wavelengths_K >= shortest) & (wavelengths_K <= longest)
    return torch.where(between_K, blended_K, stretched_K)


def _yarn(powers_K: torch.Tensor, rope: RopeConfig, dim: int) -> torch.Tensor:
    """YaRN (https://arxiv.org/abs/2309.00071): a ramp from kept to stretched frequencies."""

    def turning_dimension(rotations: float) -> float:
        """The dimension that turns `rotations` times within the original context."""
        return dim * math.log(rope.original_positions / (rotations * 2 * math.pi)) / (2 * math.log(rope.theta))

    low, high = turning_dimension(rope.beta_fast), turning_dimension(rope.beta_slow)
    if rope.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    high += 0.001 if low == high else 0.0  # the ramp must have a slope
    ramp_K = ((torch.arange(dim // 2, dtype=torch.float32, device="cpu") - low) / (high - low)).clamp(0, 1)
    kept_K = 1 - ramp_K
    return 1.0 / (rope.factor * powers_K) * (1 - kept_K) + 1.0 / powers_K * kept_K


def rope_angles(
    frequencies_K: torch.Tensor, scale: float, positions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of each position, float32, shape of `positions` with K appended, times `scale`."""
    angles = positions[..., None].float() * frequencies_K
    return angles.cos() * scale, angles.sin() * scale


def rope_tables(config: DecoderConfig, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of positions 0 to `length` - 1: two float32 `TK` tensors, YaRN's attention factor folded in."""
    return rope_angles(inverse_frequencies(config), config.rope.attention_factor, torch.arange(length))


def rotate(heads_BTHD: torch.Tensor, cos_BTK: torch.Tensor, sin_BTK: torch.Tensor) -> torch.Tensor:
    """Turns queries or keys by the angles of their positions; computed in float32 at least, returned in the heads'
    dtype."""
    if torch.is_grad_enabled():
        return apply(_Rotation, heads_BTHD, cos_BTK, sin_BTK)
    return _turned(heads_BTHD, cos_BTK, sin_BTK)


class _Rotation(torch.autograd.Function):
    """One step of autograd: the gradient of a rotation is the rotation back."""

    @staticmethod
    def forward(ctx: Any, heads_BTHD: torch.Tensor, cos_BTK: torch.Tensor, sin_BTK: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos_BTK, sin_BTK)
        return _turned(heads_BTHD, cos_BTK, sin_BTK)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos_BTK, sin_BTK = ctx.saved_tensors
        return _turned(grads[0], cos_BTK, -sin_BTK), None, None


def _turned(heads_BTHD: torch.Tensor, cos_BTK: torch.Tensor, sin_BTK: torch.Tensor) -> torch.Tensor:
    cos_BT1K, sin_BT1K = cos_BTK[..., None, :], sin_BTK[..., None, :]
    wide_BTHD = heads_BTHD.to(torch.promote_types(heads_BTHD.dtype, cos_BTK.dtype))
    first, second = wide_BTHD.chunk(2, dim=-1)
    turned_BTHD = torch.empty_like(wide_BTHD)
    half = first.shape[-1]
    torch.mul(first, cos_BT1K, out=turned_BTHD[..., :half]).addcmul_(second, sin_BT1K, value=-1)
    torch.mul(second, cos_BT1K, out=turned_BTHD[..., half:]).addcmul_(first, sin_BT1K)
    return turned_BTHD.to(heads_BTHD.dtype)
