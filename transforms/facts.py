"""Curated rows -> facts, by Spark: entity, at, valid from and until, values; in buckets of entities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from conf.specs import Source
from transforms.curated import curated_columns
from transforms.fact_sql import SPARK, Table, affected_sql, facts_sql, key_columns, of_keys_sql
from transforms.feature_group import Stream

_DATA_TYPES: Mapping[str, DataType] = {
    "string": StringType(),
    "bigint": LongType(),
    "double": DoubleType(),
    "decimal(18,2)": DecimalType(18, 2),
    "boolean": BooleanType(),
    "date": DateType(),
    "timestamp": TimestampType(),
}
_numbers = count()


def curated_schema(source: Source) -> StructType:
    """The columns of a curated table, for a source of which nothing has come yet."""
    return StructType([StructField(name, _DATA_TYPES[type_]) for name, type_ in curated_columns(source).items()])


def prepare(stream: Stream, curated: Mapping[str, DataFrame], sources: Mapping[str, Source], *, bucket_bits: int) -> DataFrame:
    """Facts of a stream, on all its clocks: the columns of `facts_sql`, `bucket` (int) and `key` (a hash of the primary key).

    Rows in: curated rows of the stream's sources, every version.
    """
    with _Views(curated) as views:
        facts = views.sql(facts_sql(stream, sources, views.tables, SPARK))
    return facts.select(bucket_of(bucket_bits).alias("bucket"), key_of(stream, sources).alias("key"), "*")


def bucket_of(bits: int) -> Column:
    """The bucket of `entity`: the high bits of its hash, so that twice as many buckets split each in two."""
    # Never a literal: Spark would drop it from the sort, and the writer sort again by it, in another order of rows.
    hashed = f"shiftrightunsigned(xxhash64(entity), {64 - bits})" if bits else "pmod(xxhash64(entity), 1)"
    return F.expr(f"cast({hashed} as int)")


def key_of(stream: Stream, sources: Mapping[str, Source]) -> Column:
    """The hash of a primary key, by which later layers of facts replace earlier ones."""
    return F.xxhash64(*key_columns(stream, sources))


def affected_keys(
    stream: Stream, curated: Mapping[str, DataFrame], sources: Mapping[str, Source], new_runs: Mapping[str, Sequence[str]]
) -> DataFrame:
    """The primary keys whose facts may differ because of rows that these runs took in, per source.

    Rows out: one per key (`key_0`, …), with `_known_before`: whether the key had rows before, so that earlier facts of it are
    replaced.
    """
    with _Views(curated) as views:
        return views.sql(affected_sql(stream, sources, views.tables, new_runs, SPARK))


def of_keys(
    stream: Stream, curated: Mapping[str, DataFrame], sources: Mapping[str, Source], keys: DataFrame
) -> dict[str, DataFrame]:
    """The curated tables, of the stream's own rows only those with a primary key among `keys`."""
    restricted = dict(curated)
    with _Views({**curated, "": keys}) as views:
        for name, text in of_keys_sql(stream, sources, views.tables, views.tables[""], SPARK).items():
            restricted[name] = views.sql(text)
    return restricted


class _Views:
    """DataFrames as tables that SQL can name, inside the block."""

    def __init__(self, frames: Mapping[str, DataFrame]) -> None:
        self.frames = frames
        number = next(_numbers)
        self.tables = {
            name: Table(f"etr_{number}_{place}", tuple(frame.columns)) for place, (name, frame) in enumerate(frames.items())
        }

    def __enter__(self) -> _Views:
        for name, frame in self.frames.items():
            frame.createOrReplaceTempView(self.tables[name].name)
        return self

    def __exit__(self, *problem: object) -> None:
        for name, frame in self.frames.items():
            frame.sparkSession.catalog.dropTempView(self.tables[name].name)

    def sql(self, text: str) -> DataFrame:
        return next(iter(self.frames.values())).sparkSession.sql(text)
