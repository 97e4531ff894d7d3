"""The two engines that prepare facts: DuckDB in this process while there is little to read, else Spark. The rows are the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from stores.lake import Lake
from transforms import prepare_duckdb
from transforms.curated import curated_arrow_schema
from transforms.fact_sql import needed_columns
from transforms.feature_group import Compiled, Stream

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Facts = Any  # as FactTable.add takes them: a DataFrame or an Arrow table
NewRuns = Mapping[str, Sequence[str]]


class FactEngine(Protocol):
    """Prepares a stream's facts from the curated tables of a lake."""

    name: str

    def everything(self, stream: Stream, bits: int) -> Facts:
        """All facts, in so many bits of buckets."""

    def of_new_rows(self, stream: Stream, new_runs: NewRuns, bits: int) -> Facts:
        """The facts of the rows that these runs took in, of a stream in which each row stands alone; no others are read."""

    def changes(self, stream: Stream, new_runs: NewRuns, bits: int) -> AbstractContextManager[tuple[Facts, Facts]]:
        """The facts of the rows that these runs took in or touched, and the keys whose earlier facts they replace."""


class BySpark:
    """Spark over the Delta tables, each opened once."""

    name = "Spark"

    def __init__(self, compiled: Compiled, lake: Lake, spark: SparkSession) -> None:
        self.compiled, self.lake, self.spark = compiled, lake, spark
        self._opened: dict[str, DataFrame] = {}
        self._lock = Lock()

    def everything(self, stream: Stream, bits: int) -> DataFrame:
        from transforms import facts

        return facts.prepare(stream, self._tables(stream), self.compiled.sources, bucket_bits=bits)

    def of_new_rows(self, stream: Stream, new_runs: NewRuns, bits: int) -> DataFrame:
        from transforms import facts

        own = {name: table.where(table["_run"].isin(list(new_runs[name]))) for name, table in self._tables(stream).items()}
        return facts.prepare(stream, own, self.compiled.sources, bucket_bits=bits)

    @contextmanager
    def changes(self, stream: Stream, new_runs: NewRuns, bits: int) -> Iterator[tuple[DataFrame, DataFrame]]:
        from transforms import facts

        tables, sources = self._tables(stream), self.compiled.sources
        keys = facts.affected_keys(stream, tables, sources, new_runs).persist()
        try:
            own = facts.of_keys(stream, tables, sources, keys)
            replaced = keys.where("_known_before").select(facts.key_of(stream, sources).alias("key"))
            yield facts.prepare(stream, own, sources, bucket_bits=bits), replaced
        finally:
            keys.unpersist()

    def _tables(self, stream: Stream) -> dict[str, DataFrame]:
        with self._lock:
            return {source: self._table(source) for source in stream.sources}

    def _table(self, source: str) -> DataFrame:
        from transforms.facts import curated_schema

        if source not in self._opened:
            rows = self.lake.curated(source).read(self.spark)
            empty = curated_schema(self.compiled.sources[source])
            self._opened[source] = rows if rows is not None else self.spark.createDataFrame([], empty)
        return self._opened[source]


class ByDuckDB:
    """DuckDB over the rows in memory, one stream at a time; what else doesn't fit `memory` spills to disk."""

    name = "DuckDB"

    def __init__(self, compiled: Compiled, lake: Lake, *, memory: str = "1GB") -> None:
        self.compiled, self.lake, self.memory = compiled, lake, memory
        self._lock = Lock()

    def everything(self, stream: Stream, bits: int) -> Facts:
        return self._prepared(stream, self._tables(stream), bits)

    def of_new_rows(self, stream: Stream, new_runs: NewRuns, bits: int) -> Facts:
        return self._prepared(stream, self._tables(stream, new_runs), bits)

    @contextmanager
    def changes(self, stream: Stream, new_runs: NewRuns, bits: int) -> Iterator[tuple[Facts, Facts]]:
        tables, sources = self._tables(stream), self.compiled.sources
        with self._connection() as connection:
            keys = prepare_duckdb.affected_keys(stream, tables, sources, new_runs, connection=connection)
            own = prepare_duckdb.of_keys(stream, tables, sources, keys, connection=connection)
            facts = prepare_duckdb.prepare(stream, own, sources, connection=connection)
        yield prepare_duckdb.in_buckets(facts, bits), keys.filter(keys["_known_before"]).select(["key"])

    def _prepared(self, stream: Stream, tables: Mapping[str, pa.Table], bits: int) -> Facts:
        with self._connection() as connection:
            facts = prepare_duckdb.prepare(stream, tables, self.compiled.sources, connection=connection)
        return prepare_duckdb.in_buckets(facts, bits)

    def _tables(self, stream: Stream, runs: NewRuns | None = None) -> dict[str, pa.Table]:
        """The curated rows, or those that some runs took in."""
        sources = self.compiled.sources
        return {
            source: self.lake.curated(source).rows(
                curated_arrow_schema(sources[source], [*columns, "_run"]), runs=None if runs is None else runs[source]
            )
            for source, columns in needed_columns(stream, sources).items()
        }

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        with (
            self._lock,
            tempfile.TemporaryDirectory(prefix="etr-") as spill,
            prepare_duckdb.connect(memory_limit=self.memory, temp_directory=spill) as connection,
        ):
            yield connection
