"""Reinforcement learning: attempt, compare with the group, learn, with the same weights all the way round.

Each step is on-policy: the engine gets the learner's weights, samples from them, and one update follows. What is drawn
is a pure function of the recipe's seed and the step; what is remembered (levels, alarms) is part of the state.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from forethought.evals.measure import measure
from forethought.evals.measurement import Cell
from forethought.model.conversation import Effort
from forethought.tasks.registry import family
from forethought.train import losses
from forethought.train.alarms import Alarms, Health
from forethought.train.assignments import assignments, first_curriculum
from forethought.train.probes import hole
from forethought.train.replay_rows import divergence
from forethought.train.rl_metrics import answers, credit_metrics, mean, ratio_metrics, rollout_metrics
from forethought.train.rl_settings import RlSettings
from forethought.train.rollouts import Group, roll, rows_of
from forethought.train.rows import Row, branches
from forethought.train.samples import shown
from forethought.train.schedule import learning_rate
from forethought.train.seeds import seed_of
from forethought.train.stage import Step

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from forethought.train.backend import Backend, Loss
    from forethought.train.replay_rows import Replay

VALIDATION_EFFORT: Final[Effort] = "medium"


class RlLoop:
    """A stage of reinforcement learning on a backend, step by step, with its replay."""

    kind = "rl"

    def __init__(self, name: str, settings: RlSettings, backend: Backend, seed: int, replay: Replay) -> None:
        """Raises `TaskError` or `TrainError` for a family or level that does not exist."""
        self.name = name
        self.steps = settings.steps
        self.save_every = settings.save_every
        self._settings = settings
        self._backend = backend
        self._replay = replay
        self._place = (seed, name)
        self._curriculum = first_curriculum(settings)
        self._alarms = Alarms(settings.alarms)
        self._published = False

    def state(self) -> dict[str, Any]:
        """Levels, and what the alarms remember."""
        return {"curriculum": self._curriculum.state(), "alarms": self._alarms.state()}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Takes up a saved state."""
        self._curriculum = self._curriculum.resumed(state["curriculum"])
        self._alarms.resume(state["alarms"])

    async def step(self, number: int) -> Step:
        """Probes the verifiers when it is time; samples, rewards and learns."""
        if found := self._probe(number):
            return Step({}, alarm=found, done=False)
        seconds: dict[str, float] = {}
        with _timed(seconds, "publish"):
            await self._publish()
        with _timed(seconds, "sample"):
            drawn = assignments(self._backend.checkpoint, self._settings, self._curriculum, self._place, number)
            groups = await roll(self._backend.reasoner, drawn, self._settings)
        seconds["verify"] = sum(rollout.attempt.verify_seconds for group in groups for rollout in group.rollouts)
        seconds["sample"] -= seconds["verify"]
        if found := self._alarms.hacked(answers(groups)):
            return Step({}, self._shown(groups), found, done=False)
        with _timed(seconds, "learn"):
            learned = self._learn(number, groups)
        metrics: dict[str, Any] = (
            rollout_metrics(groups) | credit_metrics(groups) | {"levels": self._curriculum.levels} | learned
        )
        metrics |= {"seconds": seconds, "tokens_per_second": metrics["sampled_tokens"] / max(seconds["sample"], 1e-9)}
        self._see(groups)
        alarm = self._alarms.check(_health(metrics))
        show = alarm is not None or number % self._settings.show_every == 0
        score = await self._validate(number) if alarm is None else None
        metrics |= {} if score is None else {"validation": score}
        return Step(metrics, self._shown(groups) if show else (), alarm, score=score)

    def _see(self, groups: Sequence[Group]) -> None:
        """Lets the curriculum know what succeeded. Under a tight budget, failing says less about a level."""
        for group in groups:
            if group.assignment.tight:
                continue
            problem, outcomes = group.assignment.problem, (each.attempt.verdict.correct for each in group.rollouts)
            self._curriculum = self._curriculum.seen(problem.family, problem.level, tuple(outcomes))

    async def _validate(self, number: int) -> float | None:
        """The share of right answers to validation problems at this point, when it is time."""
        settings = self._settings
        if not settings.validate_every or (number + 1) % settings.validate_every:
            return None
        await self._publish()
        standings = self._curriculum.standings.items()
        cells = [Cell(name, level) for name, standing in standings for level in range(1, standing.most + 1)]
        found = await measure(
            self._backend.reasoner,
            cells,
            problems=settings.validate_problems,
            effort=VALIDATION_EFFORT,
            split="train",
            seed=seed_of(*self._place, "validation"),
        )
        return mean(sample.correct for record in found.records for sample in record.samples)

    async def _publish(self) -> None:
        """Has the engine sample from the present weights."""
        if not self._published:
            await self._backend.publish()
            self._published = True

    def _probe(self, number: int) -> str | None:
        """Whether a verifier accepts what is no answer, at any level that may still come."""
        alarms = self._settings.alarms
        if number % alarms.probe_every:
            return None
        for name, standing in self._curriculum.standings.items():
            for level in range(1, standing.most + 1):
                place = (*self._place, number, "probe")
                if found := hole(family(name), level, alarms.probe_problems, place):
                    return found
        return None

    def _learn(self, number: int, groups: Sequence[Group]) -> dict[str, Any]:
        """One update from the groups that teach something. Without one, nothing changes."""
        settings = self._settings
        rate = learning_rate(
            number, steps=settings.steps, peak=settings.learning_rate, warmup=settings.warmup, final=settings.final
        )
        judged, compared = (rows_of(groups, supervised=supervised) for supervised in (True, False))
        if settings.kl and compared:
            compared = with_reference(compared, self._backend.logprobs(compared, reference=True))
        stay = losses.chance if settings.objective == "reward" else losses.sft
        lessons = ((judged, stay), (compared, _loss(settings)))
        rows = [row for taught, _ in lessons for row in taught]
        learned = sum(row.learned_tokens for row in rows)
        if not learned:
            return {"learning_rate": rate, "loss": None, "grad_norm": None, "learned_tokens": 0}
        replayed = self._replayed(number)
        scale = 1 / (learned + sum(row.learned_tokens for row in replayed))
        stats = [self._backend.forward_backward(taught, loss, scale) for taught, loss in lessons if taught]
        tokens, of_replay = sum(each.tokens for each in stats), {}
        if replayed:
            kept = self._backend.forward_backward(replayed, losses.sft, scale)
            tokens, of_replay = tokens + kept.tokens, divergence(replayed, kept.logprobs_N)
        norm = self._backend.optimizer_step(rate)
        self._published = False
        return {
            "learning_rate": rate,
            "loss": sum(each.loss for each in stats),
            "grad_norm": norm,
            "learned_tokens": learned,
            "learner_tokens": tokens,
            "ratio": ratio_metrics(rows, np.concatenate([each.logprobs_N for each in stats])),
            **of_replay,
        }

    def _replayed(self, number: int) -> list[Row]:
        """The base's own answers of a step."""
        rng = Random(seed_of(*self._place, number, "replay"))
        weights: dict[Effort, float] = {effort: plan.weight for effort, plan in self._settings.efforts.items()}
        efforts = rng.choices(list(weights), list(weights.values()), k=self._settings.answers)
        return self._replay.rows([self._replay.draw(effort, rng) for effort in efforts])

    def _shown(self, groups: Sequence[Group]) -> list[dict[str, Any]]:
        return shown(groups, self._backend.checkpoint.tokenizer)


def with_reference(rows: Sequence[Row], logprobs_N: NDArray[Any]) -> list[Row]:
    """The rows with the reference's log-probabilities of their learned tokens; 0 for the others, which never count."""
    values = iter(logprobs_N.tolist())
    filled = (
        replace(branch, reference_logprobs=tuple(next(values) if learned else 0.0 for learned in branch.learned))
        for branch in branches(rows)
    )
    return [replace(row, branches=tuple(next(filled) for _ in row.branches)) for row in rows]


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Generator[None]:
    """Notes how long the block takes."""
    began = perf_counter()
    yield
    seconds[name] = perf_counter() - began


def _loss(settings: RlSettings) -> Loss:
    """Of attempts that are compared with each other."""
    named: dict[str, Loss] = {
        "reinforce": losses.reinforce,
        "grpo": losses.grpo(settings.clip_low, settings.clip_high),
        "cispo": losses.cispo(settings.most_weight),
    }
    loss = named[settings.loss]
    return losses.with_kl(loss, settings.kl) if settings.kl else loss


def _health(metrics: Mapping[str, Any]) -> Health:
    ratio: Mapping[str, float] = metrics.get("ratio", {})
    return Health(
        entropy=metrics["entropy"],
        thinking_tokens=metrics["thinking_tokens"],
        reward=metrics["reward"],
        loss=metrics["loss"],
        grad_norm=metrics["grad_norm"],
        mismatch=ratio.get("outside_double", 0.0),
    )
