"""One choice of a completion while it is written: takes the events of its turn, gives the deltas that a client sees.

Whoever does not stream gets the same choice at its end, put together from the same events. Thinking has no place in it.
"""

from typing import Any, Literal

from forethought.api.parts import wire_logprob
from forethought.reasoning.events import Event, ItemAdded, TextDelta, ToolCallDelta, TurnDone

WireChoice = dict[str, Any]
FinishReason = Literal["stop", "length", "tool_calls"]


class ChoiceWriter:
    """The choice number `index`. What the turn says, if it says several things, is one text here."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._text: list[str] = []
        self._logprobs: list[dict[str, Any]] = []
        self._calls: list[CallWriter] = []
        self._finish_reason: FinishReason | None = None

    def begin(self) -> WireChoice:
        """The first delta."""
        return self._delta({"role": "assistant", "content": None, "refusal": None})

    def write(self, event: Event) -> list[WireChoice]:
        """The deltas that an event brings. A `TurnDone` must be that of a turn that came to its end."""
        match event:
            case TextDelta():
                logprobs = [wire_logprob(entry) for entry in event.logprobs]
                self._text.append(event.text)
                self._logprobs += logprobs
                return [self._delta({"content": event.text}, _logprobs(logprobs))]
            case ItemAdded(kind="tool_call"):
                self._calls.append(CallWriter(len(self._calls), event))
                return [self._delta({"tool_calls": [self._calls[-1].begin()]})]
            case ToolCallDelta():
                return [self._delta({"tool_calls": [self._calls[-1].extend(event.arguments)]})]
            case TurnDone():
                return self._finish(event)
            case _:
                return []

    def finished(self) -> WireChoice:
        """The whole choice."""
        text = "".join(self._text) if self._text or not self._calls else None
        calls = {"tool_calls": [call.finished() for call in self._calls]} if self._calls else {}
        return {
            "index": self._index,
            "message": {"role": "assistant", "content": text, "refusal": None, "annotations": [], **calls},
            "logprobs": _logprobs(self._logprobs),
            "finish_reason": self._finish_reason,
        }

    def _finish(self, done: TurnDone) -> list[WireChoice]:
        answer = [] if self._text or self._calls else [self._delta({"content": ""})]
        if done.status == "incomplete":
            self._finish_reason = "length"
        else:
            self._finish_reason = "tool_calls" if self._calls else "stop"
        return [*answer, self._delta({})]

    def _delta(self, delta: dict[str, Any], logprobs: dict[str, Any] | None = None) -> WireChoice:
        return {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": self._finish_reason}


class CallWriter:
    """One tool call. What a function is given are `arguments`, what a custom tool is given is `input`."""

    def __init__(self, index: int, added: ItemAdded) -> None:
        self._index = index
        self._kind, self._field = ("custom", "input") if added.custom else ("function", "arguments")
        self._head = {"id": added.call_id, "type": self._kind}
        self._name = added.name
        self._written: list[str] = []

    def begin(self) -> dict[str, Any]:
        """Which tool is called."""
        return {"index": self._index, **self._head, self._kind: {"name": self._name, self._field: ""}}

    def extend(self, written: str) -> dict[str, Any]:
        """More of what it is given."""
        self._written.append(written)
        return {"index": self._index, self._kind: {self._field: written}}

    def finished(self) -> dict[str, Any]:
        """The whole call."""
        return {**self._head, self._kind: {"name": self._name, self._field: "".join(self._written)}}


def _logprobs(content: list[dict[str, Any]]) -> dict[str, Any] | None:
    return {"content": content, "refusal": None} if content else None
