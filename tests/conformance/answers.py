"""OpenAI's side of an answer, held against what was sent: which of its fields are there, and which of its values."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from conformance.sdk import LISTS, members


@dataclass(frozen=True)
class Fields:
    """An object of the SDK, and which of its fields came: with a value always or at times, as null, or never.

    `beyond` are those that the SDK does not know.
    """

    path: str
    always: tuple[str, ...]
    at_times: tuple[str, ...]
    null: tuple[str, ...]
    never: tuple[str, ...]
    beyond: tuple[str, ...]


@dataclass(frozen=True)
class Values:
    """A field that has one of several values, or holds objects of several types, and which of them came."""

    path: str
    seen: tuple[str, ...]
    unseen: tuple[str, ...]


def compare(
    path: str, model: type[BaseModel], sent: Sequence[dict[str, Any]], but: Collection[str] = ()
) -> Iterator[Fields | Values]:
    """What became of an object and of all that is in it, some fields excepted. `sent` is every one that came."""
    hints = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    yield fields(path, model, sent)
    for name, hint in sorted(hints.items()):
        found = [one[name] for one in sent if one.get(name) is not None]
        if found and name not in but:
            yield from inside(f"{path}.{name}" if path else name, hint, found)


def fields(path: str, model: type[BaseModel], sent: Sequence[dict[str, Any]]) -> Fields:
    """What became of the fields of an object."""
    known = {field.alias or name for name, field in model.model_fields.items()}
    came = {name for one in sent for name in one}
    filled = {name for one in sent for name, value in one.items() if value is not None}
    always = {name for name in filled if all(one.get(name) is not None for one in sent)}
    groups = (always & known, (filled - always) & known, (came - filled) & known, known - came, came - known)
    return Fields(path, *(tuple(sorted(group)) for group in groups))


def inside(path: str, hint: Any, found: Sequence[Any]) -> Iterator[Fields | Values]:
    """What became of the values of a field."""
    options = list(members(hint))
    listed = sorted({value for option in options if get_origin(option) is Literal for value in get_args(option)})
    texts = {value for value in found if isinstance(value, str)}
    if len(listed) > 1 and str not in options:
        yield _values(path, listed, texts)
    objects = [one for one in found if isinstance(one, dict)]
    models = [option for option in options if isinstance(option, type) and issubclass(option, BaseModel)]
    if objects and models:
        yield from _objects(path, models, objects)
    entries = [one for each in found if isinstance(each, list) for one in each]
    for option in options:
        if entries and get_origin(option) in LISTS:
            yield from inside(f"{path}[]", get_args(option)[0], entries)


def _objects(
    path: str, models: Sequence[type[BaseModel]], objects: Sequence[dict[str, Any]]
) -> Iterator[Fields | Values]:
    if len(models) == 1:
        yield from compare(path, models[0], objects)
        return
    tags = {tag: model for model in reversed(models) for tag in _tags(model)}
    seen = {one["type"] for one in objects}
    yield _values(path, sorted(tags), seen)
    for tag in sorted(seen & tags.keys()):
        inner = f"{path[:-1]}{tag}]" if path.endswith("[]") else f"{path}({tag})"
        yield from compare(inner, tags[tag], [one for one in objects if one["type"] == tag])


def _tags(model: type[BaseModel]) -> list[str]:
    field = model.model_fields.get("type")
    literals = [] if field is None else [one for one in members(field.annotation) if get_origin(one) is Literal]
    return [value for literal in literals for value in get_args(literal)]


def _values(path: str, listed: Sequence[str], seen: set[str]) -> Values:
    return Values(path, tuple(sorted(seen)), tuple(value for value in listed if value not in seen))
