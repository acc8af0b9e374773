"""The command line: `forethought`, its global options, and the one place where an error becomes a line of text.

Each command group is a file of its own and registers here. What is slow to import (torch, above all) is imported
inside the commands, so that help and completion come at once.
"""

import sys
from typing import Annotated, Literal

import typer

from forethought import __version__, logs
from forethought.cli import bench, models, runs, tasks
from forethought.cli.ask import ask
from forethought.cli.chat import chat
from forethought.cli.doctor import doctor
from forethought.cli.serve import serve
from forethought.cli.terminal import Terminal
from forethought.cli.train import train
from forethought.errors import ForethoughtError

DEBUG = "--debug"

app = typer.Typer(
    name="forethought",
    help="Make a reasoning model, measure it, decide whether it may be used, publish what was found, and serve it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(ask)
app.command()(chat)
app.command()(doctor)
app.command()(serve)
app.command()(train)
app.add_typer(models.app, name="models")
app.add_typer(tasks.app, name="tasks")
app.add_typer(runs.app, name="runs")
app.add_typer(bench.app, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"forethought {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    model: Annotated[
        str | None, typer.Option(help="A name from `forethought models list`, or a directory.", show_default=False)
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="What is logged to standard error.", show_default=False),
    ] = None,
    debug: Annotated[  # taken out by `main` before we get here; named for the help
        bool, typer.Option(DEBUG, help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Builds the settings (command line beats environment beats TOML file) for the command."""
    from forethought.settings import load_settings

    said = {"model": model, "log_level": log_level}
    settings = load_settings(**{name: value for name, value in said.items() if value is not None})
    logs.configure(settings.log_level, as_json=settings.log_json)
    context.obj = settings


def main() -> None:
    """The entry point. Exits with 1 after an error, 2 after a wrong command line, 130 after Ctrl-C.

    `--debug` may stand anywhere before a `--`: who repeats a failed command adds it at the end.
    """
    arguments = sys.argv[1:]
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    debug = DEBUG in words
    if debug:
        arguments.remove(DEBUG)
    try:
        app(arguments)
    except ForethoughtError as error:
        if debug:
            raise
        _fail(error.message, error.remedy)
    except Exception as error:
        if debug:
            raise
        _fail(
            f"Something broke inside Forethought ({type(error).__name__}: {error}).",
            f"Run it again with {DEBUG} to see where, and please report it.",
        )


def _fail(message: str, remedy: str) -> None:
    Terminal().error(" ".join(message.split()), " ".join(remedy.split()))
    sys.exit(1)
