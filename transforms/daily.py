"""Values of every day: a question asked at the end of each day, and an operation over the answers of a window's days.

A point is a local day, or a day that ends a month. What is known is judged at T and what holds at the point's end t_p, so a point
says the same at every T at which the same is known: it is computed once for all queries of an entity between which nothing
that lies before the earlier of them became known or was amended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from conf.expressions.values import duckdb_name
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
from transforms.feature_group import LIFETIME, DailyColumn
from transforms.kernel import Facts, Positions, Queries, Values, expand
from transforms.operations import Answer
from transforms.points import PointSelection, Spans
from transforms.stretches import Stretches, StretchRuns
from transforms.timeline import Runs, Timeline, WindowSelection

_DAYS_TRIED = 400  # and multiples of it, so that what is found out of them serves many buckets
MAXIMUM_POINTS = 1_000_000  # and facts, looked at together: bounds memory whatever the number of days and queries


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
        known = timeline.knowledge
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


class _Points:
    """The points that some groups of queries look at, numbered one after another."""

    def __init__(self, steps: _Steps, first: Days, after: Days) -> None:
        self.steps = steps
        self._low, self._high = steps.from_day(first), steps.from_day(after)
        self.begins = np.concatenate([[0], np.cumsum(self._high - self._low)])  # each group's first point, and their number
        self._ahead = self.begins[:-1] - self._low

    def __len__(self) -> int:
        return int(self.begins[-1])

    def from_day(self, days: Days, group: Positions) -> Positions:
        """The first point of each group that is not before a day."""
        point: Positions = self._ahead[group] + np.clip(self.steps.from_day(days), self._low[group], self._high[group])
        return point

    @cached_property
    def each(self) -> Stretches:
        """Every point by itself."""
        return self.stretches(np.arange(len(self)))

    def stretches(self, start: Positions) -> Stretches:
        """Those that begin at some points, ascending, of which 0 is one."""
        group = np.searchsorted(self.begins, start, side="right") - 1
        return Stretches(np.append(start, len(self)), self.steps.day_of(start - self._ahead[group]))


@dataclass(frozen=True)
class _Held:
    """Stretches of points, and the facts that hold at each."""

    stretches: Stretches
    spans: Spans

    @classmethod
    def by_point(cls, points: _Points, spans: Spans) -> _Held:
        """`spans`: by point. Those points are a stretch at which the same facts hold."""
        begins = np.zeros(len(points) + 1, dtype=np.bool_)
        for edges in (points.begins, spans.low, spans.high):
            begins[edges] = True
        return cls._in(points.stretches(np.flatnonzero(begins[:-1])), spans)

    @classmethod
    def _in(cls, stretches: Stretches, spans: Spans) -> _Held:
        return cls(stretches, replace(spans, low=stretches.at(spans.low), high=stretches.at(spans.high)))

    def in_finer(self, stretches: Stretches) -> _Held:
        """The same in stretches into which these are cut."""
        start = self.stretches.start
        return self._in(stretches, replace(self.spans, low=start[self.spans.low], high=start[self.spans.high]))

    def apart(self, points: _Points) -> _Held:
        """The same, with each point at which a fact holds a stretch of its own."""
        start = self.stretches.start
        nothing = self.spans.added_up(np.ones(len(self.spans.low), dtype=np.int64), len(self.stretches)) == 0
        _, begins = expand(start[:-1], np.where(nothing, start[:-1] + 1, start[1:]))
        return self.in_finer(points.stretches(begins))


class _Series:
    """The points of some groups of queries, and what is said of each of them."""

    def __init__(self, column: DailyColumn, timeline: Timeline, first: Days, after: Days) -> None:
        self._timeline = timeline
        self._points = _Points(_Steps(column.every), first, after)
        self._held = self._what_holds(column)
        self._values: dict[str, tuple[Stretches, Values]] = {}

    def answer(self, column: DailyColumn, days: _Wanted, as_of: Days, group: Positions) -> Answer:
        """The answers for queries of days `as_of`, each in a group."""
        stretches, values = self._value(column)
        earliest, low, high = (self._points.from_day(day, group) for day in (days.earliest, days.first, days.after))
        low = np.minimum(low, high)
        before = np.minimum(earliest, low)
        if column.operation.takes_stretches(values):
            facts = WindowSelection(as_of, stretches, StretchRuns.of(stretches, before, low, high))
        else:
            each = self._points.each
            values = values.take(stretches.at(each.start[:-1]))
            facts = WindowSelection(as_of, each, Runs(np.arange(len(each)), before, low, high))
        [answer] = answer_each(facts, [Asked(column.operation, values)])
        if answer.words is None and column.operation.type_of(column.value_type) == "string":
            answer = replace(answer, words=values.words)
        return answer

    def _value(self, column: DailyColumn) -> tuple[Stretches, Values]:
        """The value of each point; absent where it is null or the point doesn't count."""
        said = column.said_of_each
        if said not in self._values:
            held = self._held_for(column)
            values = _said(
                column, PointSelection(held.stretches.day, self._timeline.day, held.spans), self._timeline.facts.values
            )
            days = column.every == "day"
            self._values[said] = held.stretches.joined(values, self._points.begins) if days else (held.stretches, values)
        return self._values[said]

    def _held_for(self, column: DailyColumn) -> _Held:
        """In stretches that are long where the column says the same of each of their points."""
        if not column.changes_daily or len(self._held.stretches) == len(self._points):
            return self._held
        if self._says_the_same_of_nothing(column):
            return self._apart
        return self._each

    def _says_the_same_of_nothing(self, column: DailyColumn) -> bool:
        """Whether what is said of a day on which no fact holds is the same for every day."""
        days = self._held.stretches.day
        first, after = int(days.min()), int((days + self._held.stretches.length).max())
        return _constant_of_nothing(column, first // _DAYS_TRIED * _DAYS_TRIED, -(-after // _DAYS_TRIED) * _DAYS_TRIED)

    @cached_property
    def _apart(self) -> _Held:
        return self._held.apart(self._points)

    @cached_property
    def _each(self) -> _Held:
        return self._held.in_finer(self._points.each)

    def _what_holds(self, column: DailyColumn) -> _Held:
        timeline = self._timeline
        facts = timeline.facts
        known = timeline.select(LIFETIME).everything
        spans = self._spans(known.query, known.positions)
        if column.within is not None:
            assert column.since is not None
            moment = facts.values[column.since]
            spans = spans.take(moment.present[spans.positions])
            days = local_days_of(moment.data, timeline.zone)[spans.positions]
            bounds = _days_within(column.within, days)
            if column.within.kind == "months":
                bounds = self._ended(bounds[0], spans.group), self._ended(bounds[1], spans.group)
            low, high = (self._points.from_day(day, spans.group) for day in bounds)
            spans = spans.clipped(low, high)
        key = facts.values[column.newest_per] if column.newest_per is not None else None
        if key is not None:
            spans = spans.take(key.present[spans.positions])
        held = _Held.by_point(self._points, spans)
        if column.every != "day":
            held = held.in_finer(self._points.each)
        if key is not None:
            spans = held.spans.newest_of_each(key.data[held.spans.positions]).in_order()
            held = replace(held, spans=spans)
        return held

    def _ended(self, days: Days, group: Positions) -> Days:
        """Days with whose ends something begins to be so; instead of a day that T lies in, which has not ended, the next."""
        queries = self._timeline.queries
        if queries.grain == "day":
            return days
        unfinished = queries.cut_off < midnights_of(queries.as_of + 1, self._timeline.zone)
        ended: Days = days + (unfinished[group] & (days == queries.as_of[group]))
        return ended

    def _spans(self, group: Positions, positions: Positions) -> Spans:
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
        begins, ends = self._points.from_day(first, group), self._points.from_day(last, group)
        return Spans(group, positions, begins, ends).take(begins < ends)


def _said(column: DailyColumn, facts: PointSelection, values: Mapping[str, Values]) -> Values:
    """The value at each of some points. `values`: of the facts."""
    parts = column.parts
    asked = [Asked(part.operation, values[part.value], values[part.weight] if part.weight else None) for part in parts]
    answers = answer_each(facts, asked)
    day = pa.array(facts.as_of, pa.int32()).cast(pa.date32())
    if column.value_sql.duckdb == duckdb_name(parts[0].name) and answers[0].words is None and answers[0].data.dtype != object:
        words = values[parts[0].value].words if column.value_type == "string" else ()
        said = Values(column.value_type, answers[0].data, answers[0].present, words)
    else:
        arrays = {
            part.name: to_arrow(answer, part.type, values[part.value].words) for part, answer in zip(parts, answers, strict=True)
        }
        table = evaluate(pa.table({**arrays, "day": day}), {"value": (column.value_sql.duckdb, column.value_type)})
        said = from_arrow(table["value"].combine_chunks(), column.value_type)
    if column.days_where_sql is None:
        return said
    value = to_arrow(Answer(said.data, said.present), column.value_type, said.words)
    table = evaluate(pa.table({"value": value, "day": day}), {"counts": (column.days_where_sql.duckdb, "boolean")})
    counts = from_arrow(table["counts"].combine_chunks(), "boolean")
    return replace(said, present=said.present & counts.present & counts.data)


@lru_cache(maxsize=1_000)
def _constant_of_nothing(column: DailyColumn, first: int, after: int) -> bool:
    """Whether a column says the same of all of these days, where no fact holds on any."""
    days, nothing = np.arange(first, after), np.zeros(0, dtype=np.int64)
    said = _said(column, PointSelection(days, nothing, Spans(nothing, nothing, nothing, nothing)), _no_facts([column]).values)
    _, stretches = Stretches(np.arange(len(days) + 1), days).joined(said, nothing)
    return len(stretches.data) == 1


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
