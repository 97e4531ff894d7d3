"""Computes snapshots: curated ledgers -> facts in buckets -> one row an entity and as-of day."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from conf.errors import PublishError, UsageError
from jobs.arguments import JobParser, load_settings_for
from jobs.arguments import day as as_day
from jobs.progress import Progress
from jobs.summary import Summary, run_job
from stores.facts import BucketReader, FactTable
from stores.lake import CurateCommit, Lake
from stores.snapshots import DayWriter, Snapshot, SnapshotFile, SnapshotTable, sort_by_day
from stores.storage import Storage
from transforms import facts as fact_rows
from transforms.answer import answer, on_spine, snapshot_schema
from transforms.calendar import cut_off, day_number, iso_utc
from transforms.feature_group import Compiled, CompiledGroup, Stream
from transforms.kernel import Facts, Queries

ROWS_A_BUCKET = 250_000  # a task's memory depends on this, not on the number of entities
MAXIMUM_LAYERS = 30  # then a stream is prepared anew
_AT_ONCE = 3  # streams prepared at the same time: while some are planned, others compute
ENGINE = "1"  # raised when the same definition on the same rows gives another number


@dataclass(frozen=True)
class Wanted:
    """A group's day that has to be made."""

    group: str
    day: date
    version: str


@dataclass(frozen=True)
class MaterializeSummary:
    """`made`: the versions made by this run; `current`: every version asked for, made now or before."""

    made: tuple[Snapshot, ...]
    current: tuple[Snapshot, ...]
    prepared_facts: Mapping[str, str] = field(default_factory=dict)  # stream: `base`, `layer` or `there`


def wanted(compiled: Compiled, groups: Sequence[str], days: Sequence[date], lake: Lake) -> list[Wanted]:
    """The group days whose current version isn't what today's definitions and ledgers make. No Spark.

    A curate commit matters to a day when any of its rows counts at that day's cut-off: what was known late never changes what
    an earlier day should have said.
    """
    commits = {name: lake.curated(name).commits() for name in sorted({s for g in groups for s in _sources(compiled, g)})}
    result = []
    for name in groups:
        table = SnapshotTable(lake.storage, name)
        for day in days:
            version = snapshot_version(compiled, name, day, commits)
            current = table.current(day)
            if current is None or current.version != version:
                result.append(Wanted(name, day, version))
    return result


def snapshot_version(compiled: Compiled, group: str, day: date, commits: Mapping[str, Sequence[CurateCommit]]) -> str:
    """The hash of the definition's version, the calendar, and the curated versions that matter to the day."""
    moment = cut_off(day, compiled.zone)
    read = {
        source: max(
            (c.version for c in commits[source] if c.earliest_effect is not None and c.earliest_effect <= moment), default=-1
        )
        for source in _sources(compiled, group)
    }
    meaning = [ENGINE, compiled.groups[group].version, compiled.zone, day.isoformat(), sorted(read.items())]
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


def run(
    *,
    compiled: Compiled,
    groups: Sequence[str],
    days: Sequence[date],
    lake: Lake,
    spark: SparkSession,
    run_id: str,
    progress: Progress,
) -> MaterializeSummary:
    """Make what is missing of `days`: one Delta commit a group and day. Days already made are left alone."""
    missing = wanted(compiled, groups, days, lake)
    made: list[Snapshot] = []
    prepared: dict[str, str] = {}
    for entity in dict.fromkeys(compiled.groups[item.group].entity for item in missing):
        work = [item for item in missing if compiled.groups[item.group].entity == entity]
        readers = _prepare(compiled, entity, work, lake, spark, progress, prepared)
        made += _answer(compiled, work, readers, lake, spark, run_id, progress)
    current = [SnapshotTable(lake.storage, group).current(day) for group in groups for day in days]
    return MaterializeSummary(tuple(made), tuple(snapshot for snapshot in current if snapshot), prepared)


def _sources(compiled: Compiled, group: str) -> tuple[str, ...]:
    return compiled.sources_of(compiled.groups[group])


# ---- facts


def _prepare(
    compiled: Compiled,
    entity: str,
    work: Sequence[Wanted],
    lake: Lake,
    spark: SparkSession,
    progress: Progress,
    prepared: dict[str, str],
) -> dict[str, BucketReader]:
    """Bring every stream of an entity that the work needs up to the curated tables: a base, or only what is new."""
    names = list(dict.fromkeys(stream for item in work for stream in compiled.groups[item.group].streams))
    bits = _bucket_bits(compiled, entity, lake, spark)
    curated = _Curated(compiled, lake, spark)
    readers: dict[str, BucketReader] = {}
    with progress.step(f"facts by {entity}", total=len(names)) as step, ThreadPoolExecutor(_AT_ONCE) as pool:

        def prepare(name: str) -> None:
            stream = compiled.streams[name]
            table = FactTable(lake.storage, stream, fact_rows.key_columns(compiled.sources[stream.source]))
            prepared[name] = _bring_up_to_date(compiled, stream, table, bits, lake, curated)
            readers[name] = BucketReader.of(table, table.layers())
            step.advance(note=stream.source)

        # The dearest first, so that the others fill the time beside it.
        list(pool.map(prepare, sorted(names, key=lambda name: -len(compiled.streams[name].clocks))))
    return {name: readers[name] for name in names}


@dataclass(frozen=True)
class _Curated:
    """The curated tables as DataFrames, each opened once."""

    compiled: Compiled
    lake: Lake
    spark: SparkSession
    opened: dict[str, DataFrame] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def of(self, stream: Stream) -> dict[str, DataFrame]:
        with self.lock:
            return {source: self._open(source) for source in stream.sources}

    def _open(self, source: str) -> DataFrame:
        if source not in self.opened:
            rows = self.lake.curated(source).read(self.spark)
            schema = fact_rows.curated_schema(self.compiled.sources[source])
            self.opened[source] = rows if rows is not None else self.spark.createDataFrame([], schema)
        return self.opened[source]


def _bring_up_to_date(
    compiled: Compiled,
    stream: Stream,
    table: FactTable,
    bits: int,
    lake: Lake,
    curated: _Curated,
) -> str:
    commits = {source: lake.curated(source).commits() for source in stream.sources}
    now = {source: max((c.version for c in commits[source]), default=-1) for source in stream.sources}
    layers = table.layers()
    if layers and layers[-1].curated == now and layers[-1].bucket_bits == bits:
        return "there"
    tables = curated.of(stream)
    number = layers[-1].number + 1 if layers else 0
    if not layers or layers[-1].bucket_bits != bits or len(layers) >= MAXIMUM_LAYERS:
        facts = fact_rows.prepare(stream, tables, compiled.sources, bucket_bits=bits)
        table.add(facts, number=number, base=True, bucket_bits=bits, curated=now)
        return "base"
    before = layers[-1].curated
    new_runs = {source: [c.run_id for c in commits[source] if c.version > before[source]] for source in stream.sources}
    key = list(compiled.sources[stream.source].key)
    affected = fact_rows.affected_keys(stream, tables, compiled.sources, new_runs).persist()
    try:
        own = tables[stream.source].join(F.broadcast(affected.select(*key)), on=key, how="left_semi")
        facts = fact_rows.prepare(stream, {**tables, stream.source: own}, compiled.sources, bucket_bits=bits)
        replaced = affected.where("_known_before").select(F.xxhash64(*key).alias("key"))
        table.add(facts, number=number, base=False, bucket_bits=bits, curated=now, replaced=replaced)
    finally:
        affected.unpersist()
    return "layer"


def _bucket_bits(compiled: Compiled, entity: str, lake: Lake, spark: SparkSession) -> int:
    """How many bits of the entity's hash name its bucket: enough that a bucket holds about ROWS_A_BUCKET curated rows.

    A number once chosen stays until the rows have quadrupled, since changing it means preparing everything anew.
    """
    sources = {source for stream in compiled.streams.values() if stream.entity == entity for source in stream.sources}
    rows = sum(commit.counts.get("kept", 0) for source in sources for commit in lake.curated(source).commits())
    least = math.ceil(math.log2(max(spark.sparkContext.defaultParallelism, 1)))
    bits = max(least, math.ceil(math.log2(max(rows / ROWS_A_BUCKET, 1))))
    path = f"facts/{entity}/buckets.json"
    if lake.storage.exists(path):
        chosen = int(json.loads(lake.storage.read(path))["bits"])
        if bits < chosen + 2:
            return chosen
    lake.storage.write(path, json.dumps({"bits": bits}).encode())
    return bits


# ---- answers


@dataclass(frozen=True)
class _Task:
    """What a worker answers: every group of one entity, for its days; pickles."""

    storage: Storage
    zone: str
    groups: tuple[CompiledGroup, ...]
    days: Mapping[str, Mapping[date, str]]  # of each group: day and version
    readers: Mapping[str, BucketReader]


def _answer(
    compiled: Compiled,
    work: Sequence[Wanted],
    readers: Mapping[str, BucketReader],
    lake: Lake,
    spark: SparkSession,
    run_id: str,
    progress: Progress,
) -> list[Snapshot]:
    days: dict[str, dict[date, str]] = {}
    for item in work:
        days.setdefault(item.group, {})[item.day] = item.version
    groups = tuple(compiled.groups[name] for name in days)
    with progress.step(f"snapshots of {', '.join(days)}", total=len(work)) as step:
        for item in work:
            _remove_leftovers(lake.storage, item)
        buckets = 1 << next(iter(readers.values())).layers[0].bucket_bits
        files = _run_tasks(_Task(lake.storage, compiled.zone, groups, days, readers), buckets, spark)
        made = []
        for group in groups:
            by_day = sort_by_day(files[group.name])
            for day, version in days[group.name].items():
                read = {source: lake.curated(source).version() for source in compiled.sources_of(group)}
                told = {source: -1 if version is None else version for source, version in read.items()}
                found = by_day.get(day.isoformat(), ())
                snapshot = Snapshot(group.name, day.isoformat(), version, group.version, told, run_id, found)
                SnapshotTable(lake.storage, group.name).commit(snapshot, snapshot_schema(group))
                made.append(snapshot)
                step.advance(note=f"{snapshot.rows:,} rows")
    return made


def _remove_leftovers(storage: Storage, item: Wanted) -> None:
    """Files of a run that died before it committed this version."""
    folder = f"snapshots/{item.group}/as_of={item.day.isoformat()}/snapshot_version={item.version}"
    for file in list(storage.list(folder)):
        storage.delete(file.path)


def _run_tasks(task: _Task, buckets: int, spark: SparkSession) -> dict[str, list[tuple[str, SnapshotFile]]]:
    """Answer every bucket; each Spark task a run of them, so that a day has as many files as there are tasks."""
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


def answer_buckets(task: _Task, buckets: Iterable[int]) -> Iterator[tuple[str, str, str, int, int]]:
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


def _answer_bucket(task: _Task, bucket: int, writers: Mapping[str, DayWriter]) -> None:
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


# ---- the job


def main(argv: Sequence[str] | None = None) -> int:
    parser = JobParser("materialize", "Ledgers to snapshots: all features of a group as of a day, or of every day of a range.")
    parser.add_argument("--from", dest="first", type=as_day, metavar="YYYY-MM-DD", help="the first day of a range")
    parser.add_argument("--to", dest="last", type=as_day, metavar="YYYY-MM-DD", help="its last day (default: the as-of day)")
    return run_job(parser, _work, argv)


def _work(arguments: Namespace, run_id: str) -> Summary:
    settings = load_settings_for(arguments)
    from conf.catalogue import load_catalogue
    from jobs.pipeline import as_of_day
    from jobs.session import open_session
    from transforms.feature_group import compile_groups

    catalogue = load_catalogue(arguments.conf)
    compiled = compile_groups(catalogue, settings.time_zone)
    groups = [group.name for group in catalogue.select(arguments.groups)]
    last = as_of_day(arguments.last or arguments.as_of, catalogue, settings.time_zone)
    first = arguments.first or last
    if first > last:
        raise UsageError(f"etr materialize: --from {first} is later than --to {last}")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    lake = Lake(settings.lake)
    missing = wanted(compiled, groups, days, lake)
    if arguments.dry_run:
        return Summary("materialize", run_id, tables={"would": [f"compute {item.group} as of {item.day}" for item in missing]})
    if not missing:
        return Summary("materialize", run_id, counts={"made": 0, "rows": 0})
    entities = {compiled.groups[group].entity for group in groups}
    tables = [*(f"facts/{entity}" for entity in sorted(entities)), *(f"snapshots/{group}" for group in groups)]
    with lake.hold(tables, run_id), Progress() as progress:
        with progress.step("Spark starts"):
            spark = open_session(settings)
        result = run(compiled=compiled, groups=groups, days=days, lake=lake, spark=spark, run_id=run_id, progress=progress)
    check_rows(result.made)
    counts = {"made": len(result.made), "rows": sum(snapshot.rows for snapshot in result.made)}
    return Summary("materialize", run_id, counts=counts, tables=table_summaries(result))


def table_summaries(result: MaterializeSummary) -> dict[str, dict[str, Any]]:
    """What was made of each group, as a job's summary tells it."""
    told: dict[str, dict[str, Any]] = {}
    for snapshot in result.current:
        table = told.setdefault(f"snapshots/{snapshot.group}", {"days": 0, "made": 0, "rows": 0})
        table["days"] += 1
        if snapshot in result.made:
            table["made"] += 1
            table["rows"] += snapshot.rows
    return told


def check_rows(snapshots: Sequence[Snapshot]) -> None:
    """Raises PublishError for a day without any row: an empty spine is a mistake, not a result."""
    for snapshot in snapshots:
        if not snapshot.rows:
            raise PublishError(f"{snapshot.group}: no entity has a row as of {snapshot.as_of}; is its spine's source empty?")


if __name__ == "__main__":
    sys.exit(main())
