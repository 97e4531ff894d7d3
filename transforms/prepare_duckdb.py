"""Curated rows -> facts, by DuckDB: without Spark and Java, for examples, explanations, tests, and ledgers that are small."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count

import duckdb
import numpy as np
import pyarrow as pa

from conf import expressions
from conf.specs import Source
from transforms.fact_sql import DUCKDB, Table, affected_sql, facts_sql, key_columns, of_keys_sql
from transforms.feature_group import Stream
from transforms.spark_hash import spark_hash

_numbers = count()


def connect(**config: str | bool | int | float | list[str]) -> duckdb.DuckDBPyConnection:
    """A connection that knows what expressions need. `config`: DuckDB's own settings, such as `threads`."""
    connection = duckdb.connect(":memory:", config=config)
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
    with _tables(curated, connection) as (tables, duck):
        facts = duck.sql(facts_sql(stream, sources, tables, DUCKDB, in_order=True)).to_arrow_table()
    return facts.append_column("key", spark_hash([facts[name] for name in key_columns(stream, sources)]))


def in_buckets(facts: pa.Table, bits: int) -> pa.Table:
    """Adds `bucket` (int), the high bits of the entity's hash, as Spark's `bucket_of`; sorted by it, and else as before."""
    entities = facts["entity"].combine_chunks().dictionary_encode()
    hashes = spark_hash([entities.dictionary]).to_numpy().view(np.uint64)
    of_entity = (hashes >> np.uint64(64 - bits) if bits else np.zeros_like(hashes)).astype(np.int32)
    bucket = of_entity[entities.indices.to_numpy()]
    return facts.append_column("bucket", pa.array(bucket)).take(pa.array(np.argsort(bucket, kind="stable")))


def affected_keys(
    stream: Stream,
    curated: Mapping[str, pa.Table],
    sources: Mapping[str, Source],
    new_runs: Mapping[str, Sequence[str]],
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> pa.Table:
    """The primary keys whose facts may differ because of rows that these runs took in, per source.

    Rows out: one per key (`key_0`, …), with `_known_before`: whether the key had rows before, so that earlier facts of it are
    replaced; and `key`, its hash.
    """
    with _tables(curated, connection) as (tables, duck):
        keys = duck.sql(affected_sql(stream, sources, tables, new_runs, DUCKDB)).to_arrow_table()
    return keys.append_column("key", spark_hash([keys[name] for name in key_columns(stream, sources)]))


def of_keys(
    stream: Stream,
    curated: Mapping[str, pa.Table],
    sources: Mapping[str, Source],
    keys: pa.Table,
    *,
    connection: duckdb.DuckDBPyConnection | None = None,
) -> dict[str, pa.Table]:
    """The curated tables, of the stream's own rows only those with a primary key among `keys`."""
    restricted = dict(curated)
    with _tables({**curated, "": keys}, connection) as (tables, duck):
        for name, text in of_keys_sql(stream, sources, tables, tables[""], DUCKDB).items():
            restricted[name] = duck.sql(text).to_arrow_table()
    return restricted


@contextmanager
def _tables(
    arrow: Mapping[str, pa.Table], connection: duckdb.DuckDBPyConnection | None
) -> Iterator[tuple[dict[str, Table], duckdb.DuckDBPyConnection]]:
    """Arrow tables as tables that SQL can name, inside the block."""
    own = connection or connect()
    number = next(_numbers)
    tables = {name: Table(f"etr_{number}_{place}", tuple(rows.column_names)) for place, (name, rows) in enumerate(arrow.items())}
    for name, table in tables.items():
        own.register(table.name, arrow[name])
    try:
        yield tables, own
    finally:
        for table in tables.values():
            own.unregister(table.name)
        if connection is None:
            own.close()
