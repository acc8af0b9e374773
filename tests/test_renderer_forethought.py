"""Our own prompt format: the base's template where nothing of ours is asked for, and content that stays content."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from chat_formats import FAMILIES, backend, forethought_tokenizer, json_objects, texts, tool_names
from forethought.errors import CheckpointError, RenderError
from forethought.model.conversation import (
    Conversation,
    FreeInput,
    Image,
    Item,
    LarkInput,
    Message,
    RegexInput,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from forethought.model.layout import MANIFEST
from forethought.model.renderer import load_renderer
from forethought.model.renderer.forethought import ForethoughtOptions, ForethoughtRenderer, Markers
from forethought.model.renderer.protocol import ImagePlace
from forethought.model.renderer.template import TemplateRenderer
from forethought.model.tokenizer import Tokenizer

USER = Message.of("user", "Weather?")
ROME = ToolCall("call_r", "weather", '{"city":"Rome"}')
OSLO = ToolCall("call_o", "weather", '{"city":"Oslo"}')


def result(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.call_id, (Text(text),))


def renderer() -> ForethoughtRenderer:
    return ForethoughtRenderer(forethought_tokenizer())


def prompt_text(conversation: Conversation, *, think: bool = False) -> str:
    """The prompt with our markers in readable spelling."""
    text = forethought_tokenizer().decode(renderer().render(conversation, think=think).token_ids)
    for token, name in (
        ("<issue_start>", "[think]"),
        ("<issue_closed>", "[/think]"),
        ("<jupyter_start>", "[call]"),
        ("<jupyter_output>", "[/call]"),
    ):
        text = text.replace(token, name)
    return text


def specials(token_ids: tuple[int, ...]) -> list[int]:
    return [i for i in token_ids if i in forethought_tokenizer().special_ids]


roles: st.SearchStrategy[Role] = st.sampled_from(["system", "developer", "user", "assistant"])


harmless = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<"), max_size=20)


@given(st.lists(st.tuples(roles, harmless), min_size=1, max_size=6))
def test_a_plain_conversation_is_what_the_bases_own_template_makes_of_it(said: list[tuple[Role, str]]) -> None:
    theirs = PreTrainedTokenizerFast(tokenizer_object=backend("smollm2")).apply_chat_template(
        [{"role": role.replace("developer", "system"), "content": text} for role, text in said],
        chat_template=FAMILIES["smollm2"].source,
        add_generation_prompt=True,
        return_dict=False,
    )
    ours = renderer().render(Conversation(tuple(Message.of(*one) for one in said)), think=False)
    assert list(ours.token_ids) == theirs
    assert not ours.thinking_open


@pytest.mark.parametrize("first", ["system", "user"])
def test_the_real_base_gets_its_own_prompts(base_directory: Path, base_tokenizer: Tokenizer, first: Role) -> None:
    said: list[tuple[Role, str]] = [
        (first, "Numbers: 1234567.\n\n  def f():"),
        ("assistant", " It's é 😀."),
        ("user", "2"),
    ]
    conversation = Conversation(tuple(Message.of(*one) for one in said))
    ours = load_renderer(base_directory, base_tokenizer)
    assert ours.name == "forethought"
    prompt = ours.render(conversation, think=False)
    assert prompt == TemplateRenderer.load(base_directory, base_tokenizer).render(conversation, think=False)
    theirs = AutoTokenizer.from_pretrained(base_directory).apply_chat_template(
        [{"role": role, "content": text} for role, text in said], add_generation_prompt=True, return_dict=False
    )
    assert list(prompt.token_ids) == theirs


def test_two_calls_of_one_turn_cannot_share_an_id() -> None:
    asked = Message.of("user", "Add.")
    one, two = ToolCall("same", "add", "{}"), ToolCall("same", "subtract", "{}")
    for said in ((asked, one, two), (asked, one, result(one, "1"), two)):
        with pytest.raises(RenderError, match="'same'"):
            renderer().render(Conversation(said), think=False)
    turns = (asked, one, result(one, "1"), asked, two, result(two, "2"))
    assert renderer().render(Conversation(turns), think=False).token_ids


def test_a_whole_turn_with_tools_and_effort() -> None:
    weather = ToolDefinition("weather", "Tells it.", {"type": "object", "properties": {"city": {}}})
    items = (
        Message.of("developer", "Be brief."),
        USER,
        Thinking("Two cities."),
        Message.of("assistant", "Let me see."),
        ROME,
        OSLO,
        result(OSLO, "9 °C"),
        result(ROME, "21 °C"),
    )
    conversation = Conversation(items, (weather, ToolDefinition("now")), "low", 256)
    assert prompt_text(conversation, think=True) == (
        "<|im_start|>system\nBe brief.\n\n# Tools\n"
        '{"name":"weather","description":"Tells it.","parameters":{"type":"object","properties":{"city":{}}}}\n'
        '{"name":"now"}\n\n'
        "Reasoning effort: low. Thinking budget: 256 tokens.<|im_end|>\n"
        "<|im_start|>user\nWeather?<|im_end|>\n"
        "<|im_start|>assistant\n[think]Two cities.[/think]Let me see."
        '[call]weather\n{"city":"Rome"}[/call][call]weather\n{"city":"Oslo"}[/call]<|im_end|>\n'
        "<|im_start|>tool\n2 weather\n9 °C<|im_end|>\n"
        "<|im_start|>tool\n1 weather\n21 °C<|im_end|>\n"
        "<|im_start|>assistant\n[think]"
    )


def test_custom_tools_and_their_calls_are_written_as_text() -> None:
    tools = (
        ToolDefinition("say", "Says it.", custom=FreeInput()),
        ToolDefinition("code", custom=RegexInput("[A-Z]+")),
        ToolDefinition("sum", custom=LarkInput('start: "1"')),
    )
    call = ToolCall("call_s", "say", 'print("é")\n', custom=True)
    text = prompt_text(Conversation((USER, call, result(call, "é")), tools))
    assert (
        '# Tools\n{"name":"say","description":"Says it.","input":{"type":"text"}}\n'
        '{"name":"code","input":{"type":"text","regex":"[A-Z]+"}}\n'
        '{"name":"sum","input":{"type":"text","lark":"start: \\"1\\""}}<|im_end|>'
    ) in text
    assert '[call]say\nprint("é")\n[/call]<|im_end|>\n<|im_start|>tool\n1 say\né<|im_end|>' in text


def test_tools_and_effort_follow_the_default_instructions_where_there_are_no_others() -> None:
    text = prompt_text(Conversation((USER,), effort="high"))
    assert text.startswith(
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\n\n"
        "Reasoning effort: high.<|im_end|>\n<|im_start|>user\n"
    )


def test_the_first_developer_message_leads_and_later_ones_stay_in_place() -> None:
    said = (Message.of("developer", "A"), Message.of("system", "B"), USER, Message.of("developer", "C"))
    assert prompt_text(Conversation(said, effort="low")).startswith(
        "<|im_start|>system\nA\n\nReasoning effort: low.<|im_end|>\n<|im_start|>system\nB<|im_end|>\n"
        "<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>system\nC<|im_end|>\n"
    )


def test_thinking_is_kept_within_a_turn_and_dropped_with_the_next_user_message() -> None:
    turn: tuple[Item, ...] = (USER, Thinking("one"), ROME, result(ROME, "21"), Thinking("two"))
    within = prompt_text(Conversation(turn), think=True)
    assert "[think]one[/think][call]" in within
    assert "[think]two[/think]<|im_end|>" in within
    after = prompt_text(Conversation((*turn, Message.of("assistant", "Warm."), USER)), think=True)
    assert "one" not in after
    assert "two" not in after
    assert after.endswith("[think]")


def test_without_thinking_no_thinking_marker_is_in_the_prompt() -> None:
    prompt = renderer().render(Conversation((USER, Thinking("one"), Message.of("assistant", "x"))), think=False)
    markers = renderer().thinking
    assert markers is not None
    assert not {markers.start_id, *markers.end_ids} & set(prompt.token_ids)


def test_results_of_a_later_step_keep_counting_within_the_turn() -> None:
    items = (USER, ROME, result(ROME, "21"), OSLO, result(OSLO, "9"))
    assert "tool\n1 weather\n21<" in prompt_text(Conversation(items))
    assert "tool\n2 weather\n9<" in prompt_text(Conversation(items))
    later = (*items, USER, ROME, result(ROME, "22"))
    assert "tool\n1 weather\n22<" in prompt_text(Conversation(later))


def test_an_output_continues_its_prompt_as_the_history_will_show_it() -> None:
    output = (Thinking("Two."), ROME, OSLO)
    prompt = renderer().render(Conversation((USER,)), think=True)
    history = renderer().render(Conversation((USER, *output, result(ROME, "21"))), think=True)
    written = (*prompt.token_ids, *renderer().render_output(output))
    assert history.token_ids[: len(written)] == written


def test_images_have_their_places() -> None:
    parts = (Text("See "), Image("one", 3), Text(" and "), Image("two", 2))
    items = (Message("user", parts), ROME, ToolResult("call_r", (Image("three", 1),)))
    prompt = renderer().render(Conversation(items), think=False)
    placeholder = forethought_tokenizer().special_id(Markers().image)
    covered = {p for image in prompt.images for p in range(image.position, image.position + image.tokens)}
    assert [(image.content_hash, image.tokens) for image in prompt.images] == [("one", 3), ("two", 2), ("three", 1)]
    assert covered == {p for p, token in enumerate(prompt.token_ids) if token == placeholder}
    assert isinstance(prompt.images[0], ImagePlace)


@st.composite
def hostile_conversations(draw: st.DrawFn, content: st.SearchStrategy[str]) -> Conversation:
    """Every place that content can stand in, filled from `content`."""
    said = [Message(draw(roles), (Text(draw(content)), Text(draw(content)))) for _ in range(2)]
    call = ToolCall(draw(content), draw(tool_names), draw(json_objects(content).map(json.dumps) | content))
    custom = ToolCall(f"{call.call_id}2", draw(tool_names), draw(content), custom=True)
    items = (*said, USER, Thinking(draw(content)), call, custom, ToolResult(call.call_id, (Text(draw(content)),)))
    tool = ToolDefinition(draw(tool_names), draw(content), draw(json_objects(content)))
    bound = ToolDefinition(draw(tool_names), draw(content), custom=RegexInput(draw(content)))
    return Conversation(items, (tool, bound), "medium", 100)


@given(st.data(), st.booleans())
def test_no_content_ever_becomes_a_reserved_token(data: st.DataObject, think: bool) -> None:
    hostile = data.draw(hostile_conversations(texts))
    harmless = Conversation(tuple(map(_harmless, hostile.items)), (ToolDefinition("t"),), "medium", 100)
    rendered = renderer().render(hostile, think=think).token_ids
    assert specials(rendered) == specials(renderer().render(harmless, think=think).token_ids)


def _harmless(item: Item) -> Item:
    match item:
        case Message(role, _):
            return Message.of(role, "x")
        case Thinking():
            return Thinking("x")
        case ToolCall(call_id, _, _):
            return ToolCall(call_id, "x", "{}")
        case ToolResult(call_id, _):
            return ToolResult(call_id, (Text("x"),))


@given(texts, texts)
def test_content_comes_back_from_the_prompt_unchanged(instructions: str, text: str) -> None:
    items = (Message.of("system", instructions), Message.of("user", text))
    rendered = renderer().render(Conversation(items), think=False).token_ids
    expected = f"<|im_start|>system\n{instructions}<|im_end|>\n<|im_start|>user\n{text}<|im_end|>\n"
    assert forethought_tokenizer().decode(rendered) == f"{expected}<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ((), "empty"),
        ((USER, ToolResult("call_x", (Text("21"),))), "'call_x' has no call"),
        ((USER, result(ROME, "21"), ROME), "'call_r' has no call"),
        ((USER, ToolCall("c", "two words", "{}")), "'two words' is no name"),
        ((Message.of("user", "half \ud83d"),), "surrogate"),
        ((Message("user", (Image("h", 0),)),), "no place"),
    ],
)
def test_what_cannot_be_rendered_is_refused(items: tuple[Item, ...], says: str) -> None:
    with pytest.raises(RenderError, match=says):
        renderer().render(Conversation(items), think=False)


def test_a_tool_needs_a_name() -> None:
    with pytest.raises(RenderError, match="is no name"):
        renderer().render(Conversation((USER,), (ToolDefinition("a\nb"),)), think=False)


def test_a_tokenizer_without_the_markers_is_refused() -> None:
    with pytest.raises(CheckpointError, match="issue_start"):
        ForethoughtRenderer(Tokenizer(backend("smollm2").to_str()))


def test_two_markers_cannot_share_a_token() -> None:
    options = ForethoughtOptions(markers=Markers(think_open="<issue_closed>"))
    with pytest.raises(CheckpointError, match="same token"):
        ForethoughtRenderer(forethought_tokenizer(), options)


def manifest(directory: Path, **renderer: Any) -> Path:
    (directory / MANIFEST).write_text(json.dumps({"schema_version": 1, "renderer": renderer}))
    return directory


def test_the_manifest_names_the_renderer_and_its_markers(tmp_path: Path) -> None:
    swapped = {"think_open": "<jupyter_output>", "call_close": "<issue_start>"}
    directory = manifest(tmp_path, name="forethought", version=1, markers=swapped, default_instructions="Be kind.")
    loaded = load_renderer(directory, forethought_tokenizer())
    assert (loaded.name, loaded.version) == ("forethought", 1)
    assert loaded.thinking is not None
    assert loaded.thinking.start_id == forethought_tokenizer().special_id("<jupyter_output>")
    assert "Be kind." in forethought_tokenizer().decode(loaded.render(Conversation((USER,)), think=False).token_ids)
    again = manifest(tmp_path, name="forethought", version=1, **loaded.options)
    assert load_renderer(again, forethought_tokenizer()).options == loaded.options
    assert loaded.options != renderer().options


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"name": "forethought", "version": 2}, "forethought 2"),
        ({"name": "other", "version": 1}, "other 1"),
        ({"name": "forethought", "version": 1, "marker": {}}, "marker"),
        ({"name": "forethought", "version": 1, "markers": {"think": "<x>"}}, "markers.think"),
    ],
)
def test_a_renderer_that_does_not_exist_is_refused(tmp_path: Path, declared: dict[str, Any], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        load_renderer(manifest(tmp_path, **declared), forethought_tokenizer())
