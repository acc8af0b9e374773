"""What a user may see of the thinking: a summary in parts, written by a model while the thinking goes on.

The thinking is cut into segments as it streams (`summary_segments`). Each is shown, in a short conversation of its own,
to a model that says in a title and a few sentences what it is about (`summary_prompt`, `summary_part`); that is the
same engine at a low priority, or another one. A check keeps the text of the thinking out of it (`summary_verbatim`).
Everything about it is bounded: the number and the length of segments and parts, and the time. It costs the client no
tokens, and when it fails the turn does not.
"""

from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary_part import PartWriter
from forethought.reasoning.summary_settings import Detail, SummaryDetail, SummarySettings
from forethought.reasoning.summary_turn import SummarizedTurn
from forethought.reasoning.summary_verbatim import Units
from forethought.reasoning.turn import Turn

__all__ = ["Detail", "SummarizedTurn", "Summarizer", "SummaryDetail", "SummarySettings"]

DEFAULTS = SummarySettings()


class Summarizer:
    """Follows turns and summarises what they think. One for each served model; it may follow many turns at once.

    `reasoner` writes the summaries: that of the served model itself, or another one's.
    """

    def __init__(self, reasoner: Reasoner, settings: SummarySettings = DEFAULTS) -> None:
        self._writer = PartWriter(reasoner, settings)
        self._units = Units(reasoner.checkpoint.tokenizer)

    def follow(self, turn: Turn, detail: SummaryDetail) -> SummarizedTurn:
        """The turn with a summary in its events. It takes the turn over: read, cancel and close what is returned."""
        return SummarizedTurn(turn, self._writer, self._writer.settings.details[detail], self._units)
