"""Answers queries where the facts are: a task takes some buckets and makes the rows of every group and day."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from stores.facts import BucketReader, prepared_of
from stores.snapshots import DayWriter, Kind, SnapshotFile
from stores.storage import Storage
from transforms.answer import MAXIMUM_CELLS, answer_groups, finish, queries_of, reach, snapshot_schema, values_read
from transforms.calendar import day_number
from transforms.fact_arrays import entities_on, facts_of
from transforms.feature_group import CompiledGroup
from transforms.kernel import Facts, Queries

if TYPE_CHECKING:
    from jobs.workers import Workers


MAXIMUM_FACTS = 250_000  # of a clock, answered from at once, unless one entity has more: bounds what is computed of each
_ROOM_FOR_WHOLE_ENTITIES = 1.05  # else each slice ends a bit early, and what they lack together is one more
_ROWS_AT_ONCE = 16_384  # of a group, from as many buckets as it takes: a query of derived columns costs as much for one row


@dataclass(frozen=True)
class BucketTask:
    """What a worker answers: every group of one entity, for its days; pickles."""

    storage: Storage
    zone: str
    groups: tuple[CompiledGroup, ...]
    days: Mapping[str, Mapping[date, str]]  # of each group: day and version
    readers: Mapping[str, BucketReader]
    kind: Kind = "snapshots"

    @cached_property
    def since(self) -> Mapping[str, Mapping[str, int]]:
        """By stream and clock, where the first window of any day begins; see `reach`."""
        found: dict[str, dict[str, int]] = {}
        for group in self.groups:
            for stream, clocks in reach([group], min(self.days[group.name]), self.zone).items():
                for clock, moment in clocks.items():
                    mine = found.setdefault(stream, {})
                    mine[clock] = min(mine.get(clock, moment), moment)
        return found

    @cached_property
    def needed(self) -> Mapping[str, Mapping[str, Collection[str]]]:
        """By stream and clock the values that are read."""
        return values_read(self.groups)

    @property
    def buckets(self) -> int:
        return 1 << next(iter(self.readers.values())).layers[0].bucket_bits

    @cached_property
    def largest_first(self) -> list[int]:
        """Its buckets by the bytes of their facts, the most first."""
        sizes = {bucket: sum(reader.size(bucket) for reader in self.readers.values()) for bucket in range(self.buckets)}
        return sorted(sizes, key=lambda bucket: (-sizes[bucket], bucket))

    def of_group(self, name: str) -> BucketTask:
        """The part of it that asks for one group."""
        [group] = (group for group in self.groups if group.name == name)
        readers = {stream: self.readers[stream] for stream in group.streams}
        return replace(self, groups=(group,), days={name: self.days[name]}, readers=readers)


def tasks_of(task: BucketTask, at_once: int) -> int:
    """How many tasks answer it, each some buckets, so that a day has as many files. `at_once`: of how many together.

    They are of a size, so two rounds of them leave nobody long without work, and what each costs whatever its rows is paid twice.
    """
    return min(task.buckets, 2 * at_once)


def buckets_of(task: BucketTask, number: int, tasks: int) -> list[int]:
    """The buckets that one of the tasks answers: dealt out, so that tasks are of a size, the largest first.

    After a large one a smaller one finds room in the memory that was freed, where a larger one would need new.
    """
    return task.largest_first[number::tasks]


@dataclass(frozen=True)
class Answered:
    """The files that a task wrote: group, day, path, rows and size of each."""

    files: Sequence[tuple[str, str, str, int, int]]


def answer_in_tasks(task: BucketTask, workers: Workers) -> dict[str, list[tuple[str, SnapshotFile]]]:
    """Answer every bucket and write the rows. Returns the files by group, each with its day."""
    tasks = tasks_of(task, workers.at_once)
    told = workers.run([partial(answer_buckets, task, buckets_of(task, number, tasks)) for number in range(tasks)])
    files: dict[str, list[tuple[str, SnapshotFile]]] = {group.name: [] for group in task.groups}
    for group, as_of, path, count, size in (file for answered in told for file in answered["files"]):
        files[group].append((as_of, SnapshotFile(path, count, size)))
    return files


def answer_buckets(task: BucketTask, buckets: Iterable[int]) -> Answered:
    """Answer all groups for some buckets and write their rows."""
    with ExitStack() as stack:
        writers = {group.name: stack.enter_context(_writer(task, group)) for group in task.groups}
        for group, as_of, rows in rows_of_buckets(task, buckets):
            writers[group].write(as_of, rows)
        files = ((name, as_of, file) for name, writer in writers.items() for as_of, file in writer.close())
        return Answered([(name, as_of, file.path, file.rows, file.size) for name, as_of, file in files])


def _writer(task: BucketTask, group: CompiledGroup) -> DayWriter:
    versions = {day.isoformat(): version for day, version in task.days[group.name].items()}
    return DayWriter(task.storage, group.name, versions, snapshot_schema(group), task.kind)


def rows_of_buckets(task: BucketTask, buckets: Iterable[int]) -> Iterator[tuple[str, str, pa.Table]]:
    """Answer all groups for some buckets: group, day and some of its rows at a time, of each bucket in order of entity."""
    waiting: dict[str, list[pa.Table]] = {group.name: [] for group in task.groups}
    for bucket in buckets:
        for group, told in _told_of_bucket(task, bucket):
            some = waiting[group.name]
            some.append(told)
            if sum(map(len, some)) >= _ROWS_AT_ONCE:
                yield from _finished(task, group, some)
                some.clear()
    for group in task.groups:
        if waiting[group.name]:
            yield from _finished(task, group, waiting[group.name])


def _finished(task: BucketTask, group: CompiledGroup, told: Sequence[pa.Table]) -> Iterator[tuple[str, str, pa.Table]]:
    together = pa.concat_tables(told)
    rows, days = finish(group, together), sorted(task.days[group.name])
    if len(days) == 1:
        if len(rows):
            yield group.name, days[0].isoformat(), rows
        return
    number = together["as_of"].cast(pa.int32()).to_numpy()
    if len(told) > 1:  # each in order of its days
        order = np.argsort(number, kind="stable")  # once for all days, where a filter each would look at all rows as often
        rows, number = rows.take(pa.array(order)), number[order]
    for day in days:
        start, end = np.searchsorted(number, [day_number(day), day_number(day) + 1])
        if end > start:
            yield group.name, day.isoformat(), rows.slice(start, end - start)


def _told_of_bucket(task: BucketTask, bucket: int) -> Iterator[tuple[CompiledGroup, pa.Table]]:
    prepared = prepared_of(task.readers, bucket, needed=task.needed, since=task.since)
    entities = entities_on((group.spine[:2] for group in task.groups), prepared)
    facts = facts_of(prepared, entities)
    del prepared
    for days, groups in _of_the_same_days(task).items():
        for some, queries in _in_slices(facts, len(entities), days, groups, task.zone):
            yield from answer_groups(groups, some, queries, entities, task.zone)


def _of_the_same_days(task: BucketTask) -> dict[tuple[date, ...], list[CompiledGroup]]:
    """The groups that are asked for the same days, which are answered together."""
    found: dict[tuple[date, ...], list[CompiledGroup]] = {}
    for group in task.groups:
        found.setdefault(tuple(sorted(task.days[group.name])), []).append(group)
    return found


def _in_slices(
    facts: Mapping[tuple[str, str], Facts], entities: int, days: Sequence[date], groups: Sequence[CompiledGroup], zone: str
) -> Iterator[tuple[dict[tuple[str, str], Facts], Queries]]:
    """Runs of entities with their facts, and their queries at the cut-off of every day: what is answered at once is bounded."""
    columns = sum(len(group.windows) + len(group.dailies) + len(group.derived) for group in groups)
    most_entities = max(MAXIMUM_CELLS // max(columns * len(days), 1), 1)
    edges = {place: np.searchsorted(one.entity, np.arange(entities + 1)) for place, one in facts.items()}
    longest = max((len(one) for one in facts.values()), default=0)
    slices = max(math.ceil(longest / MAXIMUM_FACTS), 1)
    most_facts = math.ceil(_ROOM_FOR_WHOLE_ENTITIES * longest / slices)  # of a size: a full one and a rest would cost more
    start = 0
    while start < entities:
        ends = [int(np.searchsorted(edge, edge[start] + most_facts, side="right")) - 1 for edge in edges.values()]
        end = max(min(start + most_entities, entities, *ends), start + 1)
        near = {place: one.take(slice(edges[place][start], edges[place][end])) for place, one in facts.items()}
        yield near, queries_of(range(start, end), days, zone)
        start = end
