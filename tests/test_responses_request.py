"""A request for a response: every parameter of OpenAI's acts, or is refused by its name and in OpenAI's words."""

import json
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import response_create_params

from forethought.api.errors import ApiError
from forethought.api.responses.create import CreateResponse, parse_create

QUESTION: dict[str, Any] = {"model": "forethought-mini", "input": "What is two and two?"}

OFFERED: dict[str, Any] = {
    "include": ["reasoning.encrypted_content"],
    "instructions": "Be brief.",
    "max_output_tokens": 100,
    "metadata": {"customer": "42"},
    "parallel_tool_calls": False,
    "prompt_cache_key": "a",
    "prompt_cache_retention": "in_memory",
    "reasoning": {"effort": "minimal", "summary": "auto", "context": "auto", "mode": "standard"},
    "safety_identifier": "b",
    "service_tier": "auto",
    "stream": True,
    "temperature": 1,
    "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
    "tool_choice": "none",
    "tools": [{"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}],
    "top_logprobs": 2,
    "top_p": 0.5,
    "truncation": "auto",
    "user": "c",
}
SAYS_WHAT_IS_THE_CASE: dict[str, Any] = {"background": False, "store": False}
NOT_OFFERED: dict[str, Any] = {
    "access_programs": {"cyber": "standard"},
    "background": True,
    "background_options": {"completion_window": "2h"},
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "image": {"context_compression": "auto"},
    "max_tool_calls": 3,
    "moderation": {"model": "omni-moderation-latest"},
    "previous_response_id": "resp_1",
    "prompt": {"id": "pmpt_1"},
    "prompt_cache_options": {"ttl": "30m"},
    "store": True,
}


def refusal(**parameters: Any) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        parse_create({**QUESTION, **parameters})
    assert caught.value.status == 400
    assert caught.value.type == "invalid_request_error"
    return caught.value.error


def test_no_parameter_of_the_sdk_is_unknown() -> None:
    names = {"stream", "stream_options"}
    for params in (
        response_create_params.ResponseCreateParamsBase,
        response_create_params.ResponseCreateParamsStreaming,
    ):
        names |= get_type_hints(params).keys()
    assert names == set(CreateResponse.model_fields)
    assert names == {*QUESTION, *OFFERED, *SAYS_WHAT_IS_THE_CASE, *NOT_OFFERED, "stream_options"}


@pytest.mark.parametrize("name", sorted(SAYS_WHAT_IS_THE_CASE))
@pytest.mark.parametrize(("zero", "kind"), [(0, "an integer"), (0.0, "a decimal"), ("", "a string")])
def test_what_equals_false_is_not_false(name: str, zero: object, kind: str) -> None:
    assert refusal(**{name: zero}) == {
        "message": f"Invalid type for '{name}': expected a boolean, but got {kind} instead.",
        "type": "invalid_request_error",
        "param": name,
        "code": "invalid_type",
    }


@pytest.mark.parametrize("name", sorted(OFFERED))
def test_a_parameter_that_is_offered_is_read(name: str) -> None:
    assert getattr(parse_create({**QUESTION, name: OFFERED[name]}), name) is not None


@pytest.mark.parametrize("name", sorted(NOT_OFFERED))
def test_a_parameter_that_is_not_offered_is_refused_by_name(name: str) -> None:
    error = refusal(**{name: NOT_OFFERED[name]})
    assert error["param"] == name
    assert error["code"] in ("unsupported_parameter", "unsupported_value", "previous_response_not_found")


@pytest.mark.parametrize("name", sorted({*OFFERED, *SAYS_WHAT_IS_THE_CASE, *NOT_OFFERED}))
def test_null_is_the_same_as_leaving_a_parameter_out(name: str) -> None:
    assert parse_create({**QUESTION, name: None}) == parse_create(QUESTION)


@pytest.mark.parametrize("name", sorted(SAYS_WHAT_IS_THE_CASE))
def test_a_parameter_may_say_what_is_the_case_anyway(name: str) -> None:
    parse_create({**QUESTION, name: SAYS_WHAT_IS_THE_CASE[name]})


def test_an_unknown_parameter_is_refused_by_name() -> None:
    assert refusal(best_of=2) == {
        "message": "Unknown parameter: 'best_of'.",
        "type": "invalid_request_error",
        "param": "best_of",
        "code": "unknown_parameter",
    }


@pytest.mark.parametrize("name", ["model", "input"])
def test_a_required_parameter_is_missed(name: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_create({other: value for other, value in QUESTION.items() if other != name})
    assert caught.value.message == f"Missing required parameter: '{name}'."
    assert (caught.value.param, caught.value.code) == (name, "missing_required_parameter")


@pytest.mark.parametrize(
    ("body", "got"), [(None, "null"), ([], "an array"), ("hello", "a string"), (1.5, "a decimal"), (True, "a boolean")]
)
def test_a_body_must_be_an_object(body: object, got: str) -> None:
    with pytest.raises(ApiError, match=f"Invalid request body: expected an object, but got {got} instead."):
        parse_create(body)


@pytest.mark.parametrize(
    ("parameters", "param", "code", "message"),
    [
        (
            {"max_output_tokens": "many"},
            "max_output_tokens",
            "invalid_type",
            "Invalid type for 'max_output_tokens': expected an integer, but got a string instead.",
        ),
        (
            {"max_output_tokens": 0},
            "max_output_tokens",
            "integer_below_min_value",
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            {"temperature": 2.5},
            "temperature",
            "decimal_above_max_value",
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2.0, but got 2.5 instead.",
        ),
        (
            {"reasoning": {"effort": "huge"}},
            "reasoning.effort",
            "invalid_value",
            "Invalid value: 'huge'. "
            "Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'.",
        ),
        (
            {"tools": [{"type": "web_search"}]},
            "tools[0].type",
            "invalid_value",
            "Invalid value: 'web_search'. Supported values are: 'function' and 'custom'.",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "two words", "schema": {}}}},
            "text.format.name",
            "invalid_value",
            "Invalid 'text.format.name': string does not match pattern. "
            "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        ),
        (
            {"metadata": {"key": "v" * 513}},
            "metadata.key",
            "string_above_max_length",
            "Invalid 'metadata.key': string too long. "
            "Expected a string with maximum length 512, but got a string with length 513 instead.",
        ),
        (
            {"metadata": {str(n): "v" for n in range(17)}},
            "metadata",
            "object_above_max_properties",
            "Invalid 'metadata': too many properties. "
            "Expected an object with at most 16 properties, but got an object with 17 instead.",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]},
            "input[0].content[0].type",
            "invalid_value",
            "Invalid value: 'input_image'. Supported values are: 'input_text'.",
        ),
        (
            {"tools": [{"type": "custom", "name": "a", "format": {"type": "grammar", "syntax": "lark"}}]},
            "tools[0].format.definition",
            "missing_required_parameter",
            "Missing required parameter: 'tools[0].format.definition'.",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "caller": {}}]},
            "input[0].caller",
            "unsupported_parameter",
            "Unsupported parameter: 'input[0].caller' is not offered by this server.",
        ),
    ],
)
def test_a_refusal_names_the_place_in_openais_words(
    parameters: dict[str, Any], param: str, code: str, message: str
) -> None:
    error = refusal(**parameters)
    assert (error["param"], error["code"], error["message"]) == (param, code, message)


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": {"summary": "auto", "generate_summary": "concise"}}, "reasoning.generate_summary"),
        ({"service_tier": "flex"}, "service_tier"),
        ({"prompt_cache_retention": "24h"}, "prompt_cache_retention"),
        ({"include": ["reasoning.encrypted_content", "file_search_call.results"]}, "include[1]"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": True}}, "stream_options.include_usage"),
        ({"tools": [{"type": "function", "name": "add", "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [{"type": "function", "name": "add", "async": True}]}, "tools[0].async"),
        ({"tools": [{"type": "function", "name": "add", "output_schema": {}}]}, "tools[0].output_schema"),
        (
            {"tools": [{"type": "function", "name": "add", "allowed_callers": ["programmatic"]}]},
            "tools[0].allowed_callers[0]",
        ),
        ({"tool_choice": {"type": "mcp", "server_label": "a"}}, "tool_choice.type"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"id": "msg_1"}]}, "input[0].type"),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input[0].type"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]},
            "input[0].content[0].type",
        ),
        ({"input": [{"role": "user", "content": [{"type": "output_text", "text": "x"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": "x", "status": 3}]}, "input[0].status"),
        ({"input": ["x"]}, "input[0]"),
        ({"input": 7}, "input"),
        (
            {"input": [{"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text"}]}]},
            "input[0].content",
        ),
    ],
)
def test_what_would_not_act_is_refused(parameters: dict[str, Any], param: str) -> None:
    assert refusal(**parameters)["param"] == param


def test_a_schema_that_is_no_json_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"items": deep}
    for schema in (deep, {"const": float("nan")}, {"const": "\ud800"}):
        error = refusal(text={"format": {"type": "json_schema", "name": "a", "schema": schema}})
        assert error["param"] == "text.format.schema"


def test_a_message_quotes_no_more_than_a_line() -> None:
    assert len(refusal(reasoning={"effort": "x" * 10_000})["message"]) < 300
    assert len(refusal(**{"x" * 10_000: 1})["message"]) < 300
    assert len(refusal(max_output_tokens=-(10**4000))["message"]) < 300


def test_the_old_name_of_the_summary_acts() -> None:
    assert parse_create({**QUESTION, "reasoning": {"generate_summary": "concise"}}).summary == "concise"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "role", "content", "name", "text", "format", "x"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*CreateResponse.model_fields, "x"]), json_values, max_size=4))
def test_whatever_stands_in_a_body_it_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        parse_create({**QUESTION, **body})
    except ApiError as error:
        answer = json.loads(json.dumps(error.body))
        _check_refusal(answer["error"])


@given(st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call_output", "x"]), json_values)
def test_whatever_stands_in_an_item_it_is_read_or_refused(kind: str, value: Any) -> None:
    for fields in ({"role": "user", "content": value}, {"role": "assistant", "content": value}, {"id": value}):
        try:
            parse_create({**QUESTION, "input": [{"type": kind, **fields}]})
        except ApiError as error:
            _check_refusal(error.error)


def _check_refusal(error: dict[str, Any]) -> None:
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    assert all(isinstance(text, str) for text in error.values())
    assert "<" not in error["param"], "how unions are told apart is no business of the client's"
