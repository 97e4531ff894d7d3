"""Brings the facts in the lake up to the curated ledgers: anew where there are none, else only what came since."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobs.fact_engines import ByDuckDB, BySpark, FactEngine
from jobs.progress import Progress
from stores.facts import BucketReader, FactTable
from stores.lake import CurateCommit, Lake
from transforms.answer import reach
from transforms.calendar import BEGINNING, microseconds, moment
from transforms.fact_sql import each_row_stands_alone, key_columns
from transforms.feature_group import Compiled, Stream, source_meaning
from transforms.feature_group.compiled import digest

if TYPE_CHECKING:
    from jobs.workers import Workers

MARGIN = timedelta(days=35)  # for days before the newest row's
WORTHWHILE = timedelta(days=200)  # of older facts, at least
SMALL_ROWS = 1_000_000  # curated rows of a stream that a cluster's driver prepares by itself
ROWS_A_BUCKET = 250_000  # a task's memory depends on this, not on the number of entities
_ROWS_TOO_MANY_FOR_A_BUCKET = 3 * ROWS_A_BUCKET  # then their number is chosen anew
MAXIMUM_LAYERS = 30  # then a stream is prepared anew
_log = logging.getLogger(__name__)
_AT_ONCE = 3  # streams prepared at the same time: while some are planned, others compute


def bring_up_to_date(
    compiled: Compiled, streams: Collection[str], lake: Lake, workers: Workers, progress: Progress
) -> dict[str, BucketReader]:
    """Prepare what the streams (by name) lack of the curated tables, and return a reader of each.

    All streams of one entity have the same number of buckets. The caller holds the lease on `facts/<entity>` of each.
    """
    here, in_spark = ByDuckDB(compiled, lake), BySpark(compiled, lake, workers.spark)
    preparer = Preparer(compiled, lake, here, in_spark, rows_in_process(workers))
    readers: dict[str, BucketReader] = {}
    for entity in dict.fromkeys(compiled.streams[name].entity for name in streams):
        names = [name for name in dict.fromkeys(streams) if compiled.streams[name].entity == entity]
        bits = _bucket_bits(compiled, entity, lake, workers.at_once)
        readers |= _of_entity(preparer, entity, names, bits, progress)
    return readers


def rows_in_process(workers: Workers) -> float:
    """How many curated rows of a stream DuckDB prepares on the driver, in memory that doesn't grow with them.

    Any number on one machine, where Spark takes several times its CPU seconds; with other machines to share the work, few.
    """
    return SMALL_ROWS if workers.many_machines else math.inf


def fact_table(compiled: Compiled, stream: Stream, lake: Lake) -> FactTable:
    """Where a stream's facts rest. Another definition is another table, and so is another clock or key of a source it reads."""
    clocks = {name: source_meaning(compiled.sources[name]) for name in stream.sources}
    meaning = {name: {k: v for k, v in clock.items() if k != "columns"} for name, clock in clocks.items()}
    stored = replace(stream, name=f"{stream.name}-{digest(meaning)}")
    return FactTable(lake.storage, stored, key_columns(stream, compiled.sources))


def _of_entity(preparer: Preparer, entity: str, names: Sequence[str], bits: int, progress: Progress) -> dict[str, BucketReader]:
    compiled = preparer.compiled
    readers: dict[str, BucketReader] = {}
    with progress.step(f"facts by {entity}", total=len(names)) as step, ThreadPoolExecutor(_AT_ONCE) as pool:

        def prepare(name: str) -> None:
            stream = compiled.streams[name]
            table = fact_table(compiled, stream, preparer.lake)
            preparer.prepare(stream, table, bits)
            readers[name] = BucketReader.of(table, table.layers())
            step.advance(note=stream.source)

        # The dearest first, so that the others fill the time beside it.
        list(pool.map(prepare, sorted(names, key=lambda name: -len(compiled.streams[name].clocks))))
    return {name: readers[name] for name in names}


@dataclass(frozen=True)
class Preparer:
    """Prepares streams, each by the engine that fits what there is to read."""

    compiled: Compiled
    lake: Lake
    in_process: FactEngine
    in_spark: FactEngine
    in_process_rows: float

    def prepare(self, stream: Stream, table: FactTable, bits: int) -> None:
        """A base, or a layer of what came since the last one, or nothing where nothing came."""
        commits = {source: self.lake.curated(source).commits() for source in stream.sources}
        now = {source: max((c.version for c in commits[source]), default=-1) for source in stream.sources}
        layers = table.layers()
        if layers and layers[-1].curated == now and layers[-1].bucket_bits == bits:
            return
        number = layers[-1].number + 1 if layers else 0
        if not layers or layers[-1].bucket_bits != bits or len(layers) >= MAXIMUM_LAYERS:
            since = self._recent_from(stream, commits)
            with self._engine(stream, commits).everything(stream, bits) as facts:
                table.add(facts, number=number, base=True, bucket_bits=bits, curated=now, recent_from=since)
            return
        before = layers[-1].curated
        new = {source: [c for c in some if c.version > before[source]] for source, some in commits.items()}
        new_runs = {source: [c.run_id for c in some] for source, some in new.items()}
        if each_row_stands_alone(stream, self.compiled.sources):  # what it costs doesn't grow with the history
            with self._engine(stream, new).of_new_rows(stream, new_runs, bits) as facts:
                table.add(facts, number=number, base=False, bucket_bits=bits, curated=now)
            return
        with self._engine(stream, commits).changes(stream, new_runs, bits) as (facts, replaced):
            table.add(facts, number=number, base=False, bucket_bits=bits, curated=now, replaced=replaced)

    def _recent_from(self, stream: Stream, commits: Mapping[str, Sequence[CurateCommit]]) -> dict[str, int]:
        """By clock, since when facts are recent: from some days before the first window of the newest row's day.

        Without the clocks of which a window or operation looks at all facts, or of which hardly any would be left out.
        """
        own = [commit for source in stream.own_sources for commit in commits[source]]
        moments = [commit.newest_moment for commit in own if commit.newest_moment is not None]
        months = [month for commit in own for month in commit.partitions]
        groups = [group for group in self.compiled.groups.values() if stream.name in group.streams]
        if not (moments and months and groups):
            return {}
        newest = moment(min(max(moments), microseconds(datetime.now(UTC))))
        found = {}
        for clock, first in reach(groups, newest.date(), self.compiled.zone)[stream.name].items():
            if first > BEGINNING and min(months) < f"{moment(first) - MARGIN - WORTHWHILE:%Y-%m}":
                found[clock] = microseconds(moment(first) - MARGIN)
        return found

    def _engine(self, stream: Stream, commits: Mapping[str, Sequence[CurateCommit]]) -> FactEngine:
        """The one that fits the rows of so many commits of each source."""
        rows = sum(_rows(some) for some in commits.values())
        engine = self.in_process if rows <= self.in_process_rows else self.in_spark
        told = "%s: prepared by %s, of %s curated rows (DuckDB takes up to %s)"
        _log.debug(told, stream.name, engine.name, f"{rows:,}", f"{self.in_process_rows:,}")
        return engine


def _bucket_bits(compiled: Compiled, entity: str, lake: Lake, at_once: int) -> int:
    """How many bits of the entity's hash name its bucket: so many that one holds at most ROWS_A_BUCKET curated rows on average.

    A number once chosen stays until a bucket holds three times as many, or there are four times as many cores as buckets, since
    changing it means preparing everything anew.
    """
    sources = {source for stream in compiled.streams.values() if stream.entity == entity for source in stream.sources}
    rows = sum(_rows(lake.curated(source).commits()) for source in sources)
    least = math.ceil(math.log2(max(at_once, 1)))
    bits = max(least, math.ceil(math.log2(max(rows / ROWS_A_BUCKET, 1))))
    path = f"facts/{entity}/buckets.json"
    if lake.storage.exists(path):
        chosen = int(json.loads(lake.storage.read(path))["bits"])
        if rows <= _ROWS_TOO_MANY_FOR_A_BUCKET << chosen and least < chosen + 2:
            return chosen
    lake.storage.write(path, json.dumps({"bits": bits}).encode())
    return bits


def _rows(commits: Iterable[CurateCommit]) -> int:
    return sum(commit.counts.get("kept", 0) for commit in commits)
