"""Our engine and our learner, as an RL stage puts them together. Options: `skip_flat` (groups whose rewards are all the
same are left out)."""

import asyncio
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attempts import attempts, rewarded
from learning import Steps
from serving import begin

from forethought.engine.native import NativeEngine
from forethought.model.checkpoint import Checkpoint
from forethought.model.registry import resolve
from forethought.model.weights import write_file
from forethought.settings import EngineSettings, load_settings
from forethought.train.adapter import fresh_adapter
from forethought.train.backend import Adapter, Backend, LearnerSettings
from forethought.train.groups import advantages
from forethought.train.losses import reinforce
from forethought.train.rows import Branch, Row
from forethought.train.torch_backend import TorchBackend


async def main() -> None:
    """Learns until the time is up."""
    job, emit = begin()
    threads, dtype = job["threads"], job["dtype"]
    settings = load_settings(engine=EngineSettings(threads=threads, dtype=dtype))
    checkpoint = resolve(job["model_dir"], settings)
    adapter = lora(checkpoint, job) if job["train"] == "adapter" else None
    engine = NativeEngine(checkpoint, settings)
    await engine.start()
    learner = LearnerSettings(train=job["train"], dtype=dtype, threads=threads)
    backend = TorchBackend(checkpoint, learner, adapter=adapter, engine=engine)
    emit("ready", versions={name: version(name) for name in ("forethought", "torch")})
    await learn(backend, job, Steps(job, emit))
    if job["weights"]:
        write_file(Path(job["weights"]), backend.merged())
        emit("saved")
    emit("done")
    await engine.close()


def lora(checkpoint: Checkpoint, job: dict[str, Any]) -> Adapter:
    """A fresh adapter of all linear layers but the output. Without the rows of our markers, which nobody has taught the
    base to use: TRL's adapter has none either."""
    fresh = fresh_adapter(checkpoint, rank=job["rank"], alpha=job["alpha"], seed=job["seed"])
    config = replace(fresh.config, input_token_ids=(), output_token_ids=())
    return Adapter(config, {name: tensor for name, tensor in fresh.tensors.items() if ".lora_" in name})


async def learn(backend: Backend, job: dict[str, Any], steps: Steps) -> None:
    """Steps of sampling and learning."""
    count, going = job["prompts"], True
    while going:
        steps.begin()
        began = time.monotonic()
        await backend.publish()
        problems = job["problems"][steps.done * count : (steps.done + 1) * count]
        groups = await attempts(backend.reasoner, problems, job, steps.done)
        sampling = time.monotonic() - began
        rewards = [
            rewarded(backend.checkpoint, group, problem["answer"])
            for group, problem in zip(groups, problems, strict=True)
        ]
        rows = [
            row(problem["ids"], group, given)
            for problem, group, given in zip(problems, groups, rewards, strict=True)
            if max(given) > min(given) or not job["options"]["skip_flat"]
        ]
        if rows:
            backend.forward_backward(rows, reinforce, 1 / sum(each.learned_tokens for each in rows))
            backend.optimizer_step(job["learning_rate"])
        going = steps.end(sampling, rewards, [len(tokens) for group in groups for tokens in group])


def row(prompt_ids: list[int], group: list[Any], rewards: list[float]) -> Row:
    """The attempts at one problem with their advantages."""
    return Row(
        tuple(prompt_ids),
        tuple(
            Branch.of([token.token_id for token in tokens], advantage)
            for tokens, advantage in zip(group, advantages(rewards), strict=True)
        ),
    )


if __name__ == "__main__":
    asyncio.run(main())
