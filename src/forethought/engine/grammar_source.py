"""How a constraint is written for llguidance: alone, or as a part of a larger grammar in its lark dialect.

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import json
import re
from functools import partial
from sys import getsizeof
from typing import Any, cast

import llguidance

from forethought.engine.protocol import Grammar, GrammarKind
from forethought.engine.sized_cache import SizedCache
from forethought.errors import GrammarError

WHITESPACE = r"[\x20\n\r\t]{1,20}"
"""White space between JSON tokens. Bounded: a weak model would fill its whole limit with line breaks."""

OPTIONS = "x-guidance"
"""The key under which a schema may tell llguidance to be lenient, say. It is ours to set."""

PARTS_BYTES = 16 * 2**20
"""Of parts that are kept, with their sources: the same tools come with every turn of a conversation."""

# Strings, regexes and comments, to be passed over; the group is what names something outside the grammar.
_OUTSIDE = re.compile(r'"(?:\\.|[^"\\])*"|(?:#|//)[^\n]*|/(?:\\.|[^/\\])+/|(<[^<>\s]+>|@[\w-]+)')

_parts: SizedCache[Grammar, str] = SizedCache(
    PARTS_BYTES, lambda grammar, part: getsizeof(grammar.source) + getsizeof(part)
)


def grammar_source(grammar: Grammar) -> str:
    """The whole of what llguidance is given. Raises `GrammarError` for what is no JSON."""
    if grammar.kind == "regex":
        return llguidance.LLMatcher.grammar_from_regex(grammar.source)
    if grammar.kind == "lark":
        return llguidance.LLMatcher.grammar_from_lark(grammar.source)
    try:
        schema = _object_schema(grammar.source)
        return llguidance.LLMatcher.grammar_from_json_schema(schema, defaults={"whitespace_pattern": WHITESPACE})
    except ValueError as error:
        raise refusal(grammar.kind, str(error)) from None


def check_grammar(grammar: Grammar) -> None:
    """Raises `GrammarError` for what cannot be compiled. Takes about as long as compiling it."""
    try:
        broken, messages = llguidance.LLMatcher.validate_grammar_with_warnings(grammar_source(grammar))
    except UnicodeEncodeError as error:
        raise refusal(grammar.kind, str(error)) from None
    if broken:
        raise refusal(grammar.kind, messages[0])


def lark_part(grammar: Grammar) -> str:
    """The constraint as the body of one rule in a lark grammar. It has to stand on a line of its own.

    Raises:
        GrammarError: it cannot be compiled, or is a grammar that names special tokens or other grammars: those belong
            to the larger one.
    """
    return _parts.get(grammar, partial(_lark_part, grammar))


def _lark_part(grammar: Grammar) -> str:
    check_grammar(grammar)
    match grammar.kind:
        case "json_schema":
            schema = cast("dict[str, Any]", json.loads(_object_schema(grammar.source)))
            return f"%json {json.dumps({**schema, OPTIONS: {'whitespace_pattern': WHITESPACE}})}"
        case "regex":
            return f"/{llguidance.regex_to_lark(grammar.source, use_ascii='')}/"
        case "lark":
            named = next((found[1] for found in _OUTSIDE.finditer(grammar.source) if found[1]), None)
            if named is not None:
                raise refusal(grammar.kind, f"it names {named}, which is outside of it")
            return f"%lark {{\n{grammar.source}\n}}"


def _object_schema(source: str) -> str:
    """ "true" and "false" are schemas too, but options can only be given to an object."""
    if OPTIONS in source and OPTIONS in json.loads(source):
        raise refusal("json_schema", f"it says {OPTIONS}, which is not for schemas to say")
    return f'{{"allOf": [{source}]}}' if source.strip() in ("true", "false") else source


def refusal(kind: GrammarKind, message: str) -> GrammarError:
    """The error for what cannot be compiled, with llguidance's own words."""
    names = {"json_schema": "JSON schema", "regex": "regex", "lark": "grammar"}
    return GrammarError(f"The {names[kind]} cannot be compiled: {message.strip()}.", "Mend it and ask again.")
