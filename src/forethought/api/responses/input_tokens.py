"""`POST /v1/responses/input_tokens`: how long the prompt of a request would be, without answering it."""

from typing import TYPE_CHECKING, Any

from forethought.api.errors import api_error
from forethought.api.responses.create import PromptRequest, check_prompt
from forethought.api.responses.input_items import Input
from forethought.api.responses.plan import Plan
from forethought.api.served import LOCAL_TENANT
from forethought.api.wire import NotOffered, parse
from forethought.errors import RequestError

if TYPE_CHECKING:
    from forethought.api.served import ServedModel


class CountInputTokens(PromptRequest):
    """The body of `POST /v1/responses/input_tokens`."""

    model: str
    input: Input | None = None
    personality: NotOffered = None


def count_input_tokens(served: "ServedModel", body: object, tenant: str = LOCAL_TENANT) -> dict[str, Any]:
    """The number of tokens that a response to this would be charged as input.

    Raises:
        ApiError: the request would be refused, its length aside.
    """
    request = parse(CountInputTokens, body)
    check_prompt(request)
    try:
        tokens = Plan.of(served, request, request.input or [], tenant).prompt_tokens(served)
    except RequestError as error:
        raise api_error(error, "input") from None
    return {"object": "response.input_tokens", "input_tokens": tokens}
