"""Random JSON schemas, and whether a value conforms to one."""

import re
from typing import Any

from hypothesis import strategies as st

names = st.text("abcxyz_", min_size=1, max_size=5)
scalars = st.sampled_from(
    [
        {"type": "integer", "minimum": -5, "maximum": 120},
        {"type": "boolean"},
        {"type": "null"},
        {"type": "string", "maxLength": 6},
        {"type": "string", "pattern": "^[a-c]{1,4}$"},
        {"enum": ["red", "green", 3, None]},
        {"const": {"k": [1, 2]}},
    ]
)


def objects(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(names, inner, max_size=3)
    return properties.map(
        lambda p: {"type": "object", "properties": p, "required": sorted(p)[:2], "additionalProperties": False}
    )


schemas = st.recursive(
    scalars,
    lambda inner: st.one_of(
        objects(inner),
        inner.map(lambda items: {"type": "array", "items": items, "maxItems": 3}),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    ),
    max_leaves=5,
)

object_schemas = objects(schemas)


def conforms(value: object, schema: dict[str, Any]) -> bool:
    """A validator for just the keywords above."""
    if "anyOf" in schema:
        return any(conforms(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"] and not isinstance(value, bool)
    if "const" in schema:
        return value == schema["const"]
    kind = schema["type"]
    if kind == "integer":
        return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
    if kind == "string":
        pattern = schema.get("pattern")
        return isinstance(value, str) and (re.search(pattern, value) is not None if pattern else len(value) <= 6)
    if kind == "array":
        return isinstance(value, list) and len(value) <= 3 and all(conforms(item, schema["items"]) for item in value)
    if kind == "object":
        properties = schema["properties"]
        return (
            isinstance(value, dict)
            and set(schema["required"]) <= set(value) <= set(properties)
            and all(conforms(item, properties[name]) for name, item in value.items())
        )
    return value is None if kind == "null" else isinstance(value, bool)
