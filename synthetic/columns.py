"""Rows as columns: a dict of equally long arrays. Ids, money (cents), times, days and words are all int64 codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.clock import Ints

Columns = dict[str, Any]


def row_count(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def take(columns: Columns, which: NDArray[Any]) -> Columns:
    """The rows that a mask or an index names, in its order."""
    return {name: values[which] for name, values in columns.items()}


def concat(parts: Sequence[Columns]) -> Columns:
    """The rows of all parts, one after another; all have the same columns."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def rank_within(group: Ints) -> Ints:
    """0, 1, 2, … for the rows of each group, in the order in which they stand."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(group) else np.array([], np.int64)
    lengths = np.diff(np.append(starts, len(group)))
    rank = np.empty(len(group), np.int64)
    rank[order] = np.arange(len(group)) - np.repeat(starts, lengths)
    return rank
