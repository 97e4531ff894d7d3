"""Rows of ledgers as plain Python values, and expressions over them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from conf.database import open_duckdb
from conf.expressions import Expression, duckdb_setup
from conf.specs import ColumnType

Row = dict[str, Any]
CLOCKS: Mapping[str, ColumnType] = {"_event_time": "timestamp", "_known_time": "timestamp"}
_ARROW: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "money": pa.decimal128(28, 2),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}


class Ledgers(Protocol):
    """The curated tables, a few rows at a time."""

    def rows(self, source: str, column: str, values: Collection[Any]) -> list[Row]:
        """Every version of every row with one of `values` in `column`: its columns, clocks, file, line, row hash and run.

        Timestamps are aware, in UTC. In no particular order.
        """
        ...

    def all_rows(self, source: str) -> list[Row]:
        """Every version of every row."""
        ...


def evaluate(expressions: Mapping[str, Expression], rows: Sequence[Row], types: Mapping[str, ColumnType]) -> list[dict[str, Any]]:
    """The value of each expression for each row, in the rows' order. `types`: of the rows' columns."""
    if not rows or not expressions:
        return [{} for _ in rows]
    plain = {name: expression.text.strip('"') for name, expression in expressions.items() if is_column(expression)}
    if len(plain) == len(expressions):
        return [{name: row.get(column) for name, column in plain.items()} for row in rows]
    used = [name for name in rows[0] if name in types]
    columns: dict[str, pa.Array] = {name: pa.array([row.get(name) for row in rows], _ARROW[types[name]]) for name in used}
    columns["_row_number"] = pa.array(range(len(rows)), pa.int64())
    selected = ", ".join(f'({expression.duckdb()}) as "{name}"' for name, expression in expressions.items())
    connection = _connection()
    connection.register("rows", pa.table(columns))
    told = connection.sql(f"select {selected}, _row_number from rows order by _row_number").to_arrow_table().to_pylist()
    return [{name: aware(row[name]) for name in expressions} for row in told]


def is_column(expression: Expression) -> bool:
    """Whether an expression is a column by itself."""
    return expression.columns == {expression.text.strip('"')}


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    connection = open_duckdb(threads=1)
    duckdb_setup(connection)
    return connection


def aware(value: Any) -> Any:
    """A timestamp without a zone is UTC."""
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value
