"""The Jinja environment that chat templates are written for.

It is the one that transformers gives them: sandboxed and immutable, blocks trimmed, with loop controls, the
`generation` tag, `tojson` without HTML escapes, `raise_exception` and `strftime_now`. So a template means here what it
means there. `dict` and `namespace` are narrowed as they are there, for templates are programs of somebody else's.
"""

import json
from datetime import datetime
from typing import Any, Never, cast

from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock, Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


def chat_environment() -> ImmutableSandboxedEnvironment:
    """A fresh environment for one template."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    variables = cast(dict[str, Any], environment.globals)
    variables |= {
        "raise_exception": _raise_exception,
        "strftime_now": _strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


class GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks what the model writes. Here it is just rendered: what training
    learns from is decided by token (`Renderer.render_output`), not by character."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> Node:
        """The block's body, unchanged."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller: Any) -> str:
        return caller()


class _Dict:
    """`dict(…)` without the attributes of the type."""

    def __call__(self, *args: Any, **named: Any) -> dict[Any, Any]:
        return dict(*args, **named)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """A namespace that stores no attribute with an underscore in front."""

    def __init__(self, *args: Any, **named: Any) -> None:
        for name in dict(*args, **named):
            _check_attribute(name)
        super().__init__(*args, **named)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        super().__setitem__(name, value)


def _check_attribute(name: str) -> None:
    if name.startswith("_"):
        raise SecurityError(f"a namespace cannot hold {name!r}")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> Never:
    raise TemplateError(message)


def _strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)
