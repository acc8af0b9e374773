"""What a stage of reinforcement learning can be told."""

from typing import Any, Literal, Self, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forethought.model.conversation import Effort
from forethought.train.alarms import AlarmSettings
from forethought.train.backend import Precision
from forethought.train.curriculum import CurriculumSettings
from forethought.train.replay_settings import ReplaySettings
from forethought.train.rewards import LengthReward


class FamilyPlan(BaseModel):
    """How a family takes part: at which level it starts, the highest it may reach (0: all), and how often its turn
    comes compared with the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: int = Field(default=1, ge=1)
    top: int = Field(default=0, ge=0)
    weight: int = Field(default=1, ge=1)


class EffortPlan(BaseModel):
    """How an effort takes part: how often, which share of its prompts has a tight budget (`traces.tight_budget`), which
    one that is too small (`traces.cut_budget`), and the budget of the others (0: what the effort stands for when
    serving)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, gt=0)
    tight: float = Field(default=0.0, ge=0, le=1)
    cut: float = Field(default=0.0, ge=0, le=1)
    budget: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.tight + self.cut > 1:
            raise ValueError("tight and cut are shares of the same prompts: together at most 1")
        return self


class RlSettings(BaseModel):
    """A stage of reinforcement learning.

    Each step draws `prompts` problems and `samples` attempts at each, and makes one update. `loss` "reinforce" is the
    plain policy gradient; "grpo" clips its ratio between `clip_low` and `clip_high`, "cispo" its weights at
    `most_weight` (`losses.py`). `kl` is the weight of the distance to the weights that the stage began with. `credit`
    "outcome" praises and blames all tokens of an attempt for its reward; "process" judges each token beside the worked
    solutions of the problem (`credit.py`), where there are such, and then none of `loss`, `length` and
    `divide_by_deviation` (GRPO's advantage) counts. Its `objective` is the chance to stay on the way to a
    solution ("reward"), or the logarithm of that ("likelihood", https://arxiv.org/abs/2602.02710), which moves unlikely
    steps as much as doubtful ones. Below a `temperature` of 1 attempts come further in what they know best; only
    process supervision may do without the model's own distribution. With a `replay`, every update also learns from some
    of the base's own answers (of attempts and answers together, its share), so that chat stays what it was. Validation
    is on problems of the train split, and what does best in it is kept as a checkpoint beside the last.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1)
    families: dict[str, FamilyPlan] = Field(min_length=1)
    efforts: dict[Effort, EffortPlan] = {"low": EffortPlan(), "medium": EffortPlan(), "high": EffortPlan()}
    prompts: int = Field(default=16, ge=1)
    samples: int = Field(default=8, ge=2)
    learning_rate: float = Field(default=2e-5, gt=0)
    warmup: int = Field(default=5, ge=0, description="steps in which the learning rate rises")
    final: float = Field(default=0.1, ge=0, le=1, description="share of the learning rate at the end (cosine between)")
    loss: Literal["reinforce", "grpo", "cispo"] = "reinforce"
    credit: Literal["outcome", "process"] = "outcome"
    objective: Literal["reward", "likelihood"] = "reward"
    temperature: float = Field(default=1.0, gt=0, le=1, description="that attempts are sampled at")
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    clip_high: float = Field(default=0.2, gt=0)
    most_weight: float = Field(default=5.0, gt=0)
    kl: float = Field(default=0.0, ge=0)
    divide_by_deviation: bool = False
    at_once: int = Field(default=128, ge=1, description="attempts in flight")
    most_thinking: int = Field(
        default=0, ge=0, description="thinking tokens of an attempt, whatever its budget; 0: as many as that"
    )
    length: LengthReward = LengthReward()
    replay: ReplaySettings = ReplaySettings(share=0)
    curriculum: CurriculumSettings = CurriculumSettings()
    alarms: AlarmSettings = AlarmSettings()
    dtype: Precision | None = Field(default=None, description="instead of the learner's, in this stage")
    save_every: int = Field(default=10, ge=1, description="steps between saved states")
    validate_every: int = Field(default=0, ge=0, description="steps between measurements; 0: none, and no best one")
    validate_problems: int = Field(default=8, ge=1, description="problems of each level of each family in one")
    show_every: int = Field(default=10, ge=1, description="steps between sample rollouts that are kept")

    @field_validator("families", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        """A list of names will do where nothing is to be said about them."""
        return dict.fromkeys(cast("list[Any]", given), FamilyPlan()) if isinstance(given, list) else given

    @property
    def answers(self) -> int:
        """The base's own answers that a step learns from."""
        share = self.replay.share
        return max(1, round(self.prompts * self.samples * share / (1 - share))) if share else 0

    def changed(self, name: str) -> bool:
        """Whether this key has another value than its default."""
        return getattr(self, name) != type(self).model_fields[name].default

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.efforts:
            raise ValueError("efforts must name at least one of low, medium and high")
        if self.temperature != 1.0 and self.credit == "outcome":
            raise ValueError('a temperature below 1 needs credit = "process"')
        if self.objective != "reward" and self.credit == "outcome":
            raise ValueError('objective = "likelihood" needs credit = "process"')
        if self.kl and self.credit == "process":
            raise ValueError('kl needs tokens as they were sampled, and credit = "process" learns others too')
        if not self.validate_every and self.changed("validate_problems"):
            raise ValueError("validate_problems does nothing without validate_every")
        acts = {"clip_low": "grpo", "clip_high": "grpo", "most_weight": "cispo"}
        for name, loss in acts.items():
            if self.loss != loss and self.changed(name):
                raise ValueError(f'{name} acts with loss = "{loss}", and the loss is "{self.loss}"')
        return self
