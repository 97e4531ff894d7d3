"""Prepared facts as the kernel's arrays, whoever prepared them and wherever they were kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.errors import PublishError
from conf.specs import ColumnType
from transforms.feature_group import Stream
from transforms.kernel import Facts, Values

CLOCK_COLUMNS = ("clock", "entity", "at", "valid_from", "valid_until", "holds_from", "holds_until")
ValueTypes = Mapping[str, Mapping[str, ColumnType]]  # by clock and value


def value_types(stream: Stream) -> ValueTypes:
    return {clock.name: {value.name: value.type for value in values} for clock, values in stream.clocks.items()}


def facts_by_clock(table: pa.Table, stream: Stream, entities: pa.Array) -> dict[tuple[str, str], Facts]:
    """By stream and clock, the facts of the given entities; see `facts_on_clocks`."""
    return {(stream.name, clock): facts for clock, facts in facts_on_clocks(table, value_types(stream), entities)}


def facts_on_clocks(table: pa.Table, types: ValueTypes, entities: pa.Array) -> Iterator[tuple[str, Facts]]:
    """Each clock's facts of the given entities (sorted by their bytes, without repeats), from a table as it was prepared.

    Raises PublishError where its rows are not in order: by clock, entity, at, known time and primary key.
    """
    clocks = _Clocks(table)
    for clock, of_clock in types.items():
        part = clocks.rows(clock)
        codes = _places(part["entity"].combine_chunks(), entities)
        if codes.null_count:
            part, codes = part.filter(codes.is_valid()), codes.drop_null()
        values = {name: _values(part[name].combine_chunks(), type_) for name, type_ in of_clock.items()}
        entity = codes.to_numpy(zero_copy_only=False).astype(np.int64)
        at, valid_from, valid_until = (part[name].to_numpy() for name in ("at", "valid_from", "valid_until"))
        step = np.diff(entity)
        if (step < 0).any() or (np.diff(at)[step == 0] < 0).any():
            raise PublishError(f"facts on clock {clock} are not in order; remove the lake's facts/ and run again")
        holds = (None if part[name].null_count == len(part) else part[name].to_numpy() for name in ("holds_until", "holds_from"))
        yield clock, Facts(entity, at, valid_from, valid_until, values, *holds)


def entities_with_facts(tables: Iterable[tuple[pa.Table | None, str]]) -> pa.Array:
    """The entities that have facts in any of the tables, on the clock named beside it, sorted by their bytes."""
    there = [(table, clock) for table, clock in tables if table is not None]
    found = [_plain(_Clocks(table).rows(clock)["entity"].combine_chunks().unique()) for table, clock in there]
    return pa.chunked_array(found, pa.string()).unique().sort()


class _Clocks:
    """The rows of a table apart by clock: those of one lie together, as they were prepared."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        named = table["clock"].combine_chunks()
        if not pa.types.is_dictionary(named.type):
            named = named.dictionary_encode()
        places = named.indices.to_numpy()
        starts = np.flatnonzero(np.diff(places, prepend=-1))
        names = named.dictionary.to_pylist()
        self._runs: dict[str, list[tuple[int, int]]] = {}
        for start, end in pairwise([*starts.tolist(), len(places)]):
            self._runs.setdefault(names[places[start]], []).append((start, end))

    def rows(self, clock: str) -> pa.Table:
        runs = self._runs.get(clock, [])
        if len(runs) == 1 and runs[0] == (0, len(self.table)):
            return self.table
        return pa.concat_tables([self.table.slice(start, end - start) for start, end in runs] or [self.table.slice(0, 0)])


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
