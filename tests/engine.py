"""Runs the engine on a few rows, from curated columns to a group's answer, without a lake or jobs around it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source, TimeColumn
from jobs.answer_buckets import BucketTask, answer_buckets
from stores.facts import BucketReader, FactTable
from stores.storage import LocalStorage
from transforms import facts as fact_rows
from transforms.feature_group import Compiled, compile_groups

Rows = Mapping[str, Sequence[Mapping[str, object]]]


def curated(spark: SparkSession, source: Source, rows: Sequence[Mapping[str, object]], run: str = "r1") -> DataFrame:
    """Typed rows as curate would have left them."""
    schema = fact_rows.curated_schema(source)
    known = source.known_time
    full = []
    for row in rows:
        told = {name: row.get(name) for name in source.columns}
        told["_event_time"] = _time(source, source.event_time, row)
        told["_known_time"] = _time(source, known, row) if known else None
        told |= {"_file": "f", "_line": 1, "_row_hash": "h", "_run": run, "_month": "2025-01"}
        full.append(tuple(_plain(told[field.name]) for field in schema.fields))
    return spark.createDataFrame(full, schema)


def _plain(value: object) -> object:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _time(source: Source, column: TimeColumn, row: Mapping[str, object]) -> object:
    value = row.get(column.column)
    if value is None or column.of_date is None:
        return value
    assert isinstance(value, date)
    if column.of_date == "end_of_day":
        value = value + timedelta(days=1)
    elif column.of_date == "end_of_month":
        value = (value.replace(day=1) + timedelta(days=32)).replace(day=1)
    moment = datetime.combine(value, time(), ZoneInfo(source.zone_of(column.column))).astimezone(UTC)
    return moment if column.of_date == "start_of_day" else moment - timedelta(microseconds=1)


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
) -> dict[date, dict[str, dict[str, object]]]:
    """Entity -> column -> value of each day, in one pass. `later`: rows that come in layers of their own, in order."""
    compiled = compile_groups(Catalogue(dict(sources), {group.name: group}), zone)
    storage = LocalStorage(folder)
    readers = {}
    for name in compiled.groups[group.name].streams:
        stream = compiled.streams[name]
        table = FactTable(storage, stream, fact_rows.key_columns(sources[stream.source]))
        frames = {s: curated(spark, sources[s], rows.get(s, ())) for s in stream.sources}
        table.add(fact_rows.prepare(stream, frames, sources, bucket_bits=bucket_bits), number=0, base=True,
                  bucket_bits=bucket_bits, curated={})  # fmt: skip
        for number, more in enumerate(later, start=1):
            run = f"r{number + 1}"
            frames = {s: frames[s].unionByName(curated(spark, sources[s], more.get(s, ()), run)) for s in stream.sources}
            affected = fact_rows.affected_keys(stream, frames, sources, {s: [run] for s in stream.sources})
            key = list(sources[stream.source].key)
            own = frames[stream.source].join(affected.select(*key), on=key, how="left_semi")
            facts = fact_rows.prepare(stream, {**frames, stream.source: own}, sources, bucket_bits=bucket_bits)
            replaced = affected.where("_known_before").selectExpr(f"xxhash64({', '.join(key)}) as key")
            table.add(facts, number=number, base=False, bucket_bits=bucket_bits, curated={}, replaced=replaced)
        readers[name] = BucketReader.of(table, table.layers())
    return _read(compiled, group.name, readers, storage, days, 1 << bucket_bits)


def _read(
    compiled: Compiled, name: str, readers: Mapping[str, BucketReader], storage: LocalStorage, days: Sequence[date], buckets: int
) -> dict[date, dict[str, dict[str, object]]]:
    group = compiled.groups[name]
    task = BucketTask(storage, compiled.zone, (group,), {name: dict.fromkeys(days, "v")}, readers)
    result: dict[date, dict[str, dict[str, object]]] = {day: {} for day in days}
    for _, as_of, path, _, _ in answer_buckets(task, range(buckets)):
        with storage.open_input(path) as stream:
            table: pa.Table = pq.read_table(stream)
        for row in table.to_pylist():
            entity = row.pop(group.entity)
            del row["event_time"], row["time_zone"]
            result[date.fromisoformat(as_of)][entity] = row
    shutil.rmtree(storage.uri("snapshots"), ignore_errors=True)
    return result
