"""Which level of each family is being learned: as hard as the model can just about do.

A family rises a level when most of its recent attempts succeed and falls one when hardly any does. A part of the
problems comes from the levels below, so that these are not forgotten; they say nothing about the present level and
do not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class CurriculumSettings(BaseModel):
    """When levels change."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    up: float = Field(default=0.70, gt=0, le=1, description="share of successes from which a family rises")
    down: float = Field(default=0.10, ge=0, lt=1, description="share of successes at which it falls")
    window: int = Field(default=64, ge=1, description="latest attempts at the present level that are looked at")
    review: float = Field(default=0.25, ge=0, le=1, description="share of problems from the levels below")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        if self.down >= self.up:
            raise ValueError("down must be below up")
        return self


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a family stands: its level, and the outcomes at this level since it was reached, latest last."""

    level: int
    most: int
    recent: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Curriculum:
    """All families' standings. Immutable: `seen` gives the next one."""

    settings: CurriculumSettings
    standings: Mapping[str, Standing] = field(default_factory=dict[str, Standing])

    def level(self, family: str) -> int:
        """The level that is being learned."""
        return self.standings[family].level

    @property
    def levels(self) -> dict[str, int]:
        """The level of every family."""
        return {name: standing.level for name, standing in self.standings.items()}

    def seen(self, family: str, level: int, outcomes: tuple[bool, ...]) -> "Curriculum":
        """After a group of attempts at a problem of this level."""
        standing = self.standings[family]
        if level != standing.level:
            return self
        recent = (standing.recent + outcomes)[-self.settings.window :]
        changed = replace(standing, recent=recent)
        if len(recent) == self.settings.window:
            share = sum(recent) / len(recent)
            if share >= self.settings.up and standing.level < standing.most:
                changed = Standing(standing.level + 1, standing.most)
            elif share <= self.settings.down and standing.level > 1:
                changed = Standing(standing.level - 1, standing.most)
        return replace(self, standings={**self.standings, family: changed})

    def state(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            name: {"level": standing.level, "recent": [int(each) for each in standing.recent]}
            for name, standing in self.standings.items()
        }

    def resumed(self, state: Mapping[str, Any]) -> "Curriculum":
        """This curriculum with the standings of a saved one."""
        return replace(
            self,
            standings={
                name: replace(standing, level=state[name]["level"], recent=tuple(map(bool, state[name]["recent"])))
                for name, standing in self.standings.items()
            },
        )
