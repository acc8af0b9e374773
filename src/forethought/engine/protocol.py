"""What an engine is: tokens in, tokens out, many at once.

Every engine (ours in process, ours in a process of its own, vLLM, a scripted one for tests) offers the `Engine`
protocol; nothing above this room knows which one it talks to. Nothing here knows about messages or tools.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from forethought.engine.metrics import EngineMetrics
from forethought.errors import GrammarError, RequestError

if TYPE_CHECKING:
    # Not at run time: a command line whose engine lives in another process starts without torch, a second sooner.
    import torch

StopReason = Literal[
    "stop_token", "stop_string", "max_tokens", "context", "grammar", "grammar_failed", "cancelled", "error"
]
"""What may end a request. "grammar" is the end of all that it allows; "grammar_failed" says that it cannot be followed
any further, and is the fault of who wrote it."""
GrammarKind = Literal["json_schema", "regex", "lark"]
ThinkingClosed = Literal["budget", "limit", "stop"]

MAX_GRAMMAR = 1 << 17
"""Characters of a grammar. The engine compiles it between two steps, and everybody waits."""


@dataclass(frozen=True, slots=True)
class EmbeddingSpan:
    """A run of prompt positions whose embeddings are given instead of looked up (an image, say).

    `position` is the index of the first replaced prompt token, `embeddings_TD` has one row per replaced token,
    `content_hash` identifies the content, and is what prefix hashes see instead of the placeholder ids.
    """

    position: int
    embeddings_TD: torch.Tensor
    content_hash: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 is greedy; `top_k` 0, `top_p` 1 and `min_p` 0 are off.

    `seed` makes a request reproducible whatever else is in the batch; None draws one. Penalties follow the
    field: `repetition_penalty` (CTRL, prompt and output), `presence_penalty` and `frequency_penalty` (OpenAI,
    output only).
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0

    def __post_init__(self) -> None:
        limits = (
            ("temperature", 0.0 <= self.temperature <= 100.0, "between 0 and 100"),
            ("top_p", 0.0 < self.top_p <= 1.0, "above 0 and at most 1"),
            ("top_k", 0 <= self.top_k < 2**31, "between 0 and 2^31 - 1"),
            ("min_p", 0.0 <= self.min_p <= 1.0, "between 0 and 1"),
            ("seed", self.seed is None or 0 <= self.seed < 2**63, "between 0 and 2^63 - 1"),
            ("repetition_penalty", 0.0 < self.repetition_penalty <= 10.0, "above 0 and at most 10"),
            ("presence_penalty", -2.0 <= self.presence_penalty <= 2.0, "between -2 and 2"),
            ("frequency_penalty", -2.0 <= self.frequency_penalty <= 2.0, "between -2 and 2"),
        )
        for name, fine, allowed in limits:
            if not fine:
                raise RequestError(f"{name} is {getattr(self, name)}.", f"It must be {allowed}.")


@dataclass(frozen=True, slots=True)
class ThinkingBudget:
    """Ends the thinking after `max_tokens` tokens by forcing `end_ids` (the last of which is `end_id`).

    `open_at_start` says that the prompt ends inside the thinking; otherwise thinking begins when `start_id` is
    sampled. `reserve` keeps that many tokens of `Limits.max_tokens` for the answer: thinking is closed early
    when no more are left. A stop token sampled inside the thinking ends the thinking instead of the request
    (`end_ids` take its place): a model that has thought owes an answer. Forced tokens carry `TokenEvent.forced`.
    """

    max_tokens: int
    start_id: int
    end_ids: tuple[int, ...]
    open_at_start: bool = True
    reserve: int = 0

    @property
    def end_id(self) -> int:
        """The token that ends the thinking, sampled or forced."""
        return self.end_ids[-1]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a request ends. Stop tokens are emitted as the last event; a stop string's tokens are emitted too
    (whoever turns tokens into text cuts them off). Stop strings are looked for in the answer, not in the thinking.

    `max_tokens` may exceed what is left of the context: then the answer ends with "context".
    """

    max_tokens: int
    stop_token_ids: tuple[int, ...] = ()
    stop_strings: tuple[str, ...] = ()
    thinking: ThinkingBudget | None = None


@dataclass(frozen=True, slots=True)
class Grammar:
    """A constraint on the output, enforced by llguidance. It applies from the first token, or, when
    `start_after` is given, from the token that follows the first occurrence of that id in the output."""

    kind: GrammarKind
    source: str
    start_after: int | None = None

    def __post_init__(self) -> None:
        if len(self.source) > MAX_GRAMMAR:
            raise GrammarError(
                f"The schemas and grammars of a request have {len(self.source)} characters together.",
                f"They may have {MAX_GRAMMAR}: offer fewer tools, or simpler schemas.",
            )


@dataclass(frozen=True, slots=True)
class Request:
    """One generation. `id` is unique among the requests in flight. A lower `priority` runs first.

    `logprobs` asks for the log-probability of each sampled token (0) and of that many best alternatives; they
    are the model's own, before temperature, penalties and grammar.
    """

    id: str
    prompt_ids: tuple[int, ...]
    limits: Limits
    sampling: Sampling = Sampling()
    grammar: Grammar | None = None
    spans: tuple[EmbeddingSpan, ...] = ()
    logprobs: int | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One token of the answer."""

    token_id: int
    forced: bool = False
    logprob: float | None = None
    top_logprobs: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a stream. `error` is set when `reason` is "error" or "grammar_failed".

    `thinking_closed` says that the thinking was ended by force: its budget ("budget") or the token limit ("limit")
    was reached, or the model wanted to stop without an answer ("stop").
    """

    reason: StopReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    thinking_tokens: int = 0
    thinking_closed: ThinkingClosed | None = None
    error: str | None = None


EngineEvent = TokenEvent | Finished


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished request, for callers that do not stream: all token events, and how it ended."""

    request_id: str
    tokens: tuple[TokenEvent, ...]
    finished: Finished
    token_ids: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "token_ids", tuple(t.token_id for t in self.tokens))


class EventStream(Protocol):
    """The events of one request, for one consumer: tokens, then exactly one `Finished`, whatever breaks.

    Events wait in the stream until they are read, so a slow consumer holds up nobody; `Limits.max_tokens` bounds
    them.
    """

    def __aiter__(self) -> AsyncIterator[EngineEvent]: ...

    def __anext__(self) -> Awaitable[EngineEvent]: ...

    def ready(self) -> list[EngineEvent]:
        """Takes what has come besides the event that was just read, without waiting. So a reader that falls behind
        catches up."""
        ...

    async def aclose(self) -> None:
        """Cancels the request if it has not finished. Can be called twice."""
        ...


class Engine(Protocol):
    """Runs requests. Each is answered by a stream, or refused with an error in place of its first event."""

    @property
    def digest(self) -> str:
        """Digest of the checkpoint as loaded (design.md, "digest")."""
        ...

    @property
    def context_length(self) -> int:
        """Most tokens of prompt and answer together."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a request would be computed now: it has been started, and is not closed, given up or restarting."""
        ...

    async def start(self) -> None:
        """Loads the weights. Raises `CheckpointError` or `EngineError`."""
        ...

    async def close(self) -> None:
        """Ends requests in flight ("cancelled") and frees everything. Can be called twice."""
        ...

    def submit(self, request: Request) -> EventStream:
        """Queues a request at once and returns its stream. Closing the stream cancels the request.

        A refusal is raised here when it is known at once (`EngineDown`, `QueueFull`, `ContextLengthError`,
        `RequestError`), else by the stream in place of its first event (`GrammarError`, whatever only the
        process that runs the model can tell, or `EngineDown` when it does not come back). After the first
        event a stream raises nothing: a failure is its `Finished`, with reason "error" or "grammar_failed".
        """
        ...

    def cancel(self, request_id: str) -> None:
        """Ends a request with "cancelled" and frees its memory. Unknown ids are ignored."""
        ...

    async def update_weights(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Replaces tensors by name, empties the prefix cache. Waits for the step in progress."""
        ...

    def metrics(self) -> EngineMetrics:
        """A snapshot; cheap."""
        ...
