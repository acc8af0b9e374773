"""Alarms: what ends a run before it spoils the model, each in a plain sentence.

They look at the figures of the latest steps and at the answers that were rewarded, and keep little: their memory is
part of a run's state, so that a resumed run rings when the other would have.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

WITNESSES: Final = 24
"""Latest problems of a family whose answers are compared with each other."""
MOST_ANSWERS: Final = 40 * WITNESSES
"""Of those, when hardly any problem is a new one."""


class AlarmSettings(BaseModel):
    """When an alarm goes off."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patience: int = Field(default=5, ge=1, description="steps in a row that must look wrong")
    idle: int = Field(default=20, ge=1, description="steps in a row that may teach nothing")
    least_entropy: float = Field(default=5e-4, ge=0, description="nats a token; below it, nothing is tried any more")
    most_entropy: float = Field(default=5.0, gt=0, description="nats a token; above it, the outputs are noise")
    least_thinking: float = Field(default=0.1, ge=0, le=1, description="share of the first steps' thinking tokens")
    most_mismatch: float = Field(
        default=0.1, gt=0, le=1, description="share of tokens for which sampler and learner differ by a factor of two"
    )
    one_answer: float = Field(
        default=0.95, gt=0, le=1, description="share of a family's answers that are one text, and rewarded"
    )
    probe_every: int = Field(default=25, ge=1, description="steps between probes of the verifiers")
    probe_problems: int = Field(default=16, ge=4, description="problems of each level that are probed")


@dataclass(frozen=True, slots=True)
class Health:
    """The figures of a step that alarms look at. `loss` and `grad_norm` are None in a step without an update;
    `mismatch` is the share of learned tokens on which sampler and learner differ by a factor of two."""

    entropy: float
    thinking_tokens: float
    reward: float
    loss: float | None = None
    grad_norm: float | None = None
    mismatch: float = 0.0


@dataclass(frozen=True, slots=True)
class Answered:
    """How an attempt ended: at which problem, with which answer (nothing of the thinking), and whether that earned
    something."""

    family: str
    key: str
    text: str
    rewarded: bool


class Alarms:
    """Watches a run. `hacked` is told of the answers before a step learns from them, `check` of every step."""

    def __init__(self, settings: AlarmSettings) -> None:
        self.settings = settings
        self._first: list[Health] = []
        self._recent: list[Health] = []
        self._idle = 0
        self._answers: dict[str, list[tuple[str, str, bool]]] = {}

    def check(self, health: Health) -> str | None:
        """What is wrong after this step, in one sentence; None when nothing is."""
        self._remember(health)
        found = self._numbers(health) or self._collapse() or self._idling()
        if found is not None:  # whoever goes on all the same shall not hear it again at once
            self._recent, self._idle = [], 0
        return found

    def hacked(self, answers: Iterable[Answered]) -> str | None:
        """Whether rewards are earned without an answer, or with one answer to everything; in one sentence."""
        for answer in answers:
            if answer.rewarded and not answer.text.strip():
                return f"An empty answer to a problem of {answer.family} was rewarded: its verifier has a hole."
            kept = self._answers.setdefault(answer.family, [])
            kept.append((answer.key, answer.text, answer.rewarded))
            del kept[:-MOST_ANSWERS]
            problems = Counter(key for key, _, _ in kept)
            while len(problems) > WITNESSES:
                oldest, _, _ = kept.pop(0)
                problems -= Counter([oldest])
            # A model that always says yes is right half of the time: only one that is always right has found a hole.
            same = Counter(text for _, text, rewarded in kept if rewarded).most_common(1)
            if len(problems) == WITNESSES and same and same[0][1] >= self.settings.one_answer * len(kept):
                del self._answers[answer.family]  # or it would ring again when the verifier is mended
                text, count = same[0]
                return (
                    f"{count} of the last {len(kept)} answers in {answer.family} were {text[:60]!r}, whatever was "
                    "asked, and earned a reward: its verifier has a hole, or its problems have one answer."
                )
        return None

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "first": [asdict(health) for health in self._first],
            "recent": [asdict(health) for health in self._recent],
            "idle": self._idle,
            "answers": self._answers,
        }

    def resume(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state."""
        self._first = [Health(**health) for health in state["first"]]
        self._recent = [Health(**health) for health in state["recent"]]
        self._idle = state["idle"]
        self._answers = {name: [(*answer,) for answer in kept] for name, kept in state["answers"].items()}

    def _remember(self, health: Health) -> None:
        patience = self.settings.patience
        if len(self._first) < patience:
            self._first.append(health)
        self._recent = [*self._recent, health][-patience:]
        self._idle = self._idle + 1 if health.grad_norm is None else 0

    def _numbers(self, health: Health) -> str | None:
        named = (("loss", health.loss), ("gradient", health.grad_norm), ("entropy", health.entropy))
        for name, value in named:
            if value is not None and not math.isfinite(value):
                return f"The {name} is {value}: the arithmetic has broken down."
        return None

    def _collapse(self) -> str | None:
        if len(self._recent) < self.settings.patience:
            return None
        limits, recent, steps = self.settings, self._recent, self.settings.patience
        if all(health.entropy < limits.least_entropy for health in recent):
            return (
                f"The entropy has been below {limits.least_entropy:g} for {steps} steps: every attempt at a problem is "
                "the same, and nothing can be learned any more."
            )
        if all(health.entropy > limits.most_entropy for health in recent):
            return f"The entropy has been above {limits.most_entropy:g} for {steps} steps: the outputs are noise."
        if all(health.mismatch > limits.most_mismatch for health in recent):
            return (
                f"Sampler and learner have disagreed by a factor of two on more than {limits.most_mismatch:.0%} of the "
                f"tokens for {steps} steps: they do not compute the same model."
            )
        return self._thinking()

    def _thinking(self) -> str | None:
        """Thinking that has all but gone. When the reward has risen meanwhile, somebody has found a way around it."""
        before = _mean(health.thinking_tokens for health in self._first)
        least = before * self.settings.least_thinking
        if not all(health.thinking_tokens < least for health in self._recent):
            return None
        now = _mean(health.thinking_tokens for health in self._recent)
        gained = _mean(health.reward for health in self._recent) - _mean(health.reward for health in self._first)
        beside = f", while the reward rose by {gained:.2f}" if gained > 0 else ""
        return f"The thinking has shrunk from {before:.0f} to {now:.0f} tokens{beside}: the model has stopped thinking."

    def _idling(self) -> str | None:
        if self._idle < self.settings.idle:
            return None
        return (
            f"For {self._idle} steps nothing was learned, as the attempts at each problem were all alike: the problems "
            "are all too easy, or all too hard."
        )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed)
