"""Judges what was learned: attempts at problems that nobody trained on, by the same engine for all.

Job:    {"threads", "model_dir", "problems", "samples", "new_tokens", "stop_ids", "seed",
         "weights": {name: a safetensors file that takes the place of the base's weights, or null}}
Events: {"event": "judged", "name", "rewards": of the attempts at each problem}, {"event": "done"}
"""

import asyncio
from pathlib import Path

from attempts import attempts, rewarded
from serving import begin

from forethought.engine.native import NativeEngine
from forethought.model.registry import resolve
from forethought.model.weights import read_file
from forethought.reasoning.reasoner import Reasoner
from forethought.settings import EngineSettings, load_settings


async def main() -> None:
    """Takes the weights in turn."""
    job, emit = begin()
    settings = load_settings(engine=EngineSettings(threads=job["threads"], dtype=job["dtype"]))
    checkpoint = resolve(job["model_dir"], settings)
    engine = NativeEngine(checkpoint, settings)
    await engine.start()
    reasoner, problems = Reasoner(checkpoint, engine), job["problems"]
    base = checkpoint.tensors()
    for name, file in job["weights"].items():
        tensors = read_file(Path(file)) if file else {}
        # What a file leaves out is as it was.
        await engine.update_weights(base | tensors)
        groups = await attempts(reasoner, problems, job, "held-out")
        pairs = zip(groups, problems, strict=True)
        emit("judged", name=name, rewards=[rewarded(checkpoint, group, each["answer"]) for group, each in pairs])
    emit("done")
    await engine.close()


if __name__ == "__main__":
    asyncio.run(main())
