"""JSON values compared as values with types: 3 is not 3.0, not true and not "3"."""

import json
from decimal import Decimal
from typing import Any, Final, cast

MISSING: Final = object()
"""Stands for a text that is no JSON document; equal to nothing."""


def read_json(text: str) -> Any:
    """The value of a JSON text, `MISSING` when there is none. A name that stands twice in an object is a mistake.
    Numbers with a point are `Decimal`, so that nothing is rounded into being right."""
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse, object_pairs_hook=_object)
    except (ValueError, ArithmeticError, RecursionError):
        return MISSING


def same_value(found: Any, wanted: Any) -> bool:
    """Whether what `read_json` found is the value that is wanted, type by type. Objects have no order, arrays do."""
    if isinstance(wanted, dict):
        wanted = cast(dict[str, Any], wanted)
        if not isinstance(found, dict):
            return False
        found = cast(dict[str, Any], found)
        return found.keys() == wanted.keys() and all(same_value(found[name], wanted[name]) for name in wanted)
    if isinstance(wanted, list | tuple):
        wanted = cast(list[Any], wanted)
        if not isinstance(found, list):
            return False
        found = cast(list[Any], found)
        return len(found) == len(wanted) and all(map(same_value, found, wanted))
    if isinstance(wanted, float):
        return isinstance(found, Decimal) and found == Decimal(str(wanted))
    return type(found) is type(wanted) and found == wanted


def write_json(value: Any) -> str:
    """The shortest spelling: no white space, as tools are described in the prompt."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) < len(pairs):
        raise ValueError("a name stands twice")
    return names
