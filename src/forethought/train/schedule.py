"""The learning rate over a stage: it rises in a straight line, then falls along a cosine."""

from math import cos, pi


def learning_rate(step: int, *, steps: int, peak: float, warmup: int, final: float) -> float:
    """The learning rate of a step (counted from 0) of a stage of `steps`. `final` is the share of `peak` at its end."""
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1, steps - warmup)
    return peak * (final + (1 - final) * (1 + cos(pi * min(1.0, done))) / 2)
