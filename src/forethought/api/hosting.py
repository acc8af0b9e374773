"""From the settings to a model that can be served: its checkpoint, its engine, its names and its options."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from forethought.api.content_keys import ContentKeys
from forethought.api.options import ConnectionLimits, ServerOptions
from forethought.api.served import ServedModel
from forethought.api.server import Listening
from forethought.engine.process import ProcessEngine
from forethought.engine.spec import EngineSpec
from forethought.errors import SettingsError
from forethought.model import registry
from forethought.reasoning.reasoner import Reasoner
from forethought.reasoning.summary_settings import SummarySettings

if TYPE_CHECKING:
    from forethought.api.auth import ApiKey
    from forethought.model.checkpoint import Checkpoint
    from forethought.settings import Settings


def open_model(settings: Settings) -> ServedModel:
    """The model that the settings name, on an engine that has not been started.

    Raises:
        CheckpointError: it cannot be opened.
        SettingsError: it is to think, and its prompt format has no place for that; or the content keys are unusable.
    """
    serve = settings.serve
    reasoner = _reasoner(settings.model, settings)
    day = serve.snapshot or reasoner.checkpoint.created
    return ServedModel(
        alias=serve.name,
        snapshot=f"{serve.name}-{day}",
        created=int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp()),
        reasoner=reasoner,
        keys=ContentKeys.load(),
        thinks=_thinks(reasoner.checkpoint, serve.think),
        lenient=serve.lenient,
        summary_writer=None if serve.summary_model is None else _reasoner(serve.summary_model, settings),
        summary_settings=SummarySettings(serve.summary_part_timeout, serve.summary_final_timeout),
    )


def server_options(settings: Settings, key: ApiKey | None) -> ServerOptions:
    """How the application answers. It takes on what the engine runs and queues."""
    serve, engine = settings.serve, settings.engine
    return ServerOptions(
        key=key,
        max_requests=engine.max_running + engine.max_queued,
        max_body_bytes=serve.max_body_bytes,
        body_seconds=serve.body_timeout,
        ping_seconds=serve.ping_interval,
    )


def listening(settings: Settings) -> Listening:
    """Where the server listens."""
    serve = settings.serve
    limits = ConnectionLimits(
        connections=serve.max_connections, head_seconds=serve.head_timeout, write_seconds=serve.write_timeout
    )
    return Listening(serve.host, serve.port, serve.drain_timeout, limits)


def _reasoner(model: str, settings: Settings) -> Reasoner:
    checkpoint = registry.resolve(model, settings)
    return Reasoner(checkpoint, ProcessEngine(EngineSpec(checkpoint.directory, checkpoint.adapter, settings)))


def _thinks(checkpoint: Checkpoint, forced: bool | None) -> bool:
    thinks = checkpoint.capabilities.thinks if forced is None else forced
    markers = checkpoint.renderer.thinking
    if thinks and (markers is None or not markers.single):
        raise SettingsError(
            "The prompt format of this checkpoint has no thinking that could be bounded.", "Serve it with --no-think."
        )
    return thinks
