"""What of a request reaches the turns, and what a refusal of theirs is called."""

from typing import Any

import pytest

from chat_scene import Scene
from forethought.api.chat.launch import choice_seed
from forethought.api.errors import ApiError
from forethought.errors import ContextLengthError, ForethoughtError, GrammarError, RenderError, RequestError
from forethought.reasoning.format import FreeText, JsonSchema
from forethought.reasoning.tool_choice import AllowedTools, ForcedTool

FUNCTION: dict[str, Any] = {
    "type": "function",
    "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True},
}
CUSTOM: dict[str, Any] = {"type": "custom", "custom": {"name": "write"}}
ALLOWED = {"mode": "required", "tools": [{"type": "function", "function": {"name": "look"}}]}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
SHAPED: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}


def asked(lenient: bool = False, **parameters: Any) -> dict[str, Any]:
    """What the turn is asked for."""
    served = Scene.answering(lenient=lenient)
    served.final(**parameters)
    return served.reasoner.asked[0]


def test_sampling_parameters_act_with_a_lenient_model() -> None:
    options = asked(
        lenient=True,
        temperature=0.5,
        top_p=0.5,
        presence_penalty=0.5,
        frequency_penalty=0.5,
        stop=["a"],
        logprobs=True,
        top_logprobs=2,
    )
    assert options["sampling"] == {
        "temperature": 0.5,
        "top_p": 0.5,
        "presence_penalty": 0.5,
        "frequency_penalty": 0.5,
    }
    assert options["stop"] == ("a",)
    assert options["logprobs"] == 2
    assert asked(lenient=True, stop="a")["stop"] == ("a",)
    assert asked(lenient=True, max_tokens=5)["max_output_tokens"] == 5


@pytest.mark.parametrize(
    ("parameters", "alternatives"),
    [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 3}, 3)],
)
def test_log_probabilities_come_with_as_many_alternatives_as_are_asked_for(
    parameters: dict[str, Any], alternatives: int | None
) -> None:
    assert asked(lenient=True, **parameters)["logprobs"] == alternatives


def test_what_is_asked_for_reaches_the_turn() -> None:
    options = asked(
        max_completion_tokens=100,
        parallel_tool_calls=False,
        reasoning_effort="high",
        response_format={"type": "json_object"},
        seed=7,
        tool_choice="none",
        tools=[FUNCTION],
    )
    assert options == {
        "effort": "high",
        "think": True,
        "output_format": JsonSchema({"type": "object"}),
        "tool_choice": "none",
        "parallel_tool_calls": False,
        "max_output_tokens": 100,
        "stop": (),
        "sampling": {},
        "seed": 7,
        "logprobs": None,
    }


def test_what_is_not_asked_for_is_left_to_the_turn() -> None:
    options = asked()
    assert options["effort"] == "medium"
    assert options["output_format"] == FreeText()
    assert options["tool_choice"] == "auto"
    assert options["parallel_tool_calls"]
    assert options["max_output_tokens"] is None
    assert options["seed"] is None


def test_a_schema_binds_the_answer() -> None:
    assert asked(response_format=SHAPED)["output_format"] == JsonSchema(SCHEMA)


@pytest.mark.parametrize(
    ("choice", "acts"),
    [
        ("required", "required"),
        ({"type": "function", "function": {"name": "look"}}, ForcedTool("look")),
        ({"type": "custom", "custom": {"name": "write"}}, ForcedTool("write")),
        ({"type": "allowed_tools", "allowed_tools": ALLOWED}, AllowedTools("required", ("look",))),
    ],
)
def test_every_form_of_a_tool_choice_acts(choice: Any, acts: Any) -> None:
    assert asked(tools=[FUNCTION, CUSTOM], tool_choice=choice)["tool_choice"] == acts


def test_choices_have_seeds_of_their_own_and_the_first_is_the_one_that_was_given() -> None:
    served = Scene.answering()
    served.final(n=16, seed=7)
    seeds = [options["seed"] for options in served.reasoner.asked]
    assert seeds[0] == 7
    assert len({*seeds}) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("seed", [-(2**63), -1, 0, 2**63 - 1])
def test_every_seed_of_64_bits_is_one_for_the_engine(seed: int) -> None:
    assert all(0 <= choice_seed(seed, index) < 2**63 for index in range(3))


def test_a_model_that_does_not_think_refuses_an_effort() -> None:
    with pytest.raises(ApiError) as caught:
        Scene.answering(thinks=False).final(reasoning_effort="low")
    assert (caught.value.param, caught.value.code) == ("reasoning_effort", "unsupported_parameter")
    served = Scene.answering(thinks=False)
    served.final()
    assert (served.reasoner.asked[0]["effort"], served.reasoner.asked[0]["think"]) == (None, False)


@pytest.mark.parametrize(
    ("error", "parameters", "param", "code"),
    [
        (ContextLengthError("The conversation has 9 tokens."), {}, "messages", "context_length_exceeded"),
        (RenderError("Not this."), {}, "messages", "invalid_value"),
        (GrammarError("No."), {"response_format": SHAPED}, "response_format.json_schema.schema", "invalid_value"),
        (GrammarError("No."), {"tools": [FUNCTION]}, "tools", "invalid_value"),
        (GrammarError("No."), {"tools": [FUNCTION], "response_format": SHAPED}, None, "invalid_value"),
        (RequestError("No."), {}, None, "invalid_value"),
    ],
)
def test_a_refusal_of_the_turn_names_the_part_that_it_is_about(
    error: ForethoughtError, parameters: dict[str, Any], param: str | None, code: str
) -> None:
    with pytest.raises(ApiError) as caught:
        Scene.of(error).final(**parameters)
    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)
