"""Spark and DuckDB prepare the same facts, on random histories that sit on the edges; in the same buckets, under the same keys."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from conf.catalogue import load_catalogue
from tests.histories import DAYS, batch
from transforms import facts, prepare_duckdb
from transforms.curated import curated_table
from transforms.fact_sql import key_columns, sorted_by
from transforms.feature_group import Stream, compile_groups
from transforms.spark_hash import spark_hash

CATALOGUE = load_catalogue()
AS_OF, ZONE = DAYS[0]
COMPILED = compile_groups(CATALOGUE, ZONE)
BITS = 3


def one_of_each_shape() -> list[tuple[str, str]]:
    """Of the shipped groups' streams, by group: of those whose rows are joined and cut alike, the one with the most clocks."""
    shapes: dict[object, tuple[int, str, str]] = {}
    for group in COMPILED.groups.values():
        read = {item.source for item in CATALOGUE.group(group.name).inputs}  # not those of other groups' columns
        for stream in (COMPILED.streams[name] for name in group.streams if COMPILED.streams[name].source in read):
            found = (len(stream.clocks), group.name, stream.name)
            shapes[shape(stream)] = max(shapes.get(shape(stream), found), found)
    return [(group, name) for _, group, name in shapes.values()]


def shape(stream: Stream) -> object:
    read = [member.source for member in stream.members] or [stream.source]
    clocks = {(bool(clock.masks), bool(clock.parent_masks), clock.settles, clock.daily) for clock in stream.clocks}
    brings = stream.parent and (stream.parent.entity is not None)
    return (any(CATALOGUE.sources[name].version for name in read), len(stream.members), brings, stream.settlement is None,
            frozenset(clocks))  # fmt: skip


@pytest.mark.parametrize(("group", "stream"), one_of_each_shape())
def test_both_engines_prepare_the_same_facts_in_the_same_order(spark, group, stream):
    sources = CATALOGUE.sources
    stream = COMPILED.streams[stream]
    rows, _ = batch({**sources, **CATALOGUE.unions}, CATALOGUE.group(group), as_of=AS_OF, zone=ZONE, cases=10)
    tables = {name: curated_table(sources[name], rows.get(name, ())) for name in stream.sources}
    by_duckdb = prepare_duckdb.in_buckets(prepare_duckdb.prepare(stream, tables, sources), BITS)
    frames = {name: frame_of(spark, table, name) for name, table in tables.items()}
    in_order = ["bucket", *sorted_by(key_columns(stream, sources))]
    by_spark = facts.prepare(stream, frames, sources, bucket_bits=BITS).coalesce(1).sortWithinPartitions(in_order)
    expected = [{name: plain(value) for name, value in row.items()} for row in by_duckdb.to_pylist()]
    assert [row.asDict() for row in by_spark.select(by_duckdb.column_names).collect()] == expected != []


def frame_of(spark, table: pa.Table, name: str):
    rows = [tuple(map(plain, row.values())) for row in table.to_pylist()]
    return spark.createDataFrame(rows, facts.curated_schema(CATALOGUE.sources[name]))


def plain(value: object) -> object:
    """A time as Spark takes it: UTC, without saying so."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def test_a_key_has_the_hash_that_spark_gives_it(spark):
    """Texts of every length that is hashed in its own way, beyond ASCII; every other type of a key; nulls; several columns."""
    texts = [
        "",
        "a",
        "abcd",
        "abcdefg",
        "abcdefgh",
        "abcdefghijkl",
        "é" * 15,
        "x" * 31,
        "x" * 32,
        "y" * 33,
        "z" * 100,
        None,
        "ß€😀",
    ]
    others = {
        "whole": [number * 10**15 - 7 for number in range(len(texts))],
        "day": [None, *(date(1969, 12, 31 - number) for number in range(1, len(texts)))],
        "moment": [datetime(2025, 1, 1, 1, 2, 3, number, tzinfo=UTC) for number in range(len(texts))],
        "amount": [Decimal(number - 5) / 100 for number in range(len(texts))],
        "flag": [number % 2 == 0 for number in range(len(texts))],
        "ratio": [0.0, -0.0, *(math.sqrt(number) for number in range(2, len(texts)))],
    }
    types = [pa.int64(), pa.date32(), pa.timestamp("us", tz="UTC"), pa.decimal128(18, 2), pa.bool_(), pa.float64()]
    columns = {"text": pa.array(texts)} | {
        name: pa.array(values, type_) for (name, values), type_ in zip(others.items(), types, strict=True)
    }
    ddl = "text string, whole bigint, day date, moment timestamp, amount decimal(18,2), flag boolean, ratio double"
    rows = [tuple(map(plain, row)) for row in zip(texts, *others.values(), strict=True)]
    frame = spark.createDataFrame(rows, ddl).coalesce(1)
    told = frame.selectExpr(*(f"xxhash64({name})" for name in columns), f"xxhash64({', '.join(columns)})").collect()
    ours = [spark_hash([column]).to_pylist() for column in columns.values()] + [spark_hash(list(columns.values())).to_pylist()]
    assert [tuple(row) for row in told] == list(zip(*ours, strict=True))
