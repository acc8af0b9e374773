"""The OpenAPI document: what each route takes and answers.

Bodies are described by the models that read them, answers by `schemas`, routes by the table that they are made from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forethought.api.chat import CreateChatCompletion
from forethought.api.exchange import API_VERSION_PATTERN
from forethought.api.responses import CreateResponse
from forethought.api.responses.input_tokens import CountInputTokens
from forethought.api.schemas import SHARED, STRING, Schema, ref
from forethought.api.schemas_chat import CHAT
from forethought.api.schemas_events import EVENTS
from forethought.api.schemas_responses import RESPONSES

if TYPE_CHECKING:
    from forethought.api.routes import Kind, Operation
    from forethought.api.wire import WireModel

JSON, SSE, HTML = "application/json", "text/event-stream", "text/html"
DEPLOYED = "DeploymentChatCompletion"

BODIES: Mapping[Kind, type[WireModel]] = {
    "responses": CreateResponse,
    "input_tokens": CountInputTokens,
    "chat": CreateChatCompletion,
}

SUMMARIES: Mapping[Kind, str] = {
    "responses": "Create a response",
    "input_tokens": "Count the input tokens of a response",
    "chat": "Create a chat completion",
    "models": "List the models",
    "model": "Retrieve a model",
    "health": "Whether the process lives",
    "readiness": "Whether a request would be answered now",
    "document": "This document",
    "docs": "This document, for people",
}

ANSWERS: Mapping[Kind, Schema] = {
    "responses": ref("Response"),
    "input_tokens": ref("InputTokens"),
    "chat": ref("ChatCompletion"),
    "models": ref("ModelList"),
    "model": ref("Model"),
    "health": ref("Status"),
    "readiness": ref("Status"),
    "document": {"type": "object"},
}

STREAMS: Mapping[Kind, Schema] = {"responses": ref("ResponseStream"), "chat": ref("ChatCompletionStream")}
"""The events that come with `stream`."""

REFUSALS: Mapping[int, str] = {
    400: "The request does not fit; `param` names the part.",
    401: "No key, or a wrong one.",
    403: "The `Host` header names another machine, and there is no key.",
    404: "There is no such model.",
    408: "The request took too long to arrive.",
    413: "The body is too large.",
    415: "The body is of another type.",
    429: "Too many requests are in flight; `retry-after` says when to try again.",
    431: "The request line and headers are too large.",
    500: "The server failed.",
    503: "The engine is down or loads, or the server ends or has too many connections; see `retry-after`.",
}

SECURITY_SCHEMES: dict[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "api-key"},
}
HEADERS: dict[str, Schema] = {
    "x-request-id": {"description": "The id of this request in the access log.", "schema": STRING},
    "openai-processing-ms": {"description": "Until the answer began.", "schema": STRING},
}


def describe(operations: Sequence[Operation], *, title: str, version: str, keyed: bool) -> dict[str, Any]:
    """The document (OpenAPI 3.2, which has a word for the events of streams). `keyed`: clients need a key."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, keyed)
    description = "OpenAI's Responses and Chat Completions APIs over a local reasoning model. Nothing is stored."
    return {
        "openapi": "3.2.0",
        "info": {"title": title, "version": version, "description": description},
        "paths": paths,
        "components": {
            "schemas": {**_body_schemas(), **SHARED, **RESPONSES, **CHAT, **EVENTS},
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _operation(operation: Operation, keyed: bool) -> dict[str, Any]:
    kind = operation.kind
    described: dict[str, Any] = {
        "operationId": "_".join(re.findall(r"\w+", f"{operation.method.lower()} {operation.path}")),
        "summary": SUMMARIES[kind],
        "parameters": _parameters(operation),
        "responses": _answers(operation, keyed),
    }
    if kind in BODIES:
        schema = ref(DEPLOYED if operation.deployed else BODIES[kind].__name__)
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if keyed and not operation.open:
        described["security"] = [{name: []} for name in SECURITY_SCHEMES]
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = re.findall(r"{(\w+)}", operation.path)
    parameters = [{"name": name, "in": "path", "required": True, "schema": STRING} for name in in_path]
    version = {"type": "string", "pattern": f"^({API_VERSION_PATTERN})$"}
    return parameters + [{"name": name, "in": "query", "schema": version} for name in operation.query]


def _answers(operation: Operation, keyed: bool) -> dict[str, Any]:
    kind = operation.kind
    content: dict[str, Any] = {JSON: {"schema": ANSWERS[kind]}} if kind in ANSWERS else {HTML: {"schema": STRING}}
    if kind in STREAMS:
        content[SSE] = {"itemSchema": STREAMS[kind]}
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS}
    answers: dict[str, Any] = {"200": {"description": SUMMARIES[kind], "content": content, "headers": headers}}
    for status in _refusals(operation, keyed):
        answers[str(status)] = {"description": REFUSALS[status], "content": {JSON: {"schema": ref("Error")}}}
    if kind == "readiness":
        either: Schema = {"anyOf": [ref("Status"), ref("Error")]}
        answers["503"] = {"description": "Not now.", "content": {JSON: {"schema": either}}}
    return answers


def _refusals(operation: Operation, keyed: bool) -> list[int]:
    statuses = [400, 408, 431, 500, 503]
    if not keyed:
        statuses.append(403)
    elif not operation.open:
        statuses.append(401)
    if operation.kind in BODIES:
        statuses += [404, 413, 415, 429]
    elif operation.kind == "model":
        statuses.append(404)
    return sorted(statuses)


def _body_schemas() -> dict[str, Schema]:
    """The request models, and under their names what they are made of. On a deployment's route the path names the
    model."""
    schemas: dict[str, Schema] = {}
    for model in BODIES.values():
        name = model.__name__
        schema = model.model_json_schema(ref_template=ref(f"{name}.{{model}}")["$ref"])
        parts: dict[str, Schema] = schema.pop("$defs", {})
        schemas |= {name: schema} | {f"{name}.{part}": described for part, described in parts.items()}
    chat = schemas[BODIES["chat"].__name__]
    return schemas | {DEPLOYED: chat | {"required": [name for name in chat["required"] if name != "model"]}}
