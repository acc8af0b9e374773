"""A checkpoint's directory: the names of its files, and how they are read and written.

The layout is Hugging Face's (and PEFT's for an adapter) with one file of ours, `forethought.json`, beside it.
"""

import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from forethought.errors import CheckpointError

CONFIG = "config.json"
ADAPTER_CONFIG = "adapter_config.json"
GENERATION = "generation_config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"
MANIFEST = "forethought.json"

TOOL_TEMPLATE = "additional_chat_templates/tool_use.jinja"

FORMAT_FILES = (TOKENIZER_CONFIG, CHAT_TEMPLATE, TOOL_TEMPLATE)
"""What chat templates, and the tokens that they name, are read from. They belong together."""

TOKENIZER_FILES = (
    TOKENIZER,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
)
"""Everything else that transformers may want beside the weights to build the tokenizer."""


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        CheckpointError: the file is missing, or holds no JSON object.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror}.", "Give the directory of a Hugging Face checkpoint."
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{path} is no JSON: {error}.", "Fetch the checkpoint again.") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds no JSON object.", "Fetch the checkpoint again.")
    return cast("dict[str, Any]", content)


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON object for people to read."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def partial_name(target: Path, process: str) -> str:
    """What a directory is called while a process fills it."""
    return f".{target.name}.partial-{process}"


@contextmanager
def new_directory(target: Path) -> Generator[Path]:
    """Gives a directory to fill, which becomes `target` at once when the block ends, or is removed when it fails.

    Raises:
        CheckpointError: something stands at `target` already.
    """
    if target.exists():
        raise CheckpointError(f"{target} exists already.", "Choose another name, or remove it first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(partial_name(target, str(os.getpid())))
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
