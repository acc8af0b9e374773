"""`forethought.json`: what a checkpoint declares that its Hugging Face files cannot say.

The file is ours and optional. Without it a checkpoint speaks through its own chat template and declares nothing but
the context length of its config; an adapter inherits what its base declares, but must name that base.
"""

import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forethought.errors import CheckpointError, misfits
from forethought.model.layout import MANIFEST, read_object, write_object

SCHEMA_VERSION = 1

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class RendererSpec(BaseModel):
    """The prompt format: its name, its version, and its options (which the renderer itself checks)."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    name: str
    version: int


class Capabilities(BaseModel):
    """What a checkpoint can do. `context_length` counts the tokens of prompt and answer together."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    thinks: bool = False
    sees: bool = False
    calls_tools: bool = False
    context_length: int = Field(ge=1)


class Manifest(BaseModel):
    """The content of `forethought.json`. `base` is the digest of the checkpoint that an adapter belongs to, `created`
    the day (UTC) on which the weights were made."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = SCHEMA_VERSION
    renderer: RendererSpec | None = None
    capabilities: Capabilities | None = None
    base: Digest | None = None
    created: Annotated[datetime.date, Field(strict=False)] | None = None


def read_manifest(directory: Path) -> Manifest:
    """Reads `forethought.json`; an empty manifest stands for a file that is not there.

    Raises:
        CheckpointError: the file says something that this version does not understand; the message names each.
    """
    path = directory / MANIFEST
    if not path.exists():
        return Manifest()
    content = read_object(path)
    version = content.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CheckpointError(f"{path} has schema version {version}.", "Install a newer Forethought to open it.")
    try:
        return Manifest.model_validate({"schema_version": None, **content})
    except ValidationError as error:
        raise CheckpointError(
            f"{path} does not fit: {misfits(error)}.", "Mend the file, or fetch the checkpoint again."
        ) from None


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Writes `forethought.json`."""
    write_object(directory / MANIFEST, manifest.model_dump(mode="json", exclude_none=True))
