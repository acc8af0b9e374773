"""Root-mean-square norm as one step of autograd: a forward and a backward of a few passes each over what lies in the
processor's cache. As a chain of operators it cost a CPU several times as much."""

from typing import Any

import torch

from forethought.model.autograd import apply


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight_C: torch.Tensor, eps: float) -> torch.Tensor:
        wide = _wide(hidden)
        inverse = _inverse(wide, eps)
        ctx.save_for_backward(hidden, weight_C, inverse)
        return _scaled(wide, inverse, weight_C)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight_C, inverse = ctx.saved_tensors
        unit, grad = _wide(hidden) * inverse, _wide(grads[0])
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (grad * unit).flatten(0, -2).sum(0).to(weight_C.dtype)
        of_unit = grad * _wide(weight_C)
        along = (of_unit * unit).mean(-1, keepdim=True)
        return of_unit.addcmul_(unit, along, value=-1).mul_(inverse).to(hidden.dtype), of_weight, None


def rms_norm(hidden: torch.Tensor, weight_C: torch.Tensor, eps: float) -> torch.Tensor:
    """`hidden` (any leading dimensions, C last) divided by its root mean square, computed in float32 at least, in the
    dtype of `weight_C` and times it: a float32 stream goes through layers of bfloat16 that way."""
    if torch.is_grad_enabled():
        return apply(_RMSNorm, hidden, weight_C, eps)
    wide = _wide(hidden)
    return _scaled(wide, _inverse(wide, eps), weight_C)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _inverse(wide: torch.Tensor, eps: float) -> torch.Tensor:
    return wide.square().mean(-1, keepdim=True).add_(eps).rsqrt_()


def _scaled(wide: torch.Tensor, inverse: torch.Tensor, weight_C: torch.Tensor) -> torch.Tensor:
    return weight_C * (wide * inverse).to(weight_C.dtype)
