"""Columns computed from columns: ratios, deltas and the like, by DuckDB over an Arrow table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import local

import duckdb
import pyarrow as pa

from conf import expressions
from conf.database import open_duckdb
from conf.specs import ColumnType
from transforms.feature_group import DerivedColumn

_CASTS: Mapping[str, str] = {"integer": "bigint", "number": "double", "money": "decimal(28,2)"}
_thread = local()


def derive(table: pa.Table, columns: Sequence[DerivedColumn]) -> pa.Table:
    """Adds `columns` to a table. Rows in the same order; a column may use those before it.

    Columns that use only what is already there are computed in one query, the rest in the next.
    """
    waiting = list(columns)
    while waiting:
        later = {column.column.name for column in waiting}
        now = [column for column in waiting if not later & set(column.uses)]
        used = {name for column in now for name in column.uses} or {table.column_names[0]}
        made = evaluate(
            table.select(sorted(used)), {column.column.name: (column.sql.duckdb, column.column.type) for column in now}
        )
        table = pa.table([*table.columns, *made.columns], [*table.column_names, *made.column_names])
        waiting = [column for column in waiting if column not in now]
    return table


def evaluate(table: pa.Table, sql: Mapping[str, tuple[str, ColumnType]]) -> pa.Table:
    """A column for each name: SQL over the table's columns, and its type. Rows in the same order."""
    selected = ", ".join(f'{_typed(text, type_)} as "{name}"' for name, (text, type_) in sql.items())
    return _connection().from_arrow(table).project(selected).to_arrow_table()


def _typed(sql: str, type_: ColumnType) -> str:
    return f"cast({sql} as {_CASTS[type_]})" if type_ in _CASTS else f"({sql})"


def _connection() -> duckdb.DuckDBPyConnection:
    """One a thread, kept: a task asks it many times."""
    if not hasattr(_thread, "connection"):
        _thread.connection = open_duckdb(threads=1)
        expressions.duckdb_setup(_thread.connection)
    connection: duckdb.DuckDBPyConnection = _thread.connection
    return connection
