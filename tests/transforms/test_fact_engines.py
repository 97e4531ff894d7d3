"""Spark and DuckDB prepare the same facts: of every shipped group, on random histories that sit on the edges."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from conf.catalogue import load_catalogue
from tests.engine import curated
from tests.histories import DAYS, batch
from transforms import facts, prepare_duckdb
from transforms.curated import curated_table
from transforms.fact_sql import key_columns, sorted_by
from transforms.feature_group import compile_groups
from transforms.spark_hash import spark_hash

CATALOGUE = load_catalogue()


@pytest.mark.parametrize("group_name", list(CATALOGUE.groups))
def test_both_engines_prepare_the_same_facts_in_the_same_order(spark, group_name):
    as_of, zone = DAYS[0]
    group = CATALOGUE.group(group_name)
    rows, _ = batch(CATALOGUE.sources, group, as_of=as_of, zone=zone, cases=10)
    sources = {name: CATALOGUE.sources[name] for name in rows}
    compiled = compile_groups(CATALOGUE, zone)
    frames = {name: curated(spark, source, rows[name]) for name, source in sources.items()}
    tables = {name: curated_table(source, rows[name]) for name, source in sources.items()}
    for name in compiled.groups[group_name].streams:
        stream = compiled.streams[name]
        by_duckdb = prepare_duckdb.prepare(stream, tables, sources)
        order = sorted_by(key_columns(stream, sources))
        by_spark = facts.prepare(stream, frames, sources, bucket_bits=0).coalesce(1).sortWithinPartitions(order)
        assert [row.asDict() for row in by_spark.select(by_duckdb.column_names).collect()] == by_duckdb.to_pylist()


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
    rows = [tuple(value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row)
            for row in zip(texts, *others.values(), strict=True)]  # fmt: skip
    frame = spark.createDataFrame(rows, ddl).coalesce(1)
    told = frame.selectExpr(*(f"xxhash64({name})" for name in columns), f"xxhash64({', '.join(columns)})").collect()
    ours = [spark_hash([column]).to_pylist() for column in columns.values()] + [spark_hash(list(columns.values())).to_pylist()]
    assert [tuple(row) for row in told] == list(zip(*ours, strict=True))
