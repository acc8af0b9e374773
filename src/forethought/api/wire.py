"""The wire: what every request model of both APIs is made of.

A request becomes a frozen model or an `ApiError` that names the parameter. Nothing is converted ("1" is no integer)
and nothing is ignored: an unknown key is refused, and so is a known one that this server does not offer, unless it is
null (`NotOffered`) or says what happens anyway (`OnlyFalse`).

Unions are told apart by functions, because the tags that pydantic puts into the place of an error must not look like
keys of the request: they are written `<message>`, and `misfit` leaves them out.
"""

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, ValidationError
from pydantic_core import PydanticCustomError

from forethought.api.misfit import misfit

NotOffered: TypeAlias = None
"""The type of a parameter that OpenAI has and this server does not: only null fits."""


def _boolean(value: object) -> object:
    """Refuses 0, which equals false and so would pass for it."""
    if not isinstance(value, bool):
        raise PydanticCustomError("bool_type", "no boolean")
    return value


OnlyFalse: TypeAlias = Annotated[Literal[False], BeforeValidator(_boolean)]
"""The type of a parameter that may only say what happens anyway."""


class WireModel(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


Model = TypeVar("Model", bound=WireModel)
Member = TypeVar("Member")
Array: TypeAlias = Annotated[list[Member], Field(fail_fast=True)]
"""A list that is refused for its first member that does not fit: half a million of them take seconds to describe."""


def parse(model: type[Model], body: object) -> Model:
    """The request that a decoded JSON body stands for.

    Raises:
        ApiError: a 400 for the first thing in it that does not fit.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise misfit(error.errors(include_url=False)[0]) from None


def by(key: str, default: Callable[[Mapping[str, object]], str | None] | None = None) -> Discriminator:
    """Tells the members of a union apart by what stands under `key`; their tags are `<value>`.

    `default` guesses the value of an object that says null, or nothing.
    """

    def tag(value: object) -> str | None:
        if not isinstance(value, dict):
            return None
        fields = cast(dict[str, object], value)
        found = fields.get(key)
        if found is None and default is not None:
            found = default(fields)
        return f"<{found}>" if isinstance(found, str) else None

    tag.__name__ = key  # pydantic tells it in its errors, and `misfit` where to look
    return Discriminator(tag)


def by_shape(expected: str) -> Discriminator:
    """Tells `<string>`, `<array>` and `<object>` apart. `expected` names those that fit ("a string or an array")."""
    return Discriminator(_shape, custom_error_type="shape", custom_error_message=expected)


def _shape(value: object) -> str | None:
    shapes = {str: "<string>", list: "<array>", dict: "<object>"}
    return next((tag for kind, tag in shapes.items() if isinstance(value, kind)), None)


def _is_json(value: dict[str, Any]) -> dict[str, Any]:
    """Refuses what no JSON text can say, and what is nested too deep to be read again."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise PydanticCustomError("no_json", "no JSON") from None
    return value


JsonObject = Annotated[dict[str, Any], AfterValidator(_is_json)]
"""Any JSON object: a schema, say."""
