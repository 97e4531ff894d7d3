"""Computes snapshots: curated ledgers -> facts in buckets -> one row an entity and as-of day."""

from __future__ import annotations

import hashlib
import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from pyspark.sql import SparkSession

from conf.errors import PublishError, UsageError
from jobs.answer_buckets import BucketTask, answer_in_spark
from jobs.arguments import JobParser, load_settings_for
from jobs.arguments import day as as_day
from jobs.prepare_facts import bring_up_to_date
from jobs.progress import Progress
from jobs.summary import Summary, run_job
from stores.facts import BucketReader
from stores.lake import CurateCommit, Lake
from stores.snapshots import Snapshot, SnapshotTable, sort_by_day
from stores.storage import Storage
from transforms.answer import snapshot_schema
from transforms.calendar import cut_off
from transforms.feature_group import Compiled

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
    for entity in dict.fromkeys(compiled.groups[item.group].entity for item in missing):
        work = [item for item in missing if compiled.groups[item.group].entity == entity]
        streams = dict.fromkeys(stream for item in work for stream in compiled.groups[item.group].streams)
        readers = bring_up_to_date(compiled, streams, lake, spark, progress)
        made += _answer(compiled, work, readers, lake, spark, run_id, progress)
    current = [SnapshotTable(lake.storage, group).current(day) for group in groups for day in days]
    return MaterializeSummary(tuple(made), tuple(snapshot for snapshot in current if snapshot))


def _sources(compiled: Compiled, group: str) -> tuple[str, ...]:
    return compiled.sources_of(compiled.groups[group])


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
        files = answer_in_spark(BucketTask(lake.storage, compiled.zone, groups, days, readers), spark)
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
