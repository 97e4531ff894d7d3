"""What the engine computes with: facts and queries as arrays, and the facts that an operation sees for each query.

numpy only: no Spark, no loop over days or entities.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from conf.specs import ColumnType
from transforms.calendar import Days, Instants

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]
Grain = Literal["day", "event"]
MOST_BITS = 62


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

    def take(self, positions: Positions | Mask | slice) -> Values:
        return Values(self.type, self.data[positions], self.present[positions], self.words)

    @cached_property
    def whole(self) -> bool:
        """Whether no value is null."""
        return bool(self.present.all())

    @cached_property
    def different(self) -> tuple[NDArray[Any], Positions]:
        """The different values, ascending, and the place of each fact's among them."""
        if self.words:
            return np.arange(len(self.words)), self.data
        different, place = np.unique(self.data, return_inverse=True)
        return different, place

    @cached_property
    def bits(self) -> Values | None:
        """One bit of a whole number for each of the different values; None where they are more than fit."""
        different, place = self.different
        if len(different) > MOST_BITS:
            return None
        return Values("integer", np.where(self.present, np.int64(1) << place, 0), self.present)

    @cached_property
    def largest(self) -> int:
        """The greatest magnitude of whole numbers."""
        return max(int(self.data.max()), -int(self.data.min())) if len(self.data) else 0


@dataclass(frozen=True)
class Facts:
    """Prepared rows of a bucket, sorted by (entity, at, known time, primary key).

    A fact counts at T when `at` lies in the window and `valid_from <= T < valid_until`. `entity`: codes from 0.
    On a clock for values of every day, its validity says when a fact is known, and `holds_from` (None: `at`) and `holds_until`
    when it holds in the world: at t for `holds_from < t`, and not `holds_until < t`. `at` is how old it is.
    """

    entity: NDArray[np.int64]
    at: Instants
    valid_from: Instants
    valid_until: Instants
    values: Mapping[str, Values]
    holds_until: Instants | None = None
    holds_from: Instants | None = None

    def take(self, positions: Positions | Mask | slice) -> Facts:
        return Facts(
            self.entity[positions],
            self.at[positions],
            self.valid_from[positions],
            self.valid_until[positions],
            {name: values.take(positions) for name, values in self.values.items()},
            None if self.holds_until is None else self.holds_until[positions],
            None if self.holds_from is None else self.holds_from[positions],
        )

    def __len__(self) -> int:
        return len(self.at)


@dataclass(frozen=True)
class Queries:
    """An entity and a cut-off each, sorted by entity; an entity may have any number of them. `cut_off`: T.

    `as_of`: the local day D. Of grain `day`, T is the midnight that ends it; of grain `event`, D is the local day of T - 1 µs.
    `since`: where each query's windows of kind `since` begin.
    """

    entity: NDArray[np.int64]
    as_of: Days
    cut_off: Instants
    grain: Grain = "day"
    since: Instants | None = None

    @classmethod
    def of_each(cls, entities: range, as_of: Days, cut_off: Instants, grain: Grain = "day") -> Queries:
        """Every entity at every cut-off, of which each has its day."""
        count = len(entities)
        return cls(np.repeat(entities, len(as_of)), np.tile(as_of, count), np.tile(cut_off, count), grain)

    def __len__(self) -> int:
        return len(self.entity)

    @cached_property
    def days(self) -> tuple[Days, Positions]:
        """The different days D, and the place of each query's among them."""
        return _different(self.as_of)

    @cached_property
    def cut_offs(self) -> tuple[Instants, Positions]:
        """The different cut-offs, and the place of each query's among them."""
        return _different(self.cut_off)

    def take(self, which: Positions | Mask | slice) -> Queries:
        since = None if self.since is None else self.since[which]
        return Queries(self.entity[which], self.as_of[which], self.cut_off[which], self.grain, since)

    def slice(self, start: int, end: int) -> Queries:
        return self.take(slice(start, end))


class Term(NamedTuple):
    """What is added up of each fact: its value to a power, times its local day, counted from `since`, to a power.

    In 64 bits, where a sum may wrap round; or `exact`, in Python's integers.
    """

    values: int
    days: int = 0
    since: int = 0
    exact: bool = False

    def of(self, values: Values, day: Callable[[], Days]) -> NDArray[Any]:
        """Of whole numbers, or of any to the power of 0; 0 of a fact without a value."""
        kind: Any = object if self.exact else np.int64
        numbers = values.data.astype(kind, copy=False) if self.values else np.ones(len(values.data), dtype=kind)
        if self.values > 1:
            numbers = numbers**self.values
        if self.days:
            numbers = numbers * (day() - self.since) ** self.days
        return numbers if values.whole else np.where(values.present, numbers, 0)


@dataclass(frozen=True)
class Members:
    """For each query, the positions of the facts that count, oldest first: `positions[starts[i] : starts[i + 1]]`."""

    query: Positions
    positions: Positions
    starts: Positions

    @classmethod
    def of(cls, query: Positions, positions: Positions, queries: int) -> Members:
        """`query` ascending, and the positions of each query too."""
        counts = np.bincount(query, minlength=queries)
        return cls(query, positions, np.concatenate([[0], np.cumsum(counts)]))

    def slice(self, start: int, end: int) -> Members:
        """Those of some of the queries."""
        first, last = self.starts[start], self.starts[end]
        return Members(self.query[first:last] - start, self.positions[first:last], self.starts[start : end + 1] - first)

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    @property
    def some(self) -> Mask:
        """Whether each query has any."""
        return self.starts[1:] > self.starts[:-1]

    def keep(self, mask: Mask) -> Members:
        return self if mask.all() else Members.of(self.query[mask], self.positions[mask], len(self.starts) - 1)

    # `data` below: one value of each member, in the order of `positions`.

    def reduce(self, ufunc: np.ufunc, data: NDArray[Any]) -> NDArray[Any]:
        """`ufunc` over each query's members in order; 0 where there are none."""
        some = self.some
        result = np.zeros(len(some), dtype=data.dtype)
        if some.any():
            result[some] = ufunc.reduceat(data, self.starts[:-1][some])
        return result

    def first(self, data: NDArray[Any]) -> NDArray[Any]:
        """The oldest member's; whatever where there are none."""
        return picked(data, self.starts[:-1])

    def last(self, data: NDArray[Any]) -> NDArray[Any]:
        """The newest member's; whatever where there are none."""
        return picked(data, self.starts[1:] - 1)


class Selection(ABC):
    """The facts that an operation sees for each query. `as_of`: the day D of each query.

    Positions number the facts from the oldest to the newest of each entity; `day` is the local day of each.
    """

    as_of: Days
    knows_runs: ClassVar[bool] = False
    """Whether `sum_of` and `extreme` are answered without a look at every fact."""

    def __len__(self) -> int:
        return len(self.as_of)

    @property
    @abstractmethod
    def day(self) -> Days: ...

    @property
    @abstractmethod
    def everything(self) -> Members:
        """All facts of each query, those without a value included."""

    @property
    @abstractmethod
    def earlier(self) -> Selection:
        """The facts that lie before each query's window and count at its T."""

    @abstractmethod
    def slice(self, start: int, end: int) -> Selection:
        """That of some of the queries."""

    @abstractmethod
    def cost(self, *, walks: bool, history: bool) -> NDArray[np.int64]:
        """How many facts at most are looked at for each query.

        `walks`: every fact of the window is; `history`: those before it, too. Otherwise only what running totals can't tell.
        """

    def members(self, values: Values, weights: Values | None = None) -> Members:
        """The facts with a value, and a weight where there are weights, oldest first."""
        there = values.present if weights is None else values.present & weights.present
        return self.everything.keep(there[self.everything.positions])

    def count(self, values: Values) -> NDArray[np.int64]:
        return self.members(values).counts

    @property
    def most(self) -> int:
        """No query sees more facts."""
        return int(self.everything.counts.max(initial=0))

    @property
    def extent(self) -> tuple[int, int]:
        """The first and the last local day of all facts, those that no query sees among them; 0 and 0 where there are none."""
        return extent_of(self.day)

    def total(self, values: Values) -> NDArray[Any]:
        """Sum where present. Of whole numbers exact: int64, or Python's integers where one doesn't fit; others oldest first."""
        if values.type == "number":
            members = self.members(values)
            return members.reduce(np.add, self.repeated(members, values.data[members.positions]))
        return narrowed(self.sum_of(values, Term(1, exact=not sums_fit(values, self.most))))

    def repeated(self, members: Members, data: NDArray[Any]) -> NDArray[Any]:
        """`data`, one of each member, as often as it counts."""
        return data

    def sum_of(self, values: Values, term: Term) -> NDArray[Any]:
        """The sums of a term of each fact that has a value, a whole number; in 64 bits they wrap round."""
        members = self.members(values)
        return members.reduce(np.add, term.of(values, lambda: self.day)[members.positions])

    def extreme(self, ufunc: np.ufunc, values: Values) -> tuple[NDArray[Any], Mask]:
        """`ufunc` (minimum, maximum or bitwise_or) over the facts with a value, and whether there are any."""
        members = self.members(values)
        return members.reduce(ufunc, values.data[members.positions]), members.some

    def newest(self, values: Values) -> Positions:
        """The position of the newest fact with a value; -1 where there is none."""
        members = self.members(values)
        return np.where(members.some, members.last(members.positions), -1)

    def oldest(self, values: Values) -> Positions:
        """The position of the oldest fact with a value; -1 where there is none."""
        members = self.members(values)
        return np.where(members.some, members.first(members.positions), -1)


def _different(data: NDArray[np.int64]) -> tuple[NDArray[np.int64], Positions]:
    """The different numbers, ascending, and the place of each among them. They are often all the same."""
    if len(data) and (data == data[0]).all():
        return data[:1], np.zeros(len(data), dtype=np.int64)
    different, place = np.unique(data, return_inverse=True)
    return different, place


def extent_of(days: Days) -> tuple[int, int]:
    """The first and the last of some days; 0 and 0 of none."""
    return (int(days.min()), int(days.max())) if len(days) else (0, 0)


def picked(data: NDArray[Any], places: Positions) -> NDArray[Any]:
    """`data` at `places`, whatever where a place lies outside."""
    return data[np.clip(places, 0, len(data) - 1)] if len(data) else np.zeros(len(places), dtype=data.dtype)


def sums_fit(values: Values, count: int) -> bool:
    """Whether `count` of the whole numbers can be added in 64 bits, whichever they are."""
    return values.largest * max(count, 1) < 2**63


def summable(values: Values, count: int) -> NDArray[Any]:
    """Whole numbers of which `count` can be added without overflow: int64 where that is sure, else Python's integers."""
    return values.data.astype(np.int64 if sums_fit(values, count) else object)


def narrowed(totals: NDArray[Any]) -> NDArray[Any]:
    """Python's integers as int64, if all fit."""
    if totals.dtype != object or any(not -(2**63) <= total < 2**63 for total in totals):
        return totals
    return totals.astype(np.int64)


def stable_order(numbers: NDArray[Any]) -> Positions:
    """The positions of numbers, none below 0, in ascending order. Numbers of 16 bits are sorted by their digits."""
    few = int(numbers.max(initial=0)) < 2**16
    return np.argsort(numbers.astype(np.uint16) if few else numbers, kind="stable")


def expand(low: Positions, high: Positions) -> tuple[Positions, Positions]:
    """Every position of every range `[low[i], high[i])`, with the index of the range."""
    counts = high - low
    index = np.repeat(np.arange(len(low)), counts)
    begins = np.cumsum(counts) - counts
    return index, np.arange(len(index)) + (low - begins)[index]
