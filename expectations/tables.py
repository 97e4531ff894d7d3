"""A table to be judged, and the few things that are asked of it: in Spark, or in this process by DuckDB over Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import duckdb
import orjson
import pyarrow as pa
import pyarrow.dataset
from pyspark.sql import types as spark_types

from conf.database import open_duckdb
from conf.expressions import duckdb_setup
from expectations.quarantine import FailingRow, failing
from expectations.rules import Rule, RuleSql, Suite, quoted

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS_AT_ONCE = 5_000
_MEMORY = "512MB"


class JudgedTable(Protocol):
    """What is asked of a table."""

    @property
    def types(self) -> Mapping[str, spark_types.DataType]:
        """Its columns, in order."""

    def values(self, aggregates: Sequence[RuleSql]) -> Iterator[Any]:
        """The values of some aggregates over all rows."""

    def shared_keys(self, key: Sequence[str], examples: int) -> tuple[int, list[tuple[Any, ...]]]:
        """Rows that share their key with another one, and some of the keys; those whose key is all null are left out."""

    def failing(self, suite: Suite, rules: Sequence[Rule], limit: int | None = None) -> Iterator[FailingRow]:
        """The rows that break any of `rules`, or some of them."""


class SparkTable:
    """A DataFrame."""

    def __init__(self, df: DataFrame) -> None:
        self.df = df

    @cached_property
    def types(self) -> Mapping[str, spark_types.DataType]:
        return {field.name: field.dataType for field in self.df.schema}

    def values(self, aggregates: Sequence[RuleSql]) -> Iterator[Any]:
        from pyspark.sql import functions as F

        row = self.df.agg(*(F.expr(sql.spark).alias(f"a{number}") for number, sql in enumerate(aggregates))).first()
        return iter(row or ())

    def shared_keys(self, key: Sequence[str], examples: int) -> tuple[int, list[tuple[Any, ...]]]:
        from pyspark.sql import functions as F

        names = [RuleSql.of(quoted(name)).spark for name in key]
        some = self.df.where(" or ".join(f"{name} is not null" for name in names))
        shared = some.groupBy(*names).agg(F.count("*").alias("_rows")).where("_rows > 1")
        told = shared.agg(F.sum("_rows").alias("rows")).first()
        count = int(told["rows"] or 0) if told else 0
        return count, [tuple(row[name] for name in key) for row in shared.limit(examples).collect()] if count else []

    def failing(self, suite: Suite, rules: Sequence[Rule], limit: int | None = None) -> Iterator[FailingRow]:
        found = failing(self.df, suite=suite, rules=rules)
        rows = found.toLocalIterator() if limit is None else found.limit(limit).collect()
        return (FailingRow(row["key"], tuple(row["rules"]), row["row"]) for row in rows)


class ArrowTable:
    """An Arrow table or dataset, asked by DuckDB in this process; what doesn't fit memory spills to disk."""

    def __init__(self, rows: pa.Table | pa.dataset.Dataset) -> None:
        self.rows = rows

    @cached_property
    def types(self) -> Mapping[str, spark_types.DataType]:
        return {field.name: _spark_type(field.type) for field in self.rows.schema}

    def values(self, aggregates: Sequence[RuleSql]) -> Iterator[Any]:
        if not aggregates:
            return iter(())
        with closing(self._connection()) as connection:
            (row,) = connection.execute(f"select {', '.join(sql.duckdb for sql in aggregates)} from judged").fetchall()
            return iter(row)

    def shared_keys(self, key: Sequence[str], examples: int) -> tuple[int, list[tuple[Any, ...]]]:
        names = ", ".join(map(quoted, key))
        there = " or ".join(f"{quoted(name)} is not null" for name in key)
        with closing(self._connection()) as connection:
            connection.execute(
                "create temp table shared as "
                f"select {names}, count(*) as _rows from judged where {there} group by {names} having count(*) > 1"
            )
            ((count,),) = connection.execute("select coalesce(sum(_rows), 0) from shared").fetchall()
            return int(count), connection.execute(f"select {names} from shared limit {examples}").fetchall()

    def failing(self, suite: Suite, rules: Sequence[Rule], limit: int | None = None) -> Iterator[FailingRow]:
        broken = ", ".join(f"({rule.breaks.duckdb}) as {quoted(_flag(n))}" for n, rule in enumerate(rules) if rule.breaks)
        any_broken = " or ".join(quoted(_flag(number)) for number in range(len(rules))) or "false"
        text = f"select * from (select *{broken and f', {broken}'} from judged) where {any_broken}"
        with closing(self._connection()) as connection:
            for batch in connection.sql(text + (f" limit {limit}" if limit is not None else "")).to_arrow_reader(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    names = tuple(rule.name for number, rule in enumerate(rules) if row.pop(_flag(number)))
                    key = _json({name: row[name] for name in suite.key}) if len(suite.key) > 1 else _text(row[suite.key[0]])
                    yield FailingRow(key, names, _json(row))

    def _connection(self) -> duckdb.DuckDBPyConnection:
        connection = open_duckdb(memory_limit=_MEMORY)
        duckdb_setup(connection)
        connection.execute("set TimeZone = 'UTC'")
        connection.register("judged", self.rows)
        return connection


def _flag(number: int) -> str:
    return f"_breaks_{number}"


def _spark_type(kind: pa.DataType) -> spark_types.DataType:
    if pa.types.is_decimal(kind):
        return spark_types.DecimalType(kind.precision, kind.scale)
    if pa.types.is_timestamp(kind):
        return spark_types.TimestampType() if kind.tz else spark_types.TimestampNTZType()
    plain = {
        pa.string(): spark_types.StringType(),
        pa.large_string(): spark_types.StringType(),
        pa.int64(): spark_types.LongType(),
        pa.int32(): spark_types.IntegerType(),
        pa.float64(): spark_types.DoubleType(),
        pa.bool_(): spark_types.BooleanType(),
        pa.date32(): spark_types.DateType(),
    }
    return plain.get(kind, spark_types.NullType())


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else _json(value).strip('"')


def _json(value: object) -> str:
    """As Spark writes JSON: exact decimals, and what is no number as text."""
    if isinstance(value, dict):
        value = {name: _spark_word(item) for name, item in value.items()}
    return orjson.dumps(_spark_word(value), default=str).decode()


def _spark_word(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    if isinstance(value, float) and not abs(value) < float("inf"):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
