"""The OpenAPI document as one page for people, which loads nothing from elsewhere: it works where there is no network,
and no foreign script runs on the origin of the API."""

from __future__ import annotations

import json
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h2 { margin-top: 2.5rem } code, pre { font: 14px/1.45 ui-monospace, monospace } pre { overflow-x: auto }
details { border: 1px solid #ccc; border-radius: 6px; padding: .4rem .8rem; margin: .5rem 0 }
summary { cursor: pointer } dt { font-weight: 600 } .method { display: inline-block; min-width: 3.5rem; color: #05603a }
@media (prefers-color-scheme: dark) { body { background: #151515; color: #ddd } .method { color: #6ce9a6 } }
"""


def docs_page(document: dict[str, Any]) -> str:
    """HTML of the routes, and of the schemas that they name."""
    info = document["info"]
    routes = "".join(
        _route(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    schemas = "".join(
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_json(schema)}</details>'
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
        '<p>For programs: <a href="/openapi.json"><code>/openapi.json</code></a></p>'
        f"<h2>Routes</h2>{routes}<h2>Schemas</h2>{schemas}</html>"
    )


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<dt><code>{status}</code></dt><dd>{escape(answer['description'])} {_schemas(answer)}</dd>"
        for status, answer in operation["responses"].items()
    )
    takes = f"<p>Takes {_schemas(operation['requestBody'])}</p>" if "requestBody" in operation else ""
    return (
        f'<details><summary><code><span class="method">{method.upper()}</span> {escape(path)}</code>'
        f" {escape(operation['summary'])}</summary>{takes}<dl>{answers}</dl></details>"
    )


def _schemas(described: dict[str, Any]) -> str:
    """Links to the schemas of a body."""
    schemas = (schema for content in described["content"].values() for schema in content.values())
    references = (schema.get("$ref", "") for schema in schemas)
    names = (escape(reference.rpartition("/")[2]) for reference in references if reference)
    return ", ".join(f'<a href="#{name}"><code>{name}</code></a>' for name in names)


def _json(schema: object) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre>"
