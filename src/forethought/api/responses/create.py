"""What a client may ask of a new response: every parameter that OpenAI has acts here, or is refused by name."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from forethought.api.contract import EffortParam
from forethought.api.errors import invalid, only_allowed
from forethought.api.formats import TextFormatParam
from forethought.api.generation import GenerationRequest, StreamOptions
from forethought.api.responses.input_items import Input
from forethought.api.tools import ToolChoiceParam, ToolList
from forethought.api.wire import Array, NotOffered, OnlyFalse, WireModel, parse
from forethought.reasoning.summary_settings import SummaryDetail

ENCRYPTED, LOGPROBS = "reasoning.encrypted_content", "message.output_text.logprobs"


class ReasoningParam(WireModel):
    """How to think. Reasoning is kept within a turn, and there is one mode of it: the values say what is the case."""

    effort: EffortParam | None = None
    summary: SummaryDetail | None = None
    generate_summary: SummaryDetail | None = None
    context: Literal["auto", "current_turn"] | None = None
    mode: Literal["standard"] | None = None


class TextParam(WireModel):
    """What the answer looks like."""

    format: TextFormatParam | None = None
    verbosity: Literal["medium"] | None = None


class PromptRequest(WireModel):
    """All that decides a prompt besides the input: what counting its tokens has in common with answering it."""

    instructions: str | None = None
    reasoning: ReasoningParam | None = None
    text: TextParam | None = None
    tools: ToolList | None = None
    tool_choice: ToolChoiceParam | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    previous_response_id: Annotated[str | None, WithJsonSchema({"type": "null"})] = None
    conversation: NotOffered = None

    @property
    def summary(self) -> SummaryDetail | None:
        """The summary that is asked for, under its new name or its old one."""
        return self.reasoning and (self.reasoning.summary or self.reasoning.generate_summary)


Metadata = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class CreateResponse(PromptRequest, GenerationRequest):
    """The body of `POST /v1/responses`."""

    input: Input
    include: Array[Literal["reasoning.encrypted_content", "message.output_text.logprobs"]] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    metadata: Metadata | None = None
    stream_options: StreamOptions | None = None

    background: OnlyFalse | None = None

    access_programs: NotOffered = None
    background_options: NotOffered = None
    context_management: NotOffered = None
    image: NotOffered = None
    max_tool_calls: NotOffered = None
    prompt: NotOffered = None

    @property
    def encrypted(self) -> bool:
        """Whether reasoning items come with their encrypted content."""
        return ENCRYPTED in (self.include or ())

    @property
    def logprobs(self) -> int | None:
        """How many alternatives to each visible token are asked for; None when no log-probabilities are."""
        wanted = self.top_logprobs or LOGPROBS in (self.include or ())
        return (self.top_logprobs or 0) if wanted else None

    @property
    def obfuscated(self) -> bool:
        """Whether deltas are padded."""
        return self.stream_options is not None and bool(self.stream_options.include_obfuscation)


def parse_create(body: object) -> CreateResponse:
    """The request that a decoded JSON body stands for.

    Raises:
        ApiError: a 400 that names what does not fit.
    """
    request = parse(CreateResponse, body)
    check_prompt(request)
    if request.stream_options is not None and not request.stream:
        raise only_allowed("stream_options", "stream")
    return request


def check_prompt(request: PromptRequest) -> None:
    """Refuses what the types allow and the server cannot do. Raises `ApiError`."""
    if request.previous_response_id is not None:
        raise invalid(
            f"Previous response with id '{request.previous_response_id:.100}' not found: this server stores no "
            "responses. Pass the items of the conversation in 'input'.",
            "previous_response_id",
            "previous_response_not_found",
        )
    reasoning = request.reasoning
    if reasoning and reasoning.generate_summary and reasoning.summary not in (None, reasoning.generate_summary):
        message = "'reasoning.generate_summary' is an old name of 'reasoning.summary', and the two differ."
        raise invalid(message, "reasoning.generate_summary", "invalid_value")
