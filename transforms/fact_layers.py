"""Later facts put among earlier ones: where each belongs is searched for, so that what is in order isn't sorted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from transforms.fact_order import Places, in_order, places_of


def merged(earlier: pa.Table, later: pa.Table, whole: Callable[[pa.Array], pa.Table], order: Sequence[str]) -> pa.Table:
    """The facts of both in the order of the columns `order`, which begin with `entity` and `at`, or with `clock` before these.

    `earlier`: in order, without the other columns of `order`, which only tell facts of one moment apart; `whole` gives some of
    its rows with them, by their positions. `later`: in any order, with all columns. Texts may be places in a dictionary.
    Columns out: those of `earlier`.
    """
    old, new = places_of(earlier, later)
    first, beyond = old.first_not_before(new), old.first_not_before(new, plus=1)
    # Earlier facts of the very moment of a later one move with it.
    changes = np.zeros(len(earlier) + 1, dtype=np.int64)
    np.add.at(changes, first, 1)
    np.add.at(changes, beyond, -1)
    moves = np.cumsum(changes[:-1]) > 0
    moved = np.flatnonzero(moves)
    rows, stay = later, earlier
    if len(moved):
        rows = pa.concat_tables([whole(pa.array(moved)), later], promote_options="default")
        stay = earlier.take(pa.array(np.flatnonzero(~moves)))
    begins = np.maximum.accumulate(np.where(old.repeats(), 0, np.arange(len(earlier))))  # of each, the first of its moment
    place = np.concatenate([begins[moved], first])
    group, at = (np.concatenate([mine[moved], theirs]) for mine, theirs in ((old.group, new.group), (old.at, new.at)))
    sorted_rows = in_order(rows, order, Places(group, at))
    before = np.concatenate([[0], np.cumsum(~moves)])  # of those that stay
    permutation = np.empty(len(stay) + len(rows), dtype=np.int64)
    is_row = np.zeros(len(permutation), dtype=np.bool_)
    is_row[before[place[sorted_rows]] + np.arange(len(rows))] = True
    permutation[is_row] = len(stay) + sorted_rows
    permutation[~is_row] = np.arange(len(stay))
    together = pa.concat_tables([stay, rows.select(earlier.column_names).cast(earlier.schema)])
    return together.unify_dictionaries().combine_chunks().take(pa.array(permutation))
