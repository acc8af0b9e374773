"""What an answer may look like: free text, or text that a grammar holds to a shape.

A format binds the answer only. When the turn thinks, the grammar starts at the token that ends the thinking.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from forethought.engine.protocol import Grammar
from forethought.errors import GrammarError


@dataclass(frozen=True, slots=True)
class FreeText:
    """Whatever the model says."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """A JSON document that the schema admits. `{"type": "object"}` asks for any object."""

    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Regex:
    """A text that the whole pattern matches (Rust syntax: no look-around, no back-references)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Lark:
    """A text of the language of a lark grammar (llguidance's dialect), from its rule `start`."""

    grammar: str


OutputFormat = FreeText | JsonSchema | Regex | Lark


def grammar_for(output_format: OutputFormat, start_after: int | None) -> Grammar | None:
    """The engine's constraint for a format; `start_after` is the token id that ends the thinking, if there is any.

    Raises:
        GrammarError: the schema is not made of JSON values.
    """
    match output_format:
        case FreeText():
            return None
        case JsonSchema(schema):
            return json_grammar(schema, start_after)
        case Regex(pattern):
            return Grammar("regex", pattern, start_after)
        case Lark(grammar):
            return Grammar("lark", grammar, start_after)


def json_grammar(schema: Mapping[str, Any], start_after: int | None = None) -> Grammar:
    """The constraint to a document that the schema admits.

    Raises:
        GrammarError: the schema is not made of JSON values.
    """
    try:
        return Grammar("json_schema", json.dumps(schema, allow_nan=False), start_after)
    except (TypeError, ValueError) as error:
        raise GrammarError(
            f"The JSON schema is not JSON: {error}.", "Use objects, lists, strings and numbers."
        ) from None
