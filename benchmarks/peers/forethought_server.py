"""Our server: over a scripted engine, all in one process; or over the real one, as `forethought serve` runs it."""

import asyncio
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from serving import Emit, Pace, begin, keep_to, next_step
from stamps import Stamps

from forethought.api import hosting
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
from forethought.settings import ServeSettings, load_settings


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


def scripted(job: dict[str, Any], emit: Emit) -> Server:
    """The server over the scripted engine, on its own core."""
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
    return Server(app, Listening(port=job["port"]), lambda url: emit("ready", url=url))


def real(job: dict[str, Any], emit: Emit) -> Server:
    """What `forethought serve --lenient` runs."""
    serve = ServeSettings(name=job["model"], port=job["port"], lenient=True)
    settings = load_settings().model_copy(update={"model": job["model_dir"], "serve": serve})
    app = create_app([hosting.open_model(settings)], hosting.server_options(settings, None))
    app.state.engines.on_loaded(lambda _: emit("ready"))
    return Server(app, hosting.listening(settings), lambda url: None)


def main() -> None:
    """Serves until it is killed."""
    job, emit = begin()
    server = (real if job["real"] else scripted)(job, emit)
    run(server.run_until_ended())


if __name__ == "__main__":
    main()
