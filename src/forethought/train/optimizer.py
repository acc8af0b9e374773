"""AdamW with a clipped gradient (https://arxiv.org/abs/1711.05101), over tensors by name; its state can be kept."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import torch

from forethought.errors import TrainError
from forethought.train.backend import LearnerSettings

MOMENTS = ("exp_avg", "exp_avg_sq")
"""The mean of the gradient and that of its square, as torch names them."""


class Optimizer:
    """Moves `trained`, tensors by name, along the gradients that they have gathered."""

    def __init__(self, trained: Mapping[str, torch.Tensor], settings: LearnerSettings) -> None:
        self._trained = trained
        self._most = settings.max_grad_norm
        self._adamw = torch.optim.AdamW(
            list(trained.values()),
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.steps = 0

    def step(self, learning_rate: float) -> float:
        """One update; the gradient is cleared. Returns its norm before clipping. One that is not finite moves nothing.

        Raises:
            TrainError: there is no gradient.
        """
        gradients = [tensor.grad for tensor in self._trained.values() if tensor.grad is not None]
        if not gradients:
            raise TrainError("There is no gradient to step along.", "Call forward_backward first.")
        norm = torch.nn.utils.get_total_norm(gradients).item()
        if isfinite(norm):
            if norm > self._most:
                for gradient in gradients:
                    gradient.mul_(self._most / norm)
            for group in self._adamw.param_groups:
                group["lr"] = learning_rate
            self._adamw.step()  # pyright: ignore[reportUnknownMemberType]
            # The fused kernel writes past autograd's count of versions, by which merged weights know that they are old.
            torch.autograd.graph.increment_version(list(self._trained.values()))
            self.steps += 1
        self._adamw.zero_grad()
        return norm

    def state(self) -> dict[str, torch.Tensor]:
        """The moments, by `exp_avg.NAME` and `exp_avg_sq.NAME`: none of what has never had a gradient."""
        found = self._adamw.state
        return {
            f"{moment}.{name}": found[tensor][moment]
            for name, tensor in self._trained.items()
            if tensor in found
            for moment in MOMENTS
        }

    def resume(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """Takes up what `state` gave after so many steps; what is not of it is left alone."""
        self._adamw.state.clear()
        self._adamw.zero_grad()
        self.steps = steps
        for name, tensor in self._trained.items():
            if f"{MOMENTS[0]}.{name}" in state:
                moments = {moment: state[f"{moment}.{name}"].to(tensor.device, copy=True) for moment in MOMENTS}
                self._adamw.state[tensor] = {"step": torch.tensor(float(steps), device=tensor.device), **moments}
