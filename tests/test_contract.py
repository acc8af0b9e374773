"""The o-series contract: which parameters are refused in which words, and which effort acts."""

from dataclasses import dataclass
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.shared import reasoning_effort

from forethought.api.contract import (
    EFFECTIVE,
    EffortParam,
    check_sampling,
    check_thinking,
    effective_effort,
    sampling_overrides,
)
from forethought.api.errors import ApiError
from forethought.engine.protocol import Sampling


@dataclass
class Served:
    lenient: bool = False
    thinks: bool = True


O_SERIES: Any = Served()
LENIENT: Any = Served(lenient=True)
UNTHINKING: Any = Served(thinks=False)


def refusal(name: str, value: object) -> dict[str, Any]:
    with pytest.raises(ApiError) as caught:
        check_sampling(O_SERIES, {name: value})
    assert caught.value.status == 400
    return caught.value.error


@pytest.mark.parametrize(
    ("temperature", "written"), [(0.1, "0.1"), (0.0, "0"), (2.0, "2"), (0.123456789, "0.123456789")]
)
def test_a_temperature_other_than_one_is_refused_in_openais_words(temperature: float, written: str) -> None:
    assert refusal("temperature", temperature) == {
        "message": f"Unsupported value: 'temperature' does not support {written} with this model. "
        "Only the default (1) value is supported.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    }


@pytest.mark.parametrize("temperature", [None, 1, 1.0])
def test_the_default_temperature_is_accepted(temperature: float | None) -> None:
    check_sampling(O_SERIES, {"temperature": temperature})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_p", 0.5),
        ("top_p", 1),
        ("presence_penalty", 0),
        ("frequency_penalty", 1.5),
        ("logprobs", True),
        ("top_logprobs", 0),
        ("stop", ["a"]),
    ],
)
def test_a_sampling_parameter_is_refused_in_openais_words_whatever_its_value(name: str, value: object) -> None:
    assert refusal(name, value) == {
        "message": f"Unsupported parameter: '{name}' is not supported with this model.",
        "type": "invalid_request_error",
        "param": name,
        "code": "unsupported_parameter",
    }


def test_what_is_null_is_not_asked_for() -> None:
    check_sampling(O_SERIES, dict.fromkeys(("top_p", "logprobs", "stop")))


def test_a_lenient_model_lets_sampling_parameters_act() -> None:
    check_sampling(LENIENT, {"temperature": 0.1, "top_p": 0.5, "stop": ["a"], "logprobs": True})
    assert sampling_overrides(LENIENT, 0.1, 0.5, 1.0, -1.0) == {
        "temperature": 0.1,
        "top_p": 0.5,
        "presence_penalty": 1.0,
        "frequency_penalty": -1.0,
    }


def test_a_lenient_model_keeps_its_defaults_where_nothing_is_asked_for() -> None:
    assert sampling_overrides(LENIENT, None, None) == {}


def test_the_temperature_of_one_that_any_model_accepts_changes_nothing() -> None:
    assert sampling_overrides(O_SERIES, 1.0, None) == {}


@given(
    st.none() | st.floats(0, 2),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(-2, 2),
    st.none() | st.floats(-2, 2),
)
def test_the_engine_takes_whatever_the_wire_allows(
    temperature: float | None, top_p: float | None, presence: float | None, frequency: float | None
) -> None:
    Sampling(**sampling_overrides(LENIENT, temperature, top_p, presence, frequency))


@pytest.mark.parametrize(
    ("asked", "effective"),
    [
        (None, "medium"),
        ("none", "low"),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "high"),
        ("max", "high"),
    ],
)
def test_an_effort_becomes_one_of_the_o_series(asked: EffortParam | None, effective: str) -> None:
    assert effective_effort(O_SERIES, asked, "reasoning_effort") == effective


def test_every_effort_of_the_sdk_is_known() -> None:
    known = set(get_args(EffortParam))
    assert known == EFFECTIVE.keys()
    assert known == set(get_args(get_args(reasoning_effort.ReasoningEffort)[0]))


@pytest.mark.parametrize("param", ["reasoning_effort", "reasoning.effort"])
def test_a_model_that_does_not_think_refuses_an_effort_by_its_name(param: str) -> None:
    assert effective_effort(UNTHINKING, None, param) is None
    with pytest.raises(ApiError) as caught:
        effective_effort(UNTHINKING, "low", param)
    assert caught.value.message == f"Unsupported parameter: '{param}' is not supported with this model."
    assert (caught.value.param, caught.value.code) == (param, "unsupported_parameter")


def test_a_model_that_thinks_takes_every_parameter_about_it() -> None:
    check_thinking(O_SERIES, {"reasoning.summary": "auto"})
    check_thinking(UNTHINKING, {"reasoning.summary": None})
    with pytest.raises(ApiError, match=r"'reasoning\.summary'"):
        check_thinking(UNTHINKING, {"reasoning.summary": "auto"})
