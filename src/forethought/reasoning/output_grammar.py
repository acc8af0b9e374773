"""The grammar that binds the output of a turn with tools: an answer, calls, or an answer with calls behind it.

It is written in llguidance's lark dialect and starts where the thinking ends. A call names a tool that may be called,
and its input is what that tool takes: so no turn fails for what the model wrote, unless it was cut off. Between the
answer and the calls stands the marker that opens a call. No answer can hold it: a reserved token is no text, and text
that spells a marker is left out of the language of answers.

    start: (TEXT? | told call (again call)*)
    told: TEXT? <[10]>
    again: <[10]>
    call: call_0 | call_1
    call_0: "weather\\n" input_0 <[11]>
    input_0: %json {"type": "object", …}
    …

Where a call must come it comes first, for a weak model would talk until its tokens are used up. An answer in a format
excludes calls and the other way round.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from forethought.engine.grammar_source import lark_part
from forethought.engine.protocol import Grammar
from forethought.errors import GrammarError
from forethought.model.conversation import FreeInput, LarkInput, RegexInput, ToolDefinition
from forethought.model.renderer.call_spelling import CallSpelling, Spelling
from forethought.model.renderer.custom_input import INPUT_SCHEMA
from forethought.reasoning.format import Lark, OutputFormat, Regex, grammar_for, json_grammar
from forethought.reasoning.tool_choice import CallBounds

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
ANY_TEXT = "/(?s:.+)/"


def output_grammar(
    calls: CallSpelling, bounds: CallBounds, output_format: OutputFormat, layout: str, start_after: int | None
) -> Grammar:
    """The constraint on an output with tools on offer.

    Args:
        layout: what the format puts between the thinking and what follows it; "" when the turn does not think.
        start_after: the token id that ends the thinking, if there is any.

    Raises:
        GrammarError: a schema, regex or grammar that cannot be compiled, with the name of its tool; a format that may
            spell this checkpoint's marker of a call.
    """
    answer = _answer(calls, output_format)
    talking = answer is None and not bounds.required
    choices: list[str] = []
    if not bounds.required:
        choices.append("TEXT?" if answer is None else "answer")
    if bounds.tools:
        choices.append(f"{'told' if talking else 'opening'} call{' (again call)*' if bounds.several else ''}")
    # Text may hold the layout: the parser knows it. Anything else has it in front.
    lines = [
        f"start: {'' if talking else json.dumps(layout)} ({' | '.join(choices)})",
        f"answer: {answer or 'TEXT'}",
        f"TEXT: {_text(calls)}",
        *(_calls(calls, bounds.tools) if bounds.tools else []),
    ]
    return Grammar("lark", "\n".join(lines), start_after)


def format_grammar(output_format: OutputFormat, layout: str, start_after: int | None) -> Grammar | None:
    """The constraint on an output without calls; None for free text. Arguments and errors are those of
    `output_grammar`."""
    grammar = grammar_for(output_format, start_after)
    if grammar is None or not layout:
        return grammar
    return Grammar("lark", f"start: {json.dumps(layout)} answer\nanswer: {lark_part(grammar)}", start_after)


def can_bind(parameters: Mapping[str, Any] | None) -> bool:
    """Whether a strict tool could have these parameters: a schema of an object, and one that can be compiled."""
    try:
        lark_part(_arguments(parameters))
    except GrammarError:
        return False
    return True


def _answer(calls: CallSpelling, output_format: OutputFormat) -> str | None:
    """The rule of a format; None for free text."""
    if isinstance(output_format, Regex | Lark) and isinstance(calls.opening, str):
        raise GrammarError(
            f"This checkpoint begins a call with the text {calls.opening}, which a regex or grammar may spell too.",
            "Ask for a JSON schema, or offer no tools.",
        )
    grammar = grammar_for(output_format, None)
    return None if grammar is None else lark_part(grammar)


def _text(calls: CallSpelling) -> str:
    """Any text in which no marker stands."""
    if not calls.text_markers:
        return ANY_TEXT
    markers = "|".join(re.escape(marker).replace("/", r"\/") for marker in calls.text_markers)
    return f"{ANY_TEXT} & ~/(?s:.*)({markers})(?s:.*)/"


def _calls(calls: CallSpelling, tools: tuple[ToolDefinition, ...]) -> list[str]:
    """The rules of everything that a call is made of."""
    opening, closing = _marker(calls.opening), _marker(calls.closing)
    # A marker of text ends the text before it as soon as it is complete.
    told = "told" if isinstance(calls.opening, int) else "told[lazy]"
    lines = [
        f"opening: {opening}",
        f"{told}: TEXT? {opening}",
        f"again: {json.dumps(calls.between)} {opening}",
        f"call: {' | '.join(f'call_{index}' for index in range(len(tools)))}",
    ]
    for index, tool in enumerate(tools):
        head, tail = json.dumps(calls.head(tool.name)), json.dumps(calls.behind_input)
        lines.append(f"call_{index}: {head} input_{index} {tail} {closing}")
        lines.append(f"input_{index}: {_input(calls, tool)}")
    return lines


def _marker(spelling: Spelling) -> str:
    return f"<[{spelling}]>" if isinstance(spelling, int) else json.dumps(spelling)


def _input(calls: CallSpelling, tool: ToolDefinition) -> str:
    """The rule for what a tool takes."""
    try:
        grammar = _constraint(calls, tool)
        return f"{ANY_TEXT}?" if grammar is None else lark_part(grammar)
    except GrammarError as error:
        raise GrammarError(f"The tool {tool.name} cannot be offered. {error.message}", error.remedy) from None


def _constraint(calls: CallSpelling, tool: ToolDefinition) -> Grammar | None:
    """What binds the input of a tool; None for any text."""
    match tool.custom:
        case None:
            return _arguments(tool.parameters if tool.strict else ANY_OBJECT)
        case FreeInput():
            return json_grammar(INPUT_SCHEMA) if calls.json_input else None
        case RegexInput(pattern):
            return Grammar("regex", pattern)
        case LarkInput(grammar):
            return Grammar("lark", grammar)


def _arguments(parameters: Mapping[str, Any] | None) -> Grammar:
    """What binds the arguments of a function with these parameters; one without any takes none."""
    schema = {"type": "object", **(NO_ARGUMENTS if parameters is None else parameters)}
    if schema["type"] != "object":
        raise GrammarError("It is strict, and its parameters are no object.", 'Give its schema the type "object".')
    return json_grammar(schema)
