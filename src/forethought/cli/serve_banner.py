"""What a person sees of a server: what it serves, where, to whom, and that nobody has admitted it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from forethought.cli.terminal import Terminal, printable

if TYPE_CHECKING:
    from forethought.api.served import ServedModel
    from forethought.settings import Settings

UNGATED = (
    "UNGATED: this model has not been evaluated, and no gate has admitted it. It is for research on this machine;"
    " every response says so."
)


class Banner:
    """Written to standard error, beside the access log."""

    def __init__(
        self, settings: Settings, served: ServedModel, *, keyed: bool, terminal: Terminal | None = None
    ) -> None:
        self._settings = settings
        self._served = served
        self._keyed = keyed
        self._terminal = terminal or Terminal()
        self._begun = time.monotonic()

    def listening(self, url: str) -> None:
        """The server accepts connections; the model may still load."""
        served = self._served
        model = f"{served.alias}, {served.snapshot} ({printable(self._settings.model)})"
        thinks = "thinks before it answers" if served.thinks else "does not think"
        sampling = "lenient: sampling parameters act" if served.lenient else "sampling parameters are refused"
        clients = "those with the key in FORETHOUGHT_API_KEY" if self._keyed else "programs on this machine"
        facts = Table.grid(padding=(0, 2))
        for name, value in (
            ("model", f"{model}, {thinks}, {sampling}"),
            ("base URL", f"{url}/v1"),
            ("docs", f"{url}/docs"),
            ("clients", clients),
        ):
            facts.add_row(Text(name, style="dim"), Text(value))
        facts.add_row("", Text(UNGATED, style="bold yellow"))
        self._terminal.notes.print(Panel(facts, title="Forethought", title_align="left", expand=False))

    def loaded(self, failure: Exception | None) -> None:
        """The model has been loaded. (A failure ends the server, and is told there.)"""
        if failure is None:
            self._terminal.note(f"ready after {time.monotonic() - self._begun:.1f} s; Ctrl-C ends it")

    def ended(self) -> None:
        """The server has ended in order."""
        self._terminal.note("ended")
