"""The facts of one clock and the queries that they answer: which facts lie in a window and count at T."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from conf.windows import Window
from transforms.calendar import BEGINNING, Days, Instants, local_days_of, window_bounds
from transforms.kernel import (
    Facts,
    Mask,
    Members,
    Positions,
    Queries,
    Selection,
    Term,
    Values,
    expand,
    extent_of,
)
from transforms.running import Array, Kept, Running, nothing_for, totals

LADDER_ROOM = 256 * 2**20
"""Bytes that are kept of all windows' reductions, which each window asks for: computed again, it would be once a window."""
_WORTH_A_COPY = 0.75
"""Facts that no query sees are dropped where less than this is left; else a copy would cost as much as it spares."""


class Timeline:
    """The facts that share a clock (`at`, `from`, `until`), ready to answer queries.

    Nearly all facts count at every cut-off that lies after them: these are `settled`, and a window of them is a run of
    positions. The others (known late, amended, no longer holding at some of the cut-offs) are judged for each query. Where all
    queries share one cut-off, facts that don't count there are dropped, so that all are settled.
    """

    def __init__(
        self, facts: Facts, queries: Queries, zone: str, *, since: int | np.int64 = BEGINNING, windows: Collection[Window] = ()
    ) -> None:
        """`since`: no window begins earlier, and nothing is asked of what lies before it. `windows`: that will be selected."""
        self.queries = queries
        self.zone = zone
        if len(queries):
            first, last = queries.entity[0], queries.entity[-1]
            facts = facts.take(slice(np.searchsorted(facts.entity, first), np.searchsorted(facts.entity, last, side="right")))
        cut_offs, _ = queries.cut_offs
        validity = _Validity.of(facts, cut_offs)
        kept = validity.ever & (facts.at >= since)
        if np.count_nonzero(kept) >= _WORTH_A_COPY * len(kept):
            kept = validity.ever if len(cut_offs) == 1 else np.ones(len(facts), dtype=np.bool_)
        if not kept.all():
            which = np.flatnonzero(kept)  # once for all arrays, where each would else count the mask's trues anew
            facts, validity = facts.take(which), validity.take(which)
        self.facts = facts
        self._validity = validity
        self._cut_offs = cut_offs
        self._windows = windows

    @cached_property
    def day(self) -> Days:
        """The local day of each fact's `at`."""
        return local_days_of(self.facts.at, self.zone)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The first and the last local day of all facts; 0 and 0 where there are none."""
        return extent_of(self.day)

    def select(self, window: Window, *, lag: int = 0, ahead: bool = False) -> WindowSelection:
        """The facts in `window` of every query."""
        queries = self.queries
        if not (lag or ahead) and window in self._rungs:
            return WindowSelection(queries.as_of, self, self._rungs[window])
        if window.kind == "since":
            assert queries.since is not None
            since = queries.since
            return self._selected(lambda lane: lane.runs(since, queries.cut_off))
        if queries.grain == "event":
            bounds = window_bounds(window, queries.as_of, self.zone, lag=lag, ahead=ahead, cut_off=queries.cut_off)
            return self._selected(lambda lane: lane.runs(*bounds), ahead=ahead)
        days, place = queries.days
        starts, ends = window_bounds(window, days, self.zone, lag=lag, ahead=ahead)
        return self._selected(lambda lane: lane.runs_of_days(starts, ends, place), ahead=ahead)

    def _selected(self, runs: Callable[[_Lane], Runs], *, ahead: bool = False) -> WindowSelection:
        """`ahead`: some of the facts lie after T."""
        # A fact ahead of T is not known just because its time has come: it must be valid at every cut-off.
        settled, own = self._lanes_ahead if ahead else self._lanes
        judged = _Judged(runs(own), self.facts, self.queries.cut_off) if len(own.among) else None
        return WindowSelection(self.queries.as_of, self, runs(settled), judged)

    @cached_property
    def knowledge(self) -> NDArray[np.int64]:
        """A number for each query, equal for queries of one entity at which the same is known of what lies before both.

        What is known changes at the cut-offs at which a fact is first known late, or known no more.
        """
        numbers, entity, validity = len(self._cut_offs) + 1, self.facts.entity, self._validity
        late, passing = ~validity.in_time, ~validity.lasts
        changed = (entity[late] * numbers + validity.begins[late], entity[passing] * numbers + validity.ends[passing])
        changes = np.sort(np.concatenate(changed))
        number = np.searchsorted(self._cut_offs, self.queries.cut_off)
        return np.searchsorted(changes, self.queries.entity * numbers + number, side="right")

    @cached_property
    def _rungs(self) -> Mapping[Window, Rung]:
        """Of queries that share a cut-off, a midnight: the windows that end there."""
        if len(self._cut_offs) != 1 or self.queries.grain != "day":
            return {}
        day, cut_off = self.queries.as_of[:1], int(self._cut_offs[0])
        bounds = {window: window_bounds(window, day, self.zone) for window in self._windows if window.kind != "since"}
        starts = {window: int(start[0]) for window, (start, end) in bounds.items() if end[0] == cut_off}
        if not starts:
            return {}
        moments = sorted({*starts.values()})
        lane, _ = self._lanes
        ladder = Ladder(lane.first, lane.edges([*moments, cut_off]), lane.running)
        return {window: ladder.rung(moments.index(start)) for window, start in starts.items()}

    @cached_property
    def _lanes(self) -> tuple[_Lane, _Lane]:
        return self._split(self._validity.lasts & self._validity.in_time)

    @cached_property
    def _lanes_ahead(self) -> tuple[_Lane, _Lane]:
        return self._split(self._validity.lasts & (self.facts.valid_from <= self._cut_offs[:1]))

    def _split(self, settled: Mask) -> tuple[_Lane, _Lane]:
        return _Lane(self, np.flatnonzero(settled)), _Lane(self, np.flatnonzero(~settled))


@dataclass(frozen=True)
class _Validity:
    """When facts are valid, among cut-offs.

    `ever`: at any of them. `lasts`: at the last. `in_time`: at the first that lies after the fact. `begins`, `ends`: the numbers
    of the cut-offs at which a fact first is and no longer is valid; known only of those that don't last or aren't in time.
    """

    ever: Mask
    lasts: Mask
    in_time: Mask
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, facts: Facts, cut_offs: Instants) -> _Validity:
        """Nearly all facts are known when they happen and stay so: only the others are looked up among the cut-offs."""
        begins, ends = np.zeros(len(facts), dtype=np.int64), np.zeros(len(facts), dtype=np.int64)
        if not len(cut_offs):
            never = np.zeros(len(facts), dtype=np.bool_)
            return cls(never, never, never, begins, ends)
        last = cut_offs[-1]
        lasts, ever, in_time = facts.valid_until > last, facts.valid_from <= last, facts.valid_from <= facts.at + 1
        others = np.flatnonzero(~(lasts & in_time))
        if len(others):
            moments = (facts.valid_from, facts.valid_until, facts.at + 1)
            first, end, after = (np.searchsorted(cut_offs, some[others]) for some in moments)
            ever[others], in_time[others] = first < end, first <= after
            begins[others], ends[others] = first, end
        return cls(ever, lasts, in_time, begins, ends)

    def take(self, which: Positions) -> _Validity:
        return _Validity(self.ever[which], self.lasts[which], self.in_time[which], self.begins[which], self.ends[which])


class _Lane:
    """Some of a timeline's facts, to be searched by entity and moment."""

    def __init__(self, timeline: Timeline, among: Positions) -> None:
        self.among = among
        self.running = Running(among)
        everything = len(among) == len(timeline.facts)
        self._at = timeline.facts.at if everything else timeline.facts.at[among]
        entity = timeline.facts.entity if everything else timeline.facts.entity[among]
        self._entity, self._queries = entity, timeline.queries
        self._last_ends: tuple[Instants, Positions] | None = None
        self.first = np.searchsorted(entity, timeline.queries.entity, side="left")
        self._last = np.searchsorted(entity, timeline.queries.entity, side="right")

    def runs(self, start: Instants, end: Instants) -> Runs:
        """Of each query, the facts with `start <= at < end`."""
        return self._runs(self._first_not_before(start), self._ends(end))

    def runs_of_days(self, starts: Instants, ends: Instants, place: Positions) -> Runs:
        """The same where both are those of a few days, which ascend; `place`: which of these each query asks for."""
        entities = self._queries.entity
        if len(starts) < 2 or (entities[-1] - entities[0] + 1) * len(starts) > 4 * len(entities):
            return self.runs(starts[place], ends[place])
        return self._runs(*(self._first_not_before_each(moments, place) for moments in (starts, ends)))

    def _ends(self, end: Instants) -> Positions:
        """As `_first_not_before`, which is asked once for windows that end together, one after another."""
        if self._last_ends is None or not np.array_equal(self._last_ends[0], end):
            self._last_ends = end, self._first_not_before(end)
        return self._last_ends[1]

    def _first_not_before(self, moment: Instants) -> Positions:
        """Of each query, the first of its facts that isn't before a moment, or the place after its last."""
        if self._order is None or (len(moment) and (moment == moment[0]).all()):
            return first_not_before(self._at, self.first, self._last, moment)
        oldest, span, keys = self._order
        entity = self._queries.entity - self._queries.entity[0]
        found: Positions = np.searchsorted(keys, entity * span + np.clip(moment, oldest, oldest + span - 1) - oldest)
        return found

    @cached_property
    def _order(self) -> tuple[int, int, NDArray[np.int64]] | None:
        """Entity and moment of each fact as one number, from the oldest moment on, and how many moments an entity spans.

        None where there are no facts or queries, and where it wouldn't fit.
        """
        if not (len(self._at) and len(self._queries)):
            return None
        oldest, span = int(self._at.min()), int(self._at.max()) - int(self._at.min()) + 2
        first, last = int(self._queries.entity[0]), int(self._queries.entity[-1])  # no fact is of an entity outside
        if (last - first + 1) * span >= 2**62:
            return None
        return oldest, span, (self._entity - first) * span + (self._at - oldest)

    def _first_not_before_each(self, moments: Instants, place: Positions) -> Positions:
        """Facts are counted by entity and by how many of the moments they aren't before: added up, these are positions."""
        first, last = self._queries.entity[0], self._queries.entity[-1]
        columns = len(moments) + 1
        passed = np.searchsorted(moments, self._at, side="right")
        counts = np.bincount((self._entity - first) * columns + passed, minlength=(last - first + 1) * columns)
        found: Positions = np.cumsum(counts)[(self._queries.entity - first) * columns + place]
        return found

    def _runs(self, low: Positions, high: Positions) -> Runs:
        return Runs(self.among, self.first, low, np.maximum(high, low), shared=self.running)

    def edges(self, moments: Sequence[int]) -> Positions:
        """Of each query a row: the first of its facts that isn't before each moment, or the place after its last."""
        found = np.empty((len(self.first), len(moments)), dtype=np.int64)
        for number, moment in enumerate(moments):
            found[:, number] = first_not_before(self._at, self.first, self._last, np.full(len(self.first), moment))
        return found


@dataclass(frozen=True)
class Runs:
    """For each query a run of facts: `among[low : high]`. Before it lie `among[first : low]`.

    `shared`: what running over all of `among` gives, where other runs of the same facts know it.
    """

    among: Positions
    first: Positions
    low: Positions
    high: Positions
    shared: Running | None = field(default=None, compare=False, kw_only=True)

    @cached_property
    def running(self) -> Running:
        return self.shared or Running(self.among)

    def take(self, which: Positions | slice) -> Runs:
        return Runs(self.among, self.first[which], self.low[which], self.high[which], shared=self.running)

    def differ(self) -> Mask:
        """Whether each run, or what lies before it, differs from the one before it; the first does."""
        found = np.ones(len(self.low), dtype=np.bool_)
        found[1:] = False
        for edge in (self.first, self.low, self.high):
            found[1:] |= edge[1:] != edge[:-1]
        return found

    @property
    def earlier(self) -> Runs:
        return Runs(self.among, self.first, self.first, self.low, shared=self.running)

    def counts(self, values: Values) -> NDArray[np.int64]:
        """How many facts of each run have a value."""
        return self._difference(self.running.counts(values))

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many facts each run has."""
        return self.high - self.low

    @cached_property
    def most(self) -> int:
        """How many facts the longest run has."""
        return int(self.lengths.max(initial=0))

    def sums(self, values: Values, term: Term, day: Callable[[], Days]) -> Array:
        """Of a term of each fact that has a value. `day`: the local day of each fact."""
        return self._difference(self.running.totals(values, lambda: term.of(values, day), str(term)))

    def repeated(self, members: Members, data: Array) -> Array:
        """`data`, one of each member, as often as it counts."""
        return data

    def extreme(self, ufunc: np.ufunc, values: Values) -> Array:
        """`ufunc` over the values of each run, whatever where a run has none."""
        return self.running.extreme(ufunc, values, self.low, self.high)

    def _difference(self, running: Array) -> Array:
        found: Array = running.take(self.high) - running.take(self.low)
        return found

    def pairs(self) -> tuple[Positions, Positions]:
        query, places = expand(self.low, self.high)
        return query, self.among[places]


class Ladder:
    """Windows with one end: each longer one is the next shorter one and what lies between their starts.

    So what is added up or compared is gone through once for all of them: totals are differences of running ones, extremes are
    reduced fact by fact, and then from the shortest window on.
    `edges`: of each query a row, where the windows begin, the longest first, and where all end; `first`: its oldest fact.
    """

    def __init__(self, first: Positions, edges: Positions, running: Running) -> None:
        self.first = first
        self.edges = edges
        self.running = running
        self._kept = Kept(LADDER_ROOM)

    def rung(self, number: int) -> Rung:
        low, high = self.edges[:, number], self.edges[:, -1]
        return Rung(self.running.among, self.first, low, high, shared=self.running, ladder=self, number=number)

    @cached_property
    def _edges_by_window(self) -> Positions:
        return np.ascontiguousarray(self.edges.T)

    @cached_property
    def _without_facts(self) -> Positions:
        """Of each step from one window's start to the next a row, of each query a cell: the places of those without a fact."""
        return np.flatnonzero((self.edges[:, :-1] == self.edges[:, 1:]).T)

    def reduced(self, ufunc: np.ufunc, values: Values, numbers: Callable[[], Array], called: str) -> Array:
        """Of each window a row, of each query a cell: `ufunc` over the numbers of those facts that have a value; what changes
        nothing where there are none. Numbers that are added are 0 where there is no value. Those `called` the same are the
        same."""

        def compute() -> Array:
            asked = self.running.of(numbers())
            if ufunc is np.add:
                until = totals(asked)[self._edges_by_window]
                return np.asarray(until[-1] - until[:-1])
            nothing = nothing_for(ufunc, asked.dtype)
            data = np.empty(len(asked) + 1, dtype=asked.dtype)
            data[:-1], data[-1] = asked, nothing
            if not values.whole:
                data[:-1][~self.running.of(values.present)] = nothing
            steps = ufunc.reduceat(data, self.edges.ravel()).reshape(self.edges.shape)
            rows = np.ascontiguousarray(steps.T[:-1])
            rows.ravel()[self._without_facts] = nothing
            for shorter, longer in zip(rows[:0:-1], rows[-2::-1], strict=True):
                ufunc(longer, shorter, out=longer)
            return rows

        return self._kept.get(f"{ufunc.__name__} of {called}", values, compute)


@dataclass(frozen=True)
class Rung(Runs):
    """One window of a ladder, for every query."""

    ladder: Ladder = field(kw_only=True)
    number: int = field(kw_only=True)

    def counts(self, values: Values) -> NDArray[np.int64]:
        if values.whole:
            return self.lengths
        return self._reduced(np.add, values, lambda: values.present.astype(np.int64), "present")

    def sums(self, values: Values, term: Term, day: Callable[[], Days]) -> Array:
        return self._reduced(np.add, values, lambda: term.of(values, day), str(term))

    def extreme(self, ufunc: np.ufunc, values: Values) -> Array:
        return self._reduced(ufunc, values, lambda: values.data, "values")

    def _reduced(self, ufunc: np.ufunc, values: Values, numbers: Callable[[], Array], called: str) -> Array:
        found: Array = self.ladder.reduced(ufunc, values, numbers, called)[self.number]
        return found


@dataclass(frozen=True)
class _Judged:
    """Runs of facts with a validity of their own, and the cut-offs at which they are judged."""

    runs: Runs
    facts: Facts
    cut_off: Instants

    def take(self, which: Positions | slice) -> _Judged:
        return replace(self, runs=self.runs.take(which), cut_off=self.cut_off[which])

    @property
    def earlier(self) -> _Judged:
        return replace(self, runs=self.runs.earlier)

    def pairs(self) -> tuple[Positions, Positions]:
        query, positions = self.runs.pairs()
        cut_off = self.cut_off[query]
        counts = (self.facts.valid_from[positions] <= cut_off) & (cut_off < self.facts.valid_until[positions])
        return query[counts], positions[counts]


class _Dated(Protocol):
    """Whoever knows the local day of each fact, and the first and last of them all."""

    @property
    def day(self) -> Days: ...

    @property
    def extent(self) -> tuple[int, int]: ...


class WindowSelection(Selection):
    """The facts of one window for every query: a run of those that are settled, and those that are judged one by one.

    What needs no look at each fact (counts, sums, extremes, the newest, the oldest) is answered from what running over the
    settled ones gives.
    """

    knows_runs: ClassVar[bool] = True

    def __init__(self, as_of: Days, dated: _Dated, settled: Runs, judged: _Judged | None = None) -> None:
        self.as_of = as_of
        self._dated = dated
        self._settled = settled
        self._judged = judged

    @property
    def day(self) -> Days:
        return self._dated.day

    @property
    def most(self) -> int:
        return self._settled.most + (self._judged.runs.most if self._judged else 0)

    @property
    def extent(self) -> tuple[int, int]:
        return self._dated.extent

    def take(self, which: Positions | slice) -> WindowSelection:
        """That of some of the queries, in order."""
        judged = self._judged.take(which) if self._judged else None
        return WindowSelection(self.as_of[which], self._dated, self._settled.take(which), judged)

    def slice(self, start: int, end: int) -> WindowSelection:
        return self.take(slice(start, end))

    @property
    def earlier(self) -> WindowSelection:
        judged = self._judged.earlier if self._judged else None
        return WindowSelection(self.as_of, self._dated, self._settled.earlier, judged)

    def each_once(self, knowledge: Callable[[], NDArray[np.int64]]) -> tuple[WindowSelection, Positions]:
        """Of neighbouring queries that see the same facts the first, and the place of each query's among these.

        `knowledge`: a number for each query, equal where the same is known. It's not asked where all facts are settled.
        """
        differs = self._settled.differ()
        if self._judged is not None:
            differs |= self._judged.runs.differ()
            differs[1:] |= np.diff(knowledge()) != 0
        return self.take(np.flatnonzero(differs)), np.cumsum(differs) - 1

    def cost(self, *, walks: bool, history: bool) -> NDArray[np.int64]:
        runs = self._settled
        cost = runs.high - (runs.first if history else runs.low) if walks else np.zeros(len(self), dtype=np.int64)
        return cost + (self._judged.runs.high - self._judged.runs.first) if self._judged else cost

    def count(self, values: Values) -> NDArray[np.int64]:
        count = self._settled.counts(values)
        if (own := self._own_with(values)) is not None:
            count = count + own.counts
        return count

    def repeated(self, members: Members, data: NDArray[Any]) -> NDArray[Any]:
        return self._settled.repeated(members, data)

    def sum_of(self, values: Values, term: Term) -> NDArray[Any]:
        total = self._settled.sums(values, term, lambda: self.day)
        if (own := self._own_with(values)) is not None:
            total = total + own.reduce(np.add, term.of(values, lambda: self.day)[own.positions])
        return total

    def extreme(self, ufunc: np.ufunc, values: Values) -> tuple[NDArray[Any], Mask]:
        runs = self._settled
        some = runs.counts(values) > 0
        found = np.where(some, runs.extreme(ufunc, values), 0)
        if (own := self._own_with(values)) is None:
            return found, some
        of_own = own.reduce(ufunc, values.data[own.positions])
        return np.where(some & own.some, ufunc(found, of_own), np.where(some, found, of_own)), some | own.some

    def newest(self, values: Values) -> Positions:
        runs = self._settled
        place = runs.running.newest(values)[runs.high]
        found = _at_places(runs, place, place >= runs.low)
        if (own := self._own_with(values)) is None:
            return found
        return np.maximum(found, np.where(own.some, own.last(own.positions), -1))

    def oldest(self, values: Values) -> Positions:
        runs = self._settled
        place = runs.running.oldest(values)[runs.low]
        found = _at_places(runs, place, place < runs.high)
        if (own := self._own_with(values)) is None:
            return found
        oldest = np.where(own.some, own.first(own.positions), -1)
        return np.where((found < 0) | ((oldest >= 0) & (oldest < found)), oldest, found)

    def _own_with(self, values: Values) -> Members | None:
        """The judged facts that count and have a value; None where none are judged."""
        return None if self._own is None else self._own.keep(values.present[self._own.positions])

    @cached_property
    def _own(self) -> Members | None:
        """The judged facts that count."""
        return Members.of(*self._judged.pairs(), len(self)) if self._judged else None

    @cached_property
    def everything(self) -> Members:
        query, positions = self._settled.pairs()
        if self._own is not None and len(self._own.query):
            query = np.concatenate([query, self._own.query])
            positions = np.concatenate([positions, self._own.positions])
            order = np.lexsort((positions, query))
            query, positions = query[order], positions[order]
        return Members.of(query, positions, len(self))


def _at_places(runs: Runs, place: Positions, inside: Mask) -> Positions:
    """The positions at `place` in the runs' facts, -1 where not `inside`."""
    if len(runs.among) == 0:
        return np.full(len(place), -1)
    return np.where(inside, runs.among[np.clip(place, 0, len(runs.among) - 1)], -1)


def first_not_before(at: Instants, first: Positions, last: Positions, moment: Instants) -> Positions:
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
