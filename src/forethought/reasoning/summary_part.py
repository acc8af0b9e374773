"""Writes one part of a summary: asks the summariser about a segment, and shows what may be shown as it comes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from forethought.errors import ForethoughtError
from forethought.reasoning.events import (
    Event,
    ItemStatus,
    SummaryDelta,
    SummaryPartAdded,
    SummaryPartDone,
    TextDelta,
    TurnDone,
)
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary_prompt import TITLE, summary_conversation, summary_shape
from forethought.reasoning.summary_settings import Detail, SummarySettings
from forethought.reasoning.summary_verbatim import Gate
from forethought.reasoning.turn import Turn
from forethought.reasoning.turn_options import SamplingOverrides

SAMPLING: Final[SamplingOverrides] = {"temperature": 0.0, "repetition_penalty": 1.1}
"""The likeliest text, and none the likelier for standing in the segment: small models repeat what they read."""

Emit = Callable[[Event], None]


class PartText:
    """The visible text of part `part` of item `index`. It begins, as far as anybody sees, once its title is there: a
    part that comes to nothing before is none."""

    def __init__(self, index: int, part: int, emit: Emit) -> None:
        self._index = index
        self._part = part
        self._emit = emit
        self._text = ""
        self.begun = False

    def show(self, text: str) -> None:
        """More of it."""
        self._text += text
        if self.begun:
            if text:
                self._emit(SummaryDelta(self._index, self._part, text))
        elif TITLE.match(self._text):
            self.begun = True
            self._emit(SummaryPartAdded(self._index, self._part))
            self._emit(SummaryDelta(self._index, self._part, self._text))

    def close(self, status: ItemStatus) -> None:
        """Its end."""
        if self.begun:
            self._emit(SummaryPartDone(self._index, self._part, self._text, status))


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Writes parts with one reasoner."""

    reasoner: Reasoner
    settings: SummarySettings

    async def write(self, segment: str, detail: Detail, gate: Gate, text: PartText) -> None:
        """Shows one part, to its end: its own, or that of its time."""
        status: ItemStatus = "incomplete"
        try:
            async with asyncio.timeout(self.settings.part_seconds), self._ask(segment, detail) as turn:
                status = await self._follow(turn, gate, text)
        except (ForethoughtError, TimeoutError):
            pass  # the summariser refused, is down or is slow: the part is incomplete, which says it all
        finally:
            text.close(status)

    def _ask(self, segment: str, detail: Detail) -> Turn:
        tokenizer = self.reasoner.checkpoint.tokenizer
        tokens = tokenizer.encode(segment)
        # Half of a small context is for the segment, the rest for the instructions and the answer.
        room = self.reasoner.context_length // 2
        shown = segment if len(tokens) <= room else tokenizer.decode(tokens[:room])
        return self.reasoner.turn(
            summary_conversation(shown, detail),
            think=False,
            output_format=summary_shape(shown, detail),
            max_output_tokens=detail.max_tokens,
            sampling=SAMPLING,
            priority=self.settings.priority,
        )

    async def _follow(self, turn: Turn, gate: Gate, text: PartText) -> ItemStatus:
        """Reads the summariser's answer until it ends or would quote."""
        async for event in turn:
            match event:
                case TextDelta(text=said):
                    text.show(gate.feed(said))
                    if gate.closed:
                        return "incomplete"
                case TurnDone(status=status):
                    text.show(gate.finish())
                    return "completed" if status == "completed" and not gate.closed else "incomplete"
                case _:
                    pass
        return "incomplete"
