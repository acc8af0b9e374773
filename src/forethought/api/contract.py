"""What is special about the o-series, for both APIs: how tokens are drawn is not for the client to say, effort is.

A model that is served `lenient` lets sampling parameters act instead. Which refusal comes in which words is a contract
with clients, who know them by heart: nothing is converted or quietly dropped. A parameter at its default is refused
like any other value, `temperature` excepted.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Literal

from forethought.api.errors import unsupported_parameter, unsupported_value
from forethought.model.conversation import Effort
from forethought.reasoning.effort import DEFAULT_EFFORT

if TYPE_CHECKING:
    from forethought.api.served import ServedModel
    from forethought.reasoning.turn_options import SamplingOverrides

EffortParam = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""Efforts that OpenAI's models know."""

EFFECTIVE: Final[Mapping[EffortParam, Effort]] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""The efforts of the o-series, which always reasons, and what it makes of those that came later."""

LEAST_TOP_P = 1e-9
"""What a `top_p` of 0 means: only the likeliest token is left."""


def check_sampling(served: "ServedModel", asked: Mapping[str, object]) -> None:
    """Refuses sampling parameters, by their names in the request, unless the model is lenient. None is not asked for.

    Raises:
        ApiError: a 400 in OpenAI's words.
    """
    if served.lenient:
        return
    for name, value in asked.items():
        if name == "temperature" and isinstance(value, (int, float)):
            if value != 1:
                raise unsupported_value(name, _number(value), "Only the default (1) value is supported.")
        elif value is not None:
            raise unsupported_parameter(name)


def sampling_overrides(
    served: "ServedModel",
    temperature: float | None,
    top_p: float | None,
    presence_penalty: float | None = None,
    frequency_penalty: float | None = None,
) -> "SamplingOverrides":
    """What differs from the checkpoint's defaults; nothing unless the model is lenient."""
    overrides: SamplingOverrides = {}
    if not served.lenient:
        return overrides
    if temperature is not None:
        overrides["temperature"] = temperature
    if top_p is not None:
        overrides["top_p"] = top_p or LEAST_TOP_P
    if presence_penalty is not None:
        overrides["presence_penalty"] = presence_penalty
    if frequency_penalty is not None:
        overrides["frequency_penalty"] = frequency_penalty
    return overrides


def effective_effort(served: "ServedModel", asked: EffortParam | None, param: str) -> Effort | None:
    """The effort that acts, for a model that thinks; None for one that does not.

    Args:
        param: where the effort stands in the request.

    Raises:
        ApiError: a 400, when an effort is asked of a model that does not think.
    """
    check_thinking(served, {param: asked})
    if not served.thinks:
        return None
    return DEFAULT_EFFORT if asked is None else EFFECTIVE[asked]


def check_thinking(served: "ServedModel", asked: Mapping[str, object]) -> None:
    """Refuses parameters about reasoning, by their names in the request, if the model does none. None is not asked for.

    Raises:
        ApiError: a 400 in OpenAI's words.
    """
    if not served.thinks:
        for name, value in asked.items():
            if value is not None:
                raise unsupported_parameter(name)


def _number(value: float) -> str:
    """As a client writes it: `0.1`, and `0` for 0.0."""
    return repr(value).removesuffix(".0")
