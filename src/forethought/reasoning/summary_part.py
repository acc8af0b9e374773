"""Writes one part of a summary: asks the summariser about a segment, and shows what may be shown as it comes."""

import asyncio
import re
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
from forethought.reasoning.summary_prompt import TITLE, fitting, summary_conversation, summary_shape
from forethought.reasoning.summary_settings import Detail, SummarySettings
from forethought.reasoning.summary_verbatim import Gate
from forethought.reasoning.summary_words import units
from forethought.reasoning.turn import Turn
from forethought.reasoning.turn_options import SamplingOverrides

SAMPLING: Final[SamplingOverrides] = {"temperature": 0.0, "repetition_penalty": 1.0}
"""The likeliest text."""

_SENTENCE: Final = re.compile(r"\s*[^\s.!?。！？](?s:.*?)[.!?。！？]+(?=\s)")

Emit = Callable[[Event], None]


class PartText:
    """The visible text of part `part` of item `index`: the title, then whole sentences, as long as they and the title
    have at most `room` units (the first one may have more). It begins, as far as anybody sees, once its title is there:
    a part that comes to nothing before is none."""

    def __init__(self, index: int, part: int, room: int, emit: Emit) -> None:
        self._index = index
        self._part = part
        self._room = room
        self._emit = emit
        self._text = ""
        self._shown = 0
        self.sentences = 0
        self.full = False
        """Whether a sentence came that is not shown because there is no room for it."""

    @property
    def begun(self) -> bool:
        """Whether there is a title."""
        return self._shown > 0

    def take(self, text: str) -> None:
        """More of it. What it completes is shown."""
        self._text += text
        if not self.begun and (title := TITLE.match(self._text)):
            self._emit(SummaryPartAdded(self._index, self._part))
            self._show(title.end())
        while self.begun and not self.full and (sentence := _SENTENCE.match(self._text, self._shown)):
            end = sentence.end()
            self.full = self.sentences > 0 and len(units(self._text[:end])) > self._room
            if not self.full:
                self.sentences += 1
                self._show(end)

    def finish(self) -> None:
        """There will be no more, so its last sentence is complete."""
        self.take("\n")

    def close(self, status: ItemStatus) -> None:
        """Its end."""
        if self.begun:
            self._emit(SummaryPartDone(self._index, self._part, self._text[: self._shown], status))

    def _show(self, end: int) -> None:
        self._emit(SummaryDelta(self._index, self._part, self._text[self._shown : end]))
        self._shown = end


@dataclass(frozen=True, slots=True)
class PartWriter:
    """Writes parts with one reasoner."""

    reasoner: Reasoner
    settings: SummarySettings

    async def write(self, segment: str, detail: Detail, gate: Gate, text: PartText) -> None:
        """Shows one part, to its end: its own, or that of its time."""
        detail = fitting(segment, detail)
        status: ItemStatus = "incomplete"
        try:
            async with asyncio.timeout(self.settings.part_seconds), self._ask(segment, detail) as turn:
                status = await self._follow(turn, gate, text, detail.sentences[0])
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

    async def _follow(self, turn: Turn, gate: Gate, text: PartText, fewest: int) -> ItemStatus:
        """Reads the summariser's answer until it ends, would quote, or has no more room."""
        ended = False
        async for event in turn:
            match event:
                case TextDelta(text=said):
                    text.take(gate.feed(said))
                case TurnDone(status=status):
                    text.take(gate.finish())
                    ended = status == "completed"
                    if ended and not gate.closed:
                        text.finish()
                case _:
                    pass
            if ended or gate.closed or text.full:
                return "completed" if text.sentences >= fewest else "incomplete"
        return "incomplete"
