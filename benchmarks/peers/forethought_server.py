"""Our server over a scripted engine, all in one process."""

import asyncio
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path

from serving import Pace, begin, keep_to, next_step
from stamps import Stamps

from forethought.api.app import create_app
from forethought.api.content_keys import ContentKeys
from forethought.api.options import ServerOptions
from forethought.api.served import ServedModel
from forethought.api.server import Listening, Server, run
from forethought.engine.protocol import Request
from forethought.engine.script import Pause, Say, Step
from forethought.engine.scripted import ScriptedEngine
from forethought.model.checkpoint import Checkpoint
from forethought.reasoning.reasoner import Reasoner


class Stamped:
    """The script of every request: a stamp at each step, as many as it may have."""

    def __init__(self, stamps: Stamps, pace: Pace) -> None:
        self._stamps = stamps
        self._pace = pace

    def __call__(self, request: Request) -> Sequence[Step]:
        count, now, step = request.limits.max_tokens, asyncio.get_running_loop().time(), self._pace.step
        if not step:
            return (Say(tuple(repeat(self._stamps.at(now), count))),)
        first = next_step(now, step)
        tokens = tuple(self._stamps.at(first + number * step) for number in range(count))
        return Pause(first - now), Say(tokens[:1]), Say(tokens[1:], every=step)


def main() -> None:
    """Serves until it is killed."""
    job, emit = begin()
    keep_to(job["server_core"])
    script = Stamped(Stamps(job["words"]), Pace(job["pace"]))
    served = ServedModel(
        alias=job["model"],
        snapshot=f"{job['model']}-2026-11-23",
        created=0,
        reasoner=Reasoner(Checkpoint.open(Path(job["model_dir"])), ScriptedEngine(script)),
        keys=ContentKeys.ephemeral(),
        thinks=False,
    )
    app = create_app([served], ServerOptions(max_requests=job["streams"] + 1))
    server = Server(app, Listening(port=job["port"]), lambda url: emit("ready", url=url))
    run(server.run_until_ended())


if __name__ == "__main__":
    main()
