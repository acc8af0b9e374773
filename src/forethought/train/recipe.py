"""A recipe: everything that decides what a run makes, in one TOML file.

The stages run one after another, each from the checkpoint that the one before has made. What the machine decides (how
many threads, which kernels) stays in the settings, except where it would change the result.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from forethought.errors import TrainError
from forethought.model.conversation import Effort
from forethought.tasks.problem import Split
from forethought.train.backend import LearnerSettings
from forethought.train.rl_settings import RlSettings
from forethought.train.sft_settings import SftSettings

StageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]


class AdapterSettings(BaseModel):
    """The adapter that is trained: low-rank updates of all linear layers, and the rows of the renderer's markers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)


class SftStage(SftSettings):
    """A stage of supervised fine-tuning."""

    name: StageName
    kind: Literal["sft"]


class RlStage(RlSettings):
    """A stage of reinforcement learning."""

    name: StageName
    kind: Literal["rl"]


class Evaluation(BaseModel):
    """How the base and the checkpoint of every stage are measured: `problems` of each level of each family, `samples`
    attempts at each. Families are those of the stages when none are named; levels are all. Where a recipe shall be
    mended by what is found, `split` is "train": test problems are for the end.

    `examples` solved problems stand before the questions to a base that does not think.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    families: tuple[str, ...] = ()
    levels: tuple[Annotated[int, Field(ge=1)], ...] = ()
    problems: int = Field(default=60, ge=1)
    samples: int = Field(default=1, ge=1)
    effort: Effort = "medium"
    budget: int = Field(default=0, ge=0, description="thinking tokens; 0: what the effort stands for")
    examples: int = Field(default=4, ge=0)
    split: Split = "test"
    base: bool = Field(default=True, description="measure the base as well")


class Recipe(BaseModel):
    """A recipe. `base` is a model's name or the directory of a checkpoint; one with an adapter goes on with that one,
    and `[adapter]` must then be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    name: StageName
    base: str = Field(min_length=1)
    seed: int = Field(default=0, ge=0)
    learner: LearnerSettings = LearnerSettings()
    adapter: AdapterSettings | None = None
    stages: tuple[Annotated[SftStage | RlStage, Field(discriminator="kind")], ...] = Field(min_length=1)
    evaluation: Evaluation | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("two stages have the same name")
        if taken := {"base", *(f"{name}-best" for name in names)} & set(names):
            raise ValueError(f"a stage is called {min(taken)}, as the base or the best of a stage is")
        if self.adapter is not None and self.learner.train == "all":
            raise ValueError('[adapter] stands beside learner.train = "all", which trains no adapter')
        return self

    @classmethod
    def read(cls, path: Path) -> Self:
        """The recipe in a TOML file. Raises `TrainError` when it cannot be read; the message names each key."""
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise TrainError(f"The recipe {path} cannot be read: {error.strerror}.", "Give a TOML file.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TrainError(f"The recipe {path} is no TOML: {error}.", "Mend the file.") from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: Mapping[str, Any], source: str) -> Self:
        """The recipe that a TOML or JSON object says. Raises `TrainError`; the message names each key."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            message = f"The recipe {source} does not fit: {_misfits(error)}."
            raise TrainError(message, "Mend these keys; docs/recipes.md has them all.") from None


def _misfits(error: ValidationError) -> str:
    """What is wrong, each with its key as one would write it: `stages[0].steps`."""
    found = error.errors()
    # Stages that do not fit are counted as missing, too.
    told = [each for each in found if len(found) == 1 or (each["type"], each["loc"]) != ("too_short", ("stages",))]
    return "; ".join(f"{_key(each['loc'])}: {_said(each['type'], each['msg'])}" for each in told) or str(error)


def _key(place: tuple[int | str, ...]) -> str:
    # Behind the number of a stage pydantic names its kind, which is no key.
    parts = [part for index, part in enumerate(place) if not (index == 2 and place[0] == "stages" and part in KINDS)]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
    return key or "the recipe"


def _said(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "there is no such key"
    if kind.startswith("union_tag"):
        return 'kind must be "sft" or "rl"'
    return message.removeprefix("Value error, ")


KINDS = ("sft", "rl")
