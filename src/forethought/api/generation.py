"""What both APIs ask of a generation in the same words: said once, so that it acts the same in both."""

from typing import Annotated, Literal

from pydantic import Field

from forethought.api.wire import NotOffered, OnlyFalse, WireModel


class GenerationRequest(WireModel):
    """The parameters that the bodies of both APIs have. (`stream_options` differ.)"""

    model: str
    prompt_cache_key: str | None = None
    prompt_cache_retention: Literal["in_memory"] | None = None
    safety_identifier: Annotated[str, Field(max_length=128)] | None = None
    service_tier: Literal["auto", "default"] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    user: str | None = None

    store: OnlyFalse | None = None

    moderation: NotOffered = None
    prompt_cache_options: NotOffered = None


class StreamOptions(WireModel):
    """How a stream is sent. With `include_obfuscation` deltas are padded, so that their length tells less of their
    content."""

    include_obfuscation: bool | None = None
