"""`forethought serve`: the model behind OpenAI's APIs, until it is told to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from forethought.errors import SettingsError, misfits

if TYPE_CHECKING:
    from forethought.settings import Settings


def serve(
    context: typer.Context,
    host: Annotated[str | None, typer.Option(help="Where to listen (default: 127.0.0.1).", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="0 is any free one (default: 8000).", show_default=False)] = None,
    name: Annotated[
        str | None,
        typer.Option(help="What clients call the model (default: forethought-mini).", show_default=False),
    ] = None,
    think: Annotated[
        bool | None,
        typer.Option("--think/--no-think", help="Force thinking, or turn it off (default: as the model does)."),
    ] = None,
    lenient: Annotated[
        bool | None,
        typer.Option("--lenient/--strict", help="Let sampling parameters act, or refuse them as the o-series does."),
    ] = None,
) -> None:
    """Serve the model through OpenAI's APIs: Responses and Chat Completions.

    Clients need a key when the environment variable FORETHOUGHT_API_KEY holds one. Requests are logged to standard
    output, one JSON object a line, without anything that was said.
    """
    said = {"host": host, "port": port, "name": name, "think": think, "lenient": lenient}
    given = {option: value for option, value in said.items() if value is not None}
    settings = _with_options(cast("Settings", context.obj), given)
    from forethought.api.server import run

    run(_serve(settings))


def _with_options(settings: Settings, given: dict[str, Any]) -> Settings:
    from pydantic import ValidationError

    from forethought.settings import ServeSettings

    try:
        serve = ServeSettings.model_validate(settings.serve.model_dump() | given)
    except ValidationError as error:
        raise SettingsError(f"The options do not fit: {misfits(error)}.", "Mend that option.") from None
    return settings.model_copy(update={"serve": serve})


async def _serve(settings: Settings) -> None:
    import sys
    from asyncio import to_thread

    from forethought import logs
    from forethought.api import hosting
    from forethought.api.app import create_app
    from forethought.api.auth import ApiKey
    from forethought.api.frame import ACCESS_LOGGER
    from forethought.api.server import Server
    from forethought.cli.serve_banner import Banner

    key = ApiKey.from_environment()
    served = await to_thread(hosting.open_model, settings)
    banner = Banner(settings, served, keyed=key is not None)
    app = create_app([served], hosting.server_options(settings, key))
    app.state.engines.on_loaded(banner.loaded)
    logs.divert(ACCESS_LOGGER, sys.stdout)
    await Server(app, hosting.listening(settings), banner.listening).run_until_ended()
    banner.ended()
