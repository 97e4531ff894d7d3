"""Values of every day: a question asked at the end of each day, and an operation over the answers of a window's days.

A point is a local day, or a day that ends a month. What is known is judged at T and what holds at the point's end t_p, so a point
says the same at every T at which the same is known: it is computed once for all queries of an entity between which nothing
that lies before the earlier of them became known or was amended.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conf.windows import Window
from transforms.arrow import from_arrow, to_arrow
from transforms.asked import Asked, answer_each, runs_within
from transforms.calendar import (
    BEGINNING_DAY,
    NEVER_DAY,
    Days,
    first_of_month,
    local_days_of,
    midnights_of,
    month_of,
    window_days,
)
from transforms.derived import evaluate
from transforms.feature_group import LIFETIME, DailyColumn, DailyPart
from transforms.kernel import Facts, Positions, Queries, Values
from transforms.operations import Answer
from transforms.points import PointSelection, Spans
from transforms.timeline import Runs, Timeline, WindowSelection

MAXIMUM_POINTS = 1_000_000  # and facts, looked at together: bounds memory whatever the number of days and queries


def same_points(column: DailyColumn) -> Hashable:
    """Equal for columns whose points see the same facts: they are answered together."""
    return (column.stream, column.clock, column.every, column.within, column.since, column.newest_per)


def answer_dailies(columns: Sequence[DailyColumn], facts: Facts | None, began: Days, queries: Queries, zone: str) -> list[Answer]:
    """Each column's answers, one a query; all of `columns` have the same points.

    `facts`: of their clock, None where there are none. `began`: the local day of the first event of each query's entity,
    NEVER_DAY where there is none: lifetime begins then, and what looks back begins a day before it.
    """
    timeline = Timeline(_no_facts(columns) if facts is None else facts, queries, zone)
    wanted = [_Wanted.of(column, queries, began, zone) for column in columns]
    groups = _Groups.of(timeline, queries, wanted)
    answers: list[list[Answer]] = [[] for _ in columns]
    order = np.argsort(groups.of_query, kind="stable")
    bounds = np.searchsorted(groups.of_query[order], np.arange(len(groups.last) + 1))
    for start, end in runs_within(groups.cost(timeline, _Steps(columns[0].every)), MAXIMUM_POINTS):
        some = Timeline(timeline.facts, queries.take(groups.last[start:end]), zone)
        series = _Series(columns[0], some, groups.first[start:end], groups.after[start:end])
        mine = order[bounds[start] : bounds[end]]
        for number, (column, days) in enumerate(zip(columns, wanted, strict=True)):
            answers[number].append(series.answer(column, days.take(mine), queries.as_of[mine], groups.of_query[mine] - start))
    place = np.empty(len(queries), dtype=np.int64)
    place[order] = np.arange(len(queries))
    return [Answer.joined(parts).take(place) for parts in answers]


@dataclass(frozen=True)
class _Wanted:
    """The days that a column looks at for each query: `[first, after)`; `[earliest, first)` lie before its window."""

    first: Days
    after: Days
    earliest: Days

    @classmethod
    def of(cls, column: DailyColumn, queries: Queries, began: Days, zone: str) -> _Wanted:
        over = queries.grain == "day" or queries.cut_off == midnights_of(queries.as_of + 1, zone)
        first, after = window_days(column.window, queries.as_of, lag=column.lag, over=over)
        if column.window == LIFETIME:
            first = np.minimum(began, after)
        if column.window.kind == "since":  # from the first day that ends later
            assert queries.since is not None
            first = np.minimum(local_days_of(queries.since, zone), after)
        earliest = np.minimum(first, began - 1) if column.operation.looks_back else first
        return cls(first, after, earliest)

    def take(self, which: Positions) -> _Wanted:
        return _Wanted(self.first[which], self.after[which], self.earliest[which])


@dataclass(frozen=True)
class _Groups:
    """Queries of one entity that see the same at every point that they share.

    `last`: the query of each group with the latest cut-off; `of_query`: the group of each query; `first`, `after`: the days that
    any query of each group looks at.
    """

    last: Positions
    of_query: Positions
    first: Days
    after: Days

    @classmethod
    def of(cls, timeline: Timeline, queries: Queries, wanted: Sequence[_Wanted]) -> _Groups:
        last, of_query = cls._told_apart(timeline, queries)
        first, after = np.full(len(last), NEVER_DAY), np.full(len(last), BEGINNING_DAY)
        for days in wanted:
            some = days.first < days.after
            np.minimum.at(first, of_query[some], days.earliest[some])
            np.maximum.at(after, of_query[some], days.after[some])
        nothing = first >= after
        first[nothing] = after[nothing] = 0
        return cls(last, of_query, first, after)

    @staticmethod
    def _told_apart(timeline: Timeline, queries: Queries) -> tuple[Positions, Positions]:
        if queries.grain == "event":  # the day in which T lies is looked at up to T, so no two are alike
            every = np.arange(len(queries))
            return every, every
        known = timeline.knowledge()
        order = np.lexsort((queries.cut_off, known, queries.entity))
        entity, known = queries.entity[order], known[order]
        ends = (np.diff(entity, append=-1) != 0) | (np.diff(known, append=-1) != 0)
        of_query = np.empty(len(queries), dtype=np.int64)
        of_query[order] = np.cumsum(ends) - ends
        return order[ends], of_query

    def cost(self, timeline: Timeline, steps: _Steps) -> NDArray[np.int64]:
        """Of each group, its points and the facts of its entity."""
        entity = timeline.queries.entity
        facts = np.bincount(timeline.facts.entity, minlength=int(entity.max(initial=-1)) + 1)
        points = steps.from_day(self.after) - steps.from_day(self.first)
        return points + facts[entity[self.last]]


@dataclass(frozen=True)
class _Steps:
    """Points in time as consecutive numbers: each local day, or each month (the day that ends it)."""

    every: str

    def from_day(self, days: Days) -> NDArray[np.int64]:
        """The number of the first point that is not before each day."""
        return days if self.every == "day" else month_of(days)

    def day_of(self, points: NDArray[np.int64]) -> Days:
        return points if self.every == "day" else first_of_month(points + 1) - 1


class _Series:
    """The points of some groups of queries, and the facts that count at each of them."""

    def __init__(self, column: DailyColumn, timeline: Timeline, first: Days, after: Days) -> None:
        self._steps = _Steps(column.every)
        self._timeline = timeline
        low, high = self._steps.from_day(first), self._steps.from_day(after)
        self._ahead = np.cumsum(high - low) - (high - low) - low  # of a group: what turns a number into a point
        self._low, self._high = low, high
        group = np.repeat(np.arange(len(low)), high - low)
        self.day = self._steps.day_of(np.arange(len(group)) - self._ahead[group])
        self._facts = self._selection(column)
        self._values: dict[Hashable, Values] = {}

    def answer(self, column: DailyColumn, days: _Wanted, as_of: Days, group: Positions) -> Answer:
        """The answers for queries of days `as_of`, each in a group."""
        values = self._value(column)
        runs = Runs(np.arange(len(self.day)), *(self._point(day, group) for day in (days.earliest, days.first, days.after)))
        runs = replace(runs, low=np.minimum(runs.low, runs.high), first=np.minimum(runs.first, runs.low))
        [answer] = answer_each(WindowSelection(as_of, self, runs), [Asked(column.operation, values)])
        if answer.words is None and column.operation.type_of(column.value_type) == "string":
            answer = replace(answer, words=values.words)
        return answer

    def _point(self, days: Days, group: Positions) -> Positions:
        """The first point of each group that is not before a day."""
        point: Positions = self._ahead[group] + np.clip(self._steps.from_day(days), self._low[group], self._high[group])
        return point

    def _value(self, column: DailyColumn) -> Values:
        """The value of each point; absent where it is null or the point doesn't count."""
        meaning = (column.parts, column.value_sql, column.value_type, column.days_where_sql)
        if meaning not in self._values:
            day = pa.array(self.day, pa.int32()).cast(pa.date32())
            table = evaluate(
                pa.table({**self._parts(column.parts), "day": day}), {"value": (column.value_sql, column.value_type)}
            )
            values = from_arrow(table["value"].combine_chunks(), column.value_type)
            if column.days_where_sql is not None:
                table = evaluate(table.select(["value", "day"]), {"counts": (column.days_where_sql, "boolean")})
                counts = from_arrow(table["counts"].combine_chunks(), "boolean")
                values = replace(values, present=values.present & counts.present & counts.data)
            self._values[meaning] = values
        return self._values[meaning]

    def _parts(self, parts: Sequence[DailyPart]) -> Mapping[str, pa.Array]:
        values = self._timeline.facts.values
        asked = [Asked(part.operation, values[part.value], values[part.weight] if part.weight else None) for part in parts]
        answers = answer_each(self._facts, asked)
        return {
            part.name: to_arrow(answer, part.type, values[part.value].words) for part, answer in zip(parts, answers, strict=True)
        }

    def _selection(self, column: DailyColumn) -> PointSelection:
        timeline = self._timeline
        facts = timeline.facts
        known = timeline.select(LIFETIME).everything
        spans = self._held(known.query, known.positions)
        if column.within is not None:
            assert column.since is not None
            moment = facts.values[column.since]
            spans = spans.take(moment.present[spans.positions])
            days = local_days_of(moment.data, timeline.zone)[spans.positions]
            bounds = _days_within(column.within, days)
            if column.within.kind == "months":
                bounds = self._ended(bounds[0], spans.group), self._ended(bounds[1], spans.group)
            low, high = (self._point(day, spans.group) for day in bounds)
            spans = spans.clipped(low, high)
        if column.newest_per is not None:
            key = facts.values[column.newest_per]
            spans = spans.take(key.present[spans.positions])
            spans = spans.newest_of_each(key.data[spans.positions], most=MAXIMUM_POINTS).in_order()
        return PointSelection(self.day, timeline.day, spans)

    def _ended(self, days: Days, group: Positions) -> Days:
        """Days with whose ends something begins to be so; instead of a day that T lies in, which has not ended, the next."""
        queries = self._timeline.queries
        if queries.grain == "day":
            return days
        unfinished = queries.cut_off < midnights_of(queries.as_of + 1, self._timeline.zone)
        ended: Days = days + (unfinished[group] & (days == queries.as_of[group]))
        return ended

    def _held(self, group: Positions, positions: Positions) -> Spans:
        """From the end of the day in which a fact begins to hold to the end of the last day before it ceases."""
        timeline = self._timeline
        until = timeline.facts.holds_until
        last = np.full(len(positions), NEVER_DAY)
        if until is not None:
            ends = until[positions]
            passed = ends < timeline.queries.cut_off[group]  # others still hold at T, and so at each point from where they began
            last[passed] = local_days_of(ends[passed], timeline.zone)
        holds_from = timeline.facts.holds_from
        first = timeline.day[positions] if holds_from is None else local_days_of(holds_from[positions], timeline.zone)
        begins, ends = self._point(first, group), self._point(last, group)
        return Spans(group, positions, begins, ends).take(begins < ends)


def _days_within(window: Window, since: Days) -> tuple[Days, Days]:
    """The days at whose ends a moment of day `since` lies in `window`: the first of them, and the first after them."""
    if window.kind == "lifetime":
        return since, np.full(len(since), NEVER_DAY)
    if window.kind == "days":
        return since, since + window.count
    month = month_of(since)
    if window.kind == "month_to_date":
        return since, first_of_month(month + 1)
    return first_of_month(month + 1) - 1, first_of_month(month + window.count + 1) - 1


def _no_facts(columns: Sequence[DailyColumn]) -> Facts:
    nothing = np.zeros(0, dtype=np.int64)
    none = np.zeros(0, dtype=np.bool_)
    values: dict[str, Values] = {}
    for column in columns:
        for part in column.parts:
            values[part.value] = Values(part.type, nothing, none)
            values |= {part.weight: Values("integer", nothing, none)} if part.weight else {}
        values |= {name: Values("timestamp", nothing, none) for name in (column.since, column.newest_per) if name}
    return Facts(nothing, nothing, nothing, nothing, values, nothing)
