"""A finished turn, for callers that do not stream: the same events, collected."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from forethought.errors import EngineError, RequestError
from forethought.model.conversation import Item, Message, ToolCall
from forethought.reasoning.events import Event, ItemDone, TextDelta, TokenLogprob, TurnDone


@dataclass(frozen=True, slots=True)
class Answer:
    """What a turn brought. `done` holds the status, the usage and, for a failed turn, the error."""

    items: tuple[ItemDone, ...]
    logprobs: tuple[TokenLogprob, ...]
    done: TurnDone

    @classmethod
    def of(cls, events: Iterable[Event]) -> Self:
        """Collects all events of one turn."""
        items: list[ItemDone] = []
        logprobs: list[TokenLogprob] = []
        done: TurnDone | None = None
        for event in events:
            match event:
                case ItemDone():
                    items.append(event)
                case TextDelta():
                    logprobs.extend(event.logprobs)
                case TurnDone():
                    done = event
                case _:
                    pass
        if done is None:
            raise RequestError("These are not all events of a turn.", "Collect them from the first to `TurnDone`.")
        return cls(tuple(items), tuple(logprobs), done)

    @property
    def text(self) -> str:
        """The visible answer."""
        return "".join(done.item.text for done in self.items if isinstance(done.item, Message))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls that can be carried out."""
        return tuple(d.item for d in self.items if isinstance(d.item, ToolCall) and d.status == "completed")

    @property
    def history(self) -> tuple[Item, ...]:
        """What to append to the conversation before the next turn: everything but calls that were cut off."""
        return tuple(d.item for d in self.items if d.status == "completed" or not isinstance(d.item, ToolCall))

    def checked(self) -> Self:
        """This answer, unless its turn failed.

        Raises:
            EngineError: it did; the message and remedy are those of `done.error`.
        """
        if self.done.error is not None:
            raise EngineError(self.done.error.message, self.done.error.remedy)
        return self
