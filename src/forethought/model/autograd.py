"""Where torch's types end: calls into autograd that its annotations leave open."""

from typing import Any, cast

import torch


def apply(function: type[torch.autograd.Function], *arguments: Any) -> torch.Tensor:
    """Runs a step of autograd that yields one tensor."""
    return cast("torch.Tensor", function.apply(*arguments))  # pyright: ignore[reportUnknownMemberType]


def softmax_backward(grad: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The gradient of what a softmax over the last dimension was taken of; `shares` is what it gave."""
    backward: Any = torch.ops.aten._softmax_backward_data  # pyright: ignore[reportPrivateUsage]
    return cast("torch.Tensor", backward(grad, shares, -1, shares.dtype))
