"""What pydantic finds wrong in a request, in OpenAI's words: message, `param` (`input[0].content`) and code."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from pydantic_core import ErrorDetails

from forethought.api.errors import ApiError, invalid

_LONGEST_QUOTE = 100
_LONGEST_INTEGER_BITS = 64

_EXPECTED: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
"""What should have stood there, by the type of pydantic's error."""

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a decimal"),
    (str, "a string"),
    (list, "an array"),
    (dict, "an object"),
)


def misfit(error: ErrorDetails) -> ApiError:
    """The refusal of a request, for one of pydantic's errors."""
    kind, value = error["type"], error["input"]
    param = _param(error["loc"], keep_last=kind in ("extra_forbidden", "missing"))
    context: dict[str, Any] = error.get("ctx", {})
    if kind == "union_tag_not_found":
        return _no_tag(param, context, value)
    if kind == "shape":
        return _wrong_type(param, error["msg"], value)
    if kind in _EXPECTED:
        return _wrong_type(param, _EXPECTED[kind], value)
    words = _WORDS.get(kind)
    if words is None:
        return invalid(f"Invalid value for '{param}': {_clean(error['msg'])}.", param, "invalid_value")
    return words(param, context, value)


def _param(loc: tuple[int | str, ...], *, keep_last: bool) -> str | None:
    """`('input', '<array>', 0, '<message>', 'content')` is `input[0].content`. None for the body as a whole."""
    path = ""
    for place, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
        elif (keep_last and place == len(loc) - 1) or not (step.startswith("<") or step == "[key]"):
            path += f".{_clean(step)}" if path else _clean(step)
    return path or None


def _wrong_type(param: str | None, expected: str, value: object) -> ApiError:
    where = f"type for '{param}'" if param else "request body"
    return invalid(f"Invalid {where}: expected {expected}, but got {_kind(value)} instead.", param, "invalid_type")


def _no_tag(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    """The member of a union cannot be told: no object, or none that says what it is."""
    if not isinstance(value, dict):
        return _wrong_type(param, "an object", value)
    key, param = _tag_key(param, context)
    fields = cast(dict[str, object], value)
    return _missing(param, context, fields) if fields.get(key) is None else _wrong_type(param, "a string", fields[key])


def _tag_key(param: str | None, context: Mapping[str, Any]) -> tuple[str, str]:
    """The key by which the members of a union are told apart, alone and as a place in the request."""
    key = cast(str, context["discriminator"]).removesuffix("()")
    return key, f"{param}.{key}" if param else key


def _missing(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")


def _unknown(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")


def _not_offered(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    message = f"Unsupported parameter: '{param}' is not offered by this server."
    return invalid(message, param, "unsupported_parameter")


def _wrong_tag(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    """An object of a type that is not among those that fit."""
    tags = cast(str, context["expected_tags"]).replace("<", "").replace(">", "")
    _, param = _tag_key(param, context)
    return _wrong_value(param, tags.split(", "), cast(str, context["tag"])[1:-1])


def _wrong_literal(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    expected = cast(str, context["expected"])
    if expected == "False":
        message = f"Unsupported value: '{param}' does not support {_quote(value)}: it is not offered by this server."
        return invalid(message, param, "unsupported_value")
    allowed = expected.replace(" or ", ", ").split(", ")
    if not isinstance(value, str):
        return _wrong_type(param, f"one of {_listed(allowed)}", value)
    return _wrong_value(param, allowed, value)


def _wrong_value(param: str | None, allowed: list[str], value: object) -> ApiError:
    """`allowed` are quoted already."""
    supported = f"Supported values are: {_listed(allowed)}."
    return invalid(f"Invalid value: {_quote(value)}. {supported}", param, "invalid_value")


def _beyond(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    """A number out of its bounds."""
    kind = "decimal" if isinstance(value, float) else "integer"
    if "ge" in context:
        beyond, code, bound = "below minimum", "below_min", f">= {context['ge']}"
    else:
        beyond, code, bound = "above maximum", "above_max", f"<= {context['le']}"
    message = f"Invalid '{param}': {kind} {beyond} value. Expected a value {bound}, but got {_quote(value)} instead."
    return invalid(message, param, f"{kind}_{code}_value")


def _too_long(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    most = context["max_length"]
    if isinstance(value, str):
        message = f"string too long. Expected a string with maximum length {most}, but got a string with length"
        return invalid(f"Invalid '{param}': {message} {len(value)} instead.", param, "string_above_max_length")
    if isinstance(value, dict):
        message = f"too many properties. Expected an object with at most {most} properties, but got an object with"
        count = len(cast(dict[str, object], value))
        return invalid(f"Invalid '{param}': {message} {count} instead.", param, "object_above_max_properties")
    message = f"array too long. Expected an array with maximum length {most}, but got one with length"
    count = len(cast(list[object], value))
    return invalid(f"Invalid '{param}': {message} {count} instead.", param, "array_above_max_length")


def _too_short(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    kind = "string" if isinstance(value, str) else "array"
    message = f"Invalid '{param}': {kind} too short. Expected a minimum length of {context['min_length']}."
    return invalid(message, param, f"{kind}_below_min_length")


def _wrong_pattern(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    pattern = f"Expected a string that matches the pattern '{context['pattern']}'."
    return invalid(f"Invalid '{param}': string does not match pattern. {pattern}", param, "invalid_value")


def _no_unicode(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    message = f"Invalid '{param}': the string holds half of a surrogate pair, which is no character."
    return invalid(message, param, "invalid_value")


def _no_json(param: str | None, context: Mapping[str, Any], value: object) -> ApiError:
    return invalid(f"Invalid '{param}': it is no JSON, or nested too deep.", param, "invalid_value")


_WORDS: Mapping[str, Callable[[str | None, Mapping[str, Any], object], ApiError]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "none_required": _not_offered,
    "union_tag_invalid": _wrong_tag,
    "literal_error": _wrong_literal,
    "greater_than_equal": _beyond,
    "less_than_equal": _beyond,
    "string_too_long": _too_long,
    "too_long": _too_long,
    "string_too_short": _too_short,
    "too_short": _too_short,
    "string_pattern_mismatch": _wrong_pattern,
    "string_unicode": _no_unicode,
    "no_json": _no_json,
}


def _kind(value: object) -> str:
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "null")


def _quote(value: object) -> str:
    """A value as it may stand in a message: not longer than a line, and fit to be sent."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value.bit_length() > _LONGEST_INTEGER_BITS:
        return "a number of many digits"
    return f"'{_clean(value)}'" if isinstance(value, str) else _clean(repr(value))


def _clean(text: str) -> str:
    text = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    return text.encode("utf-8", "backslashreplace").decode()


def _listed(values: list[str]) -> str:
    """`'a', 'b', and 'c'`."""
    if len(values) < 3:
        return " and ".join(values)
    return f"{', '.join(values[:-1])}, and {values[-1]}"
