"""Formats of the answer on the wire: free text, a JSON object, or JSON that follows a schema, in both APIs.

A schema binds the answer whether it is called `strict` or not. What a format is for (its `description`) can only act
by being told to the model: `told` says how.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, Tag

from forethought.api.wire import JsonObject, WireModel, by
from forethought.reasoning.format import FreeText, JsonSchema, OutputFormat

FormatName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]+$", max_length=64)]


class TextFormat(WireModel):
    """Free text."""

    type: Literal["text"]


class JsonObjectFormat(WireModel):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedFormat(WireModel):
    """What every schema comes with."""

    name: FormatName
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(NamedFormat):
    """A schema, in Responses."""

    type: Literal["json_schema"]
    schema_: Annotated[JsonObject, Field(alias="schema")]


class NamedSchema(NamedFormat):
    """What Chat Completions puts around a schema; without one, any JSON object fits."""

    schema_: Annotated[JsonObject | None, Field(alias="schema")] = None


class ChatJsonSchemaFormat(WireModel):
    """A schema, in Chat Completions."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


TextFormatParam: TypeAlias = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[JsonSchemaFormat, Tag("<json_schema>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")],
    by("type"),
]
ChatResponseFormat: TypeAlias = Annotated[
    Annotated[TextFormat, Tag("<text>")]
    | Annotated[ChatJsonSchemaFormat, Tag("<json_schema>")]
    | Annotated[JsonObjectFormat, Tag("<json_object>")],
    by("type"),
]


def output_format(wire: TextFormatParam | ChatResponseFormat | None) -> OutputFormat:
    """The format as a turn takes it."""
    match wire:
        case JsonObjectFormat():
            return JsonSchema({"type": "object"})
        case JsonSchemaFormat():
            return JsonSchema(wire.schema_)
        case ChatJsonSchemaFormat():
            schema = wire.json_schema.schema_
            return JsonSchema({"type": "object"} if schema is None else schema)
        case _:
            return FreeText()


def told(wire: TextFormatParam | ChatResponseFormat | None) -> str | None:
    """What a developer message says of the format, before all others but the instructions; None for nothing."""
    match wire:
        case JsonSchemaFormat():
            named = wire
        case ChatJsonSchemaFormat():
            named = wire.json_schema
        case _:
            return None
    return f"Response format {named.name}: {named.description}" if named.description else None
