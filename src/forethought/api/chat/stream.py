"""A completion while it is made: the events of its turns become chunks.

There is no completion that failed: what fails ends the stream with an object that holds an `error`, which the SDK
raises.
"""

from forethought.api.chat.choice import ChoiceWriter
from forethought.api.chat.document import CompletionDocument, wire_usage
from forethought.api.errors import ApiError, api_error
from forethought.api.stream import Refusal, WireObject, WireStream
from forethought.api.turns import Turns, failure_of
from forethought.reasoning.events import Event, TurnDone, Usage


class ChatStream(WireStream):
    """The chunks of a completion; the last one may be an error."""

    def __init__(self, document: CompletionDocument, turns: Turns, refusal: Refusal = api_error) -> None:
        super().__init__(document.id, turns, refusal)
        self._document = document
        self._choices = [ChoiceWriter(index) for index in range(len(turns))]
        self._usages: list[Usage] = []
        self._ready.extend(document.chunk(choice.begin()) for choice in self._choices)

    def _take(self, place: int, event: Event) -> None:
        if isinstance(event, TurnDone):
            if (failure := failure_of(event)) is not None:
                raise failure
            self._usages.append(event.usage)
        self._ready.extend(self._document.chunk(delta) for delta in self._choices[place].write(event))
        if len(self._usages) == len(self._choices):
            self._complete()
            self.usage = wire_usage(self._usages)
            self._ready.extend(self._document.usage_chunks(self._usages))

    def _tell(self, failure: ApiError, *, unforeseen: bool) -> None:
        self._ready.append(failure.body)

    def _whole(self) -> WireObject:
        return self._document.completion([choice.finished() for choice in self._choices], self._usages)
