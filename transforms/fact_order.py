"""The order of facts at rest, as positions: by clock, entity and moment first, whose ties alone are looked at more closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from transforms.kernel import stable_order
from transforms.timeline import first_not_before

Positions = NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Of some facts whose they are, as a number that ascends with clock and entity, and when they were."""

    group: Positions
    at: Positions

    def take(self, which: Positions) -> Places:
        return Places(self.group[which], self.at[which])

    def repeats(self) -> NDArray[np.bool_]:
        """Whether each is of the same clock, entity and moment as the one before it."""
        same = (self.group[1:] == self.group[:-1]) & (self.at[1:] == self.at[:-1])
        return np.concatenate([[False], same])[: len(self.at)]

    def first_not_before(self, others: Places, *, plus: int = 0) -> Positions:
        """Of each of the others, the first of these, which are in order, that doesn't come before it, or before so much later."""
        low = np.searchsorted(self.group, others.group, side="left")
        high = np.searchsorted(self.group, others.group, side="right")
        return first_not_before(self.at, low, high, others.at + plus)


def places_of(*facts: pa.Table) -> list[Places]:
    """Those of each table, comparable to one another; without a column `clock` all are of one. Texts may be places in a
    dictionary."""
    groups = _ranks([table["entity"] for table in facts])
    if "clock" in facts[0].column_names:
        width = max((int(ranks.max(initial=-1)) for ranks in groups), default=-1) + 1
        clocks = _ranks([table["clock"] for table in facts])
        groups = [clock * width + entity for clock, entity in zip(clocks, groups, strict=True)]
    return [Places(group, table["at"].to_numpy()) for group, table in zip(groups, facts, strict=True)]


def in_order(facts: pa.Table, order: Sequence[str], places: Places) -> Positions:
    """The positions of facts in the order of the columns `order`, which begin with `entity` and `at`, or with `clock` before
    these; nulls last."""
    found: Positions = np.argsort(places.at, kind="stable")
    found = found[stable_order(places.group[found])]
    repeats = places.take(found).repeats()
    if repeats.any():
        slots = np.flatnonzero(repeats | np.append(repeats[1:], False))
        tied = found[slots]
        some = facts.select([name for name in order if name not in ("clock", "entity")]).take(pa.array(tied))
        some = some.add_column(0, "group", pa.array(places.group[tied]))
        found[slots] = tied[pc.sort_indices(some, sort_keys=[(name, "ascending") for name in some.column_names]).to_numpy()]
    return found


def _ranks(columns: Sequence[pa.ChunkedArray]) -> list[Positions]:
    """Of each text its place among all of them, sorted by their bytes."""
    chunks = [[_encoded(chunk) for chunk in column.chunks] for column in columns]
    words = [chunk.dictionary for some in chunks for chunk in some]
    among = pa.chunked_array(words, pa.string()).unique().sort()
    none = np.zeros(0, dtype=np.int64)
    return [np.concatenate([none, *(_rank(chunk, among) for chunk in some)]) for some in chunks]


def _encoded(chunk: pa.Array) -> pa.DictionaryArray:
    return chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()


def _rank(chunk: pa.DictionaryArray, among: pa.Array) -> Positions:
    of_word: Positions = pc.index_in(chunk.dictionary, value_set=among).to_numpy(zero_copy_only=False).astype(np.int64)
    found: Positions = of_word[chunk.indices.to_numpy(zero_copy_only=False)]
    return found
