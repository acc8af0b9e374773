"""The figures of a step of reinforcement learning, as they stand in `metrics.jsonl`."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forethought.evals.attempt import Attempt
from forethought.model.conversation import Message, ToolCall
from forethought.train.alarms import Answered
from forethought.train.rollouts import Group, Rollout
from forethought.train.rows import Row, branches, learned_values

QUANTILES = (0.001, 0.01, 0.5, 0.99, 0.999)

FACTOR_OF_TWO = math.log(2.0)


def rollout_metrics(groups: Sequence[Group]) -> dict[str, Any]:
    """What the rollouts of a step say: rewards by family and level, what those of the groups come to, how attempts
    ended, how long and how varied they were. `entropy` is what a sampled token says to the model itself (nats a token):
    at temperature 1, an estimate of its entropy."""
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    attempts = [rollout.attempt for rollout in rollouts]
    return {
        "reward": mean(rollout.reward for rollout in rollouts),
        "correct": mean(attempt.verdict.correct for attempt in attempts),
        "cells": _cells(groups),
        "groups": dict(Counter(group.lesson for group in groups)),
        "errors": [error for group in groups for error in group.errors],
        "reasons": dict(Counter(attempt.reason for attempt in attempts)),
        "capped": mean(attempt.capped for attempt in attempts),
        "answered": mean(attempt.answered for attempt in attempts),
        "thinking_tokens": mean(attempt.thinking_tokens for attempt in attempts),
        "thinking_by_effort": _thinking_by_effort(groups),
        "sampled_tokens": sum(len(turn.output_ids) for attempt in attempts for turn in attempt.turns),
        "entropy": -mean(_chosen_logprobs(attempts)),
    }


def credit_metrics(groups: Sequence[Group]) -> dict[str, Any]:
    """Of the attempts that were judged token by token: how many, the share of the wrong ones that have a token to
    blame, and how many tokens stand in front of it; and the number of groups that teach something, judged or not.
    Nothing where none was judged."""
    judged = [rollout for group in groups if group.supervised for rollout in group.rollouts]
    wrong = [rollout for rollout in judged if not rollout.attempt.verdict.correct]
    places = [rollout.blamed[0] for rollout in wrong if rollout.blamed]
    found = {
        "attempts": len(judged),
        "blamed": len(places) / max(1, len(wrong)),
        "tokens_before": mean(places),
        "groups": sum(group.teaches for group in groups),
    }
    return {"credit": found} if judged else {}


def ratio_metrics(rows: Sequence[Row], logprobs_N: NDArray[np.float32]) -> dict[str, float]:
    """How far learner and sampler are apart: quantiles of the difference of their log-probabilities, its greatest
    size, and the share of tokens that differ by a factor of two and by a tenth. Of tokens that were sampled; nothing
    where there are none."""
    sampled = learned_values(rows, [branch.sampler_logprobs or () for branch in branches(rows)])
    difference_N = np.asarray(logprobs_N, dtype=np.float64) - np.asarray(sampled, dtype=np.float64)
    difference_N = difference_N[~np.isnan(difference_N)]
    if not difference_N.size:
        return {}
    away_N = np.abs(difference_N)
    quantiles = {f"q{q:g}": float(np.quantile(difference_N, q)) for q in QUANTILES}
    ratio_N = np.exp(difference_N)
    return quantiles | {
        "most": float(away_N.max()),
        "outside_tenth": float(((ratio_N < 0.9) | (ratio_N > 1.1)).mean()),
        "outside_double": float((away_N > FACTOR_OF_TWO).mean()),
    }


def answers(groups: Sequence[Group]) -> Iterator[Answered]:
    """How all attempts ended, for the alarms."""
    for group in groups:
        problem = group.assignment.problem
        for rollout in group.rollouts:
            yield Answered(problem.family, problem.key, answer_text(rollout.attempt), rollout.reward > 0)


def answer_text(attempt: Attempt) -> str:
    """What an attempt said in the end: its messages and calls, without thinking."""
    said: list[str] = []
    for item in attempt.transcript:
        if isinstance(item, Message):
            said.append(item.text)
        elif isinstance(item, ToolCall):
            said.append(f"{item.name}({item.arguments})")
    return "\n".join(said)


def mean(values: Iterable[float]) -> float:
    """The mean; 0 for no values, so that a step without a sound attempt can still be written down."""
    listed = [float(value) for value in values]
    return math.fsum(listed) / len(listed) if listed else 0.0


def _cells(groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """By family and level (`chain_sum/1`): how many rollouts, their mean reward, the share that was right."""
    cells: dict[str, list[Rollout]] = {}
    for group in groups:
        problem = group.assignment.problem
        cells.setdefault(f"{problem.family}/{problem.level}", []).extend(group.rollouts)
    return {
        name: {
            "n": len(rollouts),
            "reward": mean(rollout.reward for rollout in rollouts),
            "correct": mean(rollout.attempt.verdict.correct for rollout in rollouts),
        }
        for name, rollouts in sorted(cells.items())
    }


def _thinking_by_effort(groups: Sequence[Group]) -> dict[str, float]:
    """Mean thinking tokens where there is any, and no tight budget was given."""
    lengths: dict[str, list[int]] = {}
    for group in groups:
        if group.assignment.problem.thinks and not group.assignment.tight:
            found = [rollout.attempt.thinking_tokens for rollout in group.rollouts]
            lengths.setdefault(group.assignment.effort, []).extend(found)
    return {effort: mean(found) for effort, found in sorted(lengths.items())}


def _chosen_logprobs(attempts: Sequence[Attempt]) -> Iterator[float]:
    """The log-probabilities of all tokens that the model chose itself."""
    for attempt in attempts:
        for turn in attempt.turns:
            yield from (value for value, forced in zip(turn.logprobs, turn.forced, strict=True) if not forced)
