"""Facts and queries in, the facts of each window out. numpy only: no Spark, no loop over days or entities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from conf.windows import Window
from transforms.calendar import FOREVER, Days, Instants, LocalDays, window_bounds

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Values:
    """One value of each fact. `data` is int64 (integers, cents, days, microseconds, codes of `words`), float64 or bool.

    `present`: False where the value is null or the fact was filtered out; `data` is 0 there. `words`: the sorted
    dictionary of a string column.
    """

    type: ColumnType
    data: NDArray[Any]
    present: Mask
    words: tuple[str, ...] = ()

    def take(self, positions: Positions | Mask) -> Values:
        return Values(self.type, self.data[positions], self.present[positions], self.words)


@dataclass(frozen=True)
class Facts:
    """Prepared rows of a bucket, sorted by (entity, at, known time, primary key).

    A fact counts at T when `at` lies in the window and `valid_from <= T < valid_until`. `entity`: codes from 0.
    """

    entity: NDArray[np.int64]
    at: Instants
    valid_from: Instants
    valid_until: Instants
    values: Mapping[str, Values]

    def take(self, positions: Positions | Mask) -> Facts:
        return Facts(
            self.entity[positions],
            self.at[positions],
            self.valid_from[positions],
            self.valid_until[positions],
            {name: values.take(positions) for name, values in self.values.items()},
        )

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Queries:
    """An entity and a cut-off each, sorted by entity. `as_of`: the local day D; `cut_off`: T."""

    entity: NDArray[np.int64]
    as_of: Days
    cut_off: Instants

    def __len__(self) -> int:
        return len(self.entity)

    def slice(self, start: int, end: int) -> Queries:
        return Queries(self.entity[start:end], self.as_of[start:end], self.cut_off[start:end])


@dataclass(frozen=True)
class Members:
    """For each query, the positions of the facts that count, oldest first: `positions[starts[i] : starts[i + 1]]`."""

    query: Positions
    positions: Positions
    starts: Positions

    @classmethod
    def of(cls, query: Positions, positions: Positions, queries: int) -> Members:
        counts = np.bincount(query, minlength=queries)
        return cls(query, positions, np.concatenate([[0], np.cumsum(counts)]))

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def keep(self, mask: Mask) -> Members:
        return Members.of(self.query[mask], self.positions[mask], len(self.starts) - 1)


class Timeline:
    """The facts that share a clock (`at`, `from`, `until`), ready to answer queries.

    Where all queries have one cut-off, facts not valid then are dropped at once. Otherwise the facts that are valid from
    their own time for ever (nearly all) are answered by positions in the sorted order, and the few with a validity of
    their own by looking at each (query, fact) pair.
    """

    def __init__(self, facts: Facts, queries: Queries, zone: str) -> None:
        cut_offs = np.unique(queries.cut_off)
        if len(cut_offs) == 1:
            facts = facts.take((facts.valid_from <= cut_offs[0]) & (cut_offs[0] < facts.valid_until))
            settled: Mask = np.ones(len(facts), dtype=np.bool_)
        else:
            settled = (facts.valid_from <= facts.at + 1) & (facts.valid_until == FOREVER)
        self.facts = facts
        self.queries = queries
        self.zone = zone
        self.one_cut_off = len(cut_offs) == 1
        self._settled_mask = settled
        self._selections: dict[tuple[Window, int, bool], Selection] = {}

    @cached_property
    def local_days(self) -> LocalDays:
        return LocalDays.covering(self.zone, self.facts.at)

    @cached_property
    def fact_day(self) -> Days:
        """The local day of each fact's `at`."""
        return self.local_days.day_of(self.facts.at)

    def select(self, window: Window, *, lag: int = 0, ahead: bool = False) -> Selection:
        """The facts in `window` of every query; computed once per window."""
        key = (window, lag, ahead)
        if key not in self._selections:
            self._selections[key] = self._select(window, lag, ahead)
        return self._selections[key]

    def _select(self, window: Window, lag: int, ahead: bool) -> Selection:
        days, place = np.unique(self.queries.as_of, return_inverse=True)
        starts, ends = window_bounds(window, days, self.zone, lag=lag, ahead=ahead)
        start, end = starts[place], ends[place]
        settled_mask = self._settled_mask
        if ahead and not self.one_cut_off:  # a fact ahead of T is not known just because its time has come
            settled_mask = np.zeros(len(self.facts), dtype=np.bool_)
        settled, own = np.flatnonzero(settled_mask), np.flatnonzero(~settled_mask)
        low, high = self._range(settled, start, end)
        query, positions = _expand(*self._range(own, start, end))
        positions = own[positions]
        cut_off = self.queries.cut_off[query]
        counts = (self.facts.valid_from[positions] <= cut_off) & (cut_off < self.facts.valid_until[positions])
        return Selection(self, settled, low, high, query[counts], positions[counts])

    def _range(self, among: Positions, start: Instants, end: Instants) -> tuple[Positions, Positions]:
        """For each query, where the facts `among` with `start <= at < end` begin and end in `among`."""
        at, entity = self.facts.at[among], self.facts.entity[among]
        first = np.searchsorted(entity, self.queries.entity, side="left")
        last = np.searchsorted(entity, self.queries.entity, side="right")
        low = _first_not_before(at, first, last, start)
        return low, np.maximum(_first_not_before(at, first, last, end), low)


@dataclass(frozen=True)
class Selection:
    """The facts of one window for every query: a range of `settled` ones, and pairs for those with their own validity."""

    timeline: Timeline
    settled: Positions
    low: Positions
    high: Positions
    own_query: Positions
    own_positions: Positions
    _members: dict[str, Members] = field(default_factory=dict)

    def count(self, values: Values) -> NDArray[np.int64]:
        return self.total(values, np.ones(len(values.data), dtype=np.int64))

    def total(self, values: Values, data: NDArray[Any] | None = None) -> NDArray[np.int64]:
        """Exact integer sum of `data` (default: the values) where present, for each query."""
        numbers = np.where(values.present, values.data if data is None else data, 0).astype(np.int64)
        running = np.concatenate([[0], np.cumsum(numbers[self.settled])])
        result: NDArray[np.int64] = running[self.high] - running[self.low]
        if len(self.own_query):
            pairs = Members.of(self.own_query, self.own_positions, len(self.low))
            own = np.concatenate([[0], np.cumsum(numbers[self.own_positions])])
            result = result + own[pairs.starts[1:]] - own[pairs.starts[:-1]]
        return result

    def members(self, values: Values) -> Members:
        """The facts with a value, oldest first."""
        return self._all.keep(values.present[self._all.positions])

    @property
    def _all(self) -> Members:
        if "all" not in self._members:
            query, positions = _expand(self.low, self.high)
            positions = self.settled[positions]
            if len(self.own_query):
                query = np.concatenate([query, self.own_query])
                positions = np.concatenate([positions, self.own_positions])
                order = np.lexsort((positions, query))
                query, positions = query[order], positions[order]
            self._members["all"] = Members.of(query, positions, len(self.low))
        return self._members["all"]


def _first_not_before(at: Instants, first: Positions, last: Positions, moment: Instants) -> Positions:
    """For each i, the first position in `[first[i], last[i])` whose `at` is not before `moment[i]`, or `last[i]`."""
    if len(moment) and (moment == moment[0]).all():
        before: Positions = np.concatenate([[0], np.cumsum(at < moment[0])])
        found: Positions = first + before[last] - before[first]
        return found
    low, high = first.copy(), last.copy()
    while (open_ := low < high).any():
        middle = (low + high) // 2
        later = open_ & (at[np.minimum(middle, len(at) - 1)] < moment)
        low = np.where(later, middle + 1, low)
        high = np.where(open_ & ~later, middle, high)
    return low


def _expand(low: Positions, high: Positions) -> tuple[Positions, Positions]:
    """Every position of every range, with the index of the range."""
    counts = high - low
    query = np.repeat(np.arange(len(low)), counts)
    begins = np.cumsum(counts) - counts
    return query, np.arange(counts.sum()) - np.repeat(begins, counts) + np.repeat(low, counts)
