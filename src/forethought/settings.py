"""Configuration: frozen, typed, validated when built.

Command line beats environment (`FORETHOUGHT_…`, nested with two underscores: `FORETHOUGHT_ENGINE__DTYPE`) beats the
TOML file (`forethought/forethought.toml` in the user's configuration directory) beats the defaults below. No file is
read from the working directory: that may be a downloaded model, which must not say where programs are kept.
"""

import datetime
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

import pydantic_settings
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from forethought.errors import SettingsError, misfits

Dtype = Literal["auto", "float32", "bfloat16"]
Quantization = Literal["none", "int8"]
RunnerName = Literal["auto", "compiled", "torch"]
LogLevel = Literal["debug", "info", "warning", "error"]

PREFIX = "FORETHOUGHT_"
"""What our environment variables begin with."""

API_KEY_VARIABLE = "FORETHOUGHT_API_KEY"
"""What clients of `forethought serve` must present. No setting: settings are printed, logged and handed to others."""

BENCHMARK_VARIABLES = frozenset({"FORETHOUGHT_PEERS_PYTHON", "FORETHOUGHT_EXPORT_PYTHON"})
"""Variables that begin like ours, but are read by the scripts in benchmarks/."""


def user_directory(variable: str, fallback: str) -> Path:
    """The XDG base directory named by `variable`, with our own folder in it. A relative name does not count, as the
    XDG specification has it."""
    named = Path(os.environ.get(variable, ""))
    return (named if named.is_absolute() else Path.home() / fallback) / "forethought"


def settings_file() -> Path:
    """The TOML file that is read if it is there."""
    return user_directory("XDG_CONFIG_HOME", ".config") / "forethought.toml"


class EngineSettings(BaseModel):
    """How the engine computes.

    `dtype` auto is bfloat16 where the compiled kernels run, else float32. `cache_tokens` is the size of the KV cache
    (0: what fits in a quarter of the free memory, at least one and at most 64 full contexts). Fewer tokens than a
    context shorten the context, which is part of the model's digest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    runner: RunnerName = "auto"
    dtype: Dtype = "auto"
    quantization: Quantization = "none"
    threads: int = Field(default=0, ge=0, description="0: one per physical core")
    cache_tokens: int = Field(default=0, ge=0)
    max_running: int = Field(default=256, ge=1, description="sequences in one step")
    max_queued: int = Field(default=1024, ge=1, description="requests waiting; one more is refused")
    max_step_tokens: int = Field(default=512, ge=32, description="tokens computed in one step (chunked prefill)")
    prefix_sharing: bool = True
    step_timeout: float = Field(default=30.0, gt=0, description="seconds after which a step counts as hung")
    start_timeout: float = Field(default=120.0, gt=0, description="seconds the engine process may take to start")


class TrainSettings(BaseModel):
    """Where `forethought train` learns: "cpu", or "cuda" for a graphics processor, which packs of many thousand tokens
    keep busy. What it samples, the engine does."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["cpu", "cuda"] = "cpu"
    pack_tokens: int = Field(default=0, ge=0, description="tokens of one forward pass, 16 or more; 0: the recipe's")

    @field_validator("pack_tokens")
    @classmethod
    def _enough(cls, tokens: int) -> int:
        if 0 < tokens < 16:
            raise ValueError("pack_tokens must be 0, or at least 16")
        return tokens


class ServeSettings(BaseModel):
    """How `forethought serve` serves the model.

    Its two names are `name` and `name-YYYY-MM-DD`; the date is `snapshot` or, without one, the day on
    which the model says that it was made (1970-01-01 if it says none).
    `think` forces thinking on a checkpoint that does not declare it, or keeps one from it that does. `lenient` lets
    sampling parameters act, which models of the o-series refuse. `summary_model` (a name or a directory) writes the
    summaries of the thinking; without one the served model does so itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535, description="0: any free one")
    name: str = Field(default="forethought-mini", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    snapshot: datetime.date | None = None
    think: bool | None = None
    lenient: bool = False
    summary_model: str | None = None
    summary_part_timeout: float = Field(default=20.0, gt=0, description="seconds that a part of a summary may take")
    summary_final_timeout: float = Field(
        default=3.0, ge=0, description="seconds that an answer waits for the rest of the summary of its thinking"
    )
    max_connections: int = Field(default=4096, ge=1, description="one more is answered with 503")
    max_body_bytes: int = Field(default=2 * 2**20, ge=1024, description="of one request")
    head_timeout: float = Field(default=10.0, gt=0, description="seconds for the headers of a request to arrive")
    body_timeout: float = Field(default=60.0, gt=0, description="seconds for its body to arrive")
    write_timeout: float = Field(default=60.0, gt=0, description="seconds that a client may leave its answer unread")
    ping_interval: float = Field(default=15.0, gt=0, description="seconds of silence before a stream gets a comment")
    drain_timeout: float = Field(default=30.0, ge=0, description="seconds for requests to finish after SIGTERM")


class Settings(BaseSettings):
    """Everything a command can be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    model: str = Field("forethought-mini", description="a name from `forethought models list`, or a directory")
    cache_dir: Path = Field(default_factory=lambda: user_directory("XDG_CACHE_HOME", ".cache"))
    log_level: LogLevel = "warning"
    log_json: bool = False
    engine: EngineSettings = EngineSettings()
    serve: ServeSettings = ServeSettings()
    train: TrainSettings = TrainSettings()

    @field_validator("cache_dir")
    @classmethod
    def _expand(cls, path: Path) -> Path:
        """`~` means home in a TOML file too, where no shell expands it."""
        try:
            return path.expanduser()
        except RuntimeError as error:
            raise ValueError(str(error)) from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, settings_file())


def load_settings(**overrides: Any) -> Settings:
    """Builds the settings; `overrides` are what the command line said.

    Raises:
        SettingsError: a value is of the wrong kind or out of range, a name is unknown, or the TOML file cannot be
            read; the message names each.
    """
    _refuse_unknown_variables()
    try:
        return Settings(**overrides)
    except ValidationError as error:
        message = f"The settings do not fit: {misfits(error)}."
        raise SettingsError(message, "Mend the option, variable or TOML file.") from None
    except pydantic_settings.SettingsError as error:
        raise SettingsError(f"The settings cannot be read: {error}.", "Mend that variable, or unset it.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SettingsError(f"{settings_file()} cannot be read: {error}.", "Mend the file, or move it away.") from None


def _refuse_unknown_variables() -> None:
    """A misspelt setting must not be ignored."""
    sections: dict[str, type[BaseModel]] = {"ENGINE": EngineSettings, "SERVE": ServeSettings, "TRAIN": TrainSettings}
    nested = {f"{PREFIX}{name}__{field.upper()}" for name, kind in sections.items() for field in kind.model_fields}
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | nested | BENCHMARK_VARIABLES
    known.add(API_KEY_VARIABLE)
    if unknown := sorted(name for name in our_variables() if name.upper() not in known):
        raise SettingsError(f"There is no setting for {', '.join(unknown)}.", "Correct the name, or unset it.")


def our_variables() -> list[str]:
    """The environment variables that speak to us. Upper and lower case are the same."""
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX))
