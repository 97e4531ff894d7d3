"""Runs of points in time that say the same: what holds for many days is told, and computed, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from transforms.calendar import Days
from transforms.kernel import Members, Positions, Term, Values, extent_of
from transforms.running import Array, Running
from transforms.timeline import Runs


@dataclass(frozen=True)
class Stretches:
    """Points numbered one after another, in runs: `[start[i], start[i + 1])`. `day`: the local day of each one's first point.

    The points of a run are consecutive days, unless it has only one.
    """

    start: Positions
    day: Days

    def __len__(self) -> int:
        return len(self.day)

    @property
    def length(self) -> NDArray[np.int64]:
        """How many points each has."""
        return np.diff(self.start)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """The first and the last local day; 0 and 0 where there are none."""
        return extent_of(np.concatenate([self.day, self.day + self.length - 1]))

    def at(self, points: Positions) -> Positions:
        """Which of them holds each point; their number for the place after the last point."""
        found: Positions = np.searchsorted(self.start, points, side="right") - 1
        return found

    def joined(self, values: Values, apart: Positions) -> tuple[Stretches, Values]:
        """Neighbours with the same value as one. `apart`: points before which nothing is joined."""
        begins = np.ones(len(self), dtype=np.bool_)
        data = values.data.view(np.int64) if values.type == "number" else values.data  # 0.0 and -0.0 are two
        same = (values.present[1:] == values.present[:-1]) & ((data[1:] == data[:-1]) | ~values.present[1:])
        begins[1:] = ~same
        begins[self.at(apart[apart < self.start[-1]])] = True
        kept = np.flatnonzero(begins)
        return Stretches(np.append(self.start[kept], self.start[-1]), self.day[kept]), values.take(kept)


@dataclass(frozen=True)
class StretchRuns(Runs):
    """For each query the stretches of which points lie in `window[0] <= point < window[1]`; a value counts for each such point.

    `before`: the first point before the window that is looked at.
    """

    stretches: Stretches = field(kw_only=True)
    window: tuple[Positions, Positions] = field(kw_only=True)
    before: Positions = field(kw_only=True)

    @classmethod
    def of(
        cls, stretches: Stretches, before: Positions, low: Positions, high: Positions, shared: Running | None = None
    ) -> StretchRuns:
        """`before <= low <= high`: points."""
        some = high > low
        first, ahead = stretches.at(before), stretches.at(low)
        end = np.where(some, stretches.at(np.maximum(high - 1, low)) + 1, ahead)
        among = shared.among if shared else np.arange(len(stretches))
        return cls(among, first, ahead, end, shared=shared, stretches=stretches, window=(low, high), before=before)

    def take(self, which: Positions | slice) -> StretchRuns:
        low, high = self.window
        return StretchRuns.of(self.stretches, self.before[which], low[which], high[which], self.running)

    @property
    def earlier(self) -> StretchRuns:
        return StretchRuns.of(self.stretches, self.before, self.before, self.window[0], self.running)

    def counts(self, values: Values) -> NDArray[np.int64]:
        return self.lengths if values.whole else self._added_up(values, Term(0))

    def sums(self, values: Values, term: Term, day: Callable[[], Days]) -> Array:
        return self._added_up(values, term)

    def repeated(self, members: Members, data: Array) -> Array:
        low, high = (edge[members.query] for edge in self.window)
        start = self.stretches.start
        inside = np.minimum(start[members.positions + 1], high) - np.maximum(start[members.positions], low)
        repeated: Array = data * inside
        return repeated

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many points each window has."""
        low, high = self.window
        return high - low

    def _added_up(self, values: Values, term: Term) -> Array:
        """The term of every point of each window."""
        stretches = self.stretches
        number = np.append(term._replace(days=0).of(values, lambda: stretches.day), 0)
        first = np.append(stretches.day, 0) - term.since

        def of_points(at: Positions | slice, count: NDArray[np.int64]) -> Array:
            found: Array = number[at] * _powers_of_days(first[at], count, term.days)
            return found

        whole = self.running.totals(values, lambda: of_points(slice(0, -1), stretches.length), str(term))

        (low, before_low), (high, before_high) = self._edges
        found: Array = (whole[high] + of_points(high, before_high)) - (whole[low] + of_points(low, before_low))
        return found

    @cached_property
    def _edges(self) -> Sequence[tuple[Positions, NDArray[np.int64]]]:
        """Of where each window begins, and where it ends: the stretch, and how many of its points lie before."""
        at = [self.stretches.at(points) for points in self.window]
        return [(place, points - self.stretches.start[place]) for place, points in zip(at, self.window, strict=True)]


def _powers_of_days(first: Days, count: NDArray[np.int64], power: int) -> NDArray[np.int64]:
    """The sum of `day ** power` over `count` days, from the `first` on."""
    if power == 0:
        return count
    between = count * (count - 1) // 2  # 0 + 1 + ... up to the last one's distance from the first
    if power == 1:
        return count * first + between
    assert power == 2
    return count * first * first + 2 * first * between + between * (2 * count - 1) // 3
