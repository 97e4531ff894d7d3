"""Columns computed from columns: ratios, deltas and the like, by DuckDB over an Arrow table."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from conf import expressions
from transforms.feature_group import DerivedColumn


def derive(table: pa.Table, columns: Sequence[DerivedColumn]) -> pa.Table:
    """Adds `columns` to a table. Rows in the same order; a column may use those before it.

    Columns that use only what is already there are computed in one query, the rest in the next.
    """
    waiting = list(columns)
    if not waiting:
        return table
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        expressions.duckdb_setup(connection)
        while waiting:
            later = {column.column.name for column in waiting}
            now = [column for column in waiting if not later & set(column.uses)]
            selected = ", ".join(f'{_typed(column)} as "{column.column.name}"' for column in now)
            connection.register("facts", table)
            table = connection.sql(f"select *, {selected} from facts").to_arrow_table()
            connection.unregister("facts")
            waiting = [column for column in waiting if column not in now]
    return table


def _typed(column: DerivedColumn) -> str:
    kinds = {"integer": "bigint", "number": "double", "money": "decimal(28,2)"}
    kind = kinds.get(column.column.type)
    return f"cast({column.sql} as {kind})" if kind else f"({column.sql})"
