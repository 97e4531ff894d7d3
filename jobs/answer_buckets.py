"""Answers queries where the facts are: a Spark task takes a run of buckets and writes the rows of every group and day."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from stores.facts import BucketReader
from stores.snapshots import DayWriter, SnapshotFile
from stores.storage import Storage
from transforms.answer import answer, on_spine, snapshot_schema
from transforms.calendar import cut_off, day_number, iso_utc
from transforms.feature_group import CompiledGroup
from transforms.kernel import Facts, Queries


@dataclass(frozen=True)
class BucketTask:
    """What a worker answers: every group of one entity, for its days; pickles."""

    storage: Storage
    zone: str
    groups: tuple[CompiledGroup, ...]
    days: Mapping[str, Mapping[date, str]]  # of each group: day and version
    readers: Mapping[str, BucketReader]

    @property
    def buckets(self) -> int:
        return 1 << next(iter(self.readers.values())).layers[0].bucket_bits


def answer_in_spark(task: BucketTask, spark: SparkSession) -> dict[str, list[tuple[str, SnapshotFile]]]:
    """Answer every bucket; each Spark task a run of them, so that a day has as many files as there are tasks.

    Returns the files written, by group, each with its day.
    """
    buckets = task.buckets
    tasks = min(buckets, 4 * spark.sparkContext.defaultParallelism)

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch["id"].to_pylist():
                mine = range(number * buckets // tasks, (number + 1) * buckets // tasks)
                told = [json.dumps(item) for item in answer_buckets(task, mine)]
                yield pa.RecordBatch.from_pydict({"told": pa.array(told, pa.string())})

    rows = spark.range(0, tasks, 1, tasks).mapInArrow(work, "told string").collect()
    files: dict[str, list[tuple[str, SnapshotFile]]] = {group.name: [] for group in task.groups}
    for row in rows:
        group, as_of, path, count, size = json.loads(row["told"])
        files[group].append((as_of, SnapshotFile(path, count, size)))
    return files


def answer_buckets(task: BucketTask, buckets: Iterable[int]) -> Iterator[tuple[str, str, str, int, int]]:
    """Answer all groups for some buckets and write their rows: group, day, path, rows and size of each file written."""
    writers = {
        group.name: DayWriter(
            task.storage,
            group.name,
            {day.isoformat(): version for day, version in task.days[group.name].items()},
            snapshot_schema(group),
        )
        for group in task.groups
    }
    try:
        for bucket in buckets:
            _answer_bucket(task, bucket, writers)
    except BaseException:
        problem = sys.exc_info()
        for writer in writers.values():
            writer.__exit__(*problem)
        raise
    for name, writer in writers.items():
        for as_of, file in writer.close():
            yield name, as_of, file.path, file.rows, file.size


def _answer_bucket(task: BucketTask, bucket: int, writers: Mapping[str, DayWriter]) -> None:
    tables = {name: reader.read(bucket) for name, reader in task.readers.items()}
    spines = {group.spine[:2] for group in task.groups}
    found = [task.readers[s].entities(table, clock) for s, clock in spines if (table := tables[s]) is not None]
    if not found:
        return
    entities = pa.chunked_array(found, pa.string()).unique().sort()
    facts: dict[tuple[str, str], Facts] = {}
    for name, table in tables.items():
        if table is not None:
            facts |= {(name, clock): part for clock, part in task.readers[name].facts(table, entities)}
    for group in task.groups:
        days = sorted(task.days[group.name])
        queries = on_spine(group, facts, _every_entity(len(entities), days, task.zone), task.zone)
        for rows in answer(group, facts, queries, entities, task.zone):
            for day in days:
                moment = rows if len(days) == 1 else rows.filter(pc.equal(rows["event_time"], _event_time(day, task.zone)))
                if len(moment):
                    writers[group.name].write(day.isoformat(), moment)


def _every_entity(entities: int, days: Sequence[date], zone: str) -> Queries:
    """Every entity at the cut-off of every day, sorted by entity."""
    numbers = np.array([day_number(day) for day in days], dtype=np.int64)
    cut_offs = np.array([cut_off(day, zone) for day in days], dtype=np.int64)
    return Queries(np.repeat(np.arange(entities), len(days)), np.tile(numbers, entities), np.tile(cut_offs, entities))


def _event_time(day: date, zone: str) -> str:
    return iso_utc(cut_off(day, zone))
