"""The tokens of one output become the events of a turn.

This is the whole logic of a turn, free of I/O: `Turn` feeds it what the engine says. It also decides what an output is
worth. A tool call that cannot be carried out (no name, no end, arguments that are no JSON object, a tool that may not
be called) makes the turn fail: nobody could act on it, shown as text it would pass for an answer, and a failed turn is
seen at once and can be tried again. Where tools are on offer a grammar (`output_grammar`) keeps the model from it.
"""

from forethought.engine.protocol import Finished, TokenEvent
from forethought.logs import Hidden, get_logger
from forethought.model.renderer import protocol as pieces
from forethought.reasoning.answer_text import LogprobQueue, StopCutter
from forethought.reasoning.events import (
    Event,
    IncompleteReason,
    ItemStatus,
    TurnDone,
    TurnError,
    TurnStatus,
    Usage,
)
from forethought.reasoning.items import ItemWriter

log = get_logger(__name__)

CUT_OFF = ("max_tokens", "context", "cancelled", "grammar_failed", "error")
"""Stop reasons that come from outside: what they leave unfinished is not the model's mistake."""


class Assembly:
    """The output of one turn so far."""

    def __init__(
        self,
        parser: pieces.Parser,
        stop: StopCutter,
        logprobs: LogprobQueue,
        tools: frozenset[str],
        token_limit: IncompleteReason,
    ) -> None:
        """`tools` are the names that may be called; `token_limit` says which limit the engine's `max_tokens` is."""
        self._parser = parser
        self._stop = stop
        self._logprobs = logprobs
        self._tools = tools
        self._token_limit: IncompleteReason = token_limit
        self._items = ItemWriter()
        self._error: TurnError | None = None

    @property
    def settled(self) -> bool:
        """More tokens change nothing: a stop string was met, or the output cannot become an answer any more."""
        return self._stop.matched or self._error is not None

    def feed(self, token: TokenEvent) -> list[Event]:
        """The events that one more token brings."""
        events: list[Event] = []
        if not self.settled:
            self._logprobs.sampled(token)
            for piece in self._parser.feed((token.token_id,)):
                events += self._piece(piece)
        return events

    def finish(self, finished: Finished) -> list[Event]:
        """The rest of the events; the last one is the `TurnDone`."""
        events: list[Event] = []
        if not self.settled:
            for piece in self._parser.finish():
                if not (finished.reason in CUT_OFF and isinstance(piece, pieces.Malformed)):
                    events += self._piece(piece)
        events += self._flush_text()
        status, reason = self._outcome(finished)
        events += self._items.close("completed" if status == "completed" else "incomplete")
        if status == "completed" and not self._items.answered:
            # An empty answer is one: whoever appends the items to the conversation finds the model's turn in it.
            events += self._items.begin("message")
            events += self._items.close("completed")
        return [*events, TurnDone(status, _usage(finished), reason, finished.thinking_closed, self._error)]

    def fail(self, error: TurnError, usage: Usage) -> list[Event]:
        """Ends the turn when the engine, or a part of ours, broke."""
        return [*self._items.close("incomplete"), TurnDone("failed", usage, error=self._error or error)]

    def _outcome(self, finished: Finished) -> tuple[TurnStatus, IncompleteReason | None]:
        if self._error is None and not self._stop.matched:
            self._error = self._failure(finished)
        if self._error is not None:
            return "failed", None
        if self._stop.matched:
            return "completed", None
        match finished.reason:
            case "max_tokens":
                return "incomplete", self._token_limit
            case "context":
                return "incomplete", "context"
            case "cancelled":
                return "cancelled", None
            case _:
                # The model may stop while it thinks. That is not an answer, not even an empty one.
                unanswered = self._items.kind in ("thinking", "tool_call")
                return ("incomplete", "no_answer") if unanswered else ("completed", None)

    def _failure(self, finished: Finished) -> TurnError | None:
        """What the engine could not do, if anything."""
        match finished.reason:
            case "error":
                return TurnError("engine_error", finished.error or "The engine failed. Ask again.")
            case "grammar_failed":
                where = f"In a call of {self._items.tool}: " if self._items.tool else ""
                return TurnError("grammar_failed", f"{where}{finished.error or 'The grammar failed.'}")
            case _:
                return None

    def _piece(self, piece: pieces.Piece) -> list[Event]:
        if self.settled:
            return []
        if isinstance(piece, pieces.TextDelta):
            self._logprobs.read(piece.text)
            return self._text(self._stop.feed(piece.text))
        events = self._flush_text()
        match piece:
            case pieces.ThinkingDelta(text):
                events += self._items.write("thinking", text)
            case pieces.ThinkingEnd():
                events += self._items.write("thinking", "")
                events += self._items.close("completed")
            case pieces.ToolCallStart(_, name, custom) if name in self._tools:
                events += self._items.begin("tool_call", name, custom=custom)
            case pieces.ToolCallStart(_, name):
                events += self._malformed("The model called a tool that it may not call.", name)
            case pieces.ToolCallDelta(_, arguments):
                events += self._items.write("tool_call", arguments)
            case pieces.ToolCallEnd():
                events += self._items.close("completed")
            case pieces.Malformed(text):
                events += self._malformed("The model wrote a tool call that is none.", text)
        return events

    def _text(self, text: str) -> list[Event]:
        return self._items.write("message", text, self._logprobs.shown(text)) if text else []

    def _flush_text(self) -> list[Event]:
        """The visible text is interrupted: what might have become a stop string did not."""
        events = self._text(self._stop.flush())
        self._logprobs.forget()
        return events

    def _malformed(self, message: str, written: str) -> list[Event]:
        log.info("malformed tool call", problem=message, written=Hidden(written))
        status: ItemStatus = "incomplete" if self._items.kind == "tool_call" else "completed"
        self._error = TurnError("malformed_tool_call", message, "Ask again, or offer fewer and simpler tools.")
        return self._items.close(status)


def _usage(finished: Finished) -> Usage:
    return Usage(finished.prompt_tokens, finished.cached_tokens, finished.completion_tokens, finished.thinking_tokens)
