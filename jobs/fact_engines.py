"""The two engines that prepare facts: DuckDB in this process, and Spark where there are more machines. The rows are the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from stores.lake import Lake
from transforms.curated import curated_arrow_schema
from transforms.fact_sql import needed_columns
from transforms.feature_group import Compiled, Stream
from transforms.prepare_duckdb import affected_keys, connect, in_buckets, of_keys, prepare_in_slices, reads_once, tables_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from pyspark.sql import DataFrame, SparkSession

Facts = Any  # as FactTable.add takes them: a DataFrame or Arrow tables
NewRuns = Mapping[str, Sequence[str]]


class FactEngine(Protocol):
    """Prepares a stream's facts from the curated tables of a lake; what it gives is good inside the block."""

    name: str

    def everything(self, stream: Stream, bits: int) -> AbstractContextManager[Facts]:
        """All facts, in so many bits of buckets."""

    def of_new_rows(self, stream: Stream, new_runs: NewRuns, bits: int) -> AbstractContextManager[Facts]:
        """The facts of the rows that these runs took in, of a stream in which each row stands alone; no others are read."""

    def changes(self, stream: Stream, new_runs: NewRuns, bits: int) -> AbstractContextManager[tuple[Facts, Facts]]:
        """The facts of the rows that these runs took in or touched, and the keys whose earlier facts they replace."""


class BySpark:
    """Spark over the Delta tables, each opened once."""

    name = "Spark"

    def __init__(self, compiled: Compiled, lake: Lake, spark: Callable[[], SparkSession]) -> None:
        self.compiled, self.lake, self.spark = compiled, lake, spark
        self._opened: dict[str, DataFrame] = {}
        self._lock = Lock()

    @contextmanager
    def everything(self, stream: Stream, bits: int) -> Iterator[DataFrame]:
        from transforms import facts

        yield facts.prepare(stream, self._tables(stream), self.compiled.sources, bucket_bits=bits)

    @contextmanager
    def of_new_rows(self, stream: Stream, new_runs: NewRuns, bits: int) -> Iterator[DataFrame]:
        from transforms import facts

        own = {name: table.where(table["_run"].isin(list(new_runs[name]))) for name, table in self._tables(stream).items()}
        yield facts.prepare(stream, own, self.compiled.sources, bucket_bits=bits)

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
            rows = self.lake.curated(source).read(self.spark())
            empty = curated_schema(self.compiled.sources[source])
            self._opened[source] = rows if rows is not None else self.spark().createDataFrame([], empty)
        return self._opened[source]


class ByDuckDB:
    """DuckDB, one stream at a time; rows come and facts go batch by batch, and what doesn't fit `memory` spills to disk."""

    name = "DuckDB"

    def __init__(self, compiled: Compiled, lake: Lake, *, memory: str = "1500MB") -> None:
        self.compiled, self.lake, self.memory = compiled, lake, memory
        self._lock = Lock()

    def everything(self, stream: Stream, bits: int) -> AbstractContextManager[Facts]:
        return self._prepared(stream, bits)

    def of_new_rows(self, stream: Stream, new_runs: NewRuns, bits: int) -> AbstractContextManager[Facts]:
        return self._prepared(stream, bits, new_runs)

    @contextmanager
    def changes(self, stream: Stream, new_runs: NewRuns, bits: int) -> Iterator[tuple[Facts, Facts]]:
        sources = self.compiled.sources
        with self._connection() as connection, tables_of(self._rows(stream), connection) as tables:
            keys = affected_keys(stream, tables, sources, new_runs, connection)
            with of_keys(stream, tables, sources, keys, connection) as own:
                facts = prepare_in_slices(stream, own, sources, connection, linked_only=True)
                yield by_bucket(facts, bits), keys.filter(keys["_known_before"]).select(["key"])

    @contextmanager
    def _prepared(self, stream: Stream, bits: int, runs: NewRuns | None = None) -> Iterator[Facts]:
        sources = self.compiled.sources
        rows, once = self._rows(stream, runs), reads_once(stream, sources)
        with self._connection() as connection, tables_of(rows, connection, read_once=once) as tables:
            yield by_bucket(prepare_in_slices(stream, tables, sources, connection), bits)

    def _rows(self, stream: Stream, runs: NewRuns | None = None) -> dict[str, pa.RecordBatchReader]:
        """The curated rows, or those that some runs took in."""
        sources = self.compiled.sources
        return {
            source: self.lake.curated(source).batches(
                curated_arrow_schema(sources[source], [*columns, "_run"]), runs=None if runs is None else runs[source]
            )
            for source, columns in needed_columns(stream, sources).items()
        }

    @contextmanager
    def _connection(self) -> Iterator[DuckDBPyConnection]:
        with (
            self._lock,
            tempfile.TemporaryDirectory(prefix="etr-") as spill,
            connect(memory_limit=self.memory, temp_directory=spill, preserve_insertion_order=False) as connection,
        ):
            yield connection


def by_bucket(facts: Iterable[pa.RecordBatch], bits: int) -> Iterator[pa.Table]:
    """Batches, each with its `bucket` and sorted by it."""
    for batch in facts:
        yield in_buckets(pa.Table.from_batches([batch]), bits)
