"""The rows of replayed answers, learned from the base itself where there is a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

from forethought.errors import TrainError
from forethought.model.conversation import Conversation, Effort, Message, Thinking
from forethought.reasoning.effort import thinking_budget
from forethought.train.rows import Branch, Row, branches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forethought.model.checkpoint import Checkpoint
    from forethought.train.replay import Answer
    from forethought.train.replay_settings import ReplaySettings
    from forethought.train.teacher import Teacher

THOUGHTS: Final[dict[Effort, tuple[str, ...]]] = {
    "low": ("An ordinary question. I answer it.", "Nothing to work out here."),
    "medium": (
        "This is an ordinary request. There is nothing to calculate, so I answer it directly.",
        "No puzzle and no sum: I can say what I know. I answer in a few plain sentences.",
    ),
    "high": (
        "This is an ordinary request. There is nothing to calculate and no tool is needed. I say what I know about it,"
        " in plain words and in a sensible order. Then I stop.",
        "First, what is asked? Something general. Is there anything to work out step by step? No. Are there rules about"
        " the form? None. So I answer it directly and keep to the question.",
    ),
}
"""What is thought before such an answer. The base thought nothing, so it is little; more where the effort is higher."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """An answer, and the row in which it is learned as it stands."""

    answer: Answer
    row: Row


class Replay:
    """Replayed answers as rows for `checkpoint`. Without a teacher they are learned as they stand.

    Raises:
        TrainError: replay is asked for, and there are no answers.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: ReplaySettings,
        answers: Sequence[Answer] = (),
        teacher: Teacher | None = None,
    ) -> None:
        if settings.share and not answers:
            raise TrainError(
                "Replay needs the base's answers, and there are none.", "Sample them, or set its share to 0."
            )
        self._checkpoint, self._settings = checkpoint, settings
        self._answers, self._teacher = answers, teacher

    def draw(self, effort: Effort, rng: Random) -> Replayed:
        """Any answer; with `settings.thinking` for a chance, behind a thinking of this effort."""
        thinks = rng.random() < self._settings.thinking
        answer = rng.choice(self._answers)
        row = replay_row(self._checkpoint, answer, effort if thinks else None, rng)
        weighed = (replace(branch, advantage=self._settings.weight) for branch in row.branches)
        return Replayed(answer, replace(row, branches=tuple(weighed)))

    def rows(self, drawn: Sequence[Replayed]) -> list[Row]:
        """The rows to learn from, all that the teacher knows about them included."""
        if self._teacher is None or not drawn:
            return [each.row for each in drawn]
        states = self._teacher.states([plain_row(self._checkpoint, each.answer) for each in drawn])
        return [taught(each.row, states_LC) for each, states_LC in zip(drawn, states, strict=True)]


def plain_row(checkpoint: Checkpoint, answer: Answer) -> Row:
    """The row of an answer as the base gave it."""
    conversation = Conversation((Message.of("user", answer.prompt),))
    return Row(checkpoint.renderer.render(conversation, think=False).token_ids, (Branch.of(answer.token_ids),))


def replay_row(checkpoint: Checkpoint, answer: Answer, effort: Effort | None, rng: Random) -> Row:
    """A row of which the answer is learned; with an effort, behind a short thinking that is learned too."""
    renderer = checkpoint.renderer
    conversation = Conversation((Message.of("user", answer.prompt),))
    if effort is None:
        return plain_row(checkpoint, answer)
    budget = thinking_budget(effort, checkpoint.capabilities.context_length)
    asked = Conversation(conversation.items, effort=effort, budget=budget)
    # An output of thinking alone ends with the stop token, in whose place the answer comes.
    thought = renderer.render_output((Thinking(rng.choice(THOUGHTS[effort])),))[:-1]
    return Row(renderer.render(asked, think=True).token_ids, (Branch.of((*thought, *answer.token_ids)),))


def taught(row: Row, states_LC: NDArray[np.float32]) -> Row:
    """A replayed row that is learned from a teacher, whose states are those of the answer; what is thought before it
    is learned as it stands."""
    [branch] = row.branches
    length, width = states_LC.shape
    thought = np.full((len(branch.token_ids) - length, width), np.nan, np.float32)
    return replace(row, branches=(replace(branch, teacher_LC=np.concatenate((thought, states_LC))),))


def divergence(rows: Sequence[Row], logprobs_N: NDArray[np.float32]) -> dict[str, float]:
    """How far the learned tokens that have a teacher are from it on average, in nats, as a metric: none if there are
    none."""
    taught_N = np.concatenate([_has_teacher(branch) for branch in branches(rows)])
    return {"divergence": -float(logprobs_N[taught_N].mean())} if taught_N.any() else {}


def _has_teacher(branch: Branch) -> NDArray[np.bool_]:
    """Which of a branch's learned tokens have a teacher."""
    learned_L = np.array(branch.learned)
    if branch.teacher_LC is None:
        return np.zeros(int(learned_L.sum()), np.bool_)
    return ~np.isnan(branch.teacher_LC[learned_L, 0])
