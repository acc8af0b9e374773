"""What a turn says while it happens: typed item events, the same whether somebody streams them or waits for the end.

The laws, which every turn keeps whatever breaks (an engine that crashes, a cancellation, hostile output):

1. Items are numbered from 0 in the order in which they begin, and follow one another: an item is added, gets its
   deltas, and is done before the next one is added.
2. The deltas of an item, joined, are its content; the item in `ItemDone` is the one that `ItemAdded` announced.
3. The last event is the turn's only `TurnDone`, and by then every item is done.
4. An item that was cut off is "incomplete", and then so is the turn, unless it is "failed" or "cancelled".
5. A "completed" turn has an answer: at least one message (which may be empty) or one tool call.
6. A turn that is followed by a `Summarizer` has parts of a summary besides: between the `ItemAdded` and the `ItemDone`
   of a thinking item only, numbered from 0 within it, one after another. The deltas of a part, joined, are its text,
   and by the end of the item every part is done. A part that is "incomplete" makes neither item nor turn so.

The API maps them one to one onto the events of OpenAI's Responses stream.
"""

from dataclasses import dataclass
from typing import Literal

from forethought.engine.protocol import ThinkingClosed
from forethought.logs import Hidden
from forethought.model.conversation import Message, Thinking, ToolCall

ItemKind = Literal["thinking", "message", "tool_call"]
ItemStatus = Literal["completed", "incomplete"]
OutputItem = Thinking | Message | ToolCall
TurnStatus = Literal["completed", "incomplete", "failed", "cancelled"]
IncompleteReason = Literal["max_output_tokens", "context", "no_answer"]
ErrorCode = Literal["malformed_tool_call", "grammar_failed", "engine_error", "internal_error"]


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """The log-probability of one token of the visible answer, and of the likeliest alternatives."""

    token_bytes: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ItemAdded:
    """Item `index` begins. `call_id` and `name` are those of a tool call; `custom` says that its tool takes text."""

    index: int
    kind: ItemKind
    call_id: str | None = None
    name: str | None = None
    custom: bool = False


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """More of the chain of thought. Hidden: it prints as its length."""

    index: int
    text: Hidden


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More of the answer; `logprobs` (if asked for) are those of the tokens that this text completes."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a tool call's arguments, as JSON text; of a custom tool's, more of its input."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class ItemDone:
    """Item `index` is over. The arguments of a "completed" tool call are a JSON object (the whole input, if its tool is
    a custom one), and the tool could be called."""

    index: int
    item: OutputItem
    status: ItemStatus


@dataclass(frozen=True, slots=True)
class SummaryPartAdded:
    """Part `part` of the summary of the thinking item `index` begins. Its first text is a title, in bold."""

    index: int
    part: int


@dataclass(frozen=True, slots=True)
class SummaryDelta:
    """More of a part of a summary."""

    index: int
    part: int
    text: str


@dataclass(frozen=True, slots=True)
class SummaryPartDone:
    """A part of a summary is over. It is "incomplete" when it was cut off: by its time, its length, a failure, or
    because it would have quoted the thinking."""

    index: int
    part: int
    text: str
    status: ItemStatus


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of a turn. `cached_tokens` is a part of `input_tokens`, `reasoning_tokens` one of `output_tokens`."""

    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class TurnError:
    """Why a turn failed: what happened, and what to do about it."""

    code: ErrorCode
    message: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class TurnDone:
    """The end of a turn.

    `incomplete_reason` goes with the status "incomplete", `error` with "failed". `thinking_closed` says that the
    thinking was ended by force: its budget was used up ("budget"), the token limit came near ("limit"), or the model
    wanted to stop without an answer ("stop").
    """

    status: TurnStatus
    usage: Usage
    incomplete_reason: IncompleteReason | None = None
    thinking_closed: ThinkingClosed | None = None
    error: TurnError | None = None


SummaryEvent = SummaryPartAdded | SummaryDelta | SummaryPartDone
Event = ItemAdded | ThinkingDelta | TextDelta | ToolCallDelta | SummaryEvent | ItemDone | TurnDone
