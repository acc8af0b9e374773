"""From a recipe to checkpoints: the stages of a run, one after another, each from what the one before has made.

Every part can be cut off and taken up again: a stage at its latest state, the rest at what lies in the run's folder.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from forethought.errors import TrainError
from forethought.model.checkpoint import Checkpoint
from forethought.model.registry import resolve
from forethought.tasks.registry import family
from forethought.train.adapter import fresh_adapter
from forethought.train.assignments import first_curriculum
from forethought.train.backend import Adapter, Backend, LearnerSettings
from forethought.train.credit import can_judge
from forethought.train.environment import commit
from forethought.train.estimate import Estimate, Work, begin_peak, estimate, peak_memory, rl_work, sft_work
from forethought.train.evaluation import evaluate, in_words, measured_cells
from forethought.train.recipe import AdapterSettings, Recipe, RlStage, SftStage
from forethought.train.replay import Answer, Halted, replay_answers
from forethought.train.replay_rows import Replay
from forethought.train.rl import RlLoop
from forethought.train.run import ESTIMATES, REPLAY, Position, Run
from forethought.train.seeds import seed_of
from forethought.train.sft import SftLoop, taught_levels
from forethought.train.stage import Halt, Stage, Trainer, Watcher
from forethought.train.teacher import Teacher
from forethought.train.torch_backend import TorchBackend

if TYPE_CHECKING:
    from forethought.engine.native import NativeEngine
    from forethought.settings import Settings


@dataclass(frozen=True, slots=True)
class Job:
    """One run being worked on, by the code of a commit."""

    run: Run
    settings: Settings
    watcher: Watcher
    halt: Halt
    commit: str | None

    @property
    def recipe(self) -> Recipe:
        """What the run follows."""
        return self.run.recipe

    def learner(self, plan: SftStage | RlStage) -> LearnerSettings:
        """The recipe's learner as it is in a stage, with packs as large as is best here."""
        learner, tokens = self.recipe.learner, self.settings.train.pack_tokens
        changes = ({"dtype": plan.dtype} if plan.dtype else {}) | ({"pack_tokens": tokens} if tokens else {})
        return learner.model_copy(update=changes)


async def train(run: Run, settings: Settings, watcher: Watcher, halt: Halt, until: str | None = None) -> bool:
    """Goes on with a run from where it is, to the end of the stage `until`, or of all. Returns whether it got there;
    False when it was asked to halt.

    Raises:
        TrainError: the recipe cannot be followed; another process works on the run; there is no such device.
        TrainingStopped: an alarm went off; the state is saved.
    """
    check(run.recipe, settings, until)
    names = [stage.name for stage in run.recipe.stages]
    job = Job(run, settings, watcher, halt, commit())
    with run.writing():
        position = run.rewind()
        plan = run.recipe.evaluation
        if plan is not None and plan.base and not await _measured(job, "base", 0):
            return False
        for index in range(len(names) if until is None else names.index(until) + 1):
            if index >= position.stage:
                if halt.wanted or not await _stage(job, index, position):
                    return False
                position = run.position()
            if plan is not None and not await _measured(job, names[index], index + 1):
                return False
    return True


def check(recipe: Recipe, settings: Settings, until: str | None = None) -> None:
    """Finds what cannot be done before anything is: a mistake in the last stage should not be found when all others are
    over.

    Raises:
        TrainError: there is no such device or stage; a stage cannot be trained so, or the base not with an adapter.
        TaskError: a family or a level does not exist.
        CheckpointError: the base cannot be read.
    """
    names = [stage.name for stage in recipe.stages]
    if until is not None and until not in names:
        raise TrainError(f"The recipe has no stage {until!r}.", f"Its stages are {', '.join(names)}.")
    if settings.train.device == "cuda" and not torch.cuda.is_available():
        raise TrainError(
            "This torch finds no graphics processor.",
            "Install a torch with CUDA, or set FORETHOUGHT_TRAIN__DEVICE=cpu (`device` under [train] of a file).",
        )
    for plan in recipe.stages:
        if isinstance(plan, RlStage):
            first_curriculum(plan)
            blind = [name for name in plan.families if not can_judge(name)]
            if blind and plan.temperature != 1.0:
                message = f"{', '.join(blind)} in {plan.name}: attempts cannot be judged by worked solutions."
                raise TrainError(message, "Leave them out, or sample at temperature 1.")
            idle = [name for name in ("loss", "length", "divide_by_deviation") if plan.changed(name)]
            if idle and plan.credit == "process" and not blind:
                message = f"{', '.join(idle)} in {plan.name}: every family is judged by its worked solutions instead."
                raise TrainError(message, 'Leave it out, or set credit = "outcome".')
        else:
            for name in plan.families:
                taught_levels(plan, name)
                if not family(name).has_traces:
                    raise TrainError(f"{name} has no worked solutions.", f"Leave it out of the stage {plan.name}.")
    measured_cells(recipe)
    if resolve(recipe.base, settings).adapter is not None and recipe.adapter is not None:
        raise TrainError("The recipe has an [adapter], and its base has one already.", "Leave [adapter] out.")


async def _stage(job: Job, index: int, position: Position) -> bool:
    """One stage, and its checkpoint."""
    run, plan = job.run, job.recipe.stages[index]
    source = _source(job, index)
    work, held = rl_work(source, plan) if isinstance(plan, RlStage) else (sft_work(plan), 0)
    expected = _expected(job, plan, source, position, work, held)
    try:
        replay = await asyncio.to_thread(_replay, job, plan, source)
    except Halted:
        return False
    if job.halt.wanted:
        return False
    begin_peak()
    async with _backend(job, index, source, held) as backend:
        stage = _loop(job, plan, backend, replay)
        if (saved := run.backend_state()) is not None:
            backend.load_state(saved)
        reached = await Trainer(run, job.watcher, job.halt).train(index, stage, position, backend)
        if reached is None:
            return False
        # What a process has left that was killed between this line and the end of this function.
        shutil.rmtree(run.checkpoint(plan.name), ignore_errors=True)
        backend.save_checkpoint(run.checkpoint(plan.name))
    found = Estimate(reached.seconds, peak_memory())
    entry = {
        "stage": plan.name,
        "began": source.digest(),
        "commit": job.commit,
        "device": job.settings.train.device,
        "processor": ", ".join(reached.processors),
        "threads": torch.get_num_threads(),
        "dtype": job.learner(plan).dtype,
        "estimated": asdict(expected),
        "found": asdict(found),
    }
    run.append(ESTIMATES, [entry])
    job.watcher.note(f"{plan.name} took {found} (estimated: {expected})")
    run.save(Position(index + 1))
    return True


async def _measured(job: Job, name: str, index: int) -> bool:
    """Measures what a stage begins with, by the name of what made it, unless that has been done. Returns whether it is
    done; False after a halt."""
    target = job.run.measurement(name)
    if not target.exists():
        job.watcher.note(f"measuring {name}")
        checkpoint = _source(job, index)
        engine = _engine(job, checkpoint, job.recipe.learner)
        found = await evaluate(
            job.recipe, checkpoint, engine, target, job.halt, lambda far: job.watcher.note(f"measuring {name}: {far}")
        )
        if found is None:
            return False
        job.watcher.note(f"{name}: {in_words(found)}")
    return True


def _source(job: Job, index: int) -> Checkpoint:
    """What a stage begins with: the base, or the checkpoint of the stage before."""
    base = resolve(job.recipe.base, job.settings)
    if index == 0:
        return base
    made = job.run.checkpoint(job.recipe.stages[index - 1].name)
    return Checkpoint.open(made) if job.recipe.learner.train == "all" else Checkpoint.open(base.directory, made)


def _expected(
    job: Job, plan: SftStage | RlStage, source: Checkpoint, position: Position, work: Work, held: int
) -> Estimate:
    """What the whole stage should cost, with `held` tokens in the engine's cache; the watcher is told what is left."""
    learner = job.learner(plan)
    most = min(learner.pack_tokens, max(1, round(work.learned / plan.steps)))
    learner = learner.model_copy(update={"pack_tokens": most})
    device = job.settings.train.device
    whole = estimate(source, learner, work, held, teacher=plan.replay.share > 0, device=device)
    left = Estimate(whole.seconds * (1 - position.step / plan.steps), whole.memory_bytes)
    job.watcher.note(f"{plan.name} should take {left}")
    return whole


@asynccontextmanager
async def _backend(job: Job, index: int, source: Checkpoint, held: int) -> AsyncGenerator[TorchBackend]:
    """A learner for a stage, with an engine to sample with where the stage samples, whose cache has `held` tokens."""
    recipe, plan = job.recipe, job.recipe.stages[index]
    learner = job.learner(plan)
    adapter, device = _adapter(recipe, index, source), job.settings.train.device
    if isinstance(plan, SftStage):
        yield TorchBackend(source, learner, adapter=adapter, teacher=_base(job), device=device)
        return
    engine = _engine(job, source, learner, held)
    await engine.start()
    try:
        yield TorchBackend(
            source,
            learner,
            adapter=adapter,
            engine=engine,
            keep_reference=plan.kl > 0,
            teacher=_base(job),
            device=device,
        )
    finally:
        await engine.close()


def _adapter(recipe: Recipe, index: int, source: Checkpoint) -> Adapter | None:
    """A fresh adapter where one is needed; None to go on with the source's, or to train all weights."""
    if recipe.learner.train == "all":
        return None
    if source.adapter is None:
        shape = recipe.adapter or AdapterSettings()
        seed = seed_of(recipe.seed, "adapter")
        return fresh_adapter(source, rank=shape.rank, alpha=shape.alpha, dropout=shape.dropout, seed=seed)
    return None


def _loop(job: Job, plan: SftStage | RlStage, backend: Backend, replay: Replay) -> Stage:
    seed = job.recipe.seed
    if isinstance(plan, RlStage):
        return RlLoop(plan.name, plan, backend, seed, replay)
    return SftLoop(plan.name, plan, backend, seed, replay)


def _replay(job: Job, plan: SftStage | RlStage, source: Checkpoint) -> Replay:
    """What the base would say, if the stage replays it."""
    settings, path = plan.replay, job.run.directory / REPLAY
    answers: list[Answer] = []
    teacher: Teacher | None = None
    if settings.share:
        base = _base(job)
        job.watcher.note("the base answers for the replay, where that has not been done")
        answers = replay_answers(
            base,
            _settings(job, job.recipe.learner),
            path,
            made_up=settings.made_up,
            tokens=settings.tokens,
            seed=job.recipe.seed,
            progress=partial(_progress, job),
        )
        teacher = Teacher(base, job.learner(plan), job.settings.train.device)
    return Replay(source, settings, answers, teacher)


def _progress(job: Job, done: int, wanted: int) -> None:
    """Of the base's answers. Raises `Halted` where that is asked for."""
    job.watcher.note(f"{done} of {wanted} are there")
    if job.halt.wanted:
        raise Halted


def _base(job: Job) -> Checkpoint:
    """What the recipe begins with, without an adapter."""
    return Checkpoint.open(resolve(job.recipe.base, job.settings).directory)


def _engine(job: Job, checkpoint: Checkpoint, learner: LearnerSettings, cache_tokens: int = 0) -> NativeEngine:
    """An engine that samples as a learner computes, with a cache of so many tokens where the settings ask for none."""
    from forethought.engine.native import NativeEngine

    return NativeEngine(checkpoint, _settings(job, learner, cache_tokens))


def _settings(job: Job, learner: LearnerSettings, cache_tokens: int = 0) -> Settings:
    """This machine's settings, with a learner's precision and its weights as they are: what is sampled must have the
    learner's distribution."""
    engine = job.settings.engine
    changes = {"dtype": learner.dtype, "quantization": "none", "cache_tokens": engine.cache_tokens or cache_tokens}
    changes |= {"threads": learner.threads} if learner.threads else {}
    return job.settings.model_copy(update={"engine": engine.model_copy(update=changes)})
