"""What is asked of a turn with tools, and whether an output is that; on the small vocabularies of `chat_formats`."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from chat_formats import items_of, renderer, tokenizer_of
from forethought.engine.grammar import GrammarCompiler, GrammarState, allowed_tokens
from forethought.engine.protocol import Grammar
from forethought.model.conversation import (
    FreeInput,
    Item,
    LarkInput,
    Message,
    RegexInput,
    ToolCall,
    ToolDefinition,
)
from forethought.model.renderer.protocol import Malformed
from forethought.reasoning.format import FreeText, JsonSchema, Lark, OutputFormat, Regex
from forethought.reasoning.output_grammar import output_grammar
from forethought.reasoning.tool_choice import CallBounds, ToolChoice, call_bounds
from json_schemas import conforms

REGEX = r"[a-c/]{1,3}(\n|é)?"
LARK = 'start: "go" NUMBER+  // a comment with " and }\n%ignore / /\nNUMBER: /[0-9]/\n'
LARK_TEXT = re.compile(r"go( *[0-9])+ *")
FORMAT_SCHEMA = {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": False}


@dataclass(frozen=True)
class Task:
    """What was asked of a turn."""

    name: str
    tools: tuple[ToolDefinition, ...]
    choice: ToolChoice
    parallel: bool
    output_format: OutputFormat
    thinks: bool

    @property
    def bounds(self) -> CallBounds:
        return call_bounds(self.tools, self.choice, parallel=self.parallel)

    @property
    def end_of_thinking(self) -> int | None:
        markers = renderer(self.name).thinking
        return markers.end_ids[-1] if markers is not None and self.thinks else None

    def grammar(self) -> Grammar:
        own = renderer(self.name)
        assert own.calls is not None
        layout = own.thinking.layout if own.thinking is not None and self.thinks else ""
        return output_grammar(own.calls, self.bounds, self.output_format, layout, self.end_of_thinking)

    def state(self) -> GrammarState:
        return compiler(self.name).compile(self.grammar(), renderer(self.name).stop_token_ids)

    def read(self, output: Sequence[int], *, whole: bool) -> tuple[Item, ...]:
        """The items that the parser makes of an output, as far as they are complete."""
        parser = renderer(self.name).parser(
            thinking_open=self.thinks,
            custom_tools=frozenset(tool.name for tool in self.tools if tool.custom is not None),
            formatted=not isinstance(self.output_format, FreeText),
        )
        pieces = parser.feed(output)
        assert not any(isinstance(piece, Malformed) for piece in pieces)
        return items_of([*pieces, *parser.finish()] if whole else pieces)

    def check(self, items: Sequence[Item]) -> None:
        """Fails unless a whole output is what was asked for."""
        calls = [item for item in items if isinstance(item, ToolCall)]
        said = "".join(item.text for item in items if isinstance(item, Message))
        callable_tools = {tool.name: tool for tool in self.bounds.tools}
        for call in calls:
            check_call(call, callable_tools[call.name])
        if self.bounds.required:
            assert calls
            assert not said
        assert len(calls) <= 1 or self.bounds.several
        if not calls or not isinstance(self.output_format, FreeText):
            assert bool(calls) != fits(said, self.output_format)


def check_call(call: ToolCall, tool: ToolDefinition) -> None:
    assert call.custom == (tool.custom is not None)
    match tool.custom:
        case None:
            value = json.loads(call.arguments)
            assert conforms(value, dict(tool.parameters or {})) if tool.strict else isinstance(value, dict)
        case FreeInput():
            pass
        case RegexInput(pattern):
            assert re.fullmatch(pattern, call.arguments)
        case LarkInput():
            assert LARK_TEXT.fullmatch(call.arguments)


def fits(said: str, output_format: OutputFormat) -> bool:
    match output_format:
        case FreeText():
            return True
        case JsonSchema(schema):
            return bool(said) and set(json.loads(said)) <= set(schema["properties"])
        case Regex(pattern):
            return re.fullmatch(pattern, said) is not None
        case Lark():
            return LARK_TEXT.fullmatch(said) is not None


@cache
def compiler(name: str) -> GrammarCompiler:
    tokenizer = tokenizer_of(name)
    return GrammarCompiler(tokenizer, tokenizer.vocab_size, threads=1)


def allowed(name: str, state: GrammarState) -> list[int]:
    masks = compiler(name).masks([state])
    vocab_size = tokenizer_of(name).vocab_size
    return np.flatnonzero(allowed_tokens(masks[0], vocab_size)).tolist() if state.allow(masks[0], vocab_size) else []
