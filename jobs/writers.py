"""Who writes the files of what workers make: the workers themselves or, where they may not, Spark. The rows are the same.

Workers write at a quarter of the cost. Spark's way: rows cross back into the JVM, Spark writes them beside where they belong, and
moves them; small files that go with them are written by the driver. Both give manifests; who commits them needn't know.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakKeyDictionary

from jobs.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark import SparkContext
    from pyspark.sql import DataFrame, SparkSession

    from conf.settings import WriterChoice
    from jobs.answer_buckets import BucketTask
    from jobs.workers import Workers
    from stores.offline import OfflineDay, OfflineFile
    from stores.snapshots import SnapshotFile, SnapshotTable
    from stores.storage import Storage

STAGED = "_staged"
ROWS_AT_ONCE = 10_000
_log = logging.getLogger(__name__)


class Writer(Protocol):
    """Writes files and tells what it wrote. The caller holds the lease on the table that they are for."""

    def answers(self, task: BucketTask) -> dict[str, list[tuple[str, SnapshotFile]]]:
        """Answer every bucket: the files of each group, each with its day."""

    def rows_of_day(
        self, rows: DataFrame, schema: pa.Schema, table: SnapshotTable, as_of: str, version: str
    ) -> list[SnapshotFile]:
        """The files of a version of a day, of whose rows `schema` tells the columns."""

    def offline_parts(self, parts: Sequence[tuple[OfflineDay, int]]) -> list[OfflineFile]:
        """The files of some parts of one table, in order."""

    def run(self, calls: Sequence[Callable[[], Any]]) -> list[dict[str, Any]]:
        """Make calls that write small files of their own: the fields of the dataclass that each returns, in order."""


@dataclass(frozen=True)
class ByWorkers:
    """Each task writes what it makes."""

    workers: Workers

    def answers(self, task: BucketTask) -> dict[str, list[tuple[str, SnapshotFile]]]:
        from jobs import answer_buckets

        return answer_buckets.answer_in_tasks(task, self.workers)

    def rows_of_day(
        self, rows: DataFrame, schema: pa.Schema, table: SnapshotTable, as_of: str, version: str
    ) -> list[SnapshotFile]:
        from stores.snapshots import SnapshotFile

        write = partial(_write_day, schema=schema, table=table, as_of=as_of, version=version)
        told = rows.mapInArrow(write, "told string").collect()
        return [SnapshotFile(**json.loads(row["told"])) for row in told]

    def offline_parts(self, parts: Sequence[tuple[OfflineDay, int]]) -> list[OfflineFile]:
        from stores.offline import OfflineFile, write_part

        told = self.workers.run([partial(write_part, day, number) for day, number in parts])
        return [OfflineFile(**one) for one in told]

    def run(self, calls: Sequence[Callable[[], Any]]) -> list[dict[str, Any]]:
        return self.workers.run(calls)


@dataclass(frozen=True)
class ByJvm:
    """Workers hand their rows back to Spark, which writes them."""

    spark: SparkSession

    def answers(self, task: BucketTask) -> dict[str, list[tuple[str, SnapshotFile]]]:
        """One Spark job a group, since what Spark writes at once has the same columns."""
        return {group.name: list(self._answers(task.of_group(group.name))) for group in task.groups}

    def _answers(self, task: BucketTask) -> Iterator[tuple[str, SnapshotFile]]:
        from jobs.answer_buckets import tasks_of
        from stores.snapshots import SnapshotTable
        from stores.spark_files import spark_schema
        from transforms.answer import snapshot_schema

        [group] = task.groups
        tasks = tasks_of(task, self.spark.sparkContext.defaultParallelism)
        rows = self.spark.range(0, tasks, 1, tasks).mapInArrow(
            partial(_answer_rows, task, tasks), spark_schema(_with_day(snapshot_schema(group)))
        )
        return self._into(SnapshotTable(task.storage, group.name, task.kind), rows, group.entity)

    def rows_of_day(
        self, rows: DataFrame, schema: pa.Schema, table: SnapshotTable, as_of: str, version: str
    ) -> list[SnapshotFile]:
        from pyspark.sql import functions as F

        from stores.spark_files import spark_schema

        typed = [F.col(f"`{field.name}`").cast(field.dataType).alias(field.name) for field in spark_schema(schema)]
        told = [F.lit(as_of).cast("date").alias("as_of"), F.lit(version).alias("snapshot_version")]
        return [file for _, file in self._into(table, rows.select(*typed, *told), schema.names[0])]

    def _into(self, table: SnapshotTable, rows: DataFrame, entity: str) -> Iterator[tuple[str, SnapshotFile]]:
        """Rows with the day and version that they are of, as files of a table."""
        from stores.snapshots import PARTITION, SnapshotFile
        from stores.spark_files import SparkFiles

        with SparkFiles(self.spark, table.storage, f"{table.kind}/{STAGED}/{table.group}") as files:
            in_order = rows.sortWithinPartitions(*PARTITION, f"`{entity}`")
            staged = files.write(in_order, partition_by=PARTITION)
            places = [table.new_file(file.folders["as_of"], file.folders["snapshot_version"]) for file in staged]
            files.move(zip(staged, places, strict=True))
        for file, place in zip(staged, places, strict=True):
            yield file.folders["as_of"], SnapshotFile(place, file.rows, file.size)

    def offline_parts(self, parts: Sequence[tuple[OfflineDay, int]]) -> list[OfflineFile]:
        from stores.offline import OfflineFile
        from stores.spark_files import SparkFiles, spark_schema

        if not parts:
            return []
        first, _ = parts[0]
        numbers = self.spark.range(0, len(parts), 1, len(parts))
        rows = numbers.mapInArrow(partial(_offline_rows, tuple(parts)), spark_schema(first.schema))
        with SparkFiles(self.spark, first.table, STAGED) as files:
            staged = {file.task: file for file in files.write(rows)}
            files.move((file, parts[task][0].path(parts[task][1])) for task, file in staged.items())
        told = []
        for task, (day, number) in enumerate(parts):
            file = staged.get(task)
            told.append(OfflineFile(day.path(number), file.rows if file else 0, file.size if file else 0))
        return told

    def run(self, calls: Sequence[Callable[[], Any]]) -> list[dict[str, Any]]:
        """On the driver, one after the other."""
        return [asdict(call()) for call in calls]


# ---- which of them


@dataclass(frozen=True)
class Probed:
    """What a worker met when it wrote; None where all went well."""

    refusal: str | None


def choose_writer(wanted: WriterChoice, workers: Workers, storage: Storage, folder: str, progress: Progress) -> Writer:
    """The writer that is wanted, or of `auto` the one that `workers_write` finds."""
    return ByWorkers(workers) if workers_write(wanted, workers, storage, folder, progress) else ByJvm(workers.spark())


_tried: WeakKeyDictionary[SparkContext, dict[Storage, bool]] = WeakKeyDictionary()
"""What came of the attempts of each Spark application."""


def workers_write(wanted: WriterChoice, workers: Workers, storage: Storage, folder: str, progress: Progress) -> bool:
    """Whether workers write their own files, or Spark does: as is wanted, or of `auto` as one of them finds who tries to.

    It tries in `folder`, which may be empty, once in the life of a Spark application for a storage and all that lies below it.
    """
    if wanted != "auto":
        return wanted == "workers"
    if not workers.many_machines:
        return True  # what this process may, so may those that it starts
    tried = _tried.setdefault(workers.spark().sparkContext, {})
    for known, may in tried.items():
        if type(known) is type(storage) and f"{storage.root}/".startswith(f"{known.root}/"):
            return may
    with progress.step("may workers write?") as step:
        problem = Probed(**workers.run([partial(_probe, storage, folder)])[0]).refusal
        step.finish("yes" if problem is None else "no: Spark writes")
    if problem is not None:
        _log.warning(
            "workers may not write to %s (%s): Spark writes their rows instead, the same ones at about four times the cost. "
            "Let the workers' role put and delete objects there and use its key; or spare the probe with --writer jvm",
            storage.uri(folder),
            problem,
        )
    tried[storage] = problem is None
    return tried[storage]


def _probe(storage: Storage, folder: str) -> Probed:
    path = "/".join(filter(None, (folder, f"_probe-{uuid.uuid4().hex}")))
    try:
        storage.write(path, b"may I?")
    except Exception as problem:  # whatever it is, the worker could not write
        return Probed(f"{type(problem).__name__}: {problem}")
    with suppress(Exception):  # a small file that stays is no reason not to write
        storage.delete(path)
    return Probed(None)


# ---- in the workers


def _write_day(
    batches: Iterable[pa.RecordBatch], *, schema: pa.Schema, table: SnapshotTable, as_of: str, version: str
) -> Iterator[pa.RecordBatch]:
    """One file of the day, told as JSON."""
    import pyarrow

    from stores.snapshots import DayWriter

    with DayWriter(table.storage, table.group, {as_of: version}, schema, table.kind) as writer:
        for batch in batches:
            if len(batch):
                arrays = [batch[field.name].cast(field.type) for field in schema]
                writer.write(as_of, pyarrow.Table.from_arrays(arrays, schema=schema))
        told: Sequence[str] = [json.dumps(asdict(file)) for _, file in writer.close()]
    yield pyarrow.RecordBatch.from_pydict({"told": pyarrow.array(told, pyarrow.string())})


def _answer_rows(task: BucketTask, tasks: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of a group, with the day and version that they are of."""
    import pyarrow

    from jobs.answer_buckets import buckets_of, rows_of_buckets
    from transforms.answer import snapshot_schema

    [group] = task.groups
    schema = snapshot_schema(group)
    versions = {day.isoformat(): (day, version) for day, version in task.days[group.name].items()}
    for batch in batches:
        for number in batch["id"].to_pylist():
            for _, as_of, rows in rows_of_buckets(task, buckets_of(task, number, tasks)):
                day, version = versions[as_of]
                told = [pyarrow.repeat(pyarrow.scalar(day, pyarrow.date32()), len(rows)), pyarrow.repeat(version, len(rows))]
                table = pyarrow.table([*rows.select(schema.names).columns, *told], schema=_with_day(schema))
                yield from table.to_batches(max_chunksize=ROWS_AT_ONCE)


def _with_day(schema: pa.Schema) -> pa.Schema:
    """The columns of a snapshot, and those that name its folder."""
    import pyarrow

    nullable = [field.with_nullable(True) for field in schema]
    return pyarrow.schema(
        [*nullable, pyarrow.field("as_of", pyarrow.date32()), pyarrow.field("snapshot_version", pyarrow.string())]
    )


def _offline_rows(parts: Sequence[tuple[OfflineDay, int]], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    from stores.offline import rows_of_part

    for batch in batches:
        for task in batch["id"].to_pylist():
            yield from rows_of_part(*parts[task])
