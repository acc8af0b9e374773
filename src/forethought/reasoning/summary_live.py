"""The summary of one thinking item while it is thought: segments wait in a line, a task writes part after part.

The task is a declared boundary: what fails in it ends the summary, and nothing else.
"""

import asyncio

from forethought.logs import Hidden, get_logger
from forethought.reasoning.summary_part import Emit, PartText, PartWriter
from forethought.reasoning.summary_segments import Segmenter
from forethought.reasoning.summary_settings import Detail
from forethought.reasoning.summary_verbatim import Gate, Thought, Units
from forethought.reasoning.summary_words import SHARE, units

log = get_logger(__name__)


class LiveSummary:
    """Feed it the thinking, and finish it. Its events go to `emit`, the last one before `finish` or `aclose` ends.

    The parts are numbered from 0 in the order of their segments. A segment that brings no text has no part.
    """

    def __init__(self, index: int, writer: PartWriter, detail: Detail, units: Units, emit: Emit) -> None:
        """For item `index`. Begins at once, in the running event loop."""
        self._index = index
        self._writer = writer
        self._detail = detail
        self._emit = emit
        self._thought = Thought(units)
        self._segmenter = Segmenter(detail.segment, detail.most_parts)
        self._waiting: asyncio.Queue[Hidden | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._write())

    def feed(self, text: Hidden) -> None:
        """More was thought."""
        for segment in self._segmenter.feed(text.reveal()):
            self._waiting.put_nowait(Hidden(segment))

    async def finish(self, seconds: float) -> None:
        """The thinking is over: waits so long at most for what is missing, and gives up the rest."""
        if rest := self._segmenter.finish():
            self._waiting.put_nowait(Hidden(rest))
        self._waiting.put_nowait(None)
        await asyncio.wait({self._task}, timeout=seconds)
        await self.aclose()

    def cancel(self) -> None:
        """Gives up what is missing. A part that has begun is incomplete."""
        self._task.cancel()

    async def aclose(self) -> None:
        """`cancel`, and frees the summariser's request. Can be called twice."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _write(self) -> None:
        part = 0
        try:
            while (hidden := await self._waiting.get()) is not None:
                segment = hidden.reveal()
                self._thought.learn(segment)
                text = PartText(self._index, part, len(units(segment)) // SHARE, self._emit)
                await self._writer.write(segment, self._detail, Gate(self._thought), text)
                part += text.begun
        except Exception as error:  # noqa: BLE001 (the boundary of a summary)
            log.error("summary broke", error=error, item=self._index)
