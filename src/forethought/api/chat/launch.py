"""Begins a completion: checks what the model's contract allows, takes the turns, and waits for the engine to refuse."""

import asyncio
import hashlib
from functools import partial
from typing import TYPE_CHECKING

from forethought.api.chat.conversation import conversation_of
from forethought.api.chat.create import CreateChatCompletion
from forethought.api.chat.document import CompletionDocument
from forethought.api.chat.stream import ChatStream
from forethought.api.contract import check_sampling, effective_effort, sampling_overrides
from forethought.api.errors import ApiError, api_error, invalid, only_allowed, unsupported_parameter
from forethought.api.formats import ChatJsonSchemaFormat, output_format
from forethought.api.threads import InThread
from forethought.api.tools import tool_choice
from forethought.api.turns import Turns
from forethought.errors import ContextLengthError, ForethoughtError, GrammarError, RenderError
from forethought.reasoning.turn import PreparedTurn

if TYPE_CHECKING:
    from forethought.api.served import ServedModel

SAMPLING = ("temperature", "top_p", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "stop")
"""What only acts with a lenient model. (A seed acts with every model.)"""

SEEDS = 2**63
"""The engine's seeds are below this."""


async def start(
    served: "ServedModel", request: CreateChatCompletion, tenant: str, in_thread: InThread = asyncio.to_thread
) -> ChatStream:
    """A completion in the making. Nothing of it is kept, so it is all the same whose it is (`tenant`).

    Raises:
        ApiError: what was asked for cannot be done, or the engine has no room or is down.
    """
    _check_contract(served, request)
    turns, refusal = Turns(), partial(_refusal, request=request)
    try:
        # In a thread: long messages take long to become tokens, and others are being answered meanwhile.
        prepared = await in_thread(_prepare, served, request)
        for index in range(request.choices):
            turns.add(prepared.submit(None if request.seed is None else choice_seed(request.seed, index)))
        await turns.begin()
        digest = served.digest
    except ForethoughtError as error:
        await turns.aclose()
        raise refusal(error) from None
    except BaseException:
        await turns.aclose()
        raise
    document = CompletionDocument(
        served.snapshot, digest, usage_streamed=request.usage_streamed, obfuscated=request.obfuscated
    )
    return ChatStream(document, turns, refusal)


def _check_contract(served: "ServedModel", request: CreateChatCompletion) -> None:
    """Refuses what this model does not take. Raises `ApiError`."""
    check_sampling(served, {name: getattr(request, name) for name in SAMPLING})
    if request.top_logprobs is not None and not request.logprobs:
        raise only_allowed("top_logprobs", "logprobs")
    if request.max_tokens is not None and not served.lenient:
        raise unsupported_parameter("max_tokens", "max_completion_tokens")
    if request.max_tokens is not None and request.max_completion_tokens is not None:
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        raise invalid(message, "max_tokens", "invalid_parameter_combination")


def _prepare(served: "ServedModel", request: CreateChatCompletion) -> PreparedTurn:
    """The turn of each choice; they differ in their seeds. Raises `ApiError` and `ForethoughtError`."""
    effort = effective_effort(served, request.reasoning_effort, "reasoning_effort")
    conversation = conversation_of(request)
    return served.reasoner.prepare(
        conversation,
        effort=effort,
        think=served.thinks,
        output_format=output_format(request.response_format),
        tool_choice=tool_choice(request.tool_choice, conversation.tools),
        parallel_tool_calls=request.parallel_tool_calls is not False,
        max_output_tokens=request.max_output_tokens,
        stop=request.stops,
        sampling=sampling_overrides(
            served, request.temperature, request.top_p, request.presence_penalty, request.frequency_penalty
        ),
        logprobs=request.alternatives,
    )


def choice_seed(seed: int, index: int) -> int:
    """The engine's seed for a choice. The first choice of several is the one that would have been alone."""
    if index == 0:
        return seed % SEEDS
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
    return int.from_bytes(digest[:8]) % SEEDS


def _refusal(error: ForethoughtError, request: CreateChatCompletion) -> ApiError:
    match error:
        case ContextLengthError() | RenderError():
            return api_error(error, "messages")
        case GrammarError():
            schema = isinstance(request.response_format, ChatJsonSchemaFormat)
            if schema and request.tools:
                return api_error(error)
            return api_error(error, "response_format.json_schema.schema" if schema else "tools")
        case _:
            return api_error(error)
