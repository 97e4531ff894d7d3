"""Curated rows -> facts, by DuckDB: without Spark and Java, for examples, explanations, tests, and all ledgers of one machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from conf import expressions
from conf.database import open_duckdb
from conf.expressions.values import duckdb_name
from conf.specs import Source
from transforms.fact_sql import (
    DUCKDB,
    Table,
    affected_sql,
    each_row_stands_alone,
    facts_sql,
    key_columns,
    of_keys_sql,
)
from transforms.feature_group import Stream
from transforms.kernel import stable_order
from transforms.spark_hash import spark_hash

ROWS_A_SLICE = 1_000_000  # curated rows whose facts are made at once: what is between them and the facts takes 2 KB a row
_ROWS_AT_ONCE = 65_536
_numbers = count()

Rows = Any  # an Arrow table, or a reader of record batches
Tables = Mapping[str, Table]
"""By source, what SQL calls its curated rows."""


def connect(**config: str | bool | int | float | list[str]) -> duckdb.DuckDBPyConnection:
    """A connection that knows what expressions need. `config`: DuckDB's own settings, such as `threads`."""
    connection = open_duckdb(**config)
    expressions.duckdb_setup(connection)
    return connection


def prepare(
    stream: Stream,
    curated: Mapping[str, pa.Table],
    sources: Mapping[str, Source],
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> pa.Table:
    """Facts of a stream, on all its clocks: the columns of `facts_sql` and `key`, the same rows as Spark's.

    Rows in: curated rows of the stream's sources, every version. Rows out: sorted by clock, entity, at, known and primary key.
    `connection`: one of `connect`, for whoever prepares many streams.
    """
    own = connection or connect()
    try:
        with tables_of(curated, own) as tables:
            sql = facts_sql(stream, sources, tables, DUCKDB, in_order=True)
            return with_key(own.sql(sql).to_arrow_table(), stream, sources)
    finally:
        if connection is None:
            own.close()


def prepare_in_slices(
    stream: Stream,
    tables: Tables,
    sources: Mapping[str, Source],
    connection: duckdb.DuckDBPyConnection,
    *,
    linked_only: bool = False,
    rows_a_slice: int = ROWS_A_SLICE,
) -> Iterator[pa.RecordBatch]:
    """The same rows in any order, batch by batch, in memory that doesn't grow with the ledgers; `key` only of those that may be
    replaced.

    `linked_only`: the stream's own rows are some of many. Rows that stand alone need no slices, each of which reads all rows for
    its own: they only pass by.
    """
    slices = 1
    if not each_row_stands_alone(stream, sources):
        rows = sum(_count(connection, table.name) for table in tables.values())
        slices = -(-rows // rows_a_slice) or 1
    if slices == 1:
        sql = facts_sql(stream, sources, tables, DUCKDB, linked_only=linked_only)
        yield from _batches(connection, sql, stream, sources)
        return
    for number in range(slices):
        with _slice(connection, tables, stream.own_sources, sources, number, slices) as some:
            yield from _batches(connection, facts_sql(stream, sources, some, DUCKDB, linked_only=True), stream, sources)


def reads_once(stream: Stream, sources: Mapping[str, Source]) -> bool:
    """Whether the SQL that prepares a stream in one piece reads its rows in a single place."""
    return each_row_stands_alone(stream, sources) and len(stream.clocks) == 1 and not stream.members


def with_key(facts: pa.Table, stream: Stream, sources: Mapping[str, Source]) -> pa.Table:
    return facts.append_column("key", spark_hash([facts[name] for name in key_columns(stream, sources)]))


def in_buckets(facts: pa.Table, bits: int) -> pa.Table:
    """Adds `bucket` (int), the high bits of the entity's hash, as Spark's `bucket_of`; sorted by it, and else as before."""
    entities = facts["entity"].combine_chunks().dictionary_encode()
    hashes = spark_hash([entities.dictionary]).to_numpy().view(np.uint64)
    of_entity = (hashes >> np.uint64(64 - bits) if bits else np.zeros_like(hashes)).astype(np.int32)
    bucket = of_entity[entities.indices.to_numpy()]
    return facts.append_column("bucket", pa.array(bucket)).take(pa.array(stable_order(bucket)))


def affected_keys(
    stream: Stream,
    tables: Tables,
    sources: Mapping[str, Source],
    new_runs: Mapping[str, Sequence[str]],
    connection: duckdb.DuckDBPyConnection,
) -> pa.Table:
    """The primary keys whose facts may differ because of rows that these runs took in, per source.

    Rows out: one per key (`key_0`, …), with `_known_before`: whether the key had rows before, so that earlier facts of it are
    replaced; and `key`, its hash.
    """
    return with_key(connection.sql(affected_sql(stream, sources, tables, new_runs, DUCKDB)).to_arrow_table(), stream, sources)


@contextmanager
def of_keys(
    stream: Stream, tables: Tables, sources: Mapping[str, Source], keys: pa.Table, connection: duckdb.DuckDBPyConnection
) -> Iterator[Tables]:
    """The curated tables, of the stream's own rows only those with a primary key among `keys`; inside the block."""
    restricted = dict(tables)
    with tables_of({"": keys}, connection) as named:
        for name, sql in of_keys_sql(stream, sources, tables, named[""], DUCKDB).items():
            restricted[name] = Table(f"etr_of_keys_{next(_numbers)}", tables[name].columns)
            connection.execute(f"create temp table {restricted[name].name} as {sql}")
    try:
        yield restricted
    finally:
        for name in restricted:
            if restricted[name] is not tables[name]:
                connection.execute(f"drop table {restricted[name].name}")


@contextmanager
def tables_of(arrow: Mapping[str, Rows], connection: duckdb.DuckDBPyConnection, *, read_once: bool = False) -> Iterator[Tables]:
    """Rows as tables that SQL can name, inside the block.

    What comes batch by batch is copied, and may not fit memory; unless it is `read_once`, by a single query in a single place.
    """
    number = next(_numbers)
    names = {name: f"etr_{number}_{place}" for place, name in enumerate(arrow)}
    copied = [name for name, rows in arrow.items() if isinstance(rows, pa.RecordBatchReader) and not read_once]
    try:
        for name, rows in arrow.items():
            if name in copied:
                with _registered(connection, f"{names[name]}_arriving", rows) as arriving:
                    connection.execute(f"create temp table {names[name]} as select * from {arriving}")
            else:
                connection.register(names[name], rows)
        yield {name: Table(names[name], tuple(rows.schema.names)) for name, rows in arrow.items()}
    finally:
        for name in arrow:
            if name in copied:
                connection.execute(f"drop table if exists {names[name]}")
            else:
                connection.unregister(names[name])


@contextmanager
def _registered(connection: duckdb.DuckDBPyConnection, name: str, rows: Rows) -> Iterator[str]:
    connection.register(name, rows)
    try:
        yield name
    finally:
        connection.unregister(name)


@contextmanager
def _slice(
    connection: duckdb.DuckDBPyConnection,
    tables: Tables,
    own: Sequence[str],
    sources: Mapping[str, Source],
    number: int,
    slices: int,
) -> Iterator[Tables]:
    """The tables, of the sources `own` only the rows, in all versions, whose primary key falls into one of so many slices."""
    some = dict(tables)
    for name in own:
        key = ", ".join(duckdb_name(column) for column in sources[name].key)
        some[name] = Table(f"etr_slice_{next(_numbers)}", tables[name].columns)
        where = f"hash({key}) % {slices} = {number}"
        connection.execute(f"create temp view {some[name].name} as select * from {tables[name].name} where {where}")
    try:
        yield some
    finally:
        for name in own:
            connection.execute(f"drop view {some[name].name}")


def _batches(
    connection: duckdb.DuckDBPyConnection, sql: str, stream: Stream, sources: Mapping[str, Source]
) -> Iterator[pa.RecordBatch]:
    stand = each_row_stands_alone(stream, sources)
    with closing(connection.sql(sql).to_arrow_reader(_ROWS_AT_ONCE)) as reader:
        for batch in reader:
            if stand:
                yield batch
            else:
                yield from with_key(pa.Table.from_batches([batch]), stream, sources).to_batches()


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    [(rows,)] = connection.sql(f"select count(*) from {table}").fetchall()
    return int(rows)
