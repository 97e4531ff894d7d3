"""Answers queries: the facts of a bucket and the queries of its entities in, a table with a group's columns out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from transforms.calendar import iso_utc
from transforms.derived import derive
from transforms.feature_group import LIFETIME, Column, CompiledGroup
from transforms.kernel import Facts, Queries, Timeline
from transforms.operations import OPERATIONS, Answer, build_operation

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
MAXIMUM_ROWS = 200_000  # answered at once: bounds a task's memory whatever the number of days


def arrow_type(column: Column) -> pa.DataType:
    """The type of a snapshot's column."""
    return pa.decimal128(column.decimal_digits, 2) if column.type == "money" else ARROW_TYPES[column.type]


def snapshot_schema(group: CompiledGroup) -> pa.Schema:
    """The columns of a snapshot's files: `as_of` and `snapshot_version` are in the partition's name instead."""
    fields = [
        pa.field(group.entity, pa.string(), nullable=False),
        pa.field("event_time", pa.string(), nullable=False),
        pa.field("time_zone", pa.string(), nullable=False),
        pa.field("has_history", pa.bool_(), nullable=False),
    ]
    return pa.schema([*fields, *(pa.field(column.name, arrow_type(column)) for column in group.columns)])


FactTables = Mapping[tuple[str, str], Facts]  # by stream and clock


def on_spine(group: CompiledGroup, facts: FactTables, queries: Queries, zone: str) -> Queries:
    """Those of the queries whose entity must get a row: it has a row of the spine that counts at T."""
    stream, clock, value = group.spine
    there = _any(facts, (stream, clock, value), queries, zone)
    return Queries(queries.entity[there], queries.as_of[there], queries.cut_off[there])


def answer(group: CompiledGroup, facts: FactTables, queries: Queries, entities: pa.Array, zone: str) -> Iterator[pa.Table]:
    """Tables with `snapshot_schema(group)`, one row a query, in order of entity; in pieces of bounded size.

    `queries` sorted by entity; their codes are positions in `entities`. A missing table of facts means no facts.
    """
    for start in range(0, len(queries), MAXIMUM_ROWS):
        yield _answer(group, facts, queries.slice(start, start + MAXIMUM_ROWS), entities, zone)


def _answer(group: CompiledGroup, facts: FactTables, queries: Queries, entities: pa.Array, zone: str) -> pa.Table:
    timelines: dict[tuple[str, str], Timeline] = {}
    columns: dict[str, pa.Array] = {}
    for item in group.windows:
        place = (item.stream, item.clock)
        if place not in facts:
            columns[item.column.name] = _empty(item.column, len(queries))
            continue
        if place not in timelines:
            timelines[place] = Timeline(facts[place], queries, zone)
        timeline = timelines[place]
        values = timeline.facts.values[item.value]
        selection = timeline.select(item.window, lag=item.lag, ahead=item.ahead)
        assert item.column.op is not None
        result = build_operation(item.column.op, {}).answer(selection, values)
        columns[item.column.name] = to_arrow(result, item.column, result.words or values.words)
    history = np.zeros(len(queries), dtype=np.bool_)
    for presence in group.presence:
        history |= _any(facts, presence, queries, zone)
    told = derive(pa.table(columns) if columns else pa.table({"_rows": pa.nulls(len(queries))}), group.derived)
    moments, place_of = np.unique(queries.cut_off, return_inverse=True)
    event_times = pa.array([iso_utc(moment) for moment in moments]).take(pa.array(place_of))
    schema = snapshot_schema(group)
    arrays = {
        group.entity: entities.take(pa.array(queries.entity)),
        "event_time": event_times,
        "time_zone": pa.repeat(zone, len(queries)),
        "has_history": pa.array(history),
    }
    for column in group.columns:
        arrays[column.name] = told[column.name].combine_chunks()
    return pa.table({field.name: arrays[field.name].cast(field.type) for field in schema}, schema=schema)


def _any(facts: FactTables, presence: tuple[str, str, str], queries: Queries, zone: str) -> NDArray[np.bool_]:
    """Whether each query's entity has any fact of an input before T."""
    stream, clock, value = presence
    if (stream, clock) not in facts:
        return np.zeros(len(queries), dtype=np.bool_)
    timeline = Timeline(facts[(stream, clock)], queries, zone)
    return timeline.select(LIFETIME).count(timeline.facts.values[value]) > 0


def _empty(column: Column, rows: int) -> pa.Array:
    """What a column says where there are no facts at all."""
    assert column.op is not None
    empty = OPERATIONS[column.op].empty
    if empty == "null":
        return pa.nulls(rows, arrow_type(column))
    return pa.repeat(pa.scalar(False if empty == "false" else 0).cast(arrow_type(column)), rows)


def to_arrow(answer: Answer, column: Column, words: tuple[str, ...] = ()) -> pa.Array:
    """An answer in kernel units as the column's type."""
    absent = ~answer.present
    match column.type:
        case "money":
            return _cents_to_decimal(answer.data.astype(np.int64), absent, column.decimal_digits)
        case "string":
            codes = pa.array(answer.data.astype(np.int32), mask=absent)
            return pa.array(words, pa.string()).take(codes)
        case "boolean":
            return pa.array(answer.data.astype(np.bool_), mask=absent)
        case "date":
            return pa.array(answer.data.astype(np.int32), pa.int32(), mask=absent).cast(pa.date32())
        case "timestamp":
            return pa.array(answer.data.astype(np.int64), pa.int64(), mask=absent).cast(pa.timestamp("us", tz="UTC"))
        case "number":
            return pa.array(answer.data.astype(np.float64), mask=absent)
        case _:
            return pa.array(answer.data.astype(np.int64), mask=absent)


def _cents_to_decimal(cents: NDArray[np.int64], absent: NDArray[np.bool_], digits: int) -> pa.Array:
    """Exact: the 128-bit form of a decimal is its cents, sign-extended."""
    halves: NDArray[Any] = np.empty((len(cents), 2), dtype="<i8")
    halves[:, 0] = cents
    halves[:, 1] = cents >> 63
    valid = pa.array(~absent).buffers()[1]
    return pa.Array.from_buffers(pa.decimal128(digits, 2), len(cents), [valid, pa.py_buffer(halves.tobytes())])
