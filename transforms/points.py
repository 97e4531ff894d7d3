"""The facts that hold at points in time: each fact at a run of points, and what an operation says at each point."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.asked import MAXIMUM_LOOKS, runs_within
from transforms.calendar import Days
from transforms.kernel import Mask, Members, Positions, Selection, Term, Values, expand


@dataclass(frozen=True)
class Spans:
    """Facts and the points at which each counts: `positions[i]` at the points `[low[i], high[i])`.

    A point belongs to one group, and a fact in several groups has a span in each. The spans of a group are in order, oldest fact
    first; `group` is ascending.
    """

    group: Positions
    positions: Positions
    low: Positions
    high: Positions

    def take(self, which: Mask | Positions | slice) -> Spans:
        return Spans(self.group[which], self.positions[which], self.low[which], self.high[which])

    def clipped(self, low: Positions | np.int64, high: Positions | np.int64) -> Spans:
        """At points of `[low, high)` only. Spans that hold no point are gone."""
        clipped = replace(self, low=np.maximum(self.low, low), high=np.minimum(self.high, high))
        return clipped.take(clipped.low < clipped.high)

    def added_up(self, numbers: NDArray[Any], points: int) -> NDArray[Any]:
        """At each point, the sum of the numbers of the spans that hold it. An int64 may wrap round on the way, exactly."""
        change = np.zeros(points + 1, dtype=numbers.dtype)
        np.add.at(change, self.low, numbers)
        np.subtract.at(change, self.high, numbers)
        return np.cumsum(change)[:-1]

    def newest_of_each(self, key: NDArray[np.int64] | np.int64) -> Spans:
        """At each point only the newest of each `key` (one a span, from 0; or one of all)."""
        chain = self.group * (int(np.max(key, initial=0)) + 1) + key  # the spans of one group and key
        order = np.argsort(chain, kind="stable")
        spans, chain = self.take(order), chain[order]
        follows = np.concatenate([chain[1:] == chain[:-1], [False]])[: len(chain)]  # by a newer one
        next_low, next_high = np.roll(spans.low, -1), np.roll(spans.high, -1)
        # Nearly always the newer one begins later and ends later: then it takes over where it begins.
        tangled = np.isin(chain, chain[follows & ((next_low < spans.low) | (next_high < spans.high))])
        until = np.where(follows, np.minimum(spans.high, next_low), spans.high)
        simple = replace(spans, high=until).take(~tangled & (spans.low < until))
        return Spans._joined([simple, *spans.take(tangled)._at_each_point(chain[tangled])])

    def _at_each_point(self, chain: NDArray[np.int64]) -> Iterator[Spans]:
        """The newest of each chain at each point, found by looking at every point. `chain` ascends."""
        starts = np.flatnonzero(np.diff(chain, prepend=-1))
        ends = np.concatenate([starts[1:], [len(chain)]]).astype(np.int64)
        points = np.add.reduceat(self.high - self.low, starts) if len(starts) else starts
        for first, last in runs_within(points, MAXIMUM_LOOKS):
            if last == first:
                continue
            part = self.take(slice(starts[first], ends[last - 1]))
            index, point = expand(part.low, part.high)
            place = chain[starts[first] : ends[last - 1]][index] * (int(point.max()) + 1) + point
            newest = len(index) - 1 - np.unique(place[::-1], return_index=True)[1]
            found = part.take(index[newest])
            yield replace(found, low=point[newest], high=point[newest] + 1)

    @staticmethod
    def _joined(parts: Sequence[Spans]) -> Spans:
        group, positions, low, high = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("group", "positions", "low", "high")
        )
        return Spans(group, positions, low, high)

    def in_order(self) -> Spans:
        """By group, then position."""
        return self.take(np.lexsort((self.low, self.positions, self.group)))


class PointSelection(Selection):
    """The facts at each point. `day`: the local day of each fact. None lies before a point's."""

    def __init__(self, as_of: Days, day: Days, spans: Spans) -> None:
        self.as_of = as_of
        self._day = day
        self._spans = spans

    @property
    def day(self) -> Days:
        return self._day

    @property
    def earlier(self) -> Selection:
        return PointSelection(self.as_of, self._day, self._spans.take(slice(0, 0)))

    def slice(self, start: int, end: int) -> PointSelection:
        inside = self._spans.clipped(np.int64(start), np.int64(end))
        return PointSelection(self.as_of[start:end], self._day, replace(inside, low=inside.low - start, high=inside.high - start))

    def cost(self, *, walks: bool, history: bool) -> NDArray[np.int64]:
        count = np.full(len(self._spans.low), 1 if walks else 0)
        return self._spans.added_up(count, len(self))

    @cached_property
    def everything(self) -> Members:
        span, point = expand(self._spans.low, self._spans.high)
        order = np.argsort(point, kind="stable")
        return Members.of(point[order], self._spans.positions[span[order]], len(self))

    def count(self, values: Values) -> NDArray[np.int64]:
        return self._spans.added_up(values.present[self._spans.positions].astype(np.int64), len(self))

    @property
    def most(self) -> int:
        return int(self.cost(walks=True, history=False).max(initial=0))

    def sum_of(self, values: Values, term: Term) -> NDArray[Any]:
        return self._spans.added_up(term.of(values, lambda: self.day)[self._spans.positions], len(self))

    def newest(self, values: Values) -> Positions:
        return self._at_each_point(self._with(values).newest_of_each(np.int64(0)))

    def oldest(self, values: Values) -> Positions:
        return self._at_each_point(self._with(values).take(slice(None, None, -1)).newest_of_each(np.int64(0)))

    def _with(self, values: Values) -> Spans:
        """The spans of facts with a value."""
        return self._spans.take(values.present[self._spans.positions])

    def _at_each_point(self, spans: Spans) -> Positions:
        """The position of the one fact that holds at each point; -1 where none does."""
        found = np.full(len(self), -1)
        span, point = expand(spans.low, spans.high)
        found[point] = spans.positions[span]
        return found
