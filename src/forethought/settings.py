"""Configuration: frozen, typed, validated when built.

Command line beats environment (`FORETHOUGHT_…`, nested with two underscores: `FORETHOUGHT_ENGINE__DTYPE`) beats the
TOML file (`forethought.toml` here, then in the user's configuration directory) beats the defaults below.
"""

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from forethought.errors import SettingsError

Dtype = Literal["auto", "float32", "bfloat16"]
Quantization = Literal["none", "int8"]
RunnerName = Literal["auto", "compiled", "torch"]
LogLevel = Literal["debug", "info", "warning", "error"]


def user_directory(variable: str, fallback: str) -> Path:
    """The XDG base directory named by `variable`, with our own folder in it."""
    return Path(os.environ.get(variable) or Path.home() / fallback) / "forethought"


class EngineSettings(BaseModel):
    """How the engine computes.

    `dtype` auto is bfloat16 where the compiled kernels run, else float32. `cache_tokens` is the size of the KV cache
    (0: what fits in a quarter of the free memory, at most 64 full contexts).
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

    model_config = SettingsConfigDict(env_prefix="FORETHOUGHT_", env_nested_delimiter="__", frozen=True, extra="forbid")

    model: str = Field("smollm2-135m-instruct", description="a name from `forethought models list`, or a directory")
    cache_dir: Path = Field(default_factory=lambda: user_directory("XDG_CACHE_HOME", ".cache"))
    log_level: LogLevel = "warning"
    log_json: bool = False
    engine: EngineSettings = EngineSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = [user_directory("XDG_CONFIG_HOME", ".config") / "forethought.toml", Path("forethought.toml")]
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, files)


def load_settings(**overrides: Any) -> Settings:
    """Builds the settings; `overrides` are what the command line said.

    Raises:
        SettingsError: a value is of the wrong kind or out of range; the message names each.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"The settings do not fit: {wrong}.", "Mend the option, variable or TOML file.") from None
