"""What a person reads on stderr: lines and tables, as wide as the terminal, or of a fixed width where there is none."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE = 140


def open_console() -> Console:
    console = Console(file=sys.stderr, soft_wrap=True)
    return console if console.is_terminal else Console(file=sys.stderr, soft_wrap=True, width=_WIDTH_OF_A_FILE)


def show_table(console: Console, title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """A row for each name, with a text for each column."""
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for name, texts in rows.items():
        table.add_row(name, *texts)
    console.print(table)
