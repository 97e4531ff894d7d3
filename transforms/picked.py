"""Selections made from a selection: only the newest fact of each value of a column, or apart by the value of a column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transforms.calendar import Days
from transforms.kernel import Members, Positions, Selection, Values


class Picked(Selection):
    """Facts picked one by one from another selection's. `earlier`: the members that lie before each query's window."""

    def __init__(self, source: Selection, as_of: Days, members: Members, earlier: Members | None = None) -> None:
        self.as_of = as_of
        self._source = source
        self._members = members
        self._earlier = earlier

    @property
    def day(self) -> Days:
        return self._source.day

    @property
    def everything(self) -> Members:
        return self._members

    def slice(self, start: int, end: int) -> Picked:
        earlier = self._earlier.slice(start, end) if self._earlier else None
        return Picked(self._source, self.as_of[start:end], self._members.slice(start, end), earlier)

    def cost(self, *, walks: bool, history: bool) -> NDArray[np.int64]:
        return self._members.counts

    @property
    def earlier(self) -> Selection:
        nothing = np.zeros(0, dtype=np.int64)
        return Picked(self, self.as_of, self._earlier or Members.of(nothing, nothing, len(self)))


def newest_of_each(facts: Selection, column: Values) -> Selection:
    """Of the facts with a value of `column`, only the newest of each value. None of them lies before another's window."""
    members = facts.members(column)
    _, last = np.unique(_keys(members, column)[::-1], return_index=True)
    newest = np.zeros(len(members.positions), dtype=np.bool_)
    newest[len(newest) - 1 - last] = True
    return Picked(facts, facts.as_of, members.keep(newest))


@dataclass(frozen=True)
class Parts:
    """A selection taken apart: `facts` has a query for each query of the whole (`whole`) and each value that it has (`code`).

    Sorted by `whole`, then `code`: a position in the words of the column.
    """

    facts: Selection
    whole: Positions
    code: Positions


def apart(facts: Selection, column: Values, values: Values, weights: Values | None, *, history: bool) -> Parts:
    """The facts with a value (and weight) apart by the value of `column`; facts without one are left out.

    `history`: whether the facts before the window are wanted, too.
    """
    codes = max(len(column.words), 1)
    members = _with(facts.members(values, weights), column)
    key = _keys(members, column)
    parts, part = np.unique(key, return_inverse=True)
    order = np.argsort(part, kind="stable")
    inside = Members.of(part[order], members.positions[order], len(parts))
    before = None
    if history:
        members = _with(facts.earlier.members(values, weights), column)
        key = _keys(members, column)
        part = np.searchsorted(parts, key)
        there = np.flatnonzero(parts[np.minimum(part, len(parts) - 1)] == key) if len(parts) else part[:0]
        order = there[np.argsort(part[there], kind="stable")]
        before = Members.of(part[order], members.positions[order], len(parts))
    whole = parts // codes
    return Parts(Picked(facts, facts.as_of[whole], inside, before), whole, parts % codes)


def _with(members: Members, column: Values) -> Members:
    return members.keep(column.present[members.positions])


def _keys(members: Members, column: Values) -> Positions:
    """A number for each query and value of `column` (a string column: its codes)."""
    keys: Positions = members.query * max(len(column.words), 1) + column.data[members.positions]
    return keys
