"""A checkpoint's own chat template: what transformers makes of it, token for token, but content stays content."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from transformers import PreTrainedTokenizerFast

from chat_formats import (
    FAMILIES,
    SPELLINGS,
    backend,
    ids,
    json_objects,
    renderer,
    template_renderer,
    texts,
    tokenizer_of,
    tool_names,
)
from forethought.errors import CheckpointError, RenderError
from forethought.model.conversation import (
    Conversation,
    CustomInput,
    FreeInput,
    Image,
    Item,
    LarkInput,
    Message,
    RegexInput,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from forethought.model.layout import CHAT_TEMPLATE, MANIFEST, TOKENIZER_CONFIG
from forethought.model.renderer import load_renderer
from forethought.model.renderer.template import TemplateRenderer
from forethought.model.renderer.template_files import TemplateFiles
from forethought.model.tokenizer import Tokenizer

USER = Message.of("user", "Weather?")
ROME = ToolCall("call00001", "weather", '{"city": "Rome", "days": [1, 2.5, null]}')
OSLO = ToolCall("call00002", "weather", '{"city": "Öslo"}')
WEATHER = ToolDefinition(
    "weather", "Tells the <b>weather</b>.", {"type": "object", "properties": {"city": {"type": "string"}}}
)


def result(call: ToolCall, text: str) -> ToolResult:
    return ToolResult(call.call_id, (Text(text),))


def say(role: Any, text: str) -> Message:
    return Message.of(role, text)


CONVERSATIONS: dict[str, tuple[Item, ...]] = {
    "a question": (say("user", " Hi,\n\n what is 2 > 1 & 1 < 2? \n"),),
    "instructions": (say("system", "\tBe brief. \n"), USER),
    "several turns": (say("user", "Hi"), say("assistant", "\n Hello > you. \n"), say("user", "é 😀 \n\n\nand 中文?")),
    "instructions and turns": (say("developer", "S"), USER, say("assistant", "Warm."), USER),
    "empty texts": (say("system", ""), say("user", ""), say("assistant", ""), USER),
    "one call": (USER, ROME, result(ROME, '{"t": 21}')),
    "parallel calls": (
        say("system", "S"),
        USER,
        Thinking("Two\ncities.\n"),
        say("assistant", "Let me see."),
        ROME,
        OSLO,
        result(ROME, "21 °C"),
        result(OSLO, " 9 °C\n"),
    ),
    "calls over turns": (
        USER,
        Thinking("before"),
        ROME,
        result(ROME, "21"),
        Thinking("between"),
        say("assistant", "21."),
        say("user", "Oslo?"),
        Thinking("now"),
        OSLO,
        result(OSLO, "9"),
    ),
}


def transformers_messages(items: Sequence[Item], *, think: bool) -> list[dict[str, Any]]:
    """The conversation as a user of transformers would write it, thinking of past turns left out."""
    last_user = max(i for i, item in enumerate(items) if isinstance(item, Message) and item.role == "user")
    names = {item.call_id: item.name for item in items if isinstance(item, ToolCall)}
    messages: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        open_message = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
        match item:
            case Message("assistant", _) if open_message is not None and open_message["content"] == "":
                open_message["content"] = item.text
            case Message(role, _):
                messages.append({"role": "system" if role == "developer" else role, "content": item.text})
            case Thinking(text):
                if think and index > last_user:
                    messages.append({"role": "assistant", "content": "", "reasoning_content": text})
            case ToolCall(call_id, name, arguments):
                if open_message is None:
                    messages.append(open_message := {"role": "assistant", "content": ""})
                function = {"name": name, "arguments": json.loads(arguments)}
                call = {"type": "function", "id": call_id, "function": function}
                open_message.setdefault("tool_calls", []).append(call)
            case ToolResult(call_id, _):
                named = {"name": names[call_id], "tool_call_id": call_id}
                messages.append({"role": "tool", **named, "content": item.text})
    return messages


def transformers_ids(
    tokens: Backend, family: str, items: Sequence[Item], *, tools: bool = False, think: bool = False
) -> tuple[int, ...]:
    named = FAMILIES[family]
    theirs = PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token=named.bos, eos_token=named.eos)
    function = {"name": WEATHER.name, "description": WEATHER.description, "parameters": dict(WEATHER.parameters or {})}
    return tuple(
        theirs.apply_chat_template(
            transformers_messages(items, think=think),
            tools=[{"type": "function", "function": function}] if tools else None,
            chat_template=named.source,
            add_generation_prompt=True,
            enable_thinking=think,
            return_dict=False,
        )
    )


REFUSED = {("llama3", "parallel calls")}


@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_is_the_one_that_transformers_makes(family: str, conversation: str) -> None:
    items = CONVERSATIONS[conversation]
    tools = "call" in conversation and family.startswith("qwen")
    if (family, conversation) in REFUSED:
        with pytest.raises(TemplateError):
            transformers_ids(backend(family), family, items, tools=tools)
        with pytest.raises(RenderError, match="refuses"):
            render(family, items, tools=tools)
        return
    theirs = transformers_ids(backend(family), family, items, tools=tools)
    if family == "deepseek-r1":  # its template opens the thinking, whatever one asks for
        theirs = (*theirs[:-1], *ids(family, "\n\n</think>\n\n"))
    assert render(family, items, tools=tools) == theirs


def render(family: str, items: Sequence[Item], *, tools: bool = False, think: bool = False) -> tuple[int, ...]:
    conversation = Conversation(tuple(items), (WEATHER,) if tools else ())
    return template_renderer(family).render(conversation, think=think).token_ids


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_with_thinking_the_prompt_goes_on_to_the_opening_marker(conversation: str) -> None:
    items, tools = CONVERSATIONS[conversation], "call" in conversation
    theirs = transformers_ids(backend("qwen3"), "qwen3", items, tools=tools, think=True)
    assert render("qwen3", items, tools=tools, think=True) == (*theirs, *ids("qwen3", "<think>\n"))


def test_a_template_that_opens_the_thinking_itself_is_left_alone() -> None:
    theirs = transformers_ids(backend("deepseek-r1"), "deepseek-r1", (USER,))
    prompt = template_renderer("deepseek-r1").render(Conversation((USER,)), think=True)
    assert prompt.token_ids == theirs
    assert prompt.thinking_open


@given(st.sampled_from(sorted(FAMILIES)), st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_any_harmless_text_is_encoded_as_transformers_does(family: str, said: list[str]) -> None:
    kept = [text for text in said if not any(part in text for part in ("<", ">", "[", "]"))] or ["x"]
    roles = ["user", "assistant"] * len(kept)
    items = [say(role, text) for role, text in zip(roles, kept, strict=False)]
    items += [] if items[-1].role == "user" else [USER]
    theirs = transformers_ids(backend(family), family, items)
    assert render(family, items, think=family == "deepseek-r1") == theirs


def sentencepiece(family: str, *, legacy: bool) -> Backend:
    """A tokenizer like Llama 2's (a space before every stretch of text) or Mistral's (before the first one only)."""
    tokens = Backend(models.BPE(byte_fallback=True))
    tokens.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokens.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    alphabet = [*map(chr, range(33, 127)), "▁", "\n"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokens.train_from_iterator(["weather in the city", *byte_tokens] * 3, trainer)
    if legacy:
        source = json.loads(tokens.to_str())
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        prepend = {"type": "Prepend", "prepend": "▁"}
        source |= {"pre_tokenizer": None, "normalizer": {"type": "Sequence", "normalizers": [prepend, replace]}}
        tokens = Backend.from_str(json.dumps(source))
    tokens.add_special_tokens([AddedToken(token, normalized=False) for token in FAMILIES[family].special])
    return tokens


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("conversation", ["a question", "instructions", "one call"])
def test_sentencepiece_puts_its_spaces_where_transformers_has_them(conversation: str, legacy: bool) -> None:
    tokens = sentencepiece("mistral", legacy=legacy)
    names = {"bos_token": "<s>", "eos_token": "</s>"}
    ours = TemplateRenderer(Tokenizer(tokens.to_str()), TemplateFiles(FAMILIES["mistral"].source, None, names))
    items = CONVERSATIONS[conversation]
    prompt = ours.render(Conversation(items), think=False)
    assert prompt.token_ids == transformers_ids(tokens, "mistral", items)


@st.composite
def contents(draw: st.DrawFn, content: st.SearchStrategy[str]) -> Conversation:
    """A conversation of one shape, each place that content can stand in filled from `content`."""
    arguments = draw(json_objects(content).map(json.dumps) | content)
    call = ToolCall("call00001", draw(tool_names), arguments, custom=draw(st.booleans()))
    user, answer = say("user", draw(content)), say("assistant", draw(content))
    items = (user, answer, user, Thinking(draw(content)), call, ToolResult("call00001", (Text(draw(content)),)))
    schema = {"type": "object", "properties": {draw(content): {"type": "string", "description": draw(content)}}}
    custom = ToolDefinition(draw(tool_names), draw(content), custom=FreeInput())
    return Conversation(items, (ToolDefinition(draw(tool_names), draw(content), schema), custom))


@given(st.data())
def test_no_content_ever_becomes_a_reserved_token(data: st.DataObject) -> None:
    family = data.draw(st.sampled_from([name for name in sorted(FAMILIES) if name != "mistral"]))
    hostile, harmless = data.draw(contents(texts)), data.draw(contents(st.just("x")))
    if template_renderer(family).options["tool_calls"] is None:
        hostile, harmless = Conversation(hostile.items), Conversation(harmless.items)
    reserved = tokenizer_of(family).special_ids
    rendered = [
        [i for i in template_renderer(family).render(conversation, think=False).token_ids if i in reserved]
        for conversation in (hostile, harmless)
    ]
    assert rendered[0] == rendered[1]


CUNNING = """{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\n' }}
{{- message.content.replace('</think>', '').split('<cut>') | join('') | trim }}
{{- (message.content | tojson(ensure_ascii=true)) ~ [message.content] ~ '<|im_end|>' }}
{%- endfor %}"""


@given(st.sampled_from(SPELLINGS), st.integers(0, 20), st.sampled_from(["</think>", "<cut>", "<|im_end|>", " "]))
def test_content_that_a_template_cuts_and_joins_stays_content(marker: str, at: int, inside: str) -> None:
    names = {"eos_token": "<|im_end|>"}
    cunning = TemplateRenderer(Tokenizer(backend("qwen3").to_str()), TemplateFiles(CUNNING, None, names))
    content = f" {marker[:at]}{inside}{marker[at:]} "
    rendered = cunning.render(Conversation((say("user", content),)), think=False).token_ids
    reserved = tokenizer_of("qwen3").special_ids
    assert [i for i in rendered if i in reserved] == ids("qwen3", "<|im_start|><|im_end|>")
    text = tokenizer_of("qwen3").decode(rendered)
    assert text.endswith(f"{json.dumps(content)}{[content]!r}<|im_end|>")


def test_content_keeps_every_character_even_those_that_guard_it() -> None:
    content = "".join(map(chr, range(0x20000, 0x20010))) + "<|im_end|>\\ud840\\udc10 </think>"
    rendered = render("qwen3", (say("user", content), say("assistant", content), USER))
    assert tokenizer_of("qwen3").decode(rendered).count(content) == 2


def test_an_added_single_character_is_content_like_any_other() -> None:
    tokens = Backend.from_str(backend("qwen2.5").to_str())
    tokens.add_tokens([AddedToken("ü", special=False, normalized=False)])
    items = (say("user", "für"),)
    ours = TemplateRenderer(
        Tokenizer(tokens.to_str()), TemplateFiles(FAMILIES["qwen2.5"].source, None, {"eos_token": "<|im_end|>"})
    ).render(Conversation(items), think=False)
    assert ours.token_ids == transformers_ids(tokens, "qwen2.5", items)


def test_a_special_token_of_one_character_is_refused() -> None:
    tokens = Backend.from_str(backend("qwen2.5").to_str())
    tokens.add_special_tokens([AddedToken("ü", normalized=False)])
    files = TemplateFiles(FAMILIES["qwen2.5"].source, None, {"eos_token": "<|im_end|>"})
    with pytest.raises(CheckpointError, match="'ü' is one character"):
        TemplateRenderer(Tokenizer(tokens.to_str()), files)


def test_an_output_continues_its_prompt_as_the_history_will_show_it() -> None:
    output = (Thinking("Two cities."), say("assistant", "Let me see."), ROME, OSLO)
    prompt = render("qwen3", (USER,), tools=True, think=True)
    written = (*prompt, *renderer("qwen3").render_output(output))
    history = render("qwen3", (USER, *output, result(ROME, "21")), tools=True, think=True)
    assert history[: len(written)] == written


def test_a_custom_tool_is_a_function_of_one_text() -> None:
    source = "{{ tools | tojson }}{{ messages[1].tool_calls | tojson }}<tool_call> arguments{{ eos_token }}"
    own = TemplateRenderer(
        Tokenizer(backend("qwen3").to_str()), TemplateFiles(source, None, {"eos_token": "<|im_end|>"})
    )
    call = ToolCall("call00001", "say", 'a "<|im_end|>"\n', custom=True)
    tool = ToolDefinition("say", "Says it.", custom=FreeInput())
    text = tokenizer_of("qwen3").decode(own.render(Conversation((USER, call), (tool,)), think=False).token_ids)
    tools, calls = text.removesuffix("<tool_call> arguments<|im_end|>").split("}][{")
    assert json.loads(f"{tools}}}]")[0]["function"]["parameters"]["required"] == ["input"]
    assert json.loads(f"[{{{calls}")[0]["function"] == {"name": "say", "arguments": {"input": call.arguments}}


def test_an_output_with_custom_calls_is_continued_as_the_history_will_show_it() -> None:
    call = ToolCall("call00001", "say", 'é "quoted"\n\\ <b>', custom=True)
    output = (Thinking("Hm."), call, OSLO)
    written = (*render("qwen3", (USER,), think=True), *renderer("qwen3").render_output(output))
    assert render("qwen3", (USER, *output, result(call, "x")), think=True)[: len(written)] == written


@pytest.mark.parametrize("custom", [RegexInput("a+"), LarkInput('start: "a"')])
def test_a_custom_tool_whose_input_must_follow_a_grammar_is_refused(custom: CustomInput) -> None:
    with pytest.raises(RenderError, match="The input of the tool say follows a regex or a grammar"):
        template_renderer("qwen3").render(Conversation((USER,), (ToolDefinition("say", custom=custom),)), think=False)


def test_effort_and_budget_reach_templates_that_ask_for_them() -> None:
    source = "{{ reasoning_effort }} {{ thinking_budget }}{{ eos_token }}"
    own = TemplateRenderer(
        Tokenizer(backend("qwen3").to_str()), TemplateFiles(source, None, {"eos_token": "<|im_end|>"})
    )
    prompt = own.render(Conversation((USER,), effort="low", budget=64), think=False)
    assert tokenizer_of("qwen3").decode(prompt.token_ids) == "low 64<|im_end|>"


@pytest.mark.parametrize(
    ("family", "thinking", "tool_calls", "stops"),
    [
        ("smollm2", None, None, ["<|im_end|>"]),
        ("qwen2.5", None, "hermes", ["<|im_end|>"]),
        ("qwen3", {"open": "<think>\n", "close": "\n</think>\n\n"}, "hermes", ["<|im_end|>"]),
        ("llama3", None, None, ["<|eot_id|>"]),
        ("mistral", None, None, ["</s>"]),
        ("deepseek-r1", {"open": "<think>\n", "close": "\n</think>\n\n"}, None, ["</s>"]),
    ],
)
def test_the_format_of_outputs_is_detected(
    family: str, thinking: dict[str, str] | None, tool_calls: str | None, stops: list[str]
) -> None:
    own = template_renderer(family)
    assert own.options["thinking"] == thinking
    assert own.options["tool_calls"] == tool_calls
    assert [tokenizer_of(family).decode([stop]) for stop in own.stop_token_ids] == stops


def test_the_end_of_a_turn_is_found_even_where_the_tokenizer_names_another_end() -> None:
    files = TemplateFiles(FAMILIES["qwen2.5"].source, None, {"eos_token": "<|endoftext|>"})
    own = TemplateRenderer(Tokenizer(backend("qwen2.5").to_str()), files)
    assert own.stop_token_ids == tuple(ids("qwen2.5", "<|im_end|><|endoftext|>"))


def test_thinking_is_forced_to_an_end_with_its_line_break() -> None:
    markers = template_renderer("qwen3").thinking
    assert markers is not None
    assert markers.single
    assert [markers.start_id] == ids("qwen3", "<think>")
    assert list(markers.end_ids) == ids("qwen3", "\n</think>")


def test_markers_of_plain_text_say_that_no_single_token_announces_them() -> None:
    markers = template_renderer("qwen3 in plain text").thinking
    assert markers is not None
    assert not markers.single
    assert tokenizer_of("qwen3 in plain text").decode(markers.end_ids) == "\n</think>"


@pytest.mark.parametrize(
    ("family", "conversation", "think", "says"),
    [
        ("qwen2.5", Conversation((USER,)), True, "no markers for thinking"),
        ("llama3", Conversation((USER,), (WEATHER,)), False, "calls tools in a format that is not known"),
        ("qwen3", Conversation((Message("user", (Image("h", 1),)),)), False, "no place for images"),
        ("qwen3", Conversation((USER, result(ROME, "21"))), False, "has no call"),
        ("qwen3", Conversation(()), False, "empty"),
        ("qwen3", Conversation((say("user", "\ud83d"),)), False, "surrogate"),
        ("mistral", Conversation((say("assistant", "<Hi>"),)), False, "must alternate"),
    ],
)
def test_what_the_format_cannot_express_is_refused(
    family: str, conversation: Conversation, think: bool, says: str
) -> None:
    with pytest.raises(RenderError, match=says):
        template_renderer(family).render(conversation, think=think)


@pytest.mark.parametrize("family", ["qwen2.5", "llama3"])
def test_an_output_that_the_format_has_no_words_for_is_refused(family: str) -> None:
    with pytest.raises(RenderError):
        renderer(family).render_output((Thinking("x"),) if family == "qwen2.5" else (ROME,))


def test_arguments_that_are_no_object_reach_the_template_as_text() -> None:
    for arguments in ("not json", '"\\ud83d"', '{"a": "\\ud83d"}'):
        call = ToolCall("call00001", "weather", arguments)
        text = tokenizer_of("qwen3").decode(render("qwen3", (USER, call, result(call, "21"))))
        assert f'"arguments": {arguments}' in text


def directory(path: Path, config: dict[str, Any], **files: str) -> Path:
    (path / TOKENIZER_CONFIG).write_text(json.dumps({"eos_token": {"content": "<|im_end|>"}, **config}))
    for name, text in files.items():
        (path / {"template": CHAT_TEMPLATE, "manifest": MANIFEST}[name]).write_text(text)
    return path


def loaded_prompt(path: Path, conversation: Conversation) -> str:
    tokenizer = tokenizer_of("qwen3")
    return tokenizer.decode(load_renderer(path, tokenizer).render(conversation, think=False).token_ids)


def test_a_directory_without_a_manifest_speaks_through_its_template(tmp_path: Path) -> None:
    path = directory(tmp_path, {"chat_template": "old"}, template=FAMILIES["qwen3"].source)
    assert loaded_prompt(path, Conversation((USER,))).startswith("<|im_start|>user\nWeather?<|im_end|>\n")


def test_the_template_may_stand_in_the_tokenizers_config(tmp_path: Path) -> None:
    assert (
        loaded_prompt(directory(tmp_path, {"chat_template": "Q{{ eos_token }}"}), Conversation((USER,)))
        == "Q<|im_end|>"
    )


def test_a_second_template_is_used_for_conversations_with_tools(tmp_path: Path) -> None:
    named = [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "<tool_call> arguments"}]
    path = directory(tmp_path, {"chat_template": named})
    assert loaded_prompt(path, Conversation((USER,))) == "D"
    assert loaded_prompt(path, Conversation((USER,), (WEATHER,))) == "<tool_call> arguments"


def test_what_is_declared_beats_what_is_detected(tmp_path: Path) -> None:
    declared = {"thinking": {"open": "<hm>", "close": "</hm>"}, "tool_calls": None}
    manifest = {"schema_version": 1, "renderer": {"name": "template", "version": 1, **declared}}
    path = directory(tmp_path, {}, template=FAMILIES["qwen3"].source, manifest=json.dumps(manifest))
    loaded = load_renderer(path, tokenizer_of("qwen3"))
    assert loaded.options["thinking"] == declared["thinking"]
    assert loaded.options["tool_calls"] is None
    prompt = loaded.render(Conversation((USER,)), think=True)
    assert tokenizer_of("qwen3").decode(prompt.token_ids).endswith("<|im_start|>assistant\n<hm>")


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"thinking": {"open": "\n", "close": "</x>"}}, "thinking marker"),
        ({"thinking": {"open": "\n<x>", "close": "</x>"}}, "chat template"),
        ({"thinking": {"open": "<x>", "close": "<x>>"}}, "told apart"),
        ({"tool_calls": "xml"}, "tool_calls"),
        ({"template": "x"}, "template"),
    ],
)
def test_options_that_cannot_work_are_refused(declared: dict[str, Any], says: str) -> None:
    files = TemplateFiles(FAMILIES["qwen3"].source, None, {"eos_token": "<|im_end|>"})
    with pytest.raises(CheckpointError, match=says):
        TemplateRenderer(tokenizer_of("qwen3"), files, declared)


def test_a_directory_without_any_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no chat template"):
        load_renderer(directory(tmp_path, {}), tokenizer_of("qwen3"))


def test_a_template_that_does_not_compile_is_refused() -> None:
    with pytest.raises(CheckpointError, match="does not compile"):
        TemplateRenderer(tokenizer_of("qwen3"), TemplateFiles("{% if %}", None, {}))


def test_a_format_without_an_end_is_refused() -> None:
    with pytest.raises(CheckpointError, match="ends an answer"):
        TemplateRenderer(tokenizer_of("qwen3"), TemplateFiles("x", None, {}))


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{% set ns = namespace(_x=1) %}",
        "{% set ns = namespace() %}{% set ns._x = 1 %}",
        "{{ dict.mro() }}",
        "{{ raise_exception('no') }}",
        "{{ messages[9].content }}",
    ],
)
def test_a_template_stays_in_its_sandbox(source: str) -> None:
    files = TemplateFiles(source, None, {"eos_token": "<|im_end|>"})
    own = TemplateRenderer(tokenizer_of("qwen3"), files)
    with pytest.raises(RenderError, match="refuses"):
        own.render(Conversation((USER,)), think=False)


def test_normalizers_see_the_text_between_markers_only() -> None:
    tokens = Backend.from_str(backend("qwen2.5").to_str())
    tokens.normalizer = normalizers.NFC()
    items = (say("user", "e\u0301"),)
    files = TemplateFiles(FAMILIES["qwen2.5"].source, None, {"eos_token": "<|im_end|>"})
    ours = TemplateRenderer(Tokenizer(tokens.to_str()), files).render(Conversation(items), think=False)
    assert ours.token_ids == transformers_ids(tokens, "qwen2.5", items)
