"""Tables of figures: drawn for a person at a terminal, tab-separated in a pipe."""

from collections.abc import Sequence

import typer
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints rows under their column names."""
    console = Console(highlight=False)
    if not console.is_terminal:
        _print_tabbed([columns, *rows])
        return
    name, *others = columns
    table = Table(Column(name, no_wrap=True), *others, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Prints names and values, one pair a line."""
    console = Console(highlight=False)
    if not console.is_terminal:
        _print_tabbed(facts)
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(name, style="dim"), Text(value))
    console.print(grid)


def _print_tabbed(rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        typer.echo("\t".join(row))  # rich would turn the tabs into spaces
