"""The state of a chat: what was said, how the next answer is to be made, and what the last one cost."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forethought.model.conversation import Conversation, Effort, Item, Message

if TYPE_CHECKING:
    from forethought.reasoning.answer import Answer
    from forethought.reasoning.events import Usage


@dataclass(slots=True)
class Cost:
    """Tokens and seconds of one answer."""

    usage: Usage
    first_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float:
        """Output tokens after the first, per second of waiting for them."""
        rest = self.seconds - self.first_seconds
        return (self.usage.output_tokens - 1) / rest if self.usage.output_tokens > 1 and rest > 0 else 0.0


class Stopwatch:
    """Times one answer: from now to its first event and to its end."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._first: float | None = None

    def event(self) -> None:
        """Something of the answer has come."""
        if self._first is None:
            self._first = time.monotonic() - self._start

    def cost(self, usage: Usage) -> Cost:
        """The answer is complete."""
        seconds = time.monotonic() - self._start
        return Cost(usage, seconds if self._first is None else self._first, seconds)


@dataclass(slots=True)
class Talk:
    """A conversation in progress and its settings."""

    system: str = ""
    effort: Effort | None = None
    think: bool | None = None
    show_thinking: bool = False
    max_tokens: int | None = None
    seed: int | None = None
    temperature: float | None = None
    items: list[Item] = field(default_factory=list[Item])
    cost: Cost | None = None

    def asking(self, text: str) -> Conversation:
        """The conversation in which `text` is asked next."""
        system = [Message.of("system", self.system)] if self.system else []
        return Conversation((*system, *self.items, Message.of("user", text)))

    def answered(self, text: str, answer: Answer, cost: Cost) -> None:
        """Keeps the question and what the answer left; a question without any answer is as if it was never asked."""
        self.cost = cost
        if answer.text or answer.done.status == "completed":
            self.items += [Message.of("user", text), *answer.history]

    def save(self, path: Path, model: str) -> None:
        """Writes what was said, without any thinking, as JSON."""
        said: list[dict[str, Any]] = [{"role": "system", "text": self.system}] if self.system else []
        said += [{"role": item.role, "text": item.text} for item in self.items if isinstance(item, Message)]
        content = {"schema_version": 1, "model": model, "messages": said}
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
