"""From a conversation to a request, and from its tokens to the events of a turn, with a real checkpoint's renderer."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chat_formats import renderer, tokenizer_of
from forethought.engine.protocol import EngineEvent, Finished, Grammar, Request, Sampling, TokenEvent
from forethought.errors import ContextLengthError, GrammarError, RequestError
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import (
    Conversation,
    FreeInput,
    Image,
    Item,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolDefinition,
    ToolResult,
)
from forethought.reasoning.effort import BUDGET, answer_reserve, thinking_budget
from forethought.reasoning.events import Event, ItemDone, TextDelta
from forethought.reasoning.format import JsonSchema, Lark, Regex
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.tool_choice import AllowedTools, ForcedTool
from turn_laws import answer, check_laws, done

QUESTION = Conversation((Message.of("user", "What is two and two?"),))
ADD = ToolDefinition("add", "Adds two numbers.")


class ReplayStream:
    def __init__(self, token_ids: Iterable[int], prompt_tokens: int) -> None:
        self._tokens = list(token_ids)
        self._finished = Finished("stop_token", prompt_tokens, 0, len(self._tokens))
        self._over = False

    def __aiter__(self) -> "ReplayStream":
        return self

    async def __anext__(self) -> EngineEvent:
        if self._tokens:
            return TokenEvent(self._tokens.pop(0))
        if self._over:
            raise StopAsyncIteration
        self._over = True
        return self._finished

    def ready(self) -> list[EngineEvent]:
        return []

    async def aclose(self) -> None:
        self._over = True


class ReplayEngine:
    """Answers each request with the same tokens, and remembers the last one."""

    digest = "sha256:0"

    def __init__(self, context_length: int = 8192) -> None:
        self.context_length = context_length
        self.token_ids: tuple[int, ...] = ()
        self.request: Request | None = None

    def submit(self, request: Request) -> ReplayStream:
        self.request = request
        return ReplayStream(self.token_ids, len(request.prompt_ids))

    def cancel(self, request_id: str) -> None:
        pass


@pytest.fixture(scope="session")
def thinker(checkpoint: Checkpoint) -> Checkpoint:
    """The same checkpoint, declaring that it thinks."""
    return replace(checkpoint, capabilities=checkpoint.capabilities.model_copy(update={"thinks": True}))


def requested(checkpoint: Checkpoint, conversation: Conversation = QUESTION, **options: Any) -> Request:
    """The request that a turn makes of a conversation."""
    engine = ReplayEngine(options.pop("context_length", 8192))
    Reasoner(checkpoint, engine).turn(conversation, **options)  # type: ignore[arg-type]
    assert engine.request is not None
    return engine.request


def events_of(
    checkpoint: Checkpoint, token_ids: Iterable[int], conversation: Conversation = QUESTION, **options: Any
) -> list[Event]:
    """The events of a turn in which the model says these tokens."""
    engine = ReplayEngine()
    engine.token_ids = tuple(token_ids)

    async def collect() -> list[Event]:
        turn = Reasoner(checkpoint, engine).turn(conversation, **options)  # type: ignore[arg-type]
        return [event async for event in turn]

    return asyncio.run(collect())


def said(checkpoint: Checkpoint, request: Request) -> str:
    return checkpoint.tokenizer.decode(request.prompt_ids)


def test_the_prompt_is_the_renderers(checkpoint: Checkpoint) -> None:
    rendered = checkpoint.renderer.render(QUESTION, think=False)
    assert requested(checkpoint).prompt_ids == rendered.token_ids


def test_an_output_ends_at_the_stop_tokens_of_renderer_and_generation_defaults(checkpoint: Checkpoint) -> None:
    defaults = replace(checkpoint.generation, stop_token_ids=(5,))
    stops = requested(replace(checkpoint, generation=defaults)).limits.stop_token_ids
    assert set(stops) == {5, *checkpoint.renderer.stop_token_ids}


def test_no_stop_token_is_part_of_the_answer(checkpoint: Checkpoint) -> None:
    (stop,) = checkpoint.tokenizer.encode("Z")
    own = replace(checkpoint, generation=replace(checkpoint.generation, stop_token_ids=(stop,)))
    said = events_of(own, [*checkpoint.tokenizer.encode("Four."), stop])
    assert "".join(event.text for event in said if isinstance(event, TextDelta)) == "Four."


def test_sampling_is_the_checkpoints_own_unless_overridden(checkpoint: Checkpoint) -> None:
    defaults = replace(checkpoint.generation, temperature=0.2, top_p=0.9)
    own = replace(checkpoint, generation=defaults)
    assert requested(own).sampling == Sampling(temperature=0.2, top_p=0.9)
    overridden = requested(own, sampling={"temperature": 0.7, "presence_penalty": 1.0}, seed=3)
    assert overridden.sampling == Sampling(temperature=0.7, top_p=0.9, presence_penalty=1.0, seed=3)


def test_sampling_out_of_range_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(RequestError, match="top_p"):
        requested(checkpoint, sampling={"top_p": 0.0})


def test_an_effort_is_told_to_the_model_and_enforced_by_the_engine(thinker: Checkpoint) -> None:
    request = requested(thinker, effort="low")
    assert "Reasoning effort: low. Thinking budget: 256 tokens." in said(thinker, request)
    assert request.limits.thinking is not None
    assert request.limits.thinking.max_tokens == BUDGET["low"]
    assert request.limits.thinking.open_at_start


def test_without_an_effort_a_thinking_model_gets_the_default(thinker: Checkpoint) -> None:
    assert "Reasoning effort: medium." in said(thinker, requested(thinker))


def test_the_effort_of_the_conversation_counts_when_the_turn_names_none(thinker: Checkpoint) -> None:
    wish = replace(QUESTION, effort="high")
    assert "Reasoning effort: high." in said(thinker, requested(thinker, wish))
    assert "Reasoning effort: low." in said(thinker, requested(thinker, wish, effort="low"))


def test_a_budget_in_the_conversation_replaces_that_of_the_effort(thinker: Checkpoint) -> None:
    request = requested(thinker, replace(QUESTION, budget=77), effort="high")
    assert request.limits.thinking is not None
    assert request.limits.thinking.max_tokens == 77


def test_the_prompts_of_one_conversation_begin_alike(thinker: Checkpoint) -> None:
    first = requested(thinker, context_length=512)
    longer = Conversation((*QUESTION.items, answer("Four."), Message.of("user", "And three?")))
    second = requested(thinker, longer, context_length=512)
    shared = len(first.prompt_ids) - 1  # all but the opening marker of the thinking
    assert second.prompt_ids[:shared] == first.prompt_ids[:shared]


def test_near_the_token_limit_the_engine_keeps_room_for_the_answer(thinker: Checkpoint) -> None:
    limits = requested(thinker, effort="high", max_output_tokens=100).limits
    assert limits.max_tokens == 100
    assert limits.thinking is not None
    assert limits.thinking.reserve == answer_reserve(100) == 25
    assert limits.thinking.max_tokens == thinking_budget("high", 8192, 100) == 75


def test_a_model_that_does_not_think_is_not_made_to(checkpoint: Checkpoint) -> None:
    limits = requested(checkpoint).limits
    assert limits.thinking is not None
    assert not limits.thinking.open_at_start
    assert limits.thinking.max_tokens == 0


def test_thinking_can_be_forced_and_turned_off(checkpoint: Checkpoint, thinker: Checkpoint) -> None:
    forced = requested(checkpoint, think=True).limits.thinking
    assert forced is not None
    assert forced.open_at_start
    off = requested(thinker, think=False)
    assert off.limits.thinking is not None
    assert not off.limits.thinking.open_at_start
    assert "Reasoning effort" not in said(thinker, off)


def test_an_effort_that_cannot_act_is_refused(checkpoint: Checkpoint, thinker: Checkpoint) -> None:
    with pytest.raises(RequestError, match="does not think"):
        requested(checkpoint, effort="low")
    with pytest.raises(RequestError, match="turned off"):
        requested(thinker, effort="low", think=False)


def test_a_format_without_thinking_cannot_be_made_to_think(checkpoint: Checkpoint) -> None:
    class Plain:
        def __getattr__(self, name: str) -> Any:
            return None if name == "thinking" else getattr(checkpoint.renderer, name)

    with pytest.raises(RequestError, match="no place for thinking"):
        requested(replace(checkpoint, renderer=Plain()), think=True)  # type: ignore[arg-type]


def test_a_grammar_binds_from_the_end_of_the_thinking(checkpoint: Checkpoint, thinker: Checkpoint) -> None:
    schema = JsonSchema({"type": "object"})
    markers = thinker.renderer.thinking
    assert markers is not None
    assert requested(thinker, output_format=schema).grammar == Grammar(
        "json_schema", '{"type": "object"}', markers.end_ids[-1]
    )
    assert requested(checkpoint, output_format=schema).grammar == Grammar("json_schema", '{"type": "object"}')


def test_each_format_becomes_its_grammar(checkpoint: Checkpoint) -> None:
    assert requested(checkpoint).grammar is None
    assert requested(checkpoint, output_format=Regex("a+")).grammar == Grammar("regex", "a+")
    assert requested(checkpoint, output_format=Lark('start: "a"')).grammar == Grammar("lark", 'start: "a"')


def test_a_schema_that_is_not_json_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(GrammarError, match="not JSON"):
        requested(checkpoint, output_format=JsonSchema({"const": {1, 2}}))


@pytest.mark.parametrize("option", [{"max_output_tokens": 0}, {"stop": ("",)}, {"logprobs": 21}, {"logprobs": -1}])
def test_an_option_that_cannot_act_is_refused(checkpoint: Checkpoint, option: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(option)) if "stop" not in option else "stop string"):
        requested(checkpoint, **option)


def test_tools_on_offer_bind_the_output_from_the_end_of_the_thinking(
    checkpoint: Checkpoint, thinker: Checkpoint
) -> None:
    offer = replace(QUESTION, tools=(ADD,))
    markers = thinker.renderer.thinking
    assert markers is not None
    bound = requested(thinker, offer)
    assert bound.grammar is not None
    assert (bound.grammar.kind, bound.grammar.start_after) == ("lark", markers.end_ids[-1])
    at_once = requested(checkpoint, offer)
    assert at_once.grammar == replace(bound.grammar, start_after=None)
    assert at_once.limits.thinking is None
    for other in ({"tool_choice": "none"}, {"parallel_tool_calls": False}, {"output_format": Regex("a+")}):
        assert requested(checkpoint, offer, **other).grammar != at_once.grammar


def test_a_choice_among_tools_needs_them_on_offer(checkpoint: Checkpoint) -> None:
    with pytest.raises(RequestError, match="none to choose from"):
        requested(checkpoint, tool_choice="required")
    with pytest.raises(RequestError, match="look was chosen"):
        requested(checkpoint, replace(QUESTION, tools=(ADD,)), tool_choice=ForcedTool("look"))


def test_a_tool_that_nothing_can_bind_is_refused_before_the_engine_hears_of_it(checkpoint: Checkpoint) -> None:
    odd = replace(ADD, parameters={"type": "object", "not": {}}, strict=True)
    with pytest.raises(GrammarError, match="The tool add cannot be offered"):
        requested(checkpoint, replace(QUESTION, tools=(odd,)))


def speaking(checkpoint: Checkpoint, family: str) -> Checkpoint:
    """The checkpoint with the chat template of a family."""
    return replace(checkpoint, tokenizer=tokenizer_of(family), renderer=renderer(family))


def test_what_must_follow_the_thinking_follows_the_layout_behind_it(checkpoint: Checkpoint) -> None:
    qwen, offer = speaking(checkpoint, "qwen3"), replace(QUESTION, tools=(ADD,))
    for think, start in ((True, 'start: "\\n\\n" (opening call'), (False, 'start: "" (opening call')):
        grammar = requested(qwen, offer, think=think, tool_choice="required").grammar
        assert grammar is not None
        assert grammar.source.startswith(start)
    pattern = Regex("[a-c]+")
    grammar = requested(qwen, think=True, output_format=pattern).grammar
    assert grammar is not None
    assert (grammar.kind, grammar.source.splitlines()[0]) == ("lark", 'start: "\\n\\n" answer')
    plain = requested(qwen, think=False, output_format=pattern).grammar
    assert plain is not None
    assert (plain.kind, plain.source) == ("regex", "[a-c]+")


@pytest.mark.parametrize("tools", [(), (ADD,)])
def test_an_answer_in_json_may_spell_the_marker_of_a_call(
    checkpoint: Checkpoint, tools: tuple[ToolDefinition, ...]
) -> None:
    plain = speaking(checkpoint, "qwen3 in plain text")
    text = '{"a": "<tool_call>"}'
    tokens = plain.tokenizer.encode(text)
    events = events_of(plain, tokens, replace(QUESTION, tools=tools), output_format=JsonSchema({"type": "object"}))
    assert [event.item for event in events if isinstance(event, ItemDone)] == [answer(text)]


def test_where_calls_stand_in_the_past_and_no_tool_is_offered_any_more_nothing_but_text_is_allowed(
    checkpoint: Checkpoint,
) -> None:
    assert requested(checkpoint).grammar is None
    past = (*QUESTION.items, ToolCall("call_1", "add", "{}"), ToolResult("call_1", (Text("4"),)))
    grammar = requested(checkpoint, Conversation(past)).grammar
    assert grammar is not None
    assert "call" not in grammar.source


def test_all_tools_are_told_to_the_model_whatever_the_choice(checkpoint: Checkpoint) -> None:
    offer = replace(QUESTION, tools=(ADD, replace(ADD, name="look")))
    prompts = {
        requested(checkpoint, offer, tool_choice=choice).prompt_ids
        for choice in ("auto", "none", "required", ForcedTool("look"), AllowedTools("auto", ("add",)))
    }
    assert len(prompts) == 1


def test_a_conversation_that_fills_the_context_is_refused_with_both_numbers(checkpoint: Checkpoint) -> None:
    length = len(requested(checkpoint).prompt_ids)
    with pytest.raises(ContextLengthError, match=rf"{length} tokens.* {length} "):
        requested(checkpoint, context_length=length)
    assert requested(checkpoint, context_length=length + 1).limits.max_tokens == 1


def test_an_output_may_fill_what_the_context_leaves(checkpoint: Checkpoint) -> None:
    request = requested(checkpoint, context_length=512, max_output_tokens=10_000)
    assert request.limits.max_tokens == 512 - len(request.prompt_ids)


@pytest.mark.parametrize(("asked", "reason"), [(50, "max_output_tokens"), (None, "context"), (10_000, "context")])
def test_the_end_of_the_tokens_is_told_from_the_end_of_the_context(
    checkpoint: Checkpoint, asked: int | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(ReplayStream):
        def __init__(self, token_ids: Iterable[int], prompt_tokens: int) -> None:
            super().__init__(token_ids, prompt_tokens)
            self._finished = replace(self._finished, reason="max_tokens")

    monkeypatch.setattr(f"{__name__}.ReplayStream", Full)
    tokens = checkpoint.tokenizer.encode("Four")
    assert done(events_of(checkpoint, tokens, max_output_tokens=asked)).incomplete_reason == reason


def test_images_need_their_embeddings_and_become_spans(checkpoint: Checkpoint) -> None:
    picture = Conversation((Message("user", (Text("What is this?"), Image("sha256:1", 3))),))
    with pytest.raises(RequestError, match="sha256:1"):
        requested(checkpoint, picture)
    (span,) = requested(checkpoint, picture, images={"sha256:1": torch.zeros(3, 32)}).spans
    assert span.content_hash == "sha256:1"
    placeholder = checkpoint.renderer.render(picture, think=False).images[0].position
    assert span.position == placeholder


@pytest.mark.parametrize("shape", [(2, 32), (4, 32), (3,), (1, 3, 32)])
def test_embeddings_that_do_not_fit_their_image_are_refused(checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    picture = Conversation((Message("user", (Image("sha256:1", 3),)),))
    with pytest.raises(RequestError, match="sha256:1 have shape"):
        requested(checkpoint, picture, images={"sha256:1": torch.zeros(shape)})


def test_embeddings_of_an_image_that_is_not_there_are_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(RequestError, match="no image sha256:2"):
        requested(checkpoint, images={"sha256:2": torch.zeros(3, 32)})


def test_every_turn_has_an_id_of_its_own(checkpoint: Checkpoint) -> None:
    assert requested(checkpoint).id != requested(checkpoint).id


@pytest.mark.parametrize(
    "items",
    [
        (answer("Four."),),
        (Thinking("Two and two."), answer("Four.")),
        (Thinking("I should add."), answer("Let me see."), ToolCall("", "add", '{"a": 2}'), ToolCall("", "add", "{}")),
        (ToolCall("", "say", ' {"a"\n', custom=True), ToolCall("", "add", "{}"), ToolCall("", "say", "", custom=True)),
    ],
)
def test_an_output_comes_back_as_the_items_it_was_made_of(thinker: Checkpoint, items: tuple[Item, ...]) -> None:
    thinks = isinstance(items[0], Thinking)
    conversation = replace(QUESTION, tools=(ADD, ToolDefinition("say", custom=FreeInput())))
    events = events_of(thinker, thinker.renderer.render_output(items), conversation, think=thinks)
    check_laws(events)
    found = [event.item for event in events if isinstance(event, ItemDone)]
    assert [replace(item, call_id="") if isinstance(item, ToolCall) else item for item in found] == list(items)
    assert done(events).status == "completed"


def test_a_call_of_a_tool_that_may_not_be_called_fails_the_turn(checkpoint: Checkpoint) -> None:
    tokens = checkpoint.renderer.render_output((ToolCall("", "add", "{}"),))
    assert done(events_of(checkpoint, tokens)).status == "failed"
    offer = replace(QUESTION, tools=(ADD, replace(ADD, name="look")))
    assert done(events_of(checkpoint, tokens, offer)).status == "completed"
    assert done(events_of(checkpoint, tokens, offer, tool_choice=ForcedTool("look"))).status == "failed"


def test_a_thinking_model_told_not_to_think_shows_none_of_what_it_thinks_anyway(thinker: Checkpoint) -> None:
    markers = thinker.renderer.thinking
    assert markers is not None
    encode = thinker.tokenizer.encode
    tokens = [markers.start_id, *encode("hm"), *markers.end_ids, *encode("Four.")]
    events = events_of(thinker, tokens, think=False)
    assert [event.item for event in events if isinstance(event, ItemDone)] == [Thinking("hm"), answer("Four.")]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), think=st.booleans(), stop=st.sampled_from([(), ("a",), ("er", "\n")]))
def test_any_tokens_at_all_make_a_lawful_turn(
    thinker: Checkpoint, data: st.DataObject, think: bool, stop: tuple[str, ...]
) -> None:
    markers = sorted(thinker.tokenizer.special_ids)
    letters = thinker.tokenizer.encode('{"a": 1}\nadd er')
    tokens = data.draw(st.lists(st.sampled_from([*markers, *letters]), max_size=40))
    check_laws(events_of(thinker, tokens, replace(QUESTION, tools=(ADD,)), think=think, stop=stop))
