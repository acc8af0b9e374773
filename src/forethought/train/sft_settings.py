"""What a stage of supervised fine-tuning can be told."""

from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from forethought.model.conversation import Effort
from forethought.train.backend import Precision
from forethought.train.replay_settings import ReplaySettings

Weight = Annotated[float, Field(ge=0)]


class TaughtFamily(BaseModel):
    """How a family takes part: how often its turn comes, and the weight of each of its levels (all alike when none are
    given; 0 leaves a level out)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, gt=0)
    levels: tuple[Weight, ...] = ()

    @model_validator(mode="after")
    def _some_level(self) -> Self:
        if self.levels and not any(self.levels):
            raise ValueError("levels must have a weight above 0")
        return self


class SftSettings(BaseModel):
    """A stage of supervised fine-tuning on program-written solutions of fresh problems of the train split.

    A step takes rows until they have `tokens` tokens, prompts included. `tight` is the share of rows whose budget is
    drawn just above what their thinking needs, `cut` that of rows whose thinking is ended before it is over; the others
    have the budget that their effort stands for when serving.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(ge=1)
    families: dict[str, TaughtFamily] = Field(min_length=1)
    efforts: dict[Effort, Annotated[float, Field(gt=0)]] = {"low": 1.0, "medium": 1.0, "high": 1.0}
    tokens: int = Field(default=4096, ge=1)
    tight: float = Field(default=0.25, ge=0, le=1)
    cut: float = Field(default=0.0, ge=0, le=1)
    replay: ReplaySettings = ReplaySettings()
    learning_rate: float = Field(default=1e-3, gt=0)
    warmup: int = Field(default=20, ge=0, description="steps in which the learning rate rises")
    final: float = Field(default=0.1, ge=0, le=1, description="share of the learning rate at the end (cosine between)")
    dtype: Precision | None = Field(default=None, description="instead of the learner's, in this stage")
    save_every: int = Field(default=50, ge=1, description="steps between saved states")

    @field_validator("families", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        """A list of names will do where nothing is to be said about them."""
        if not isinstance(given, list):
            return given
        plain: dict[str, object] = {}
        return {str(name): plain for name in cast("list[Any]", given)}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.efforts:
            raise ValueError("efforts must name at least one of low, medium and high")
        if self.tight + self.cut > 1:
            raise ValueError("tight and cut are shares of the same rows: together at most 1")
        return self
