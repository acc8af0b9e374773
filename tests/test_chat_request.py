"""A request for a completion: every parameter of OpenAI's acts, or is refused by its name and in OpenAI's words."""

from typing import Any, get_type_hints

import pytest
from openai.types import chat
from openai.types.chat import completion_create_params

from chat_scene import QUESTION, Scene
from forethought.api.chat.create import CreateChatCompletion, parse_create
from forethought.api.chat.messages import AssistantMessage, InputMessage, ToolMessage
from forethought.api.errors import ApiError

FUNCTION: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True},
}

OFFERED: dict[str, Any] = {
    "max_completion_tokens": 100,
    "modalities": ["text"],
    "n": 2,
    "parallel_tool_calls": False,
    "prompt_cache_key": "a",
    "prompt_cache_retention": "in_memory",
    "reasoning_effort": "high",
    "response_format": {"type": "json_object"},
    "safety_identifier": "b",
    "seed": 7,
    "service_tier": "auto",
    "stream": True,
    "tool_choice": "none",
    "tools": [FUNCTION],
    "user": "c",
    "verbosity": "medium",
}
SAMPLING: dict[str, Any] = {
    "frequency_penalty": 0.5,
    "logprobs": True,
    "presence_penalty": 0.5,
    "stop": ["a"],
    "temperature": 0.5,
    "top_logprobs": 2,
    "top_p": 0.5,
}
NOT_OFFERED: dict[str, Any] = {
    "audio": {"voice": "alloy", "format": "mp3"},
    "function_call": "auto",
    "functions": [{"name": "look"}],
    "logit_bias": {"50256": -100},
    "max_tokens": 100,
    "moderation": {"model": "omni-moderation-latest"},
    "prediction": {"type": "content", "content": "a"},
    "prompt_cache_options": {"ttl": "30m"},
    "store": True,
    "web_search_options": {},
}
CONDITIONAL: dict[str, Any] = {"metadata": {"customer": "42"}, "stream_options": {"include_usage": True}}


def refusal(lenient: bool = False, thinks: bool = True, **parameters: Any) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        Scene.answering(lenient=lenient, thinks=thinks).final(**parameters)
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value.error


def test_no_parameter_of_the_sdk_is_unknown() -> None:
    names: set[str] = set()
    for params in (
        completion_create_params.CompletionCreateParamsBase,
        completion_create_params.CompletionCreateParamsStreaming,
    ):
        names |= get_type_hints(params).keys()
    assert names == set(CreateChatCompletion.model_fields)
    assert names == {*QUESTION, *OFFERED, *SAMPLING, *NOT_OFFERED, *CONDITIONAL}


@pytest.mark.parametrize(
    ("params", "model"),
    [
        (chat.ChatCompletionDeveloperMessageParam, InputMessage),
        (chat.ChatCompletionSystemMessageParam, InputMessage),
        (chat.ChatCompletionUserMessageParam, InputMessage),
        (chat.ChatCompletionAssistantMessageParam, AssistantMessage),
        (chat.ChatCompletionToolMessageParam, ToolMessage),
    ],
)
def test_no_field_of_the_sdks_messages_is_unknown(params: Any, model: Any) -> None:
    assert get_type_hints(params).keys() <= model.model_fields.keys()


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_a_parameter_that_is_offered_is_read(name: str) -> None:
    assert getattr(parse_create({**QUESTION, name: OFFERED[name]}), name) is not None
    Scene.answering().final(**{name: OFFERED[name]})


@pytest.mark.parametrize("name", sorted({*NOT_OFFERED, "metadata"}))
def test_a_parameter_that_is_not_offered_is_refused_by_name(name: str) -> None:
    error = refusal(**{name: (NOT_OFFERED | CONDITIONAL)[name]})
    assert error["param"] == name
    assert error["code"] in ("unsupported_parameter", "unsupported_value", "invalid_value")


@pytest.mark.parametrize("name", sorted({*OFFERED, *SAMPLING, *NOT_OFFERED, *CONDITIONAL}))
def test_null_is_the_same_as_leaving_a_parameter_out(name: str) -> None:
    assert parse_create({**QUESTION, name: None}) == parse_create(QUESTION)


@pytest.mark.parametrize("name", sorted({*SAMPLING} - {"temperature"}))
def test_the_o_series_refuses_a_sampling_parameter(name: str) -> None:
    error = refusal(**{name: SAMPLING[name]})
    assert error["message"] == f"Unsupported parameter: '{name}' is not supported with this model."
    assert (error["param"], error["code"]) == (name, "unsupported_parameter")


def test_the_o_series_refuses_a_temperature() -> None:
    assert refusal(temperature=0.1)["message"] == (
        "Unsupported value: 'temperature' does not support 0.1 with this model. "
        "Only the default (1) value is supported."
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("logit_bias", ""),
        ("prediction", ""),
        ("max_tokens", " Use 'max_completion_tokens' instead."),
        ("functions", " Use 'tools' instead."),
        ("function_call", " Use 'tool_choice' instead."),
    ],
)
def test_a_parameter_that_no_o_series_model_takes_is_refused_with_what_to_use_instead(name: str, hint: str) -> None:
    message_ = f"Unsupported parameter: '{name}' is not supported with this model.{hint}"
    assert refusal(**{name: NOT_OFFERED[name]})["message"] == message_


@pytest.mark.parametrize("name", ["logit_bias", "prediction", "functions", "audio", "store"])
def test_a_lenient_model_does_not_take_what_is_not_offered(name: str) -> None:
    assert refusal(lenient=True, **{name: NOT_OFFERED[name]})["param"] == name


@pytest.mark.parametrize("logprobs", [None, False])
def test_alternatives_need_log_probabilities(logprobs: bool | None) -> None:
    error = refusal(lenient=True, top_logprobs=2, logprobs=logprobs)
    assert error["message"] == "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."


def test_one_limit_has_one_name() -> None:
    error = refusal(lenient=True, max_tokens=5, max_completion_tokens=5)
    assert error["code"] == "invalid_parameter_combination"


def test_metadata_needs_a_store() -> None:
    error = refusal(metadata={"customer": "42"})
    assert error["message"] == "The 'metadata' parameter is only allowed when 'store' is enabled."
    Scene.answering().final(metadata={}, store=False)


def test_stream_options_need_a_stream() -> None:
    error = refusal(stream_options={"include_usage": True})
    assert error["message"] == "The 'stream_options' parameter is only allowed when 'stream' is enabled."


def test_a_cache_that_lasts_a_day_is_refused_by_name() -> None:
    error = refusal(prompt_cache_retention="24h")
    assert (error["param"], error["code"]) == ("prompt_cache_retention", "invalid_value")


@pytest.mark.parametrize("n", [0, 17])
def test_there_are_1_to_16_choices(n: int) -> None:
    assert refusal(n=n)["param"] == "n"


@pytest.mark.parametrize(
    ("parameters", "param", "code"),
    [
        ({"best_of": 2}, "best_of", "unknown_parameter"),
        ({"messages": []}, "messages", "array_below_min_length"),
        ({"messages": "Hello"}, "messages", "invalid_type"),
        ({"n": 1.5}, "n", "invalid_type"),
        ({"seed": 2**63}, "seed", "integer_above_max_value"),
        ({"modalities": ["text", "audio"]}, "modalities[1]", "invalid_value"),
        ({"verbosity": "low"}, "verbosity", "invalid_value"),
        ({"service_tier": "flex"}, "service_tier", "invalid_value"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "invalid_value"),
        ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
        ({"stop": ["a"] * 5}, "stop", "array_above_max_length"),
        ({"stop": [""]}, "stop[0]", "string_below_min_length"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"response_format": {"type": "grammar"}}, "response_format.type", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "invalid_value"),
        ({"messages": [{"role": "function", "name": "a", "content": "b"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"content": "a"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": "a", "name": "a b"}]}, "messages[0].name", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]},
            "messages[0].content[0].type",
            "invalid_value",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "audio": {"id": "b"}}]},
            "messages[0].audio",
            "unsupported_parameter",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}]},
            "messages[0].reasoning_content",
            "unknown_parameter",
        ),
    ],
)
def test_what_does_not_fit_is_named(parameters: dict[str, Any], param: str, code: str) -> None:
    error = refusal(**parameters)
    assert (error["param"], error["code"]) == (param, code)
