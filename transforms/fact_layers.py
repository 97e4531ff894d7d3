"""Later facts put among earlier ones: where each belongs is searched for, so that what is in order isn't sorted again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.timeline import first_not_before

Positions = NDArray[np.int64]


def merged(earlier: pa.Table, later: pa.Table, whole: Callable[[pa.Array], pa.Table], order: Sequence[str]) -> pa.Table:
    """The facts of both in the order of the columns `order`, which begin with `clock`, `entity` and `at`.

    `earlier`: in order, without the other columns of `order`, which only tell facts of one moment apart; `whole` gives some of
    its rows with them, by their positions. `later`: in any order, with all columns. Texts may be places in a dictionary.
    Columns out: those of `earlier`.
    """
    old, new = _places(earlier, later)
    first = old.first_not_before(new)
    beyond = old.first_not_before(new, plus=1)
    tied = np.zeros(len(earlier) + 1, dtype=np.int64)
    np.add.at(tied, first, 1)
    np.add.at(tied, beyond, -1)
    is_tied = np.cumsum(tied[:-1]) > 0
    moved = np.flatnonzero(is_tied)
    others = earlier if not len(moved) else earlier.take(pa.array(np.flatnonzero(~is_tied)))
    rows = later
    if len(moved):
        rows = pa.concat_tables([whole(pa.array(moved)), later], promote_options="default")
    # Of those earlier ones that move, the place is that of the first of its moment.
    is_first = np.concatenate([[True], (old.group[1:] != old.group[:-1]) | (old.at[1:] != old.at[:-1])])[: len(old.at)]
    first_of_moment = np.maximum.accumulate(np.where(is_first, np.arange(len(old.at)), 0))
    place = np.concatenate([first_of_moment[moved], first])
    group = np.concatenate([old.group[moved], new.group])
    in_order = _sorted(rows, group, order)
    stay_before = np.concatenate([[0], np.cumsum(~is_tied)])
    place = stay_before[place[in_order]]
    taken = np.zeros(len(others) + len(rows), dtype=np.bool_)
    taken[place + np.arange(len(rows))] = True
    permutation = np.empty(len(taken), dtype=np.int64)
    permutation[taken] = len(others) + in_order
    permutation[~taken] = np.arange(len(others))
    together = pa.concat_tables([others, rows.select(earlier.column_names).cast(earlier.schema)])
    return together.unify_dictionaries().combine_chunks().take(pa.array(permutation))


@dataclass(frozen=True)
class _Places:
    """Of some facts whose they are, as a number that ascends with clock and entity, and when they were."""

    group: Positions
    at: Positions

    def first_not_before(self, others: _Places, *, plus: int = 0) -> Positions:
        """Of each of the others, the first of these, which are in order, that doesn't come before it, or before so much later."""
        low = np.searchsorted(self.group, others.group, side="left")
        high = np.searchsorted(self.group, others.group, side="right")
        return first_not_before(self.at, low, high, others.at + plus)


def _places(earlier: pa.Table, later: pa.Table) -> tuple[_Places, _Places]:
    clocks, entities = (_ranks(earlier[name], later[name]) for name in ("clock", "entity"))
    width = max((int(ranks.max(initial=-1)) for ranks in entities), default=-1) + 1
    groups = [clock * width + entity for clock, entity in zip(clocks, entities, strict=True)]
    old, new = (_Places(group, table["at"].to_numpy()) for group, table in zip(groups, (earlier, later), strict=True))
    return old, new


def _ranks(*columns: pa.ChunkedArray) -> list[Positions]:
    """Of each text its place among all of them, sorted by their bytes."""
    words = [_words(chunk) for column in columns for chunk in column.chunks]
    among = pa.chunked_array(words, pa.string()).unique().sort()
    return [
        np.concatenate([np.zeros(0, dtype=np.int64), *(_rank(chunk, among) for chunk in column.chunks)]) for column in columns
    ]


def _words(chunk: pa.Array) -> pa.Array:
    return chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk.unique()


def _rank(chunk: pa.Array, among: pa.Array) -> Positions:
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    of_word: Positions = pc.index_in(chunk.dictionary, value_set=among).to_numpy(zero_copy_only=False).astype(np.int64)
    found: Positions = of_word[chunk.indices.to_numpy(zero_copy_only=False)]
    return found


def _sorted(rows: pa.Table, group: Positions, order: Sequence[str]) -> Positions:
    named = {"group": pa.array(group), **{name: rows[name] for name in order if name not in ("clock", "entity")}}
    in_order = pc.sort_indices(pa.table(named), sort_keys=[(name, "ascending") for name in named])
    found: Positions = in_order.to_numpy().astype(np.int64)
    return found
