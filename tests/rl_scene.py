"""Reinforcement learning on the tiny checkpoint: a family that noise can solve, and a learner with a real engine."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar

from forethought.engine.native import NativeEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.conversation import Conversation, Effort, Message
from forethought.settings import EngineSettings, Settings, load_settings
from forethought.tasks.family import TextFamily
from forethought.tasks.problem import CORRECT, Draft, Problem, Transcript, Verdict, wrong
from forethought.train.adapter import fresh_adapter
from forethought.train.backend import LearnerSettings
from forethought.train.probes import JUNK
from forethought.train.rl_settings import RlSettings
from forethought.train.torch_backend import TorchBackend

T = TypeVar("T")


class Even(TextFamily):
    """Any answer with an even number of characters is right, so a random model is right now and then."""

    name = "even"
    description = "Say something of an even length."
    levels = ("one", "two", "three")

    def draw(self, rng: Random, level: int) -> Draft:
        number = rng.randint(0, 10**9)
        return Draft(Conversation((Message.of("user", f"Even {number}?"),)), number, str(number))

    def work(self, problem: Problem, effort: Effort, rng: Random) -> Transcript:
        return self.answer("Two.", "xx")

    def accepts(self, problem: Problem, answer: str) -> Verdict:
        return wrong("odd") if len(answer) % 2 or answer in JUNK else CORRECT


LEARNER = LearnerSettings(dtype="float32", threads=1)


def rl_settings(**changes: object) -> RlSettings:
    given: dict[str, Any] = {
        "steps": 4,
        "families": ["even"],
        "efforts": {"low": {"budget": 4}},
        "prompts": 3,
        "samples": 4,
        "learning_rate": 1e-2,
        "warmup": 0,
        "show_every": 1,
        "alarms": {"idle": 1000, "most_entropy": 100.0, "probe_problems": 4},
    }
    return RlSettings.model_validate(given | changes)


@asynccontextmanager
async def learner(checkpoint: Checkpoint, **options: Any) -> AsyncGenerator[TorchBackend]:
    """A learner with a started engine: the compiled one, whose samples do not depend on what else is in a step."""
    settings = EngineSettings(runner="compiled", dtype="float32", threads=1, cache_tokens=8192)
    engine = NativeEngine(checkpoint, Settings(cache_dir=load_settings().cache_dir, engine=settings))
    await engine.start()
    try:
        yield TorchBackend(checkpoint, LEARNER, adapter=fresh_adapter(checkpoint, rank=4), engine=engine, **options)
    finally:
        await engine.close()


def with_learner(checkpoint: Checkpoint, body: Callable[[TorchBackend], Awaitable[T]], **options: Any) -> T:
    """Runs a body with such a learner."""

    async def main() -> T:
        async with learner(checkpoint, **options) as backend:
            return await body(backend)

    return asyncio.run(main())
