"""OpenAI's side of a request: what the SDK's types say may stand where. (`answers` reads its side of an answer.)"""

import types
from collections import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

LISTS = (list, abc.Iterable, abc.Sequence)
SAMPLES: Mapping[Any, Any] = {str: "bonjour", int: 1, float: 0.5, object: "bonjour"}
"""A value of each type that has no members."""


@dataclass(frozen=True)
class Shape:
    """An object that fits in a place. `tag` is what tells it from the others there: its key and its value."""

    label: str
    kind: Any
    tag: tuple[str, str] | None

    @property
    def sample(self) -> dict[str, Any]:
        """The least that the SDK lets through."""
        required = {name: options for name, options in parameters(self.kind).items() if options.required}
        return {name: options.sample for name, options in required.items()} | dict([self.tag] if self.tag else [])


@dataclass(frozen=True)
class Options:
    """All that fits in one place: values that are listed, other plain values, objects, and lists of such."""

    values: tuple[str | bool, ...] = ()
    plain: tuple[Any, ...] = ()
    shapes: tuple[Shape, ...] = ()
    elements: "Options | None" = None
    nullable: bool = False
    required: bool = False

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return self.required and len(self.values) == 1 and not (self.plain or self.shapes or self.elements)

    @property
    def sample(self) -> Any:
        """Something that fits."""
        if self.shapes:
            return self.shapes[0].sample
        if self.elements is not None:
            return [self.elements.sample]
        return self.values[0] if self.values else SAMPLES.get(self.plain[0], {})


def parameters(kind: Any) -> dict[str, Options]:
    """The keys of an object, or of all that a union knows, but for the one that only says which object it is."""
    kinds = list(members(kind))
    hints: dict[str, list[Any]] = {}
    for member in kinds:
        for name, hint in get_type_hints(member, include_extras=True).items():
            hints.setdefault(name, []).append(hint)
    tag = _tag(kind) if len(kinds) == 1 else None
    named = {name: _options(found, all(map(_required, found))) for name, found in hints.items()}
    return {name: options for name, options in named.items() if not (options.fixed or (tag and name == tag[0]))}


def _required(hint: Any) -> bool:
    """Whether a key must be there. (All objects of the SDK are declared with `total=False`.)"""
    return get_origin(hint) is Required


def _options(hints: Iterable[Any], required: bool = False) -> Options:
    found = list(dict.fromkeys(member for hint in hints for member in members(hint)))
    literals = [value for member in found if get_origin(member) is Literal for value in get_args(member)]
    lists = [get_args(member)[0] for member in found if get_origin(member) in LISTS]
    objects = [member for member in found if _is_object(member)]
    others = [
        member
        for member in found
        if get_origin(member) is not Literal and get_origin(member) not in LISTS and not _is_object(member)
    ]
    if bool in others:
        literals += [False, True]
    plain = tuple(kind for kind in others if kind not in (bool, types.NoneType))
    return Options(
        # Where any text fits, the texts that are listed are only the ones that OpenAI knows of.
        values=() if str in plain else tuple(literals),
        plain=plain,
        shapes=_shapes(objects),
        elements=_options(lists) if lists else None,
        nullable=types.NoneType in others,
        required=required,
    )


def _is_object(kind: Any) -> bool:
    """Whether this is a `TypedDict`; that of `typing_extensions`, which the SDK uses, is another than Python's."""
    return hasattr(kind, "__required_keys__")


def members(hint: Any) -> Iterable[Any]:
    """The members of a union, unions within it included."""
    origin = get_origin(hint)
    if origin in (Required, NotRequired, Annotated):
        yield from members(get_args(hint)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(hint):
            yield from members(member)
    else:
        yield hint


def _shapes(objects: Sequence[Any]) -> tuple[Shape, ...]:
    """The objects under names that tell them apart: what their tags say, or else what the SDK calls them."""
    tagged = [(kind, value) for kind in objects for value in _tag_values(kind) or [None]]
    tags = [value for _, value in tagged]
    shapes: list[Shape] = []
    for kind, value in tagged:
        label = value if value is not None and tags.count(value) == 1 else kind.__name__.removesuffix("Param")
        key = _tag_key(kind)
        shapes.append(Shape(label, kind, (key, value) if key and value else None))
    return tuple(shapes)


def _tag(kind: Any) -> tuple[str, str] | None:
    values = _tag_values(kind)
    key = _tag_key(kind)
    return (key, values[0]) if key and values else None


def _tag_key(kind: Any) -> str | None:
    """The key that says which object it is."""
    keys = kind.__annotations__.keys()
    return next((key for key in ("type", "role") if key in keys), None)


def _tag_values(kind: Any) -> list[str]:
    key = _tag_key(kind)
    if key is None:
        return []
    options = _options([get_type_hints(kind, include_extras=True)[key]])
    return [value for value in options.values if isinstance(value, str)]
