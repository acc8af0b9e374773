"""A response while it is made: the events of a turn become OpenAI's, numbered, from `created` to one terminal event.

What fails becomes the terminal event: a turn that the engine or the model let down is `response.failed`, and when a
part of this room breaks the stream ends with `error`.
"""

from forethought.api.errors import ApiError, api_error
from forethought.api.parts import padding
from forethought.api.responses.document import ResponseDocument, wire_usage
from forethought.api.responses.output import OutputWriter, Seal
from forethought.api.stream import Refusal, WireObject, WireStream
from forethought.api.turns import TurnEvents, Turns, failure_of
from forethought.reasoning.events import Event, TurnDone, Usage

FAILURE_CODES = {400: "invalid_prompt", 429: "rate_limit_exceeded"}
"""What a response that failed calls an HTTP status; any other is `server_error`."""


class ResponseStream(WireStream):
    """The events of a response; the last one is terminal, whatever breaks."""

    def __init__(
        self,
        document: ResponseDocument,
        events: TurnEvents,
        seal: Seal | None,
        refusal: Refusal = api_error,
        *,
        obfuscated: bool = False,
    ) -> None:
        turns = Turns()
        turns.add(events)
        super().__init__(document.id, turns, refusal)
        self._document = document
        self._obfuscated = obfuscated
        self._output = OutputWriter(seal)
        self._usage: Usage | None = None
        self._last: WireObject = {}
        self._count = 0
        for status in ("created", "in_progress"):
            self._put({"type": f"response.{status}", "response": document.snapshot("in_progress", [])})

    def _take(self, place: int, event: Event) -> None:
        for wire in self._output.write(event):
            self._put(wire)
        if isinstance(event, TurnDone):
            self._usage, self.usage = event.usage, wire_usage(event.usage)
            if (failure := failure_of(event)) is not None:
                raise failure
            # OpenAI has one word for both limits, that of the request and that of the context.
            self._end(event.status, reason="max_output_tokens" if event.status == "incomplete" else None)
            self._complete()

    def _tell(self, failure: ApiError, *, unforeseen: bool) -> None:
        if unforeseen:
            # The SDK reads the error flat, Open Responses has it nested.
            flat = {"code": failure.code, "message": failure.message, "param": None}
            self._put({"type": "error", **flat, "error": failure.error})
        else:
            code = FAILURE_CODES.get(failure.status, "server_error")
            self._end("failed", error={"code": code, "message": failure.message})

    def _whole(self) -> WireObject:
        return self._last

    def _end(self, status: str, *, reason: str | None = None, error: WireObject | None = None) -> None:
        """The terminal event, with the response as it is at its end."""
        self._last = self._document.snapshot(
            status, self._output.items, self._usage, error=error, incomplete_reason=reason
        )
        self._put({"type": f"response.{status}", "response": self._last})

    def _put(self, event: WireObject) -> None:
        """Numbers an event and makes it ready."""
        event["sequence_number"] = self._count
        self._count += 1
        if self._obfuscated and "delta" in event:
            event["obfuscation"] = padding(len(event["delta"]))
        self._ready.append(event)
