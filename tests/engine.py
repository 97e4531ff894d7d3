"""Runs the engine on a few rows, from curated columns to a group's answer: in one process, or by Spark and files of facts."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source
from jobs.answer_buckets import BucketTask, answer_buckets
from stores.facts import BucketReader, FactTable
from stores.storage import LocalStorage
from transforms import facts as fact_rows
from transforms.curated import curated_table
from transforms.fact_sql import key_columns
from transforms.feature_group import Compiled, compile_groups
from transforms.small import answer_rows

Rows = Mapping[str, Sequence[Mapping[str, object]]]
Answers = dict[date, dict[str, dict[str, object]]]


def curated(spark: SparkSession, source: Source, rows: Sequence[Mapping[str, object]], run: str = "r1") -> DataFrame:
    """Typed rows as curate would have left them."""
    table = curated_table(source, rows, run=run)
    told = [tuple(_plain(value) for value in row.values()) for row in table.to_pylist()]
    return spark.createDataFrame(told, fact_rows.curated_schema(source))


def _plain(value: object) -> object:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def small_answer(
    group: FeatureGroup,
    sources: Mapping[str, Source],
    rows: Rows,
    *,
    days: Sequence[date],
    zone: str = "Asia/Kuala_Lumpur",
    catalogue: Catalogue | None = None,
    cut_offs: Sequence[datetime] | None = None,
) -> Answers:
    """Entity -> column -> value of each day, by the engine in one process: DuckDB prepares, there is no Spark.

    `catalogue`: where the group names other groups, or unions. `cut_offs`: T of each day, to the microsecond, instead of its end.
    """
    compiled = compile_groups(catalogue or Catalogue(dict(sources), {group.name: group}), zone)
    tables = {name: curated_table(source, rows.get(name, ())) for name, source in sources.items()}
    result: Answers = {day: {} for day in days}
    for row in answer_rows(compiled, [group.name], tables, days, cut_offs=cut_offs)[group.name].to_pylist():
        _put(result, row.pop("as_of"), row, group.record_identifier)
    return result


def _put(result: Answers, day: date, row: dict[str, object], identifier: str) -> None:
    entity = row.pop(identifier)
    del row["event_time"], row["time_zone"]
    result[day][entity] = row


def engine_answer(
    spark: SparkSession,
    group: FeatureGroup,
    sources: Mapping[str, Source],
    rows: Rows,
    *,
    days: Sequence[date],
    folder: Path,
    zone: str = "Asia/Kuala_Lumpur",
    bucket_bits: int = 1,
    later: Sequence[Rows] = (),
) -> Answers:
    """The same from facts that Spark prepared and wrote into buckets. `later`: rows that come in layers of their own, in order."""
    compiled = compile_groups(Catalogue(dict(sources), {group.name: group}), zone)
    storage = LocalStorage(folder)
    readers = {}
    for name in compiled.groups[group.name].streams:
        stream = compiled.streams[name]
        table = FactTable(storage, stream, key_columns(stream, sources))
        frames = {s: curated(spark, sources[s], rows.get(s, ())) for s in stream.sources}
        table.add(fact_rows.prepare(stream, frames, sources, bucket_bits=bucket_bits), number=0, base=True,
                  bucket_bits=bucket_bits, curated={})  # fmt: skip
        for number, more in enumerate(later, start=1):
            run = f"r{number + 1}"
            frames = {s: frames[s].unionByName(curated(spark, sources[s], more.get(s, ()), run)) for s in stream.sources}
            affected = fact_rows.affected_keys(stream, frames, sources, {s: [run] for s in stream.sources})
            own = fact_rows.of_keys(stream, frames, sources, affected)
            facts = fact_rows.prepare(stream, own, sources, bucket_bits=bucket_bits)
            replaced = affected.where("_known_before").select(fact_rows.key_of(stream, sources).alias("key"))
            table.add(facts, number=number, base=False, bucket_bits=bucket_bits, curated={}, replaced=replaced)
        readers[name] = BucketReader.of(table, table.layers())
    return _read(compiled, group.name, readers, storage, days, 1 << bucket_bits)


def _read(
    compiled: Compiled, name: str, readers: Mapping[str, BucketReader], storage: LocalStorage, days: Sequence[date], buckets: int
) -> Answers:
    group = compiled.groups[name]
    task = BucketTask(storage, compiled.zone, (group,), {name: dict.fromkeys(days, "v")}, readers)
    result: Answers = {day: {} for day in days}
    for _, as_of, path, _, _ in answer_buckets(task, range(buckets)):
        with storage.open_input(path) as stream:
            table: pa.Table = pq.read_table(stream)
        for row in table.to_pylist():
            _put(result, date.fromisoformat(as_of), row, group.entity)
    shutil.rmtree(storage.uri("snapshots"), ignore_errors=True)
    return result
