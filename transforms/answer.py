"""Answers queries: the facts of a bucket and the queries of its entities in, tables with the groups' columns out."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.windows import Window
from transforms import arrow
from transforms.asked import Asked, answer_each
from transforms.calendar import BEGINNING, NEVER_DAY, Days, cut_off, day_number, window_bounds
from transforms.daily import answer_dailies
from transforms.derived import derive
from transforms.feature_group import LIFETIME, AnyGroup, Clock, Column, CompiledGroup, DailyColumn, WindowColumn
from transforms.kernel import Facts, Mask, Positions, Queries, Values, picked, stable_order
from transforms.operations import Answer
from transforms.timeline import Timeline, WindowSelection

MAXIMUM_CELLS = 10_000_000  # of columns and queries answered at once: bounds a task's memory whatever the number of days

FactTables = Mapping[tuple[str, str], Facts]  # by stream and clock; one that is missing has no facts
Presence = tuple[str, str, str]  # stream, clock, value


def arrow_type(column: Column) -> pa.DataType:
    """The type of a snapshot's column."""
    return arrow.arrow_type(column.type, decimal_digits=column.decimal_digits)


def snapshot_schema(group: AnyGroup) -> pa.Schema:
    """The columns of a snapshot's files: `as_of` and `snapshot_version` are in the partition's name instead."""
    fields = [
        pa.field(group.entity, pa.string(), nullable=False),
        pa.field("event_time", pa.string(), nullable=False),
        pa.field("time_zone", pa.string(), nullable=False),
        pa.field("has_history", pa.bool_(), nullable=False),
    ]
    return pa.schema([*fields, *(pa.field(column.name, arrow_type(column)) for column in group.columns)])


def on_spine(group: CompiledGroup, facts: FactTables, queries: Queries, zone: str) -> Queries:
    """Those of the queries whose entity must get a row: it has a row of the spine that counts at T."""
    return queries.take(_Shared(facts, queries, zone).any_of(group.spine))


def answer(group: CompiledGroup, facts: FactTables, queries: Queries, entities: pa.Array, zone: str) -> Iterator[pa.Table]:
    """Tables with `snapshot_schema(group)`, one row a query, in order; in pieces of bounded size.

    `queries` sorted by entity; their codes are positions in `entities`.
    """
    for piece in _pieces(queries, [group]):
        yield from answer_each_query([group], facts, piece, entities, zone)


def answer_each_query(
    groups: Sequence[CompiledGroup], facts: FactTables, queries: Queries, entities: pa.Array, zone: str
) -> list[pa.Table]:
    """The same of several groups, which share what they have in common, each in one piece."""
    shared, rows = _Shared(facts, queries, zone, groups), _Rows(queries)
    return [finish(group, _table(group, shared, entities, rows)) for group in groups]


def answer_groups(
    groups: Sequence[CompiledGroup], facts: FactTables, queries: Queries, entities: pa.Array, zone: str
) -> Iterator[tuple[CompiledGroup, pa.Table]]:
    """The same for several groups of one entity, which share what they have in common; each in pieces, to be finished.

    A group's rows: the queries whose entity is on its spine, by day, and of a day in order.
    """
    for piece in _pieces(queries, groups):
        yield from _of_those_on_spine(groups, facts, piece, entities, zone)


def _of_those_on_spine(
    groups: Sequence[CompiledGroup], facts: FactTables, queries: Queries, entities: pa.Array, zone: str
) -> list[tuple[CompiledGroup, pa.Table]]:
    """Each group's table, all made when it returns: what they share is gone before their rows are finished."""
    spines = _Shared(facts, queries, zone, groups)
    on_spine = {group.name: spines.any_of(group.spine) for group in groups}
    some = np.logical_or.reduce(list(on_spine.values()))
    shared = _Shared(facts, queries.take(some), zone, groups) if not some.all() else spines
    return [
        (group, _table(group, shared, entities, _Rows.by_day(shared.queries, on_spine[group.name][some]))) for group in groups
    ]


def _pieces(queries: Queries, groups: Sequence[CompiledGroup]) -> Iterator[Queries]:
    columns = sum(len(group.windows) + len(group.dailies) + len(group.derived) for group in groups)
    rows = max(MAXIMUM_CELLS // max(columns, 1), 1)
    for start in range(0, len(queries), rows):
        yield queries.slice(start, start + rows)


@dataclass(frozen=True)
class _Told:
    """Answers, and the place of each query's among them; without `place` there is one for each query."""

    answer: Answer
    place: Positions | None = None


class _Rows:
    """The queries that have a row, in the order of the rows: `which` of some; all of them as they are without."""

    def __init__(self, queries: Queries, which: Positions | None = None) -> None:
        self.queries = queries if which is None else queries.take(which)
        self._which = which
        self._places: dict[int, tuple[Positions, Positions]] = {}

    @classmethod
    def by_day(cls, queries: Queries, there: Mask) -> _Rows:
        """Those that are `there`, by their day."""
        days, place = queries.days
        if len(days) > 1:
            order = stable_order(place)
            return cls(queries, order if there.all() else order[there[order]])
        return cls(queries, None if there.all() else np.flatnonzero(there))

    @cached_property
    def event_times(self) -> pa.Array:
        """Each row's T, as text."""
        moments, place_of = self.queries.cut_offs
        return arrow.utc_texts(moments).take(pa.array(place_of))

    def of(self, each: NDArray[Any]) -> NDArray[Any]:
        """Of one for each query that of each row."""
        return each if self._which is None else each[self._which]

    def answer(self, told: _Told) -> Answer:
        """The answer of each row."""
        places = self._which if told.place is None else self._at(told.place)
        return told.answer if places is None else told.answer.take(places)

    def _at(self, place: Positions) -> Positions:
        """The place of each row's answer."""
        if id(place) not in self._places:
            self._places[id(place)] = (place, self.of(place))  # the place too, so that no other takes its id
        return self._places[id(place)][1]


class _Shared:
    """Some queries and the facts that answer them. What several columns or groups need is computed once."""

    def __init__(self, facts: FactTables, queries: Queries, zone: str, groups: Sequence[CompiledGroup] = ()) -> None:
        self.facts = facts
        self.queries = queries
        self.zone = zone
        one_day = len(queries.cut_offs[0]) == 1  # of many days, all together look at nearly everything
        self._at_once = int(queries.cut_off[0]) if one_day else None
        self._since = _first_moments(groups, queries, zone) if one_day else {}
        self._windows = _windows_to_the_end(groups) if one_day else {}
        self._timelines: dict[tuple[str, str], Timeline] = {}
        self._in_windows: dict[tuple[str, str], Timeline] = {}
        self._answers: dict[str, _Told] = {}
        self._any: dict[Presence, Mask] = {}
        self._words: dict[int, pa.Array] = {}

    def timeline(self, stream: str, clock: str) -> Timeline:
        place = (stream, clock)
        if place not in self._timelines:
            self._timelines[place] = self._new_timeline(place)
        return self._timelines[place]

    def in_windows(self, stream: str, clock: str) -> Timeline:
        """The timeline without what lies before every window."""
        place = (stream, clock)
        since = self._since.get(place, BEGINNING)
        if since == BEGINNING or place in self._timelines:
            return self.timeline(stream, clock)
        if place not in self._in_windows:
            self._in_windows[place] = self._new_timeline(place, since)
        return self._in_windows[place]

    def _new_timeline(self, place: tuple[str, str], since: int | np.int64 = BEGINNING) -> Timeline:
        windows = self._windows.get(place, ())
        return Timeline(self.facts[place], self.queries, self.zone, since=since, windows=windows)

    def any_of(self, presence: Presence) -> Mask:
        """Whether each query's entity has any fact with this value before T."""
        if presence not in self._any:
            stream, clock, value = presence
            if (stream, clock) not in self.facts:
                self._any[presence] = np.zeros(len(self.queries), dtype=np.bool_)
            elif self._at_once is not None:
                self._any[presence] = _any_fact(self.facts[stream, clock], value, self._at_once, self.queries)
            else:
                timeline = self.timeline(stream, clock)
                self._any[presence] = timeline.select(LIFETIME).count(timeline.facts.values[value]) > 0
        return self._any[presence]

    def history(self, group: CompiledGroup) -> Mask:
        """Whether each query's entity has any fact of any input before T."""
        history = np.zeros(len(self.queries), dtype=np.bool_)
        for presence in group.presence:
            history |= self.any_of(presence)
        return history

    def answers(self, columns: Sequence[WindowColumn], rows: _Rows) -> Mapping[str, pa.Array]:
        """Each column by name, in the order given, of some rows. Facts are selected once for all columns of the same window."""
        by_window: dict[Hashable, list[WindowColumn]] = {}
        for column in columns:
            if (column.stream, column.clock) in self.facts and column.said not in self._answers:
                by_window.setdefault((column.stream, column.clock, column.window, column.lag, column.ahead), []).append(column)
        for together in by_window.values():
            self._answer(together)
        return {column.column.name: self._to_arrow(column, rows) for column in columns}

    def dailies(self, columns: Sequence[DailyColumn], rows: _Rows) -> Mapping[str, pa.Array]:
        """Each column by name, in the order given, of some rows. Points are judged once for all columns that look at the same."""
        by_points: dict[str, dict[str, DailyColumn]] = {}
        for column in columns:
            if column.said not in self._answers:
                by_points.setdefault(column.points, {})[column.said] = column
        for together in by_points.values():
            one = next(iter(together.values()))
            facts = self.facts.get((one.stream, one.clock))
            answers = answer_dailies([*together.values()], facts, self._began(one.stream), self.queries, self.zone)
            self._answers |= zip(together, map(_Told, answers), strict=True)
        return {
            item.column.name: arrow.to_arrow(
                rows.answer(self._answers[item.said]), item.column.type, decimal_digits=item.column.decimal_digits
            )
            for item in columns
        }

    def _began(self, stream: str) -> Days:
        """The local day of the first event of each query's entity in a stream that counts at T; NEVER_DAY where there is none."""
        if (stream, Clock().name) not in self.facts:
            return np.full(len(self.queries), NEVER_DAY)
        timeline = self.timeline(stream, Clock().name)
        there = np.ones(len(timeline.facts), dtype=np.bool_)
        oldest = timeline.select(LIFETIME).oldest(Values("boolean", there, there))
        return np.where(oldest >= 0, picked(timeline.day, oldest), NEVER_DAY)

    def _answer(self, columns: Sequence[WindowColumn]) -> None:
        one = columns[0]
        timeline = self.in_windows(one.stream, one.clock)
        facts = timeline.select(one.window, lag=one.lag, ahead=one.ahead)
        different = {column.said: column for column in columns}
        if self._at_once is None and self.queries.grain == "day" and not one.ahead:
            lasting = {said: column for said, column in different.items() if not column.operation.ages}
            once, place = facts.each_once(lambda: timeline.knowledge)
            self._tell(lasting, once, timeline.facts, place)
            different = {said: column for said, column in different.items() if said not in lasting}
        self._tell(different, facts, timeline.facts)

    def _tell(
        self, columns: Mapping[str, WindowColumn], selection: WindowSelection, facts: Facts, place: Positions | None = None
    ) -> None:
        """`place`: that of each query's among the answers of the selection, where it has fewer."""
        answers = answer_each(selection, [_asked(column, facts) for column in columns.values()])
        self._answers |= {said: _Told(answer, place) for said, answer in zip(columns, answers, strict=True)}

    def _to_arrow(self, item: WindowColumn, rows: _Rows) -> pa.Array:
        column = item.column
        if (item.stream, item.clock) not in self.facts:
            return _empty(item, len(rows.queries))
        answer = rows.answer(self._answers[item.said])
        words = self._words_of(item) if column.type == "string" and answer.words is None else ()
        return arrow.to_arrow(answer, column.type, words, decimal_digits=column.decimal_digits)

    def _words_of(self, item: WindowColumn) -> pa.Array:
        """The texts of a value, as Arrow has them: made once."""
        words = self.facts[(item.stream, item.clock)].values[item.value].words
        if id(words) not in self._words:
            self._words[id(words)] = pa.array(words, pa.string())
        return self._words[id(words)]


def _any_fact(facts: Facts, value: str, cut_off: int, queries: Queries) -> Mask:
    """Whether each query's entity has a fact with this value that counts at the cut-off that they share."""
    counts = (facts.at < cut_off) & (facts.valid_from <= cut_off) & (cut_off < facts.valid_until) & facts.values[value].present
    entities = max(int(facts.entity.max(initial=-1)), int(queries.entity.max(initial=-1))) + 1
    there = np.zeros(entities, dtype=np.bool_)
    there[facts.entity[counts]] = True
    return there[queries.entity]


def queries_of(entities: range, days: Sequence[date], zone: str) -> Queries:
    """Of each entity one at the cut-off of every day."""
    numbers = np.array([day_number(day) for day in days], dtype=np.int64)
    cut_offs = np.array([cut_off(day, zone) for day in days], dtype=np.int64)
    return Queries.of_each(entities, numbers, cut_offs)


def reach(groups: Sequence[CompiledGroup], day: date, zone: str) -> dict[str, dict[str, int]]:
    """By stream and clock that the groups read, where the first window of a day begins.

    The day's end where no window does; the beginning of time where what lies before it matters.
    """
    queries = queries_of(range(1), [day], zone)
    first, cut_off_ = _first_moments(groups, queries, zone), int(queries.cut_off[0])
    for group in groups:
        for daily in group.dailies:
            first |= dict.fromkeys([(daily.stream, daily.clock), (daily.stream, Clock().name)], int(BEGINNING))
    read = values_read(groups)
    return {stream: {clock: first.get((stream, clock), cut_off_) for clock in clocks} for stream, clocks in read.items()}


def values_read(groups: Sequence[CompiledGroup]) -> dict[str, dict[str, set[str]]]:
    """By stream and clock, the values of facts that the groups read."""
    found: dict[str, dict[str, set[str]]] = {}

    def read(stream: str, clock: str, *values: str | None) -> None:
        found.setdefault(stream, {}).setdefault(clock, set()).update(value for value in values if value is not None)

    for group in groups:
        for presence in (group.spine, *group.presence):
            read(*presence)
        for item in group.windows:
            read(item.stream, item.clock, item.value, item.weight, item.newest_per, item.map_by)
        for daily in group.dailies:
            parts = (value for part in daily.parts for value in (part.value, part.weight))
            read(daily.stream, daily.clock, daily.since, daily.newest_per, *parts)
            read(daily.stream, Clock().name)  # when an entity's first event was
    return found


def _first_moments(groups: Sequence[CompiledGroup], queries: Queries, zone: str) -> dict[tuple[str, str], int]:
    """By stream and clock, where the first of all windows begins; the beginning of time where operations look back before it.

    `queries`: all of the same day.
    """
    windows = {
        (item.stream, item.clock, LIFETIME if item.operation.looks_back or item.window.kind == "since" else item.window, item.lag)
        for group in groups
        for item in group.windows
        if not item.ahead
    }
    found: dict[tuple[str, str], int] = {}
    for stream, clock, window, lag in windows:
        [start], _ = window_bounds(window, queries.as_of[:1], zone, lag=lag, cut_off=queries.cut_off[:1])
        found[stream, clock] = min(found.get((stream, clock), int(start)), int(start))
    return found


def _windows_to_the_end(groups: Sequence[CompiledGroup]) -> dict[tuple[str, str], set[Window]]:
    """By stream and clock, the windows that end with the day."""
    found: dict[tuple[str, str], set[Window]] = {}
    for group in groups:
        for item in group.windows:
            if not (item.lag or item.ahead):
                found.setdefault((item.stream, item.clock), set()).add(item.window)
    return found


def _asked(item: WindowColumn, facts: Facts) -> Asked:
    named = (facts.values[name] if name else None for name in (item.weight, item.newest_per, item.map_by))
    return Asked(item.operation, facts.values[item.value], *named)


def _empty(item: WindowColumn, rows: int) -> pa.Array:
    """What a column says where there are no facts at all."""
    type_ = arrow_type(item.column)
    empty = "{}" if item.map_by else item.operation.empty
    said: Any = {"null": None, "0": 0, "false": False}.get(empty, empty)
    return pa.nulls(rows, type_) if said is None else pa.repeat(pa.scalar(said).cast(type_), rows)


def _table(group: CompiledGroup, shared: _Shared, entities: pa.Array, rows: _Rows) -> pa.Table:
    """What is told of each row's query, the columns that it is derived from included."""
    queries = rows.queries
    row: dict[str, pa.Array] = {
        group.entity: entities.take(pa.array(queries.entity)),
        "event_time": rows.event_times,
        "time_zone": pa.repeat(shared.zone, len(queries)),
        "has_history": pa.array(rows.of(shared.history(group))),
        "as_of": pa.array(queries.as_of, pa.int32()).cast(pa.date32()),
        "cut_off": pa.array(queries.cut_off, pa.timestamp("us", tz="UTC")),
    }
    return pa.table({**row, **shared.answers(group.windows, rows), **shared.dailies(group.dailies, rows)})


def finish(group: CompiledGroup, told: pa.Table) -> pa.Table:
    """Rows of `answer_groups`, of any number of calls, with `snapshot_schema(group)`: derived and blanked together."""
    told = derive(told, group.derived)
    schema = snapshot_schema(group)
    arrays = {name: told[name] for name in schema.names}
    if group.blank_unless:
        allowed = pc.fill_null(told[group.blank_unless], False)
        for column in group.columns:
            if column.name != group.blank_unless:
                arrays[column.name] = pc.if_else(allowed, arrays[column.name], None)
    typed = [column if (column := arrays[field.name]).type == field.type else column.cast(field.type) for field in schema]
    return pa.table(typed, schema=schema)
