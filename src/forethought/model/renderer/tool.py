"""What every format asks of a function call: a name that is one, and arguments that are a JSON object."""

import json
import re
from typing import Any, cast

from forethought.errors import RenderError

_NAME = re.compile(r"[\w.:/-]{1,128}")


def valid_tool_name(name: str) -> bool:
    """Whether a tool may be called so: letters, digits and `_ . : / -`, at most 128 of them."""
    return _NAME.fullmatch(name) is not None


def check_tool_name(name: str) -> str:
    """The name, if it is one. Raises `RenderError`."""
    if not valid_tool_name(name):
        raise RenderError(
            f"{name!r} is no name for a tool.", "Use up to 128 letters, digits and the characters _ . : / and -."
        )
    return name


def json_object(text: str) -> dict[str, Any] | None:
    """The object that a JSON text stands for; None if it stands for none."""
    try:
        value: object = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return None
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def is_json_object(text: str) -> bool:
    """Whether a JSON text stands for an object. Numbers may be as long as they like (Python reads no integer of more
    than 4,300 digits)."""
    try:
        return isinstance(json.loads(text, parse_constant=_refuse_constant, parse_int=float), dict)
    except (ValueError, RecursionError):
        return False


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
