"""From a request to its response over a real renderer: what reaches the engine, and what is refused before it does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forethought.api.errors import ApiError
from forethought.api.responses import count_input_tokens
from forethought.api.responses.truncation import shortened
from forethought.engine.script import Fail
from forethought.errors import EngineDown, ForethoughtError, GrammarError, QueueFull
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Item, Message, Text, Thinking, ToolCall, ToolResult
from forethought.reasoning.effort import BUDGET
from responses_oracle import check_document, check_stream
from responses_scene import Scene
from turn_laws import answer

LOOK = {"type": "function", "name": "look", "parameters": {"type": "object"}}
SUMMARY_DELTA = "response.reasoning_summary_text.delta"
FOUR = (Thinking("hmm"), answer("Four."))


@pytest.fixture
def scene(checkpoint: Checkpoint) -> Scene:
    scene = Scene(checkpoint)
    scene.will_write(*FOUR)
    return scene


@pytest.fixture
def lenient(checkpoint: Checkpoint) -> Scene:
    scene = Scene(checkpoint, lenient=True)
    scene.will_write(*FOUR)
    return scene


def refusal(scene: Scene, **parameters: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        scene.create(**parameters)
    return caught.value


def test_a_response_says_what_was_answered_and_not_what_was_thought(scene: Scene) -> None:
    document = scene.create()
    check_document(document)
    assert [item["type"] for item in document["output"]] == ["reasoning", "message"]
    assert document["output"][1]["content"][0]["text"] == "Four."
    assert "hmm" not in repr(document)


def test_a_stream_and_its_twin_say_the_same(scene: Scene) -> None:
    scene.will_write(*FOUR)
    terminal = check_stream(scene.stream())
    assert terminal["response"]["output"][1]["content"] == scene.create()["output"][1]["content"]


def test_a_summary_comes_with_its_thinking_when_it_is_asked_for(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    told = "**Adding two numbers**\n\nTwo small numbers are put together."
    scene.will_summarise(answer(told))
    for _ in range(2):
        scene.will_write(Thinking("It asks for a sum, so let me count on my fingers. " * 30), answer("Four."))
    events = scene.stream(reasoning={"summary": "detailed"})
    thought = check_stream(events)["response"]["output"][0]
    assert thought["summary"]
    assert all(part["text"] == told for part in thought["summary"])
    assert "".join(event["delta"] for event in events if event["type"] == SUMMARY_DELTA).startswith(told)
    assert scene.create()["output"][0]["summary"] == []


def test_a_tool_is_called_and_what_it_gave_back_is_answered(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.will_write(Thinking("hmm"), ToolCall("", "look", '{"n":1}'))
    scene.will_write(*FOUR)
    (_, call) = scene.create(tools=[LOOK])["output"]
    assert (call["type"], call["name"], call["arguments"]) == ("function_call", "look", '{"n":1}')
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "4"}
    asked = [{"role": "user", "content": "Look."}, call, output]
    assert scene.create(input=asked, tools=[LOOK])["status"] == "completed"


@pytest.mark.parametrize(
    ("asked", "effective"),
    [(None, "medium"), ("none", "low"), ("minimal", "low"), ("low", "low"), ("high", "high"), ("max", "high")],
)
def test_the_effort_acts_and_is_echoed_as_it_acts(scene: Scene, asked: str | None, effective: Any) -> None:
    assert scene.create(reasoning={"effort": asked})["reasoning"] == {"effort": effective, "summary": None}
    limits = scene.requests[-1].limits
    assert limits.thinking is not None
    assert limits.thinking.max_tokens == BUDGET[effective]


def test_a_token_limit_holds_for_thinking_and_answer_together(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint)
    scene.will_write(Thinking("hmm" * 50), answer("Four." * 50))
    document = scene.create(max_output_tokens=20)
    assert (document["status"], document["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert document["usage"]["output_tokens"] == 20
    assert document["output"][1]["content"][0]["text"], "thinking is closed early, so that an answer begins"


def test_a_format_binds_the_answer(scene: Scene) -> None:
    scene.create(text={"format": {"type": "json_schema", "name": "sum", "schema": {"type": "integer"}}})
    grammar = scene.requests[-1].grammar
    assert grammar is not None
    assert (grammar.kind, grammar.source) == ("json_schema", '{"type": "integer"}')


def test_tools_bind_the_output(scene: Scene) -> None:
    scene.create(tools=[LOOK])
    assert scene.requests[-1].grammar is not None


@pytest.mark.parametrize(
    ("parameters", "param", "message"),
    [
        (
            {"temperature": 0.1},
            "temperature",
            "Unsupported value: 'temperature' does not support 0.1 with this model. "
            "Only the default (1) value is supported.",
        ),
        ({"top_p": 0.5}, "top_p", "Unsupported parameter: 'top_p' is not supported with this model."),
        (
            {"top_logprobs": 2},
            "top_logprobs",
            "Unsupported parameter: 'top_logprobs' is not supported with this model.",
        ),
        (
            {"include": ["message.output_text.logprobs"]},
            "include",
            "Unsupported value: 'include' does not support 'message.output_text.logprobs' with this model. "
            "Supported values are: 'reasoning.encrypted_content'.",
        ),
    ],
)
def test_how_tokens_are_drawn_is_not_for_the_client_to_say(
    scene: Scene, parameters: dict[str, Any], param: str, message: str
) -> None:
    error = refusal(scene, **parameters)
    assert (error.status, error.param, error.message) == (400, param, message)
    assert not scene.requests


def test_a_temperature_of_one_is_the_default(scene: Scene) -> None:
    assert scene.create(temperature=1)["temperature"] == 1


def test_sampling_parameters_act_on_a_lenient_model(lenient: Scene) -> None:
    document = lenient.create(temperature=0.1, top_p=0.5, top_logprobs=2)
    request = lenient.requests[-1]
    assert (request.sampling.temperature, request.sampling.top_p, request.logprobs) == (0.1, 0.5, 2)
    assert (document["temperature"], document["top_p"], document["top_logprobs"]) == (0.1, 0.5, 2)


def test_log_probabilities_without_alternatives_can_be_included(lenient: Scene) -> None:
    lenient.create(include=["message.output_text.logprobs"])
    assert lenient.requests[-1].logprobs == 0


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"reasoning": {"effort": "low"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "auto"}}, "reasoning.summary"),
        ({"reasoning": {"generate_summary": "auto"}}, "reasoning.generate_summary"),
        ({"reasoning": {"context": "auto"}}, "reasoning.context"),
        ({"reasoning": {"mode": "standard"}}, "reasoning.mode"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
    ],
)
def test_a_model_that_does_not_think_takes_no_parameters_about_it(
    checkpoint: Checkpoint, parameters: dict[str, Any], param: str
) -> None:
    error = refusal(Scene(checkpoint, thinks=False), **parameters)
    assert (error.status, error.param) == (400, param)


def test_a_model_that_does_not_think_answers(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, thinks=False)
    scene.will_write(answer("Four."))
    document = scene.create()
    check_document(document)
    assert document["reasoning"] == {"effort": None, "summary": None}
    assert scene.requests[-1].limits.thinking is None or not scene.requests[-1].limits.thinking.max_tokens


@pytest.mark.parametrize(
    ("error", "status", "param"),
    [
        (QueueFull("The queue is full."), 429, None),
        (EngineDown("The engine is down."), 503, None),
        (GrammarError("It cannot be compiled."), 400, "tools"),
    ],
)
@pytest.mark.parametrize("when", ["at once", "in place of the first event"])
def test_what_the_engine_refuses_is_refused_before_a_stream_begins(
    checkpoint: Checkpoint, error: ForethoughtError, status: int, param: str | None, when: str
) -> None:
    scene = Scene(checkpoint)
    if when == "at once":
        scene.refusal = error
    else:
        scene.will_do(Fail(error))
    with pytest.raises(ApiError) as caught:
        scene.stream(tools=[LOOK])
    assert (caught.value.status, caught.value.param) == (status, param)


def test_a_schema_that_cannot_be_compiled_is_named(scene: Scene) -> None:
    scene.refusal = GrammarError("It cannot be compiled.")
    text = {"format": {"type": "json_schema", "name": "sum", "schema": {"type": "integer"}}}
    assert refusal(scene, text=text).param == "text.format.schema"
    assert refusal(scene, text=text, tools=[LOOK]).param is None


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(checkpoint: Checkpoint) -> None:
    error = refusal(Scene(checkpoint, context_length=100), input="hello " * 100)
    assert (error.status, error.param, error.code) == (400, "input", "context_length_exceeded")
    numbers = [int(word) for word in error.message.split() if word.isdigit()]
    assert numbers[0] > 100
    assert numbers[1] == 100


def test_text_that_is_no_unicode_is_refused(scene: Scene) -> None:
    assert refusal(scene, input="\ud800").param == "input"


def test_truncation_drops_what_is_oldest_until_the_rest_fits(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, context_length=400)
    scene.will_write(*FOUR)
    said = [{"role": "user", "content": f"hello {n}" * 5} for n in range(40)]
    assert refusal(scene, input=said).code == "context_length_exceeded"
    document = scene.create(input=said, truncation="auto", instructions="Be brief.")
    assert document["truncation"] == "auto"
    assert 200 < len(scene.prompt) <= 300
    told = checkpoint.tokenizer.decode(scene.prompt)
    assert "Be brief." in told
    assert "hello 39" in told
    assert "hello 0" not in told


def test_a_single_message_that_does_not_fit_cannot_be_truncated(checkpoint: Checkpoint) -> None:
    error = refusal(Scene(checkpoint, context_length=100), input="hello " * 100, truncation="auto")
    assert error.code == "context_length_exceeded"


def test_truncation_leaves_alone_what_fits(scene: Scene) -> None:
    said = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    scene.create(input=said, truncation="auto")
    told = scene.prompt
    scene.will_write(*FOUR)
    scene.create(input=said)
    assert scene.prompt == told


exchanges = st.lists(
    st.sampled_from(["user", "developer", "assistant", "call", "result"]).map(
        lambda kind: (
            {
                "call": ToolCall("call_1", "look", "{}"),
                "result": ToolResult("call_1", (Text("4"),)),
            }.get(kind)
            or Message.of(kind, "hello")
        )  # type: ignore[arg-type]
    ),
    max_size=20,
)


@given(exchanges, st.integers(0, 20))
def test_truncation_keeps_developers_and_the_last_exchange_and_what_already_fits(items: list[Item], room: int) -> None:
    def fits(conversation: Conversation) -> bool:
        return len(conversation.items) <= room

    kept = shortened(Conversation(tuple(items)), fits).items
    assert [item for item in kept if _by(item, "developer")] == [item for item in items if _by(item, "developer")]
    last = max((place for place, item in enumerate(items) if _by(item, "user")), default=0)
    assert sum(_by(item, "user") for item in kept) >= sum(_by(item, "user") for item in items[last:])
    if len(items) <= room:
        assert kept == tuple(items)
    elif sum(_by(item, "user") for item in kept) > 1:
        assert fits(Conversation(kept))


def _by(item: Item, role: str) -> bool:
    return isinstance(item, Message) and item.role == role


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"instructions": "Be brief.", "reasoning": {"effort": "high"}},
        {"tools": [LOOK], "tool_choice": "required"},
        {"text": {"format": {"type": "json_schema", "name": "sum", "description": "A sum.", "schema": {}}}},
        {"input": [{"role": "user", "content": "hello " * 5000}]},
    ],
)
def test_the_tokens_that_are_counted_are_those_of_the_prompt(
    checkpoint: Checkpoint, parameters: dict[str, Any]
) -> None:
    scene = Scene(checkpoint, context_length=1 << 20)
    scene.will_write(*FOUR)
    usage = scene.create(**parameters)["usage"]
    counted = count_input_tokens(scene.served, {"model": "forethought-mini", "input": "Hello", **parameters})
    assert counted == {"object": "response.input_tokens", "input_tokens": usage["input_tokens"]}


def test_tokens_are_counted_even_when_there_are_too_many(checkpoint: Checkpoint) -> None:
    scene = Scene(checkpoint, context_length=10)
    counted = count_input_tokens(scene.served, {"model": "forethought-mini", "input": "hello " * 100})
    assert counted["input_tokens"] > 100


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "Hello", "stream": True}, "stream"),
        ({"input": "Hello", "personality": "friendly"}, "personality"),
        ({"input": "Hello", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({}, "input"),
        ({"input": "\ud800"}, "input"),
    ],
)
def test_what_cannot_be_counted_is_refused(scene: Scene, body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        count_input_tokens(scene.served, {"model": "forethought-mini", **body})
    assert (caught.value.status, caught.value.param) == (400, param)
