"""DuckDB in this process. All of it is opened here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def open_duckdb(**config: str | bool | int | float | list[str]) -> DuckDBPyConnection:
    """An empty database in memory. `config`: DuckDB's own settings, such as `threads` and `memory_limit`.

    It draws no progress bar: that would go to stdout, where programs read a run's summary.
    """
    import duckdb  # takes longer than a wrong argument should

    connection = duckdb.connect(":memory:", config=config)
    connection.execute("set enable_progress_bar_print = false")
    return connection
