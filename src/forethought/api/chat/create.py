"""What a client may ask of a new completion: every parameter that OpenAI has acts here, or is refused by name."""

from typing import Annotated, Any, Literal

from pydantic import Field, Tag, WithJsonSchema

from forethought.api.chat.messages import ChatMessage
from forethought.api.contract import EffortParam
from forethought.api.errors import only_allowed, unsupported_parameter
from forethought.api.formats import ChatResponseFormat
from forethought.api.generation import GenerationRequest, StreamOptions
from forethought.api.tools import ChatToolChoiceParam, ChatToolList
from forethought.api.wire import Array, NotOffered, by_shape, parse

MOST_CHOICES = 16
MOST_STOPS = 4
LEAST_SEED, GREATEST_SEED = -(2**63), 2**63 - 1

StopString = Annotated[str, Field(min_length=1)]
Stop = Annotated[
    Annotated[StopString, Tag("<string>")] | Annotated[Array[StopString], Field(max_length=MOST_STOPS), Tag("<array>")],
    by_shape("a string or an array"),
]
Unsupported = Annotated[Any, WithJsonSchema({"type": "null"})]
"""The type of a parameter that is refused in the o-series' words, whatever it holds, unless it is null."""

UNSUPPORTED = {"logit_bias": "", "prediction": "", "functions": "tools", "function_call": "tool_choice"}
"""Such parameters, and what to use instead."""


class ChatStreamOptions(StreamOptions):
    """With `include_usage` a last chunk tells the tokens used."""

    include_usage: bool | None = None


class CreateChatCompletion(GenerationRequest):
    """The body of `POST /v1/chat/completions`."""

    messages: Annotated[Array[ChatMessage], Field(min_length=1)]
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: Annotated[dict[str, str], WithJsonSchema({"type": "object", "maxProperties": 0})] | None = None
    modalities: Annotated[Array[Literal["text"]], Field(min_length=1)] | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    reasoning_effort: EffortParam | None = None
    response_format: ChatResponseFormat | None = None
    seed: Annotated[int, Field(ge=LEAST_SEED, le=GREATEST_SEED)] | None = None
    stop: Stop | None = None
    stream_options: ChatStreamOptions | None = None
    tool_choice: ChatToolChoiceParam | None = None
    tools: ChatToolList | None = None
    verbosity: Literal["medium"] | None = None

    audio: NotOffered = None
    web_search_options: NotOffered = None

    function_call: Unsupported = None
    functions: Unsupported = None
    logit_bias: Unsupported = None
    prediction: Unsupported = None

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return self.n or 1

    @property
    def max_output_tokens(self) -> int | None:
        """The most tokens of an answer, thinking included, under the parameter's new name or its old one."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """The strings that end an answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def alternatives(self) -> int | None:
        """How many alternatives to each visible token are asked for; None when no log-probabilities are."""
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def usage_streamed(self) -> bool:
        """Whether a stream ends with a chunk about the tokens used."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    @property
    def obfuscated(self) -> bool:
        """Whether deltas are padded."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


def parse_create(body: object) -> CreateChatCompletion:
    """The request that a decoded JSON body stands for.

    Raises:
        ApiError: a 400 that names what does not fit.
    """
    request = parse(CreateChatCompletion, body)
    for name, instead in UNSUPPORTED.items():
        if getattr(request, name) is not None:
            raise unsupported_parameter(name, instead)
    if request.metadata:
        raise only_allowed("metadata", "store")
    if request.stream_options is not None and not request.stream:
        raise only_allowed("stream_options", "stream")
    return request
