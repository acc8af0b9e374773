"""A few rollouts of a step, picked and spelled out for people: the lines of `rollouts.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, Literal

from forethought.train.rollouts import Group, Rollout

if TYPE_CHECKING:
    from forethought.evals.attempt import TurnRecord
    from forethought.model.tokenizer import Tokenizer

Mark = Literal["", "forced", "blamed"]
"""Of a run of tokens: that the engine wrote it, or that an attempt went wrong with it (`credit.py`)."""

GROUPS: Final = 4
SAMPLES: Final = 4
"""How many of a step are shown."""


def shown(groups: Sequence[Group], tokenizer: Tokenizer) -> list[dict[str, Any]]:
    """Some groups, those that teach something first; of each some samples, the best and the worst of them."""
    sound = [group for group in groups if group.rollouts]
    picked = sorted(sound, key=lambda group: not group.teaches)[:GROUPS]
    return [_group(group, tokenizer) for group in picked]


def _group(group: Group, tokenizer: Tokenizer) -> dict[str, Any]:
    asked = group.assignment
    ranked = sorted(group.rollouts, key=lambda rollout: -rollout.reward)
    half = SAMPLES // 2
    picked = ranked if len(ranked) <= SAMPLES else ranked[:half] + ranked[-half:]
    return {
        "family": asked.problem.family,
        "level": asked.problem.level,
        "seed": asked.problem.seed,
        "effort": asked.effort,
        "budget": asked.budget,
        "lesson": group.lesson,
        "prompt": tokenizer.decode(group.rollouts[0].attempt.turns[0].prompt_ids),
        "samples": [_sample(rollout, tokenizer, supervised=group.supervised) for rollout in picked],
    }


def _sample(rollout: Rollout, tokenizer: Tokenizer, *, supervised: bool) -> dict[str, Any]:
    attempt = rollout.attempt
    return {
        "output": [piece for turn in attempt.turns for piece in _pieces(turn, _marks(rollout, turn), tokenizer)],
        "correct": attempt.verdict.correct,
        "why": attempt.verdict.reason,
        "reward": rollout.reward,
        "advantage": None if supervised else rollout.advantage,
        "reason": attempt.reason,
        "thinking_tokens": attempt.thinking_tokens,
    }


def _marks(rollout: Rollout, turn: TurnRecord) -> Iterator[Mark]:
    """What is to be said of each token of a turn."""
    first = rollout.attempt.turns[0].prompt_ids
    start = len(turn.prompt_ids) - len(first)
    goes_on = any(turn.prompt_ids == first + judged.token_ids[: max(0, start)] for judged in rollout.judged)
    for index, forced in enumerate(turn.forced, start):
        yield "forced" if forced else "blamed" if goes_on and index in rollout.blamed else ""


def _pieces(turn: TurnRecord, marks: Iterable[Mark], tokenizer: Tokenizer) -> list[tuple[str, Mark]]:
    """The text of a turn in runs of tokens with the same mark."""
    pieces: list[tuple[str, Mark]] = []
    for mark, run in groupby(zip(marks, turn.output_ids, strict=True), itemgetter(0)):
        pieces.append((tokenizer.decode([token for _, token in run]), mark))
    return pieces
