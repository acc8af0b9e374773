"""Supervised fine-tuning: worked solutions of fresh problems, mixed with what the base says by itself.

The rows of a step are a pure function of the recipe's seed, the stage and the step, so a run that was cut off goes on
with the very same ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

from forethought.errors import TrainError
from forethought.model.conversation import Effort
from forethought.tasks.registry import family
from forethought.train import losses
from forethought.train.replay_rows import Replay, Replayed, divergence
from forethought.train.rows import Row
from forethought.train.schedule import learning_rate
from forethought.train.seeds import seed_of
from forethought.train.sft_settings import SftSettings
from forethought.train.stage import Step
from forethought.train.traces import trace_row

if TYPE_CHECKING:
    from forethought.model.checkpoint import Checkpoint
    from forethought.train.backend import Backend


class SftLoop:
    """A stage of supervised fine-tuning on a backend, step by step, with its replay."""

    kind = "sft"

    def __init__(
        self,
        name: str,
        settings: SftSettings,
        backend: Backend,
        seed: int,
        replay: Replay,
    ) -> None:
        """Raises `TaskError` or `TrainError` for a family or level that does not exist."""
        self.name = name
        self.steps = settings.steps
        self.save_every = settings.save_every
        self._settings = settings
        self._backend = backend
        self._rows = TaughtRows(backend.checkpoint, settings, (seed, name), replay)

    def state(self) -> dict[str, Any]:
        """Nothing: all follows from the step."""
        return {}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Nothing has to be taken up."""

    async def step(self, number: int) -> Step:
        """Draws rows and learns from them."""
        began = perf_counter()
        rows = self._rows.draw(number)
        learned = sum(row.learned_tokens for row in rows)
        drawn = perf_counter()
        stats = self._backend.forward_backward(rows, losses.sft, 1 / learned)
        settings = self._settings
        rate = learning_rate(
            number, steps=settings.steps, peak=settings.learning_rate, warmup=settings.warmup, final=settings.final
        )
        norm = self._backend.optimizer_step(rate)
        metrics: dict[str, Any] = {
            "learning_rate": rate,
            "loss": stats.loss,
            "grad_norm": norm,
            "rows": len(rows),
            "learned_tokens": learned,
            "learner_tokens": stats.tokens,
            "seconds": {"draw": drawn - began, "learn": perf_counter() - drawn},
            "tokens_per_second": stats.tokens / max(stats.seconds, 1e-9),
        }
        metrics |= divergence(rows, stats.logprobs_N)
        return Step(metrics, alarm=_alarm(stats.loss, norm))


class TaughtRows:
    """The rows of each step. `place` is the recipe's seed and the stage.

    Raises:
        TaskError: a family does not exist.
        TrainError: it has no such level.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        settings: SftSettings,
        place: tuple[object, ...],
        replay: Replay,
    ) -> None:
        self._checkpoint = checkpoint
        self._settings = settings
        self._place = place
        self._replay = replay
        self._cells = {
            (name, level): weight for name in settings.families for level, weight in taught_levels(settings, name)
        }

    def draw(self, step: int) -> list[Row]:
        """The rows of a step: as many as it takes to have the tokens that it shall have."""
        rows: list[Row] = []
        replayed: dict[int, Replayed] = {}
        tokens = 0
        while tokens < self._settings.tokens:
            rng = Random(seed_of(*self._place, step, "row", len(rows)))
            effort: Effort = rng.choices(list(self._settings.efforts), list(self._settings.efforts.values()))[0]
            if rng.random() < self._settings.replay.share:
                replayed[len(rows)] = drawn = self._replay.draw(effort, rng)
                rows.append(drawn.row)
            else:
                rows.append(self._solved(effort, rng))
            tokens += rows[-1].tokens
        for place, row in zip(replayed, self._replay.rows(list(replayed.values())), strict=True):
            rows[place] = row
        return rows

    def _solved(self, effort: Effort, rng: Random) -> Row:
        """A worked solution of a fresh problem."""
        settings = self._settings
        name, level = rng.choices(list(self._cells), list(self._cells.values()))[0]
        kind = family(name)
        problem = kind.problem(rng.getrandbits(62), level)
        solution = kind.trace(problem, effort, rng)
        drawn = rng.random()
        pressure = "tight" if drawn < settings.tight else "cut" if drawn < settings.tight + settings.cut else ""
        thinks = effort if problem.thinks else None
        return trace_row(self._checkpoint, problem.conversation, solution, thinks, rng=rng, pressure=pressure)


def taught_levels(settings: SftSettings, name: str) -> list[tuple[int, float]]:
    """The levels of a family, each with its weight among all cells. Raises `TaskError` or `TrainError` when there is no
    such family or level."""
    plan, count = settings.families[name], len(family(name).levels)
    if len(plan.levels) > count:
        raise TrainError(f"families.{name} weighs {len(plan.levels)} levels; it has {count}.", "Correct the recipe.")
    weights = plan.levels or (1.0,) * count
    return [(level, plan.weight * weight / sum(weights)) for level, weight in enumerate(weights, 1) if weight]


def _alarm(loss: float, norm: float) -> str | None:
    """Numbers that are none end a run: nothing comes after them."""
    if loss - loss == 0 and norm - norm == 0:
        return None
    return f"The loss is {loss} and the gradient's norm {norm}: one of them is no number any more."
