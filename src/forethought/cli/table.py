"""Tables of figures: drawn for a person at a terminal, tab-separated in a pipe."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], console: Console | None = None) -> None:
    """Prints rows under their column names."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        for row in (columns, *rows):
            console.out("\t".join(row))
        return
    name, *others = columns
    table = Table(Column(name, no_wrap=True), *others, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))
    console.print(table)


def print_facts(facts: Sequence[tuple[str, str]], console: Console | None = None) -> None:
    """Prints names and values, one pair a line."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        for pair in facts:
            console.out("\t".join(pair))
        return
    grid = Table.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Text(name, style="dim"), Text(value))
    console.print(grid)
