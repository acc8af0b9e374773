"""One run: what a client asks, what the model writes to it, and what breaks. Plain data, so that it can be told."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from forethought.model.conversation import Item, Message, Thinking, ToolCall

Api = Literal["responses", "chat"]
Breakage = Literal[
    "max_tokens",
    "context",
    "cancelled",
    "stops",
    "hangs",
    "engine error",
    "engine fails",
    "engine down",
    "late refusal",
    "bug",
    "engine crashes",
    "engine closes",
    "server ends",
]
Refusal = Literal["queue full", "engine down", "grammar", "request", "bug"]
Summariser = Literal[
    "writes", "is cut off", "fails", "refuses", "hangs", "says nothing", "has a bug", "quotes", "titles",
    "spells", "dots", "chops", "shreds", "thinks", "calls",
]  # fmt: skip


@dataclass(frozen=True)
class Break:
    """What happens once this share of an output has been written."""

    how: Breakage
    at: float


@dataclass(frozen=True)
class Output:
    """One output of the model.

    Args:
        items: what it writes.
        raw: what follows the items: texts, and markers by their spelling.
        noise: tokens that no training would leave, each lot with the place where it stands (a share of the output).
        split: decides how the texts are cut into tokens.
        ends: what breaks.
    """

    items: tuple[Item, ...]
    raw: tuple[str, ...] = ()
    noise: tuple[tuple[float, tuple[int, ...]], ...] = ()
    split: int = 0
    ends: Break | None = None

    @property
    def text(self) -> str:
        """All that it says."""
        return "".join(item.text for item in self.items if isinstance(item, Message))

    @property
    def calls(self) -> list[tuple[str, str]]:
        """The tools that it calls, with what they are given."""
        return [(item.name, item.arguments) for item in self.items if isinstance(item, ToolCall)]


@dataclass(frozen=True)
class Leave:
    """The client leaves, after so many events if it streams."""

    streamed: bool
    events: int


@dataclass(frozen=True)
class Run:
    """One request and its answer.

    Args:
        kind: what the run is about.
        path: where the request goes, with its query.
        body: the request, which may be streamed or not.
        stream_options: what is asked of a stream besides.
        outputs: one for each choice of the answer.
        summariser: what becomes of a summary, if one is asked for.
        refusal: what the engine refuses the request with.
        crowded: the server has no place for it.
        leave: the client does not wait for the answer.
        secret: what is in all that the model thinks.
        quotes: what breaks unexpectedly says in its message what was thought.
    """

    kind: str
    api: Api
    path: str
    body: Mapping[str, Any]
    outputs: tuple[Output, ...]
    stream_options: Mapping[str, Any] | None = None
    summariser: Summariser = "writes"
    refusal: Refusal | None = None
    crowded: bool = False
    leave: Leave | None = None
    secret: str = ""
    quotes: bool = False

    def request(self, *, streamed: bool) -> dict[str, Any]:
        """The body as it is sent."""
        if not streamed:
            return dict(self.body)
        options = {} if self.stream_options is None else {"stream_options": self.stream_options}
        return {**self.body, "stream": True, **options}

    @property
    def closes(self) -> bool:
        """Whether no server is left afterwards."""
        return any(
            output.ends is not None and output.ends.how in ("engine closes", "server ends") for output in self.outputs
        )

    @property
    def thoughts(self) -> list[str]:
        """All that the model thinks."""
        return [item.text for output in self.outputs for item in output.items if isinstance(item, Thinking)]

    @property
    def features(self) -> Iterator[str]:
        """What is asked for, to be counted."""
        body = self.body
        yield self.api
        yield from (name for name in ("tools", "tool_choice", "stop", "seed") if name in body)
        if body.get("parallel_tool_calls") is False:
            yield "one call at most"
        if body.get("response_format") or (body.get("text") or {}).get("format"):
            yield "structured output"
        if "summary" in (body.get("reasoning") or {}):
            yield "summary"
        if "reasoning.encrypted_content" in body.get("include", ()):
            yield "encrypted content"
        if body.get("logprobs") or "message.output_text.logprobs" in body.get("include", ()):
            yield "logprobs"
        if "max_output_tokens" in body or "max_completion_tokens" in body:
            yield "token limit"
        if len(self.outputs) > 1:
            yield "several choices"
        if any(output.noise for output in self.outputs):
            yield "noise"
