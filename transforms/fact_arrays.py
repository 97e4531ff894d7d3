"""Prepared facts as the kernel's arrays, whoever prepared them and wherever they were kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.errors import PublishError
from conf.specs import ColumnType
from transforms.calendar import Instants
from transforms.feature_group import Stream
from transforms.kernel import Facts, Values

CLOCK = "clock"
MOMENTS = ("at", "valid_from", "valid_until")
HOLDS = ("holds_from", "holds_until")  # on clocks for values of every day
ValueTypes = Mapping[str, Mapping[str, ColumnType]]  # by clock and value


def value_types(stream: Stream) -> ValueTypes:
    return {clock.name: {value.name: value.type for value in values} for clock, values in stream.clocks.items()}


def by_clock(facts: pa.Table) -> dict[str, pa.Table]:
    """The facts of each clock that has any, in their order."""
    named = facts[CLOCK].combine_chunks()
    if not pa.types.is_dictionary(named.type):
        named = named.dictionary_encode()
    places, names = named.indices.to_numpy(), named.dictionary.to_pylist()
    starts = np.flatnonzero(np.diff(places, prepend=-1))
    runs: dict[str, list[pa.Table]] = {}
    for start, end in pairwise([*starts.tolist(), len(places)]):
        runs.setdefault(names[places[start]], []).append(facts.slice(start, end - start))
    return {clock: pa.concat_tables(some) for clock, some in runs.items()}


class PreparedRows:
    """Prepared facts of a stream, those of each clock: by entity, at, known time and primary key.

    `types`: the values that are there, of the clocks that are asked for.
    """

    def __init__(self, tables: Mapping[str, pa.Table], types: ValueTypes) -> None:
        self._tables = tables
        self._types = types

    def entities(self, clock: str) -> pa.Array:
        """The entities that have facts on a clock, as texts, each once, in no order."""
        if clock not in self._tables:
            return pa.array([], pa.string())
        column = self._tables[clock]["entity"].combine_chunks()
        if not pa.types.is_dictionary(column.type):
            return column.unique()
        places = column.indices.to_numpy()
        return column.dictionary.take(pa.array(np.unique(places[np.diff(places, prepend=-1) != 0])))

    def facts(self, entities: pa.Array) -> Iterator[tuple[str, Facts]]:
        """The facts of the given entities (sorted by their bytes, without repeats) on each clock that has any of anybody.

        Raises PublishError where its rows are not in order: by entity, at, known time and primary key.
        """
        for clock, of_clock in self._types.items():
            part = self._tables.get(clock)
            if part is None:
                continue
            codes = _places(part["entity"].combine_chunks(), entities)
            if codes.null_count:
                part, codes = part.filter(codes.is_valid()), codes.drop_null()
            values = {name: _values(part[name].combine_chunks(), type_) for name, type_ in of_clock.items()}
            entity = codes.to_numpy(zero_copy_only=False).astype(np.int64)
            at, valid_from, valid_until = (part[name].to_numpy() for name in MOMENTS)
            step = np.diff(entity)
            if (step < 0).any() or (np.diff(at)[step == 0] < 0).any():
                raise PublishError(f"facts on clock {clock} are not in order; remove the lake's facts/ and run again")
            holds = {name: _moments(part, name) for name in HOLDS}
            yield clock, Facts(entity, at, valid_from, valid_until, values, **holds)


Prepared = Mapping[str, PreparedRows | None]
"""By stream; None where there are no facts."""


def entities_on(spines: Iterable[tuple[str, str]], prepared: Prepared) -> pa.Array:
    """The entities that have facts on any of the clocks, each of a stream, sorted by their bytes."""
    found = [rows.entities(clock) for stream, clock in dict.fromkeys(spines) if (rows := prepared[stream]) is not None]
    return found[0].sort() if len(found) == 1 else pa.chunked_array(found, pa.string()).unique().sort()


def facts_of(prepared: Prepared, entities: pa.Array) -> dict[tuple[str, str], Facts]:
    """By stream and clock, the facts of the given entities. Raises as `PreparedRows.facts` does."""
    there = {name: rows for name, rows in prepared.items() if rows is not None}
    return {(name, clock): facts for name, rows in there.items() for clock, facts in rows.facts(entities)}


def _moments(facts: pa.Table, name: str) -> Instants | None:
    """A column of moments; None where it isn't there, or always null."""
    if name not in facts.column_names or facts[name].null_count == len(facts):
        return None
    moments: Instants = facts[name].to_numpy()
    return moments


def _plain(column: pa.Array) -> pa.Array:
    """Texts as they are, which may have been read as places in a dictionary."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _places(column: pa.Array, among: pa.Array) -> pa.Array:
    """The place of each text among some, null where it isn't among them."""
    if pa.types.is_dictionary(column.type):
        return pc.index_in(column.dictionary, value_set=among).take(column.indices)
    return pc.index_in(column, value_set=among)


def _values(column: pa.Array, type_: ColumnType) -> Values:
    whole = column.null_count == 0
    present = np.ones(len(column), dtype=np.bool_) if whole else column.is_valid().to_numpy(zero_copy_only=False)
    if type_ == "string":
        words = _plain(column.drop_null().unique()).sort()
        codes = _filled(_places(column, words), 0) if len(words) else pa.array(np.zeros(len(column), dtype=np.int32))
        return Values(type_, codes.to_numpy(zero_copy_only=False).astype(np.int64), present, tuple(words.to_pylist()))
    if type_ == "boolean":
        return Values(type_, _filled(column, False).to_numpy(zero_copy_only=False), present)
    return Values(type_, _filled(column, 0).to_numpy(zero_copy_only=False), present)


def _filled(column: pa.Array, value: int | bool) -> pa.Array:
    """Without nulls; as it is where it has none, which spares a copy."""
    return column.fill_null(value) if column.null_count else column
