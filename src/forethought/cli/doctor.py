"""`forethought doctor`: is everything here that is needed, and does it work?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from forethought.settings import Settings


MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "missing": ("✗", "red")}


def doctor(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """Look for what is missing, and say which command mends it. Exits with 1 when something needed is missing."""
    from rich.console import Console
    from rich.text import Text

    from forethought.cli.checks import Check, examine

    console = Console(highlight=False, soft_wrap=True)
    checks: list[Check] = []
    for check in examine(cast("Settings", context.obj)):
        checks.append(check)
        if not as_json:
            mark, colour = MARKS[check.state]
            console.print(Text.assemble((mark, colour), f" {check.name:<11}", check.detail))
            if check.remedy:
                console.print(Text.assemble(" " * 13, (check.remedy, "bold")))
    healthy = all(check.state != "missing" for check in checks)
    if as_json:
        typer.echo(json.dumps({"healthy": healthy, "checks": [asdict(check) for check in checks]}, indent=2))
    raise typer.Exit(0 if healthy else 1)
