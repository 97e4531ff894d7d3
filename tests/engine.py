"""Runs the engine on a few rows, from curated columns to a group's answer: in memory, or by way of facts at rest. No Spark."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source
from jobs.answer_buckets import BucketTask, answer_buckets
from jobs.fact_engines import by_bucket
from stores.facts import BucketReader, FactTable
from stores.storage import LocalStorage
from transforms import prepare_duckdb as duckdb
from transforms.curated import curated_table
from transforms.fact_sql import key_columns
from transforms.feature_group import Compiled, compile_groups
from transforms.small import answer_rows

Rows = Mapping[str, Sequence[Mapping[str, object]]]
Answers = dict[date, dict[str, dict[str, object]]]


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
    """Entity -> column -> value of each day, by the engine in one process.

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


def answer_from_files(
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
    """The same from facts at rest, in buckets. `later`: rows that come in layers of their own, in order.

    As many facts as may be are not recent: all that no window of the days looks at.
    """
    compiled = compile_groups(Catalogue(dict(sources), {group.name: group}), zone)
    storage = LocalStorage(folder)
    since = BucketTask(storage, zone, (compiled.groups[group.name],), {group.name: dict.fromkeys(days, "v")}, {}).since
    readers = {}
    for name in compiled.groups[group.name].streams:
        stream = compiled.streams[name]
        table = FactTable(storage, stream, key_columns(stream, sources))
        tables = {s: curated_table(sources[s], rows.get(s, ()), run="r0") for s in stream.sources}
        with duckdb.connect() as connection, duckdb.tables_of(tables, connection) as named:
            facts = by_bucket(duckdb.prepare_in_slices(stream, named, sources, connection), bucket_bits)
            table.add(facts, number=0, base=True, bucket_bits=bucket_bits, curated={}, recent_from=since[name])
        for number, more in enumerate(later, start=1):
            run = f"r{number}"
            new = {s: curated_table(sources[s], more.get(s, ()), run=run) for s in stream.sources}
            tables = {s: pa.concat_tables([tables[s], new[s]]) for s in stream.sources}
            with duckdb.connect() as connection, duckdb.tables_of(tables, connection) as named:
                keys = duckdb.affected_keys(stream, named, sources, {s: [run] for s in stream.sources}, connection)
                replaced = keys.filter(keys["_known_before"]).select(["key"])
                with duckdb.of_keys(stream, named, sources, keys, connection) as own:
                    prepared = duckdb.prepare_in_slices(stream, own, sources, connection, linked_only=True)
                    facts = by_bucket(prepared, bucket_bits)
                    table.add(facts, number=number, base=False, bucket_bits=bucket_bits, curated={}, replaced=replaced)
        readers[name] = BucketReader.of(table, table.layers())
    return _read(compiled, group.name, readers, storage, days, 1 << bucket_bits)


def _read(
    compiled: Compiled, name: str, readers: Mapping[str, BucketReader], storage: LocalStorage, days: Sequence[date], buckets: int
) -> Answers:
    group = compiled.groups[name]
    task = BucketTask(storage, compiled.zone, (group,), {name: dict.fromkeys(days, "v")}, readers)
    result: Answers = {day: {} for day in days}
    for _, as_of, path, _, _ in answer_buckets(task, range(buckets)).files:
        with storage.open_input(path) as stream:
            table: pa.Table = pq.read_table(stream)
        for row in table.to_pylist():
            _put(result, date.fromisoformat(as_of), row, group.entity)
    shutil.rmtree(storage.uri("snapshots"), ignore_errors=True)
    return result
