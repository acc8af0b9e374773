"""What short numbers are multiplied as.

A product of bfloat16 tensors is a sum in float32 that is rounded once. Where a processor has no fast instructions for
that, the same comes sooner of the numbers as float32: in half the time on an Intel processor without AMX, in a fifth on
one without AVX-512's bfloat16. In memory they stay short.
"""

import torch

from forethought.model.processor import processor


def factors(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors, in the dtype in which they are multiplied fastest. What comes of them is to be rounded back."""
    return tuple(tensor.float() if _is_slow(tensor) else tensor for tensor in tensors)


def _is_slow(tensor: torch.Tensor) -> bool:
    return tensor.dtype == torch.bfloat16 and tensor.device.type == "cpu" and not processor().fast_bfloat16
