"""JSON Schemas of what the server answers. (What it takes is described by the request models themselves.)

Objects are closed: the document lists every field, and a test holds real answers against it.
"""

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
ANY_OBJECT: Schema = {"type": "object"}


def ref(name: str) -> Schema:
    """A schema of the document, by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def nullable(schema: Schema) -> Schema:
    """The schema, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def array(items: Schema) -> Schema:
    """A list of such."""
    return {"type": "array", "items": items}


def const(value: object) -> Schema:
    """Exactly this."""
    return {"const": value}


def one_of(*values: str) -> Schema:
    """One of these strings."""
    return {"type": "string", "enum": list(values)}


def closed(description: str, optional: tuple[str, ...] = (), **fields: Schema) -> Schema:
    """An object with these fields and no others; all but the optional ones are always there."""
    return {
        "type": "object",
        "description": description,
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


SHARED: dict[str, Schema] = {
    "Error": closed(
        "Why a request was refused, or failed.",
        error=closed(
            "All four are always there.", message=STRING, type=STRING, param=nullable(STRING), code=nullable(STRING)
        ),
    ),
    "Status": closed("How the server is.", status=one_of("ok", "loading", "ready", "failed", "down", "closing")),
    "Model": closed("A name of a model.", id=STRING, object=const("model"), created=INTEGER, owned_by=STRING),
    "ModelList": closed("All names of all models.", object=const("list"), data=array(ref("Model"))),
    "TokenLogprob": closed(
        "How likely a token was, and what else could have stood there.",
        token=STRING,
        bytes=nullable(array(COUNT)),
        logprob=NUMBER,
        top_logprobs=array(closed("An alternative.", token=STRING, bytes=nullable(array(COUNT)), logprob=NUMBER)),
    ),
}
