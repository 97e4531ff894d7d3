"""What running over facts in order gives: totals, the newest and oldest with a value, extremes of runs. Kept for all windows."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.kernel import Positions, Values

ROOM = 64 * 2**20  # bytes that are kept of one timeline's facts; what doesn't fit is computed again
_BLOCK = 32
_SHORT = 2 * _BLOCK  # a longer run holds a whole block wherever it begins

Array = NDArray[Any]


class Kept:
    """Arrays computed of values, each once while there is room. `room`: bytes."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._arrays: dict[Hashable, tuple[Values, Array]] = {}

    def get(self, called: str, values: Values, compute: Callable[[], Array]) -> Array:
        """What is computed of some values, under a name."""
        key = (called, id(values))
        if key in self._arrays:
            return self._arrays[key][1]
        made = compute()
        if made.nbytes <= self._room:
            self._room -= made.nbytes
            self._arrays[key] = (values, made)  # the values too, so that no others take their id
        return made


class Running:
    """Some facts of a timeline, those at the positions `among`, the oldest of each entity first.

    Totals begin with 0, so that those of a run `[low, high)` are `totals[high] - totals[low]`.
    """

    def __init__(self, among: Positions) -> None:
        self.among = among
        self._kept = Kept(ROOM)

    def counts(self, values: Values) -> NDArray[np.int64]:
        """How many facts have a value."""
        return self._kept.get("count", values, lambda: totals(self.of(values.present).astype(np.int64)))

    def totals(self, values: Values, numbers: Callable[[], Array], called: str) -> Array:
        """Of a number of each fact, made of its values, 0 where it has none: those `called` the same are the same."""
        return self._kept.get(called, values, lambda: totals(self.of(numbers())))

    def newest(self, values: Values) -> Positions:
        """Of the facts before each place, the place of the newest with a value; -1 where there is none."""

        def compute() -> Positions:
            there = self.of(values.present)
            places = np.maximum.accumulate(np.where(there, np.arange(len(there)), -1))
            return np.concatenate([[-1], places])

        return self._kept.get("newest", values, compute)

    def oldest(self, values: Values) -> Positions:
        """Of the facts from each place on, the place of the oldest with a value; their number where there is none."""

        def compute() -> Positions:
            there = self.of(values.present)
            places = np.where(there, np.arange(len(there)), len(there))
            return np.concatenate([np.minimum.accumulate(places[::-1])[::-1], [len(there)]])

        return self._kept.get("oldest", values, compute)

    def extreme(self, ufunc: np.ufunc, values: Values, low: Positions, high: Positions) -> Array:
        """`ufunc` over the values of each run, whatever where a run has none. `ufunc`: minimum, maximum or bitwise_or."""
        nothing = nothing_for(ufunc, values.data.dtype)

        def compute() -> Array:
            data = np.where(values.present, values.data, nothing)
            return np.append(self.of(data), np.full(_BLOCK + 1 - len(self.among) % _BLOCK, nothing, dtype=data.dtype))

        data = self._kept.get(ufunc.__name__, values, compute)
        found = np.full(len(low), nothing, dtype=data.dtype)
        length = high - low
        short, long = np.flatnonzero((length > 0) & (length <= _SHORT)), np.flatnonzero(length > _SHORT)
        if len(short):
            found[short] = _of_short_runs(ufunc, data, low[short], high[short])
        if len(long):
            found[long] = self._of_long_runs(ufunc, values, data, low[long], high[long])
        return found

    def _of_long_runs(self, ufunc: np.ufunc, values: Values, data: Array, low: Positions, high: Positions) -> Array:
        """What is left of the first block, what is begun of the last, and of whole blocks two overlapping powers of two."""
        blocks = data[: len(data) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
        name = ufunc.__name__
        begun = self._kept.get(f"{name} begun", values, lambda: ufunc.accumulate(blocks, axis=1).ravel())
        left = self._kept.get(f"{name} left", values, lambda: ufunc.accumulate(blocks[:, ::-1], axis=1)[:, ::-1].ravel())
        first, last = low // _BLOCK + 1, (high - 1) // _BLOCK  # whole blocks: [first, last)
        found = ufunc(left[low], begun[high - 1])
        level = begun[_BLOCK - 1 :: _BLOCK]
        span = 1
        while (inside := last - first >= span).any():
            which = np.flatnonzero(inside & (last - first < 2 * span))
            here = ufunc(level[first[which]], level[last[which] - span])
            found[which] = ufunc(found[which], here)
            level = np.append(ufunc(level[:-span], level[span:]), level[-span:])
            span *= 2
        return np.asarray(found)

    def of(self, data: Array) -> Array:
        """Those of these facts, of all of a timeline's."""
        return data if len(self.among) == len(data) else data[self.among]


def totals(numbers: Array) -> Array:
    """Running totals, beginning with 0. An int64 may wrap round; the difference of two is exact all the same."""
    made = np.empty(len(numbers) + 1, dtype=numbers.dtype)
    made[0] = 0
    np.cumsum(numbers, out=made[1:])
    return made


def _of_short_runs(ufunc: np.ufunc, data: Array, low: Positions, high: Positions) -> Array:
    """One after another. What lies between a run and the next is reduced for nothing, so they are taken in order."""
    order = None
    if len(low) > 1 and (np.diff(low) < 0).any():
        order = np.argsort(low, kind="stable")
        low, high = low[order], high[order]
    edges = np.empty(2 * len(low), dtype=np.int64)
    edges[::2], edges[1::2] = low, high
    reduced: Array = ufunc.reduceat(data, edges)[::2]
    if order is None:
        return reduced
    found = np.empty_like(reduced)
    found[order] = reduced
    return found


def nothing_for(ufunc: np.ufunc, dtype: np.dtype[Any]) -> Any:
    """What changes nothing."""
    if ufunc in (np.bitwise_or, np.add):
        return dtype.type(0)
    if dtype.kind == "f":
        return dtype.type(np.inf if ufunc is np.minimum else -np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.max if ufunc is np.minimum else limits.min)
