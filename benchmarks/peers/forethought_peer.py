"""Our engine, in process, as its users call it. Options: its settings."""

from collections.abc import Sequence
from itertools import count

from protocol import Ids, Job, serve

from forethought.engine.native import NativeEngine
from forethought.engine.protocol import Limits, Request, Sampling
from forethought.model.registry import resolve
from forethought.settings import EngineSettings, load_settings


class Forethought:
    """`NativeEngine.generate` on one request for each answer; the prefix cache finds out what they share."""

    def __init__(self, job: Job) -> None:
        settings = load_settings(engine=EngineSettings(threads=job.threads, **job.options))
        self.engine = NativeEngine(resolve(job.model_dir, settings), settings)
        self.engine.open()
        self.names = count()

    def generate(self, prompts: Sequence[Ids], new_tokens: int, samples: int, temperature: float) -> list[Ids]:
        sampling = Sampling(temperature=temperature)
        requests = [
            Request(str(next(self.names)), tuple(ids), Limits(new_tokens), sampling)
            for ids in prompts
            for _ in range(samples)
        ]
        return [list(completion.token_ids) for completion in self.engine.generate(requests)]


if __name__ == "__main__":
    serve(["forethought", "torch"], Forethought)
