"""What a task does for a training set: the labels of a run of buckets to rows, where the facts of their entities are."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.labels_file import quarantine_rows
from stores.facts import BucketReader, prepared_of
from stores.lake import QUARANTINE_SCHEMA, write_rows
from stores.parquet_writers import feature_writer
from stores.partitioned import PartitionedFiles
from stores.storage import Storage
from stores.training_sets import TrainingFile, TrainingSetTable, read_labels
from transforms.answer import FactTables, values_read
from transforms.calendar import midnights_of
from transforms.fact_arrays import entities_on, facts_of
from transforms.kernel import Queries
from transforms.labels import distinct
from transforms.training_rows import Made, TrainingRows, without_history

ROWS_A_GROUP = 65_536
CELLS_WAITING = 4_000_000
QUERIES_AT_ONCE = 1_000_000  # of a spine: entities and days


@dataclass(frozen=True)
class LabelTask:
    """What a worker makes rows from; pickles.

    `labels`: the staged files of each bucket; none where labels are those of a spine's `days` (numbers of as-of days). `file`,
    `names`: the labels file, and what it calls `_entity` and `_time`, for messages.
    """

    storage: Storage
    name: str
    rows: TrainingRows
    readers: Mapping[str, BucketReader]
    outcome_readers: Mapping[str, BucketReader]
    labels: Mapping[int, tuple[str, ...]]
    days: tuple[int, ...] = ()
    file: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def needed(self) -> Mapping[str, Mapping[str, Collection[str]]]:
        """By stream and clock the values that are read."""
        return values_read([*self.rows.groups, self.rows.history])

    @cached_property
    def outcome_needed(self) -> Mapping[str, Mapping[str, Collection[str]]]:
        """The same of the target."""
        return values_read([self.rows.outcome.group] if self.rows.outcome else [])


@dataclass
class Written:
    """What a task wrote and counted; as JSON on its way to the driver.

    `labels`: those that came to the task. `off_spine`, `no_history`: of each group, rows whose entity isn't on its spine, and
    others of which it knew nothing. `present`, `sums`: of each target.
    """

    file: TrainingFile | None = None
    unknown: TrainingFile | None = None
    labels: int = 0
    duplicates: int = 0
    conflicts: int = 0
    off_spine: dict[str, int] = field(default_factory=dict)
    no_history: dict[str, int] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Written:
        """From its fields as JSON has them."""
        files = {name: TrainingFile(**told[name]) if told[name] else None for name in ("file", "unknown")}
        return cls(**{**told, **files})


def write_buckets(task: LabelTask, number: int, buckets: Sequence[int], quarantine: str) -> Written:
    """Make the rows of some buckets and write them as one file, `number` of the set's; `quarantine`: where contradictions go."""
    table = TrainingSetTable(task.storage, task.name)
    written = Written()
    conflicts: list[pa.RecordBatch] = []
    name = f"part-{number:05d}-{uuid.uuid4().hex}.parquet"
    rows, unknown = f"{table.path}/{name}", f"{table.history_path}/{name}"
    waiting = CELLS_WAITING // len(task.rows.schema)
    with PartitionedFiles(task.storage, str, feature_writer, rows_a_group=ROWS_A_GROUP, waiting=waiting) as files:
        for bucket in buckets:
            for made in _rows_of_bucket(task, bucket, written, conflicts):
                for path, some in ((rows, made.rows), (unknown, without_history(made, task.rows.entity))):
                    if len(some):
                        files.add(path, some)
                _count(task.rows, made, written)
        there = {path: TrainingFile(file.path, file.rows, file.size) for path, file in files.close().items()}
    if conflicts:
        written.conflicts = write_rows(task.storage, quarantine, conflicts, QUARANTINE_SCHEMA)
    written.file, written.unknown = there.get(rows), there.get(unknown)
    return written


def _rows_of_bucket(task: LabelTask, bucket: int, written: Written, conflicts: list[pa.RecordBatch]) -> Iterator[Made]:
    prepared = prepared_of(task.readers, bucket, needed=task.needed)
    outcomes = prepared_of(task.outcome_readers, bucket, needed=task.outcome_needed)
    if task.days:
        entities = entities_on((group.spine[:2] for group in task.rows.groups), prepared)
    elif bucket in task.labels:
        found = distinct(read_labels(task.storage, task.labels[bucket], task.rows.label_schema), task.names)
        entities = pc.unique(found.labels["_entity"].combine_chunks())
    else:
        return
    facts, outcome_facts = facts_of(prepared, entities), facts_of(outcomes, entities)
    del prepared, outcomes
    if task.days:
        for labels in _spine_labels(task, facts, entities):
            written.labels += len(labels)
            yield from task.rows.make(labels, facts, outcome_facts, entities)
        return
    written.labels += len(found.labels) + found.duplicates + len(found.conflicts)
    written.duplicates += found.duplicates
    if found.conflicts:
        conflicts.append(quarantine_rows(task.name, task.file, found.conflicts))
    yield from task.rows.make(found.labels, facts, outcome_facts, entities)


def _spine_labels(task: LabelTask, facts: FactTables, entities: pa.Array) -> Iterator[pa.Table]:
    """Every entity that is on a spine as of each day, in runs of entities."""
    days = np.array(task.days, dtype=np.int64)
    times = task.rows.label_times(days)
    at_once = max(QUERIES_AT_ONCE // len(days), 1)
    for start in range(0, len(entities), at_once):
        codes = np.repeat(np.arange(start, min(start + at_once, len(entities))), len(days))
        runs = len(codes) // len(days)
        queries = Queries(codes, np.tile(days, runs), np.tile(midnights_of(days + 1, task.rows.zone), runs))
        there = task.rows.on_any_spine(queries, facts, entities)
        schema = task.rows.label_schema
        arrays = [
            entities.take(pa.array(codes[there])),
            pa.array(np.tile(times, runs)[there]),
            pa.nulls(int(there.sum()), pa.int64()),
        ]
        yield pa.Table.from_arrays(arrays, schema=schema)


def _count(rows: TrainingRows, made: Made, written: Written) -> None:
    for name, there in made.on_spine.items():
        has_history = made.rows[f"{name}__has_history"].to_numpy(zero_copy_only=False)
        written.off_spine[name] = written.off_spine.get(name, 0) + int((~there).sum())
        written.no_history[name] = written.no_history.get(name, 0) + int((there & ~has_history).sum())
    for field_ in rows.target_fields:
        column = made.rows[field_.name]
        written.present[field_.name] = written.present.get(field_.name, 0) + len(column) - column.null_count
        if pa.types.is_boolean(field_.type) or pa.types.is_integer(field_.type) or pa.types.is_floating(field_.type):
            total = pc.sum(column.cast(pa.float64())).as_py() or 0.0
            written.sums[field_.name] = written.sums.get(field_.name, 0.0) + total
