"""Configuration: frozen, typed, validated when built.

Command line beats environment (`FORETHOUGHT_…`, nested with two underscores: `FORETHOUGHT_ENGINE__DTYPE`) beats the
TOML file (`forethought/forethought.toml` in the user's configuration directory) beats the defaults below. No file is
read from the working directory: that may be a downloaded model, which must not say where programs are kept.
"""

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


class Settings(BaseSettings):
    """Everything a command can be told."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid")

    model: str = Field("smollm2-135m-instruct", description="a name from `forethought models list`, or a directory")
    cache_dir: Path = Field(default_factory=lambda: user_directory("XDG_CACHE_HOME", ".cache"))
    log_level: LogLevel = "warning"
    log_json: bool = False
    engine: EngineSettings = EngineSettings()

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
    engine = {f"{PREFIX}ENGINE__{name.upper()}" for name in EngineSettings.model_fields}
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | engine | BENCHMARK_VARIABLES
    if unknown := sorted(name for name in our_variables() if name.upper() not in known):
        raise SettingsError(f"There is no setting for {', '.join(unknown)}.", "Correct the name, or unset it.")


def our_variables() -> list[str]:
    """The environment variables that speak to us. Upper and lower case are the same."""
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX))
