"""With tools on offer, whatever a model writes is an answer or calls as they were asked for, in every format."""

import json
import random
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chat_formats import ids, json_objects, renderer, texts, tokenizer_of, tool_names
from forethought.errors import GrammarError, RenderError
from forethought.model.conversation import (
    FreeInput,
    Item,
    LarkInput,
    Message,
    RegexInput,
    Thinking,
    ToolCall,
    ToolDefinition,
)
from forethought.reasoning.format import FreeText, JsonSchema, Lark, OutputFormat, Regex
from forethought.reasoning.tool_choice import AllowedTools, ForcedTool, ToolChoice
from json_schemas import object_schemas
from tool_task import FORMAT_SCHEMA, LARK, REGEX, Task, allowed

FORMATS = ["forethought", "qwen3", "qwen3 in plain text"]
PHRASES = ["<tool_call>", "</tool_call>", "<think>", "</think>", "\n", '{"name": "', '"}', "}", "add", "go 1", "0"]


def sample(task: Task, seed: int, most: int = 160) -> tuple[list[int], bool]:
    """What a model that likes to spell markers, and to end what it began, writes; and whether it came to an end."""
    rng = random.Random(seed)
    state, output = task.state(), [] if task.end_of_thinking is None else [task.end_of_thinking]
    for token in output:
        assert not state.observe(token)
    tokenizer = tokenizer_of(task.name)
    stops = renderer(task.name).stop_token_ids
    ends = {*tokenizer.special_ids, *(tokenizer.encode(end)[0] for end in '"}]')}
    wish: list[int] = []
    for _ in range(most):
        choices = allowed(task.name, state)
        if not choices:
            return output, True
        wish = wish or (tokenizer.encode(rng.choice(PHRASES)) if rng.random() < 0.2 else [])
        ending = [token for token in choices if token in ends]
        if wish and wish[0] in choices:
            token = wish.pop(0)
        else:
            wish = []
            token = rng.choice(ending if ending and rng.random() < 0.3 else choices)
        output.append(token)
        if token in stops or state.observe(token):
            return output, True
    return output, False


functions = st.builds(
    lambda name, schema, strict: ToolDefinition(name, "", schema, strict), tool_names, object_schemas, st.booleans()
)
free_tools = st.builds(lambda name: ToolDefinition(name, custom=FreeInput()), tool_names)
bound_tools = st.builds(
    lambda name, custom: ToolDefinition(name, custom=custom),
    tool_names,
    st.sampled_from([RegexInput(REGEX), LarkInput(LARK)]),
)


@st.composite
def tasks(draw: st.DrawFn) -> Task:
    name = draw(st.sampled_from(FORMATS))
    kinds = [functions, functions, free_tools, *([bound_tools] if name == "forethought" else [])]
    tools = tuple(draw(st.lists(st.one_of(kinds), min_size=1, max_size=4, unique_by=lambda tool: tool.name)))
    some = draw(st.lists(st.sampled_from([tool.name for tool in tools]), min_size=1, max_size=3))
    allowed_tools = [AllowedTools("auto", tuple(some)), AllowedTools("required", tuple(some))]
    choice: ToolChoice = draw(
        st.sampled_from(["auto", "auto", "none", "required", ForcedTool(some[0]), *allowed_tools])
    )
    formats: list[OutputFormat] = [FreeText(), FreeText(), JsonSchema(FORMAT_SCHEMA)]
    formats += [] if name == "qwen3 in plain text" else [Regex(REGEX), Lark(LARK)]
    thinks = draw(st.booleans()) and name != "qwen3 in plain text"
    return Task(name, tools, choice, draw(st.booleans()), draw(st.sampled_from(formats)), thinks)


@given(tasks(), st.integers(0, 2**32))
def test_whatever_is_sampled_is_what_was_asked_for(task: Task, seed: int) -> None:
    output, whole = sample(task, seed)
    items = task.read(output, whole=whole)
    if whole:
        task.check(items)


def call_of(tool: ToolDefinition) -> st.SearchStrategy[ToolCall]:
    """A call of a tool that is not strict."""
    inputs = {
        FreeInput: texts,
        RegexInput: st.from_regex(re.compile(REGEX, re.ASCII), fullmatch=True),
        LarkInput: st.sampled_from(["go1", "go 2 3"]),
    }
    if tool.custom is not None:
        return inputs[type(tool.custom)].map(lambda text: ToolCall("", tool.name, text, custom=True))
    objects = json_objects(texts).map(lambda value: json.dumps(value, ensure_ascii=False))
    return objects.map(lambda arguments: ToolCall("", tool.name, arguments))


@given(tasks(), st.data())
def test_whatever_a_renderer_writes_of_what_was_asked_for_is_allowed(task: Task, data: st.DataObject) -> None:
    bounds = task.bounds
    assume(all(not tool.strict for tool in task.tools))
    calls: list[ToolCall] = []
    if bounds.tools:
        each = st.sampled_from(bounds.tools).flatmap(call_of)
        calls = data.draw(st.lists(each, min_size=int(bounds.required), max_size=3 if bounds.several else 1))
    assume(all("\x7f" not in call.arguments for call in calls))  # llguidance wants it escaped in JSON
    said: list[Item] = []
    if isinstance(task.output_format, FreeText) and not bounds.required:
        said = data.draw(st.lists(texts.filter(str.strip).map(lambda text: Message.of("assistant", text)), max_size=1))
    elif not calls:
        answers = {JsonSchema: '{"x": "<tool_call>"}', Regex: "a/", Lark: "go 1"}
        said = [Message.of("assistant", answers[type(task.output_format)])]
    items = (*([Thinking("Hm.")] if task.thinks else []), *said, *calls)
    try:
        output = renderer(task.name).render_output(items)
    except RenderError:
        # Text that spells a marker.
        assert task.name == "qwen3 in plain text"
        return
    state = task.state()
    for token in output[:-1]:
        assert not state.active or token in allowed(task.name, state)
        state.observe(token)
    assert output[-1] in allowed(task.name, state) or allowed(task.name, state) == []
    numbered = [replace(call, call_id=f"c{index}") for index, call in enumerate(calls)]
    assert task.read(output, whole=True) == (*items[: len(items) - len(calls)], *numbered)


def first_tokens(name: str, **options: Any) -> set[int]:
    """The tokens that an output may begin with when the tool `add` is on offer."""
    settings = {"choice": "auto", "parallel": True, "output_format": FreeText(), "thinks": False}
    task = Task(name, (ToolDefinition("add"),), **settings | options)
    return set(allowed(name, task.state()))


@pytest.mark.parametrize(("name", "marker"), [("forethought", "<jupyter_start>"), ("qwen3", "<tool_call>")])
def test_only_a_choice_that_allows_calls_allows_their_marker(name: str, marker: str) -> None:
    (opening,) = ids(name, marker)
    assert opening in first_tokens(name)
    assert opening not in first_tokens(name, choice="none")
    assert first_tokens(name, choice="required") == {opening}
    assert first_tokens(name, choice=ForcedTool("add")) == {opening}
    assert opening in first_tokens(name, output_format=JsonSchema(FORMAT_SCHEMA))
    assert not first_tokens(name, choice="none") & (tokenizer_of(name).special_ids - set(renderer(name).stop_token_ids))


def test_text_cannot_spell_a_marker_of_text() -> None:
    name = "qwen3 in plain text"
    task = Task(name, (ToolDefinition("add"),), "none", True, FreeText(), thinks=False)
    for marker in ("<tool_call>", "<think>"):
        state = task.state()
        *before, last = [ids(name, character)[0] for character in f"a<{marker}"]
        for token in before:
            state.observe(token)
        assert last not in allowed(name, state)


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        (ToolDefinition("add", parameters={"type": "string"}, strict=True), "add cannot .* no object"),
        (ToolDefinition("add", parameters={"type": ["object", "null"]}, strict=True), "no object"),
        (ToolDefinition("add", parameters={"type": "object", "not": {}}, strict=True), "add cannot .*not"),
        (ToolDefinition("add", parameters={"type": "object", "const": {1}}, strict=True), "add cannot .*not JSON"),
        (ToolDefinition("add", custom=RegexInput("(")), "add cannot .*unclosed"),
        (ToolDefinition("add", custom=RegexInput("\ud800")), "add cannot .*surrogate"),
        (ToolDefinition("add", custom=LarkInput("start: x")), "add cannot .*unknown name"),
        (ToolDefinition("add", custom=LarkInput('start: "}"\n}')), "add cannot"),
        (ToolDefinition("add", custom=LarkInput('start: "<a>" <|im_end|>')), r"add cannot .*names <\|im_end\|>"),
        (ToolDefinition("add", custom=LarkInput('start: /"/ <[3]> /"/')), r"add cannot .*names <\[3\]>"),
    ],
)
def test_what_cannot_bind_a_tool_is_refused_with_its_name(tool: ToolDefinition, says: str) -> None:
    with pytest.raises(GrammarError, match=f"(?s){says}"):
        Task("forethought", (tool,), "auto", True, FreeText(), thinks=False).grammar()


def test_a_lark_grammar_may_spell_what_looks_like_a_special_token() -> None:
    tool = ToolDefinition("add", custom=LarkInput('start: "<a>" /<b>/ // <c> @d\n'))
    Task("forethought", (tool,), "auto", True, FreeText(), thinks=False).state()


@pytest.mark.parametrize("output_format", [Regex("a"), Lark('start: "a"')])
def test_a_format_that_might_spell_a_call_is_refused(output_format: OutputFormat) -> None:
    with pytest.raises(GrammarError, match="with the text <tool_call>"):
        Task("qwen3 in plain text", (ToolDefinition("add"),), "auto", True, output_format, thinks=False).grammar()


def test_a_custom_tool_may_get_nothing() -> None:
    task = Task("forethought", (ToolDefinition("say", custom=FreeInput()),), "auto", True, FreeText(), thinks=False)
    state = task.state()
    *before, last = ids("forethought", "<jupyter_start>say\n<jupyter_output>")
    for token in before:
        state.observe(token)
    assert last in allowed("forethought", state)


NODE = {"properties": {"next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}}, "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"properties": {"n": {}}, "additionalProperties": False},
        {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", **NODE}}},
        {"anyOf": [{"type": "object"}, {"type": "string"}]},
    ],
)
def test_the_arguments_of_a_strict_tool_are_an_object_even_if_its_schema_does_not_say_so(
    schema: dict[str, Any],
) -> None:
    tool = ToolDefinition("a", parameters=schema, strict=True)
    state = Task("forethought", (tool,), "required", True, FreeText(), thinks=False).state()
    *head, opening = ids("forethought", "<jupyter_start>a\n{")
    for token in head:
        state.observe(token)
    spelled = {tokenizer_of("forethought").token_bytes(token)[:1] for token in allowed("forethought", state)}
    assert spelled == {b"{"}
    state.observe(opening)
    assert set(ids("forethought", '"}')) <= set(allowed("forethought", state))


def test_a_strict_tool_without_parameters_takes_none() -> None:
    task = Task("forethought", (ToolDefinition("now", strict=True),), "required", True, FreeText(), thinks=False)
    state = task.state()
    for token in ids("forethought", "<jupyter_start>now\n{"):
        state.observe(token)
    assert not {ids("forethought", '"')[0]} & set(allowed("forethought", state))
