"""The state of one request: its tokens, its place in the cache, and the rules by which it ends."""

import hashlib

from forethought.engine.blocks import BlockTable
from forethought.engine.grammar import GrammarState
from forethought.engine.penalties import PenaltyTable
from forethought.engine.protocol import EmbeddingSpan, Finished, Request, StopReason
from forethought.engine.stops import StopStrings
from forethought.engine.thinking import ThinkingTracker

Rank = tuple[int, int]
"""Importance: what has the lower rank runs first. Fixed when a request arrives."""


class Sequence:
    """One request on its way. Positions below `computed` have their KV in `table`.

    `content` is what the prefix tree sees: the tokens, with hashes where an embedding is given.
    """

    __slots__ = (
        "cached_tokens",
        "computed",
        "content",
        "grammar",
        "id",
        "length_limit",
        "penalties",
        "prompt_length",
        "rank",
        "request",
        "seed",
        "stop_ids",
        "stops",
        "table",
        "thinking",
        "tokens",
    )

    def __init__(
        self,
        request: Request,
        *,
        length_limit: int,
        seed: int,
        stops: StopStrings | None,
        grammar: GrammarState | None,
    ) -> None:
        self.request = request
        self.id = request.id
        self.rank: Rank = (0, 0)
        self.seed = seed
        self.tokens = list(request.prompt_ids)
        self.prompt_length = len(self.tokens)
        self.content = _content(self.tokens, request.spans) if request.spans else self.tokens
        self.length_limit = length_limit
        self.computed = 0
        self.cached_tokens: int | None = None
        self.table = BlockTable([], 0, 0)
        self.stop_ids = frozenset(request.limits.stop_token_ids)
        self.stops = stops
        self.grammar = grammar
        self.thinking = ThinkingTracker(request.limits.thinking) if request.limits.thinking else None
        self.penalties = PenaltyTable.of(request.sampling, request.prompt_ids)

    @property
    def running(self) -> bool:
        """Whether it has blocks; otherwise it waits, or has finished."""
        return bool(self.table.blocks)

    @property
    def produced(self) -> int:
        """Tokens emitted so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def left(self) -> int:
        """Tokens that may still be emitted."""
        return min(self.request.limits.max_tokens - self.produced, self.length_limit - len(self.tokens))

    def forced_token(self) -> int | None:
        """The token that must come next, if any."""
        return self.thinking.forced_token(self.left) if self.thinking is not None else None

    def instead_of(self, token: int) -> int | None:
        """The token to emit in place of a sampled one, if any: inside the thinking a stop token ends that only."""
        thinking = self.thinking
        return thinking.stop() if thinking is not None and thinking.open and token in self.stop_ids else None

    def accept(self, token: int, *, forced: bool) -> StopReason | None:
        """Appends a token of the output. Returns why the request ends with it, or None.

        Raises:
            GrammarFailed: the grammar does not go on from here.
        """
        self.tokens.append(token)
        if self.content is not self.tokens:
            self.content.append(token)
        if self.penalties is not None:
            self.penalties.count(token)
        hidden = False
        if self.thinking is not None:
            hidden = self.thinking.open
            self.thinking.observe(token, forced=forced)
        if token in self.stop_ids and not forced:
            return "stop_token"
        if self.stops is not None and not hidden and self.stops.found(token):
            return "stop_string"
        if self.grammar is not None and self.grammar.observe(token):
            return "grammar"
        if self.produced >= self.request.limits.max_tokens:
            return "max_tokens"
        return "context" if len(self.tokens) >= self.length_limit else None

    def finished(self, reason: StopReason, error: str | None = None) -> Finished:
        """The last event."""
        thinking = self.thinking
        return Finished(
            reason,
            prompt_tokens=self.prompt_length,
            cached_tokens=self.cached_tokens or 0,
            completion_tokens=self.produced,
            thinking_tokens=0 if thinking is None else thinking.tokens,
            thinking_closed=None if thinking is None else thinking.closed,
            error=error,
        )


def _content(tokens: list[int], spans: tuple[EmbeddingSpan, ...]) -> list[int]:
    """The tokens, with a negative hash of (what, which row) where an embedding is given."""
    content = list(tokens)
    for span in spans:
        for row in range(span.embeddings_TD.shape[0]):
            digest = hashlib.blake2b(f"{row}:{span.content_hash}".encode(), digest_size=16).digest()
            content[span.position + row] = -1 - int.from_bytes(digest)
    return content
