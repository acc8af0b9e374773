"""What moves the weights along their gradients, which are clipped; its state can be kept. AdamW
(https://arxiv.org/abs/1711.05101), over tensors by name, or over a few factors of an adapter.

A step of reinforcement learning is mostly noise, and the more so the more numbers it moves: of the gradient of all
weights of an adapter one or two hundredths were signal, of that of its layers' factors three tenths, of its kinds' six
(docs/lab-log.md). Few numbers go far (https://arxiv.org/abs/2602.04118).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import exp, isfinite
from typing import Protocol

import torch

from forethought.errors import TrainError
from forethought.train.backend import LearnerSettings

_OF_LAYER = re.compile(r"(.*\.\d+)\.(.*)\.lora_B\.weight")
"""The second factor of a module's update, by its layer and its kind."""

MOMENTS = ("exp_avg", "exp_avg_sq")
"""The mean of the gradient and that of its square, as torch names them."""


class Optimizer(Protocol):
    """Moves tensors along the gradients that they have gathered."""

    @property
    def steps(self) -> int:
        """That were made."""
        ...

    def step(self, learning_rate: float) -> float:
        """One update; the gradient is cleared. Returns its norm before clipping. One that is not finite moves nothing.

        Raises:
            TrainError: there is no gradient.
        """
        ...

    def state(self) -> dict[str, torch.Tensor]:
        """The moments, by `exp_avg.NAME` and `exp_avg_sq.NAME`: none of what has never had a gradient."""
        ...

    def resume(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """Takes up what `state` gave after so many steps; what is not of it is left alone."""
        ...


class AdamW:
    """Moves `trained`, tensors by name."""

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
        """See `Optimizer`."""
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
        """See `Optimizer`."""
        found = self._adamw.state
        return {
            f"{moment}.{name}": found[tensor][moment]
            for name, tensor in self._trained.items()
            if tensor in found
            for moment in MOMENTS
        }

    def resume(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """See `Optimizer`."""
        self._adamw.state.clear()
        self._adamw.zero_grad()
        self.steps = steps
        for name, tensor in self._trained.items():
            if f"{MOMENTS[0]}.{name}" in state:
                moments = {moment: state[f"{moment}.{name}"].to(tensor.device, copy=True) for moment in MOMENTS}
                self._adamw.state[tensor] = {"step": torch.tensor(float(steps), device=tensor.device), **moments}


class Factors:
    """Moves a factor for each layer of an adapter and one for each kind of module: what a module adds to its layer is
    multiplied by both. Nothing else of `trained` moves, and the adapter stays one of its format.

    A `learning_rate` is about by how much a factor changes in a step, as a share.

    Raises:
        TrainError: there is no adapter of layers among the tensors.
    """

    def __init__(self, trained: Mapping[str, torch.Tensor], settings: LearnerSettings) -> None:
        self._trained = trained
        self._keys = {name: found.groups() for name in trained if (found := _OF_LAYER.fullmatch(name))}
        if not self._keys:
            raise TrainError("There is no adapter whose factors could move.", "Train an adapter, or move its weights.")
        names = sorted({key for keys in self._keys.values() for key in keys})
        self._logs = {name: torch.nn.Parameter(torch.zeros(())) for name in names}
        self._adamw = AdamW(self._logs, settings)

    @property
    def steps(self) -> int:
        """That were made."""
        return self._adamw.steps

    def step(self, learning_rate: float) -> float:
        """See `Optimizer`. The norm is that of the factors' gradient."""
        for name, keys in self._keys.items():
            tensor = self._trained[name]
            if tensor.grad is not None:
                slope = (tensor.grad.double() * tensor.detach().double()).sum().float().cpu()
                for key in keys:
                    log = self._logs[key]
                    log.grad = slope if log.grad is None else log.grad + slope
        norm = self._adamw.step(learning_rate)
        with torch.no_grad():
            for name, keys in self._keys.items():
                self._trained[name].mul_(exp(sum(float(self._logs[key]) for key in keys)))
            for log in self._logs.values():
                log.zero_()  # it is in the tensors now
        for tensor in self._trained.values():
            tensor.grad = None
        return norm

    def state(self) -> dict[str, torch.Tensor]:
        """See `Optimizer`."""
        return self._adamw.state()

    def resume(self, state: Mapping[str, torch.Tensor], steps: int) -> None:
        """See `Optimizer`."""
        self._adamw.resume(state, steps)
