"""Where SQL over rows runs: in this process, by DuckDB, while there are few rows; else in Spark. The same SQL, the same rows.

Starting Java, and having it compile what runs once, costs more than all that a small input needs. SQL must mean the same to both:
standard joins, windows and aggregates, `if`, `concat`, `cast(... as string)`; names are written by the engine's `quote`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from conf.database import open_duckdb
from conf.expressions.values import duckdb_name, duckdb_text, spark_name
from stores.curated_files import Range, read_rows
from stores.storage import Storage
from transforms.curated import arrow_schema
from transforms.deduplicate import needed_sql

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from stores.spark_files import SparkFiles

Columns = Mapping[str, str]
"""Spark types by column."""
Batches = Iterable[pa.RecordBatch]
Item = TypeVar("Item")
Table = Any
"""A table of one engine, good for its own calls only."""

_ROWS_AT_ONCE = 65_536
_MOST_PARTS = 16


class SqlEngine(Protocol):
    """Tables, SQL over them, and Python over their batches."""

    parallelism: int
    """How many tasks run at once."""

    def quote(self, name: str) -> str:
        """A column's name in SQL."""

    def made(self, work: Callable[[Item], Iterator[pa.RecordBatch]], items: Sequence[Item], columns: Columns) -> Table:
        """The rows that `work`, which pickles, makes of each item; to be read once."""

    def parquet(self, storage: Storage, paths: Sequence[str], columns: Columns) -> Table:
        """Columns of some Parquet files, to be read once; one that a file lacks is null."""

    def look_up(
        self, rows: Table, by: Sequence[str], storage: Storage, paths: Sequence[str], columns: Columns, *, few: bool
    ) -> Table:
        """Columns of some Parquet files, only their rows whose values of `by` some of `rows` have; nulls are equal.

        `few`: the rows fit into memory, as often as there are workers.
        """

    def sql(self, text: str, **tables: Table) -> Table:
        """The rows of a query, in which `{name}` stands for a table of that name; computed whenever they are read."""

    def keep(self, table: Table) -> Table:
        """The rows of a table, computed once however often they are read."""

    def forget(self) -> None:
        """No table so far is needed any more."""

    def close(self) -> None:
        """Neither is the engine."""

    def collect(self, text: str, **tables: Table) -> list[dict[str, Any]]:
        """The few rows of a query."""

    def write(
        self,
        work: Callable[[Batches], Iterator[dict[str, Any]]],
        text: str,
        columns: Columns,
        *,
        by: str | None = None,
        **tables: Table,
    ) -> list[dict[str, Any]]:
        """Hand a query's rows to `work`, which pickles, and return what it says; it may run on several parts of them at once.

        Rows with the same value of `by`, text and never null, are kept together as far as sizes allow; without it there is one
        part.
        """


class InProcess:
    """DuckDB here; what doesn't fit `memory` spills to disk."""

    def __init__(self, *, threads: int = 2, memory: str = "512MB") -> None:
        self.parallelism = threads
        self._spill = tempfile.TemporaryDirectory(prefix="etr-")
        self._connection = open_duckdb(threads=threads, memory_limit=memory, temp_directory=self._spill.name)
        self._connection.execute("set TimeZone = 'UTC'")
        self._made = 0
        self._kept: list[str] = []

    def close(self) -> None:
        self._connection.close()
        self._spill.cleanup()

    def quote(self, name: str) -> str:
        return duckdb_name(name)

    def made(self, work: Callable[[Item], Iterator[pa.RecordBatch]], items: Sequence[Item], columns: Columns) -> str:
        return self._arriving((batch for item in items for batch in work(item)), arrow_schema(columns))

    def parquet(self, storage: Storage, paths: Sequence[str], columns: Columns) -> str:
        schema = arrow_schema(columns)
        return self._arriving(read_rows(storage, paths, schema), schema)

    def look_up(
        self, rows: str, by: Sequence[str], storage: Storage, paths: Sequence[str], columns: Columns, *, few: bool
    ) -> str:
        schema = arrow_schema(columns)
        near = read_rows(storage, paths, schema, near=self._ranges(rows, by))
        text = needed_sql("{rows}", "{known}", by=by, few=few, quote=self.quote)
        return self.keep(self.sql(text, rows=rows, known=self._arriving(near, schema)))

    def _ranges(self, rows: str, columns: Sequence[str]) -> dict[str, Range]:
        """Of those columns that have no null."""
        told = [f"{kind}({self.quote(name)})" for name in columns for kind in ("min", "max", "count")]
        (found,) = self._connection.sql(f"select {', '.join(told)}, count(*) from {rows}").to_arrow_table().to_pylist()
        *values, count = found.values()
        ranges = zip(columns, values[::3], values[1::3], values[2::3], strict=True)
        return {name: (first, last) for name, first, last, filled in ranges if filled == count and count}

    def sql(self, text: str, **tables: str) -> str:
        name = self._next_name()
        self._connection.execute(f"create temp view {name} as {text.format(**tables)}")
        return name

    def keep(self, table: str) -> str:
        name = self._next_name()
        self._connection.execute(f"create temp table {name} as select * from {table}")
        self._kept.append(name)
        return name

    def forget(self) -> None:
        for name in self._kept:
            self._connection.execute(f"drop table {name}")
        self._kept.clear()

    def collect(self, text: str, **tables: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._connection.sql(text.format(**tables)).to_arrow_table().to_pylist()
        return found

    def write(
        self,
        work: Callable[[Batches], Iterator[dict[str, Any]]],
        text: str,
        columns: Columns,
        *,
        by: str | None = None,
        **tables: str,
    ) -> list[dict[str, Any]]:
        rows, schema = f"({text.format(**tables)})", arrow_schema(columns)
        parts = [""] if by is None else self._parts(rows, self.quote(by))
        asked = (f"select * from {rows}{part}" for part in parts)
        batches = (batch for one in asked for batch in self._connection.sql(one).to_arrow_reader(_ROWS_AT_ONCE))
        return list(work(batch.cast(schema) for batch in batches))

    def _parts(self, rows: str, by: str) -> list[str]:
        """Conditions for some runs of values: to ask for one after the other costs less than to sort all rows."""
        values = [value for (value,) in self._connection.sql(f"select distinct {by} from {rows} order by 1").fetchall()]
        at_once = -(-len(values) // _MOST_PARTS) or 1
        runs = [values[start : start + at_once] for start in range(0, len(values), at_once)]
        return [f" where {by} between {duckdb_text(run[0])} and {duckdb_text(run[-1])}" for run in runs]

    def _arriving(self, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> str:
        name = self._next_name()
        self._connection.register(name, pa.RecordBatchReader.from_batches(schema, batches))
        return name

    def _next_name(self) -> str:
        self._made += 1
        return f"t{self._made}"


class InSpark:
    """Spark, in whose workers Python runs over Arrow batches.

    `staging`: where workers may not write, the files through which Spark hands its rows to the driver, which writes instead.
    """

    def __init__(self, spark: SparkSession, staging: SparkFiles | None = None) -> None:
        self.spark = spark
        self._staging = staging
        self._kept: list[DataFrame] = []
        self.parallelism = spark.sparkContext.defaultParallelism

    def quote(self, name: str) -> str:
        return spark_name(name)

    def made(self, work: Callable[[Item], Iterator[pa.RecordBatch]], items: Sequence[Item], columns: Columns) -> DataFrame:
        numbers = self.spark.range(0, len(items), 1, max(len(items), 1))
        return numbers.mapInArrow(partial(_make, work, tuple(items)), _ddl(columns))

    def changed(self, work: Callable[[Batches], Iterator[pa.RecordBatch]], table: DataFrame, columns: Columns) -> DataFrame:
        """The rows that `work`, which pickles, makes of those of a table."""
        return table.mapInArrow(work, _ddl(columns))

    def parquet(self, storage: Storage, paths: Sequence[str], columns: Columns) -> DataFrame:
        if not paths:
            return self.spark.createDataFrame([], _ddl(columns))
        return self.spark.read.schema(_ddl(columns)).parquet(*map(storage.uri, paths))

    def look_up(
        self, rows: DataFrame, by: Sequence[str], storage: Storage, paths: Sequence[str], columns: Columns, *, few: bool
    ) -> DataFrame:
        text = needed_sql("{rows}", "{known}", by=by, few=few, quote=self.quote)
        return self.keep(self.sql(text, rows=rows, known=self.parquet(storage, paths, columns)))

    def sql(self, text: str, **tables: DataFrame) -> DataFrame:
        return self.spark.sql(text, None, **tables)

    def keep(self, table: DataFrame) -> DataFrame:
        self._kept.append(table.persist())
        return table

    def forget(self) -> None:
        for table in self._kept:
            table.unpersist()
        self._kept.clear()

    def close(self) -> None:
        self.forget()

    def collect(self, text: str, **tables: DataFrame) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.sql(text, **tables).collect()]

    def write(
        self,
        work: Callable[[Batches], Iterator[dict[str, Any]]],
        text: str,
        columns: Columns,
        *,
        by: str | None = None,
        **tables: DataFrame,
    ) -> list[dict[str, Any]]:
        rows = self.sql(text, **tables)
        parts = self.sql(f"select /*+ rebalance({self.quote(by)}) */ * from {{rows}}", rows=rows) if by else rows.coalesce(1)
        if self._staging is not None:
            with self._staging as files:
                storage, schema = files.storage, arrow_schema(columns)
                paths = [file.path for file in files.write(parts)]
                return [told for path in paths for told in work(read_rows(storage, [path], schema))]
        told = parts.mapInArrow(partial(_say, work), "told string").collect()
        return [json.loads(row["told"]) for row in told]


def _make(work: Callable[[Any], Iterator[pa.RecordBatch]], items: Sequence[Any], numbers: Batches) -> Iterator[pa.RecordBatch]:
    for batch in numbers:
        for number in batch["id"].to_pylist():
            yield from work(items[number])


def _say(work: Callable[[Batches], Iterator[dict[str, Any]]], batches: Batches) -> Iterator[pa.RecordBatch]:
    for told in work(batches):
        yield pa.RecordBatch.from_pydict({"told": [json.dumps(told)]})


def _ddl(columns: Columns) -> str:
    return ", ".join(f"{spark_name(name)} {kind}" for name, kind in columns.items())
