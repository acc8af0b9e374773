"""The OpenAPI document tells the truth: of routes, of bodies, and of what is answered."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from forethought.api.app import create_app
from forethought.api.auth import ApiKey
from forethought.api.openapi import BODIES
from forethought.api.options import ServerOptions
from forethought.model.conversation import Item, Message, Thinking, ToolCall
from server_house import Running, serving
from server_scene import ALIAS, ANSWER, CANARY, House, writes

Schema = dict[str, Any]
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict}


def misfits(value: Any, schema: Schema, document: Schema, place: str = "$") -> list[str]:
    """Where a value differs from a schema, for the keywords that our schemas of answers use."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/components/schemas/")
        return misfits(value, document["components"]["schemas"][name], document, place)
    if "anyOf" in schema:
        each = [misfits(value, option, document, place) for option in schema["anyOf"]]
        return [] if [] in each else [f"{place}: fits none of {each}"]
    known = {"const", "type", "enum", "minimum", "maxItems", "items", "properties", "required", "additionalProperties"}
    assert not schema.keys() - known - {"description"}, "a keyword that this check does not know"
    kind = schema.get("type")
    if "const" in schema and (value != schema["const"] or type(value) is not type(schema["const"])):
        return [f"{place}: {value!r} is not {schema['const']!r}"]
    if kind == "null":
        return [] if value is None else [f"{place}: is not null"]
    if kind and (not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        return [f"{place}: {value!r} is no {kind}"]
    if value not in schema.get("enum", [value]) or (kind == "integer" and value < schema.get("minimum", value)):
        return [f"{place}: {value!r} is out of bounds"]
    if kind == "array":
        items = schema.get("items", {})
        return [
            one for place_, each in enumerate(value) for one in misfits(each, items, document, f"{place}[{place_}]")
        ]
    if kind == "object" and "properties" in schema:
        fields = schema["properties"]
        wrong = [f"{place}.{name}: unknown" for name in value.keys() - fields.keys()]
        wrong += [f"{place}.{name}: missing" for name in set(schema["required"]) - value.keys()]
        return wrong + [
            one
            for name in value.keys() & fields.keys()
            for one in misfits(value[name], fields[name], document, f"{place}.{name}")
        ]
    return []


OUTPUTS: tuple[tuple[Item, ...], ...] = (
    (Thinking(CANARY), Message.of("assistant", ANSWER)),
    (Thinking(CANARY), ToolCall("call_1", "look", '{"at": "it"}')),
)
LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}


@pytest.fixture(scope="module")
def running(tiny_checkpoint: Path) -> Iterator[Running]:
    house = House(tiny_checkpoint, lambda request: [writes(tiny_checkpoint, *OUTPUTS[request.grammar is not None])])
    with serving(house.app) as running:
        yield running


@pytest.fixture(scope="module")
def document(running: Running) -> Schema:
    return httpx.get(f"{running.url}/openapi.json").json()


RESPONSES: list[dict[str, Any]] = [
    {"input": "Hi."},
    {"input": "Hi.", "instructions": "Be brief.", "metadata": {"a": "b"}, "reasoning": {"effort": "high"}},
    {"input": "Hi.", "include": ["reasoning.encrypted_content"], "reasoning": {"summary": "auto"}},
    {"input": "Look.", "tools": [{"type": "function", **LOOK}], "tool_choice": "required"},
    {"input": "Hi.", "max_output_tokens": 3},
]
COMPLETIONS: list[dict[str, Any]] = [
    {},
    {"n": 2, "seed": 1, "user": "me"},
    {"tools": [{"type": "function", "function": LOOK}], "tool_choice": "required"},
    {"max_completion_tokens": 3},
]
REQUESTS = [
    *[("POST", "/v1/responses", body) for body in RESPONSES],
    *[
        ("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi."}]} | body)
        for body in COMPLETIONS
    ],
    ("POST", "/v1/responses/input_tokens", {"input": "Hi."}),
    ("GET", "/v1/models", None),
    ("GET", "/v1/models/{model}", None),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_what_is_answered_is_what_the_document_says(
    running: Running, document: Schema, method: str, path: str, body: dict[str, Any] | None
) -> None:
    url = running.url + path.format(model=ALIAS)
    answer = httpx.request(method, url, json=None if body is None else body | {"model": ALIAS})
    assert answer.status_code == 200, answer.text
    [schema] = _schemas(document, method, path, "200", "application/json")
    assert misfits(answer.json(), schema, document) == []


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/responses", {}, {}),
        ("/v1/responses", {"model": ALIAS, "input": "Hi.", "temperature": 0}, {}),
        ("/v1/chat/completions", {"model": "other", "messages": [{"role": "user", "content": "Hi."}]}, {}),
        ("/v1/chat/completions", {}, {"content-type": "text/plain"}),
        ("/v1/responses/input_tokens", {}, {"host": "evil.com"}),
    ],
)
def test_a_refusal_is_what_the_document_says(
    running: Running, document: Schema, path: str, body: dict[str, Any], headers: dict[str, str]
) -> None:
    given = {"content-type": "application/json"} | headers
    answer = httpx.post(running.url + path, content=json.dumps(body), headers=given)
    assert answer.status_code >= 400
    [schema] = _schemas(document, "POST", path, str(answer.status_code), "application/json")
    assert misfits(answer.json(), schema, document) == []


def _schemas(document: Schema, method: str, path: str, status: str, media_type: str) -> list[Schema]:
    content = document["paths"][path][method.lower()]["responses"][status]["content"]
    return [content[media_type]["schema"]]


def test_every_route_is_in_the_document_and_answers_to_its_method(running: Running, document: Schema) -> None:
    assert len(document["paths"]) == 20
    for path, operations in document["paths"].items():
        url = running.url + path.format(model=ALIAS, deployment=ALIAS)
        for method in ("get", "post"):
            answer = httpx.request(method, url)
            assert (answer.status_code == 405) == (method not in operations), (method, path)


def test_bodies_are_described_by_the_models_that_read_them(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    for model in BODIES.values():
        described = schemas[model.__name__]
        assert described["properties"].keys() == {field.alias or name for name, field in model.model_fields.items()}
        assert described["additionalProperties"] is False
    assert "model" in schemas["CreateChatCompletion"]["required"]
    assert "model" not in schemas["DeploymentChatCompletion"]["required"]


def test_every_reference_leads_somewhere_and_no_name_tells_of_our_modules(document: Schema) -> None:
    names = set(re.findall(r'"#/components/(\w+/[^"]+)"', json.dumps(document)))
    assert names
    for name in names:
        kind, _, part = name.partition("/")
        assert part in document["components"][kind]
    assert "forethought__" not in json.dumps(document)


def test_operations_have_names_of_their_own(document: Schema) -> None:
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_keys_are_asked_for_where_the_server_has_one() -> None:
    keyed = create_app([], ServerOptions(key=ApiKey("key"))).openapi()
    keyless = create_app([], ServerOptions()).openapi()
    assert keyed["paths"]["/v1/models"]["get"]["security"] == [{"bearer": []}, {"apiKey": []}]
    assert {"401"} <= keyed["paths"]["/v1/models"]["get"]["responses"].keys()
    assert "security" not in keyed["paths"]["/healthz"]["get"]
    assert "security" not in keyless["paths"]["/v1/models"]["get"]
    assert {"403"} <= keyless["paths"]["/v1/models"]["get"]["responses"].keys()


def test_the_page_for_people_has_every_route_and_loads_nothing(running: Running, document: Schema) -> None:
    page = httpx.get(f"{running.url}/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in document["paths"]:
        assert path in page.text
    assert not re.search(r"<script|src=|href=\"http|@import|url\(", page.text)
