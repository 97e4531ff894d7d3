"""The whole engine in one process, on tables in memory: for examples, tests and explanations. No Spark, no lake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import calendar
from transforms.answer import answer_groups, finish, snapshot_schema
from transforms.fact_arrays import PreparedRows, by_clock, entities_on, facts_of, value_types
from transforms.feature_group import Compiled, CompiledGroup
from transforms.kernel import Queries
from transforms.prepare_duckdb import connect, prepare


def answer_rows(
    compiled: Compiled,
    group_names: Iterable[str],
    curated: Mapping[str, pa.Table],
    days: Sequence[date],
    *,
    cut_offs: Sequence[datetime] | None = None,
) -> dict[str, pa.Table]:
    """The snapshot of each group, all days together: `as_of` (date), then `snapshot_schema`'s columns, by day and entity.

    `curated`: every source that the groups read, as `curated_table` makes them. `cut_offs`: T of each of `days`, for answers to
    the microsecond; by default T is the midnight that ends the day.
    """
    groups = [compiled.groups[name] for name in group_names]
    moments = [calendar.cut_off(day, compiled.zone) for day in days]
    if cut_offs is not None:
        moments = [calendar.microseconds(moment) for moment in cut_offs]
    asked = _Asked(compiled, dict(zip(moments, days, strict=True)), event=cut_offs is not None)
    streams = dict.fromkeys(name for group in groups for name in group.streams)
    with connect(threads=1) as connection:
        facts = {name: prepare(compiled.streams[name], curated, compiled.sources, connection=connection) for name in streams}
    answered: dict[str, pa.Table] = {}
    for entity in dict.fromkeys(group.entity for group in groups):
        answered |= asked.answer([group for group in groups if group.entity == entity], facts)
    return {group.name: answered[group.name] for group in groups}


class _Asked:
    """What is asked of every entity: `days`, the day D of each cut-off T."""

    def __init__(self, compiled: Compiled, days: Mapping[int, date], *, event: bool) -> None:
        self.compiled = compiled
        self.days = dict(sorted(days.items()))
        self.event = event

    def answer(self, groups: Sequence[CompiledGroup], tables: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
        """Groups of one entity, answered together."""
        streams = {name: self.compiled.streams[name] for group in groups for name in group.streams}
        prepared = {name: PreparedRows(by_clock(tables[name]), value_types(stream)) for name, stream in streams.items()}
        entities = entities_on((group.spine[:2] for group in groups), prepared)
        facts = facts_of(prepared, entities)
        parts: dict[str, list[pa.Table]] = {group.name: [] for group in groups}
        for group, told in answer_groups(groups, facts, self._queries(len(entities)), entities, self.compiled.zone):
            parts[group.name].append(finish(group, told))
        return {
            group.name: self._with_days(pa.concat_tables([snapshot_schema(group).empty_table(), *parts[group.name]]))
            for group in groups
        }

    def _queries(self, entities: int) -> Queries:
        numbers = np.array([calendar.day_number(day) for day in self.days.values()], dtype=np.int64)
        cut_offs = np.array(list(self.days), dtype=np.int64)
        return Queries.of_each(range(entities), numbers, cut_offs, "event" if self.event else "day")

    def _with_days(self, rows: pa.Table) -> pa.Table:
        cut_offs = pa.array([calendar.iso_utc(moment) for moment in self.days], pa.string())
        days = pa.array(list(self.days.values()), pa.date32())
        return rows.add_column(0, "as_of", days.take(pc.index_in(rows["event_time"].combine_chunks(), value_set=cut_offs)))
