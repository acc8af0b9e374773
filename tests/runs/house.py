"""The server of the runs: four models over one scripted engine, asked one run at a time over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

import httpx

from forethought.api.app import create_app
from forethought.api.content_keys import ContentKeys
from forethought.api.keyring import Keyring
from forethought.api.options import ServerOptions
from forethought.api.served import ServedModel
from forethought.api.server import Listening
from forethought.engine.scripted import ScriptedEngine
from forethought.logs import Hidden
from forethought.model.checkpoint import Checkpoint
from runs.run import Breakage, Leave, Run
from runs.stage import Stage
from server_house import AccessLog, RawAnswer, Running, Wire, access_log, post, serving
from server_scene import served

LENIENT, PLAIN, UNSEALED = "lenient", "plain", "unsealed"
"""Models besides the one of `server_scene`: its sampling parameters act; it does not think; its keys are broken."""

CONTEXT = 8192
SILENCE_SECONDS = 0.1
"""After which a client that was to leave later leaves at once."""
TIMEOUT = 30.0
SERVER_TASKS = 2
"""Those that live as long as the server does."""


class BrokenKeys(ContentKeys):
    """Fail for no reason that anybody foresaw."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(Keyring.fresh())
        self._stage = stage

    def seal(self, text: Hidden, *, tenant: str, model: str, item_id: str) -> str:
        raise self._stage.bug()


class RunHouse:
    """A server that listens, and its one client. `open_house` makes one."""

    def __init__(
        self,
        running: Running,
        models: Sequence[ServedModel],
        engine: ScriptedEngine,
        stage: Stage,
        log: AccessLog,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.running = running
        self.models = {model.alias: model for model in models}
        self.engine = engine
        self.stage = stage
        self.log = log
        """Lines of the requests that are over."""
        self._loop = loop
        self._client = httpx.Client(base_url=running.url, timeout=TIMEOUT)

    def close(self) -> None:
        """Ends the client."""
        self._client.close()

    def ask(self, run: Run, *, streamed: bool) -> RawAnswer:
        """The whole answer to a run, once the server is done with it."""
        self.stage.set(run, self._end)
        answer = self.send(run.path, run.request(streamed=streamed))
        self.check_idle()
        return answer

    def send(self, path: str, body: object) -> RawAnswer:
        """The whole answer to a request, once the server is done with it."""
        with self._client.stream("POST", path, json=body) as answer:
            raw = b"".join(answer.iter_raw())
        self.log.next()
        return RawAnswer(answer.status_code, dict(answer.headers), raw)

    def get(self, path: str) -> RawAnswer:
        """A page."""
        answer = self._client.get(path)
        self.log.next()
        return RawAnswer(answer.status_code, dict(answer.headers), answer.content)

    def abandon(self, run: Run, leave: Leave) -> bytes:
        """Begins a run and leaves. What had come by then; the server is done with it, too."""
        self.stage.set(run, self._end)
        raw = b""
        with Wire(self.running) as wire:
            wire.send(post(run.path, json.dumps(run.request(streamed=leave.streamed)).encode()))
            if leave.streamed:
                raw = _read(wire, leave.events)
            else:
                assert self.stage.submitted.wait(TIMEOUT)
        self.log.next()
        self.check_idle()
        return raw

    def check_idle(self) -> None:
        """Nobody is being answered, and the engine has nothing in flight."""
        assert self.running.app.state.admission.in_flight == 0
        assert self.engine.metrics().running == 0

    def check_accounts(self) -> None:
        """All that the engine took on has come to an end, and no task of a request is left."""
        metrics = self.engine.metrics()
        assert metrics.requests == metrics.finished + metrics.cancelled
        tasks = asyncio.run_coroutine_threadsafe(_tasks(), self._loop).result(TIMEOUT)
        assert len(tasks) <= SERVER_TASKS, tasks

    def _end(self, how: Breakage) -> None:
        """Called in the server's loop."""
        if how == "server ends":
            self.running.server.should_exit = True
        else:
            self._closing = asyncio.create_task(self.engine.close())


async def _tasks() -> list[str]:
    for _ in range(10):
        await asyncio.sleep(0)  # those that were cancelled end first
    return sorted(repr(task) for task in asyncio.all_tasks() if task is not asyncio.current_task())


def _read(wire: Wire, events: int) -> bytes:
    """What comes until so many events have, or nothing comes any more."""
    wire.sock.settimeout(SILENCE_SECONDS)
    raw = b""
    with contextlib.suppress(TimeoutError):
        while raw.count(b"data: ") < events and (piece := wire.sock.recv(4096)):
            raw += piece
    return raw


@dataclass(frozen=True)
class Houses:
    """Where runs take place: a house that is there for all of them, one that has no place for anybody, and those that
    are closed by a run. Two runs never take place at once."""

    checkpoint: Path
    stage: Stage
    log: AccessLog
    main: RunHouse
    crowded: RunHouse

    @contextlib.contextmanager
    def of(self, run: Run) -> Generator[tuple[RunHouse, RunHouse]]:
        """The house of a run and that of its twin, which are one unless the run closes it."""
        if not run.closes:
            house = self.crowded if run.crowded else self.main
            yield house, house
            return
        with (
            open_house(self.checkpoint, self.stage, self.log) as one,
            open_house(self.checkpoint, self.stage, self.log) as two,
        ):
            yield one, two


@contextlib.contextmanager
def open_houses(checkpoint: Path) -> Generator[Houses]:
    """Houses for the time of the block."""
    stage = Stage(Checkpoint.open(checkpoint))
    with (
        access_log() as log,
        open_house(checkpoint, stage, log) as main,
        open_house(checkpoint, stage, log, max_requests=0) as crowded,
    ):
        yield Houses(checkpoint, stage, log, main, crowded)


@contextlib.contextmanager
def open_house(checkpoint: Path, stage: Stage, log: AccessLog, *, max_requests: int = 8) -> Generator[RunHouse]:
    """A server for the time of the block."""
    engine = ScriptedEngine(stage.script, context_length=CONTEXT)
    strict = served(checkpoint, engine)
    models = (
        strict,
        replace(strict, alias=LENIENT, snapshot=f"{LENIENT}-2026-11-23", lenient=True),
        replace(strict, alias=PLAIN, snapshot=f"{PLAIN}-2026-11-23", thinks=False),
        replace(strict, alias=UNSEALED, snapshot=f"{UNSEALED}-2026-11-23", keys=BrokenKeys(stage)),
    )
    app = create_app(models, ServerOptions(max_requests=max_requests, ping_seconds=60))
    loop: Future[asyncio.AbstractEventLoop] = Future()
    app.state.engines.on_loaded(lambda failure: loop.set_result(asyncio.get_running_loop()))
    with serving(app, Listening(port=0, drain_seconds=0)) as running:
        house = RunHouse(running, models, engine, stage, log, loop.result(TIMEOUT))
        try:
            yield house
        finally:
            house.close()
