"""Begins a response: checks what the model's contract allows, takes the turn, and waits whether the engine refuses."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from forethought.api.contract import check_sampling, sampling_overrides
from forethought.api.errors import ApiError, api_error, invalid, unsupported_value
from forethought.api.formats import JsonSchemaFormat, output_format
from forethought.api.responses.create import ENCRYPTED, LOGPROBS, CreateResponse
from forethought.api.responses.document import ResponseDocument
from forethought.api.responses.output import Seal
from forethought.api.responses.plan import Plan
from forethought.api.responses.stream import ResponseStream
from forethought.api.threads import InThread
from forethought.errors import ContextLengthError, ForethoughtError, GrammarError, RenderError
from forethought.logs import Hidden
from forethought.reasoning.turn import PreparedTurn

if TYPE_CHECKING:
    from forethought.api.served import ServedModel


async def start(
    served: "ServedModel", request: CreateResponse, tenant: str, in_thread: InThread = asyncio.to_thread
) -> ResponseStream:
    """A response in the making.

    Raises:
        ApiError: what was asked for cannot be done, or the engine has no room or is down.
    """
    _check_contract(served, request)
    refusal = partial(_refusal, request=request)
    try:
        # In a thread: long inputs take long to become tokens, and others are being answered meanwhile.
        plan, prepared = await in_thread(_prepare, served, request, tenant)
        turn = prepared.submit()
    except ForethoughtError as error:
        raise refusal(error) from None
    events = turn if request.summary is None else served.summarizer.follow(turn, request.summary)
    document = ResponseDocument(served, request, plan.effort)
    seal = _seal(served, tenant) if request.encrypted else None
    stream = ResponseStream(document, events, seal, refusal, obfuscated=request.obfuscated)
    try:
        await stream.begin()
    except ForethoughtError as error:
        await stream.aclose()
        raise refusal(error) from None
    except BaseException:
        await stream.aclose()
        raise
    return stream


def _check_contract(served: "ServedModel", request: CreateResponse) -> None:
    """Refuses what this model does not take. Raises `ApiError`."""
    asked = {"temperature": request.temperature, "top_p": request.top_p, "top_logprobs": request.top_logprobs}
    check_sampling(served, asked)
    include = request.include or ()
    if LOGPROBS in include and not served.lenient:
        raise unsupported_value("include", f"'{LOGPROBS}'", f"Supported values are: '{ENCRYPTED}'.")
    if ENCRYPTED in include and not served.thinks:
        raise invalid("Encrypted content is not supported with this model.", "include", "unsupported_value")


def _prepare(served: "ServedModel", request: CreateResponse, tenant: str) -> tuple[Plan, PreparedTurn]:
    """The turn that is asked for. Raises `ApiError` and `ForethoughtError`."""
    plan = Plan.of(served, request, request.input, tenant, request.max_output_tokens)
    prepared = served.reasoner.prepare(
        plan.conversation,
        effort=plan.effort,
        think=served.thinks,
        output_format=output_format(request.text and request.text.format),
        tool_choice=plan.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        max_output_tokens=request.max_output_tokens,
        sampling=sampling_overrides(served, request.temperature, request.top_p),
        logprobs=request.logprobs,
    )
    return plan, prepared


def _seal(served: "ServedModel", tenant: str) -> Seal:
    def seal(thinking: Hidden, item_id: str) -> str:
        return served.keys.seal(thinking, tenant=tenant, model=served.digest, item_id=item_id)

    return seal


def _refusal(error: ForethoughtError, request: CreateResponse) -> ApiError:
    match error:
        case ContextLengthError() | RenderError():
            return api_error(error, "input")
        case GrammarError():
            schema = isinstance(request.text and request.text.format, JsonSchemaFormat)
            if schema and request.tools:
                return api_error(error)
            return api_error(error, "text.format.schema" if schema else "tools")
        case _:
            return api_error(error)
