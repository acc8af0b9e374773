"""Outputs become pieces: the same ones however an output is split, and nothing of it lost or mixed up."""

import json
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_formats import ids, items_of, json_objects, merged, renderer, texts, tokenizer_of, tool_names
from forethought.errors import RenderError
from forethought.model.conversation import Image, Item, Message, Text, Thinking, ToolCall, ToolResult
from forethought.model.renderer.protocol import (
    Malformed,
    Piece,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)

FORMATS = ["forethought", "qwen3", "qwen3 in plain text"]

T, THINK, END = TextDelta, ThinkingDelta, ThinkingEnd()


CUSTOM = frozenset({"say"})


def parse(
    name: str, token_ids: Sequence[int], *, thinking_open: bool, cuts: Sequence[int] = (), formatted: bool = False
) -> list[Piece]:
    """Feeds the ids in the chunks between `cuts`. The tool `say` is a custom one."""
    parser = renderer(name).parser(thinking_open=thinking_open, custom_tools=CUSTOM, formatted=formatted)
    borders = [0, *sorted(cuts), len(token_ids)]
    pieces = [piece for a, b in pairwise(borders) for piece in parser.feed(token_ids[a:b])]
    return pieces + parser.finish()


def read(name: str, text: str, *, thinking_open: bool = False) -> list[Piece]:
    return merged(parse(name, ids(name, text), thinking_open=thinking_open))


def call(index: int, name: str, arguments: str) -> list[Piece]:
    deltas = [ToolCallDelta(index, arguments)] if arguments else []
    return [ToolCallStart(index, name, name in CUSTOM), *deltas, ToolCallEnd(index, arguments)]


def forethought_spelling(text: str) -> str:
    """Our own markers, written as [think] and so on in the examples."""
    names = {
        "[think]": "<issue_start>",
        "[/think]": "<issue_closed>",
        "[call]": "<jupyter_start>",
        "[/call]": "<jupyter_output>",
        "[stop]": "<|im_end|>",
    }
    for name, token in names.items():
        text = text.replace(name, token)
    return text


Example = tuple[str, bool, list[Piece]]

OURS: list[Example] = [
    ("Hello.[stop]", False, [T("Hello.")]),
    ("so[/think]Hello.[stop]", True, [THINK("so"), END, T("Hello.")]),
    ("[/think]Hello.[stop]", True, [THINK(""), END, T("Hello.")]),
    ("[think]so[/think]Hi[stop]", False, [THINK("so"), END, T("Hi")]),
    ("Hi[think]wait[/think]Ho[stop]", False, [T("Hi"), THINK("wait"), END, T("Ho")]),
    ("never closed[stop]", True, [THINK("never closed")]),
    ("cut off", True, [THINK("cut off")]),
    ("[stop]", False, []),
    ("Hi<|endoftext|>", False, [T("Hi")]),
    ("Hi[stop]behind", False, [T("Hi")]),
    ("a[call]b\n{}[/call][think]d[/think][stop]", True, [THINK("a[call]b\n{}[/call][think]d"), END]),
    ("x[/think]y[/call]z<|im_start|>[stop]", False, [T("x[/think]y[/call]z<|im_start|>")]),
    ('so[/think][call]add\n{"a": 1}[/call][stop]', True, [THINK("so"), END, *call(0, "add", '{"a": 1}')]),
    ("[call]now\n{}[/call][stop]", False, call(0, "now", "{}")),
    ("[call]now\n[/call][stop]", False, call(0, "now", "{}")),
    ("[call]now[/call][stop]", False, call(0, "now", "{}")),
    ("[call]now\n \n[/call][stop]", False, call(0, "now", "{}")),
    ("[call]a\n{}[/call][call]b\n{}[/call][stop]", False, [*call(0, "a", "{}"), *call(1, "b", "{}")]),
    ("[call]a\n{}[/call]\n[call]b\n{}[/call]\n[stop]", False, [*call(0, "a", "{}"), *call(1, "b", "{}")]),
    ("Hi [call]a\n{}[/call] there[stop]", False, [T("Hi "), *call(0, "a", "{}"), T(" there")]),
    ("\n[call]a\n{}[/call][stop]", False, call(0, "a", "{}")),
    ("[call]a\n{}[call]b\n{}[/call][stop]", False, [*call(0, "a", "{}"), *call(1, "b", "{}")]),
    ('[call]a\n{"x":[think]1}[/call][stop]', False,
     [ToolCallStart(0, "a"), ToolCallDelta(0, '{"x":[think]1}'), Malformed('a\n{"x":[think]1}')]),
    ('[call]a\n{"x"', False, [ToolCallStart(0, "a"), ToolCallDelta(0, '{"x"'), Malformed('a\n{"x"')]),
    ("[call]a\n[1][/call][stop]", False, [ToolCallStart(0, "a"), ToolCallDelta(0, "[1]"), Malformed("a\n[1]")]),
    ('[call]a\n{"x": NaN}[/call]', False,
     [ToolCallStart(0, "a"), ToolCallDelta(0, '{"x": NaN}'), Malformed('a\n{"x": NaN}')]),
    ("[call]no name here\n{}[/call]ok[stop]", False, [Malformed("no name here\n{}"), T("ok")]),
    ("[call]half", False, [Malformed("half")]),
    ("[call][/call][call]a\n{}[/call]", False, [Malformed(""), *call(0, "a", "{}")]),
    ("[call]say\n \n{x[/call][stop]", False, call(0, "say", " \n{x")),
    ("[call]say\n[/call][call]say[/call][stop]", False, [*call(0, "say", ""), *call(1, "say", "")]),
    ("[call]say\na[think]b[/call][call]a\n{}[/call]", False, [*call(0, "say", "a[think]b"), *call(1, "a", "{}")]),
    ("[call]say\n{}[stop]", False, [ToolCallStart(0, "say", True), ToolCallDelta(0, "{}"), Malformed("say\n{}")]),
]  # fmt: skip

QWEN: list[Example] = [
    ("so\n</think>\n\nHello.<|im_end|>", True, [THINK("so"), END, T("Hello.")]),
    ("\n</think>\n\nHello.<|im_end|>", True, [THINK(""), END, T("Hello.")]),
    ("<think>\nso\n</think>\n\nHi<|im_end|>", False, [THINK("so"), END, T("Hi")]),
    ("<think>\n\n</think>\n\nHi\n<|im_end|>", False, [THINK(""), END, T("Hi\n")]),
    ("\nso\n\n</think>\n\n\n\nHi<|im_end|>", True, [THINK("\nso\n"), END, T("\n\nHi")]),
    ("so</think>Hi", True, [THINK("so"), END, T("Hi")]),
    ("so\n", True, [THINK("so\n")]),
    ('so\n</think>\n\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>', True,
     [THINK("so"), END, *call(0, "add", '{"a": 1}')]),
    ('Hi\n<tool_call>\n{"arguments": {"a": "}"} , "name": "a"}\n</tool_call>\n<tool_call>{"name":"b"}</tool_call>',
     False, [T("Hi"), *call(0, "a", '{"a": "}"}'), *call(1, "b", "{}")]),
    ('<tool_call>\n{"name": "a", "arguments": {"t": "</tool_call>"}}', False,
     [ToolCallStart(0, "a"), ToolCallDelta(0, '{"t": "'), Malformed('\n{"name": "a", "arguments": {"t": "'), T('"}}')]),
    ('<tool_call>{"id": [{"name": "no"}, "\\""], "name": "n\\u0061me", "arguments": {}}</tool_call>', False,
     call(0, "name", "{}")),
    ('<tool_call>{"name": "a", "name": "b"}</tool_call>', False,
     [ToolCallStart(0, "a"), Malformed('{"name": "a", "name": "b"}')]),
    ('<tool_call>{"name": "a", "arguments": "{}"}</tool_call>', False,
     [ToolCallStart(0, "a"), Malformed('{"name": "a", "arguments": "{}"}')]),
    ('<tool_call>{"name": 1}</tool_call>', False, [Malformed('{"name": 1}')]),
    ('<tool_call>{"name": "a", }</tool_call>', False,
     [ToolCallStart(0, "a"), Malformed('{"name": "a", }')]),
    ('<tool_call>{"arguments": {}}</tool_call>x', False, [Malformed('{"arguments": {}}'), T("x")]),
    ("<tool_call>add(1)</tool_call>", False, [Malformed("add(1)")]),
    ("<tool_call></tool_call>", False, [Malformed("")]),
    ('<tool_call>{"name": "a", "n": 1e5, "arguments": {}} x</tool_call>', False,
     [ToolCallStart(0, "a"), ToolCallDelta(0, "{}"), Malformed('{"name": "a", "n": 1e5, "arguments": {}} x')]),
    ('<tool_call>{"name": "a"', False, [ToolCallStart(0, "a"), Malformed('{"name": "a"')]),
    ('<tool_call>{"name": "a", "arguments": {}}<|im_end|>', False, call(0, "a", "{}")),
    ('<tool_call>{"name": "say", "arguments": {"input": "a\\n\\"\\ud83d\\ude00 \\u00e9}"}}</tool_call>', False,
     call(0, "say", 'a\n"😀 é}')),
    ('<tool_call>{"arguments": { "input" : ""\n} , "name": "say"}</tool_call>', False, call(0, "say", "")),
    ('<tool_call>{"name": "say"}</tool_call>', False,
     [ToolCallStart(0, "say", True), Malformed('{"name": "say"}')]),
    ('<tool_call>{"name": "say", "arguments": {"text": "a"}}</tool_call>', False,
     [ToolCallStart(0, "say", True), Malformed('{"name": "say", "arguments": {"text": "a"}}')]),
    ('<tool_call>{"name": "say", "arguments": {"input": "a", "b": 1}}</tool_call>', False,
     [ToolCallStart(0, "say", True), ToolCallDelta(0, "a"),
      Malformed('{"name": "say", "arguments": {"input": "a", "b": 1}}')]),
    ('<tool_call>{"name": "say", "arguments": {"input": "a\\ud83d"}}</tool_call>', False,
     [ToolCallStart(0, "say", True), ToolCallDelta(0, "a"),
      Malformed('{"name": "say", "arguments": {"input": "a\\ud83d"}}')]),
]  # fmt: skip

QWEN_IN_PLAIN_TEXT: list[Example] = [
    ('<tool_call>\n{"name": "a", "arguments": {"t": "</tool_call>"}}</tool_call>', False,
     call(0, "a", '{"t": "</tool_call>"}')),
    ("a < b <tool <think b", False, [T("a < b <tool <think b")]),
]  # fmt: skip

RECORDED = [
    *(("forethought", *example) for example in OURS),
    *(("qwen3", *example) for example in QWEN),
    *(("qwen3 in plain text", *example) for example in QWEN_IN_PLAIN_TEXT),
]


@pytest.mark.parametrize(("name", "text", "thinking_open", "expected"), RECORDED)
def test_an_output_means_these_pieces(name: str, text: str, thinking_open: bool, expected: list[Piece]) -> None:
    """Our own markers are written as [think] in the examples, also where they are to come out as text."""
    spelled = [type(piece)(**{k: _spell(v) for k, v in _fields(piece).items()}) for piece in expected]
    assert read(name, forethought_spelling(text), thinking_open=thinking_open) == spelled


# A marker of plain text inside a JSON string is content; a token never is.
ALIKE = [example for example in QWEN if '</tool_call>"' not in example[0]]


@pytest.mark.parametrize(("text", "thinking_open", "expected"), ALIKE)
def test_markers_of_plain_text_mean_the_same_as_single_tokens(
    text: str, thinking_open: bool, expected: list[Piece]
) -> None:
    assert read("qwen3 in plain text", text, thinking_open=thinking_open) == expected


@given(st.data())
def test_the_pieces_of_a_recorded_output_do_not_depend_on_the_split(data: st.DataObject) -> None:
    name, text, thinking_open, _ = data.draw(st.sampled_from(RECORDED))
    check_splits(name, ids(name, forethought_spelling(text)), thinking_open, data)


@given(st.data())
def test_the_pieces_of_any_output_do_not_depend_on_the_split(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(FORMATS))
    tokenizer = tokenizer_of(name)
    markers = st.sampled_from(sorted(tokenizer.special_ids))
    json_parts = ['{"name": "a"', '{"name": "say"', ', "arguments": {', '"x": 1}}', '"input": "', "a\n", "say\n", "\n"]
    words = st.sampled_from([*json_parts, "<tool_call>", "</tool_call>", "<think>", "</think>"])
    pieces = st.one_of(
        markers.map(lambda i: [i]),
        st.integers(0, tokenizer.vocab_size - 1).map(lambda i: [i]),
        words.map(tokenizer.encode),
        texts.map(tokenizer.encode),
    )
    output = [i for part in data.draw(st.lists(pieces, max_size=12)) for i in part]
    check_splits(name, output, data.draw(st.booleans()), data)


def check_splits(name: str, output: list[int], thinking_open: bool, data: st.DataObject) -> None:
    whole = parse(name, output, thinking_open=thinking_open)
    cuts = data.draw(st.lists(st.integers(0, len(output)), max_size=4))
    assert merged(parse(name, output, thinking_open=thinking_open, cuts=cuts)) == merged(whole)
    assert parse(name, output, thinking_open=thinking_open, cuts=range(len(output))) == whole
    finer = respelled(name, output, data)
    assert merged(parse(name, finer, thinking_open=thinking_open)) == merged(whole)
    check_grammar(whole)


def respelled(name: str, output: list[int], data: st.DataObject) -> list[int]:
    """The same text between the same markers, some tokens of it cut into tokens of one byte each."""
    tokenizer = tokenizer_of(name)
    cut = data.draw(st.sets(st.integers(0, len(output))) | st.just(set(range(len(output)))))
    return [
        part
        for index, token in enumerate(output)
        for part in (
            [i for byte in tokenizer.token_bytes(token) for i in _byte_token(name, byte)]
            if index in cut and token not in tokenizer.special_ids
            else [token]
        )
    ]


def check_grammar(pieces: list[Piece]) -> None:
    """Calls are numbered in order and never overlap, their deltas add up, and no delta is empty but one of an empty
    thinking."""
    started = 0
    custom = False
    arguments: str | None = None
    before: Piece | None = None
    for piece in pieces:
        match piece:
            case ToolCallStart(index, name, custom):
                assert index == started
                assert name
                assert custom == (name in CUSTOM)
                assert arguments is None
                started, arguments = started + 1, ""
            case ToolCallDelta(index, text):
                assert index == started - 1
                assert text
                assert arguments is not None
                arguments += text
            case ToolCallEnd(index, text):
                assert index == started - 1
                assert text == arguments
                assert custom or isinstance(json.loads(text), dict)
                arguments = None
            case Malformed():
                arguments = None
            case TextDelta(text):
                assert arguments is None
                assert text
            case ThinkingDelta():
                assert arguments is None
            case ThinkingEnd():
                assert isinstance(before, ThinkingDelta)
        before = piece
    assert arguments is None


@pytest.mark.parametrize("name", ["forethought", "qwen3"])
def test_characters_are_never_shown_in_halves(name: str) -> None:
    tokenizer = tokenizer_of(name)
    output = [i for byte in "é😀".encode() for i in _byte_token(name, byte)]
    assert [tokenizer.token_bytes(i) for i in output] == [bytes([b]) for b in "é😀".encode()]
    assert parse(name, output, thinking_open=False, cuts=range(len(output))) == [T("é"), T("😀")]


def test_half_a_character_before_a_marker_is_replaced_not_lost() -> None:
    output = [*_byte_token("forethought", 0xC3), *ids("forethought", "<issue_closed>ok")]
    assert merged(parse("forethought", output, thinking_open=True)) == [THINK("\ufffd"), END, T("ok")]


def test_ordinary_tokens_that_spell_a_single_token_marker_are_text() -> None:
    for text in ("<think>", "</think>", "<tool_call>", "<|im_end|>"):
        output = tokenizer_of("qwen3").encode(text)
        assert merged(parse("qwen3", output, thinking_open=False)) == [T(text)]


def test_an_input_flows_out_of_its_json_as_it_comes() -> None:
    parser = renderer("qwen3").parser(thinking_open=False, custom_tools=CUSTOM)
    output = ids("qwen3", '<tool_call>\n{"name": "say", "arguments": {"input": "one\\n')
    early = [piece for i in output for piece in parser.feed([i])]
    assert merged(early) == [ToolCallStart(0, "say", True), ToolCallDelta(0, "one\n")]


def test_an_answer_in_a_format_may_spell_markers_of_text() -> None:
    text = '{"a": "<tool_call><think>"}'
    output = ids("qwen3 in plain text", text)
    assert merged(parse("qwen3 in plain text", output, thinking_open=False, formatted=True)) == [T(text)]
    called = ids("qwen3 in plain text", '<tool_call>\n{"name": "a", "arguments": {}}\n</tool_call>')
    assert merged(parse("qwen3 in plain text", called, thinking_open=False, formatted=True)) == call(0, "a", "{}")


def test_a_number_may_be_longer_than_python_reads() -> None:
    arguments = f'{{"a": {"1" * 5000}}}'
    output = renderer("forethought").render_output((ToolCall("c0", "a", arguments),))
    assert items_of(parse("forethought", output, thinking_open=False)) == (ToolCall("c0", "a", arguments),)


def test_arguments_flow_as_they_come() -> None:
    parser = renderer("qwen3").parser(thinking_open=False)
    output = ids("qwen3", '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}')
    early = [piece for i in output[:-6] for piece in parser.feed([i])]
    assert ToolCallStart(0, "add") in early
    assert any(isinstance(piece, ToolCallDelta) for piece in early)


arguments = json_objects(texts).flatmap(
    lambda value: st.sampled_from([json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)])
)
calls = st.tuples(tool_names, arguments) | st.tuples(st.just("say"), texts, st.just(True))
outputs = st.tuples(
    st.lists(st.builds(Thinking, texts), max_size=1),
    st.lists(texts.filter(str.strip).map(lambda text: Message.of("assistant", text)), max_size=1),
    st.lists(calls, max_size=3),
).map(lambda o: (*o[0], *o[1], *(ToolCall(f"c{i}", *each) for i, each in enumerate(o[2]))))


@given(st.sampled_from(FORMATS), outputs)
def test_parsing_undoes_the_rendering_of_an_output(name: str, items: tuple[Item, ...]) -> None:
    try:
        output = renderer(name).render_output(items)
    except RenderError:
        # Markers of plain text cannot stand in the content of an output, and that is said.
        assert name == "qwen3 in plain text"
        content = " ".join(item.text for item in items if isinstance(item, Thinking | Message))
        assert any(marker in content for marker in ("</think>", "<think>", "<tool_call>"))
        return
    thinking_open = bool(items) and isinstance(items[0], Thinking)
    assert items_of(parse(name, output, thinking_open=thinking_open)) == items
    assert output[-1] in renderer(name).stop_token_ids


@given(texts, texts.filter(str.strip))
def test_thinking_that_begins_again_comes_back_too(first: str, text: str) -> None:
    items = (Message.of("assistant", text), Thinking(first), Message.of("assistant", text))
    for name in ("forethought", "qwen3"):
        assert items_of(parse(name, renderer(name).render_output(items), thinking_open=False)) == items


@pytest.mark.parametrize("name", ["forethought", "qwen3"])
@pytest.mark.parametrize(
    "item",
    [
        Message.of("user", "x"),
        Message("assistant", (Image("h", 1),)),
        ToolResult("c", (Text("x"),)),
        ToolCall("c", "a b", "{}"),
        ToolCall("c", "a", "[]"),
        ToolCall("c", "a", ""),
    ],
)
def test_what_no_model_can_write_is_refused(name: str, item: Item) -> None:
    with pytest.raises(RenderError):
        renderer(name).render_output((item,))


@cache
def _byte_token(name: str, byte: int) -> list[int]:
    tokenizer = tokenizer_of(name)
    return [next(i for i in range(tokenizer.vocab_size) if tokenizer.token_bytes(i) == bytes([byte]))]


def _fields(piece: Piece) -> dict[str, Any]:
    return {field: getattr(piece, field) for field in type(piece).__dataclass_fields__}


def _spell(value: Any) -> Any:
    return forethought_spelling(value) if isinstance(value, str) else value
