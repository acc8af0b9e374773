"""Where a Hugging Face directory keeps its chat templates and the names of its special tokens."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from forethought.errors import CheckpointError
from forethought.model.layout import CHAT_TEMPLATE, TOKENIZER_CONFIG, TOOL_TEMPLATE, read_object

_NAMED_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True, slots=True)
class TemplateFiles:
    """What is read. `tool_use` is a second template for conversations with tools, where there is one; `tokens` are
    spellings of special tokens by name (`bos_token` …), which templates see as variables."""

    default: str
    tool_use: str | None
    tokens: Mapping[str, str]


def has_template(directory: Path) -> bool:
    """Whether a directory has a chat template of its own."""
    config = directory / TOKENIZER_CONFIG
    return (directory / CHAT_TEMPLATE).exists() or (
        config.exists() and "default" in _named_templates(read_object(config).get("chat_template"))
    )


def read_template_files(directory: Path) -> TemplateFiles:
    """Reads `chat_template.jinja`, or else the template in `tokenizer_config.json`.

    Raises:
        CheckpointError: there is no template.
    """
    path = directory / TOKENIZER_CONFIG
    config = read_object(path) if path.exists() else {}
    templates = _named_templates(config.get("chat_template"))
    for name, file in (
        ("default", directory / CHAT_TEMPLATE),
        ("tool_use", directory / TOOL_TEMPLATE),
    ):
        if file.exists():
            templates[name] = _text(file)
    if "default" not in templates:
        raise CheckpointError(
            f"{directory} has no chat template.",
            'Put one there as chat_template.jinja, or name a renderer under "renderer" in forethought.json.',
        )
    return TemplateFiles(templates["default"], templates.get("tool_use"), _tokens(config))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}.", "Fetch the checkpoint again.") from None


def _named_templates(value: Any) -> dict[str, str]:
    """`chat_template` is one template, or a list of named ones."""
    if isinstance(value, str):
        return {"default": value}
    try:
        return {str(entry["name"]): str(entry["template"]) for entry in cast("list[dict[str, Any]]", value or [])}
    except (TypeError, KeyError, IndexError):
        raise CheckpointError(
            f"{TOKENIZER_CONFIG} says chat_template {value!r}.", "It must be a template, or a list of named ones."
        ) from None


def _tokens(config: Mapping[str, Any]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for name in _NAMED_TOKENS:
        value = config.get(name)
        spelling: object = cast(dict[str, Any], value).get("content") if isinstance(value, dict) else value
        if isinstance(spelling, str):
            tokens[name] = spelling
    return tokens
