"""A bucket's facts as a Parquet file: of many facts each clock has row groups of its own, and is read with its own columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.fact_arrays import CLOCK, by_clock

_CLOCKS = "etr.clocks"  # in a file's metadata: the clock of each row group
_MANY = 1_000  # rows a clock, from where its own row groups spare more than they cost
_ROWS_A_GROUP = 1_000_000


def write_facts(stream: BinaryIO, tables: Mapping[str, pa.Table], *, differ: Sequence[str]) -> None:
    """`tables`: of each clock, at least one, with their `clock`. `differ`: the columns that are another from fact to fact."""
    rows = pa.concat_tables(tables.values())
    apart = len(rows) >= _MANY * len(tables)
    parts = [(clock, part) for clock, table in tables.items() for part in _cut(table)] if apart else []
    # No dictionaries of what differs: files are smaller without, and read in two thirds of the time. They are read every night:
    # in three fifths of the time that zstd takes. Nobody looks for a range of values.
    with pq.ParquetWriter(
        stream,
        rows.schema,
        compression="lz4",
        use_dictionary=[name for name in rows.column_names if name not in differ],
        write_statistics=False,
        store_schema=False,
    ) as writer:
        for part in [part for _, part in parts] or [rows]:
            writer.write_table(part, row_group_size=_ROWS_A_GROUP)
        if parts:
            writer.add_key_value_metadata({_CLOCKS: json.dumps([clock for clock, _ in parts])})


def _cut(rows: pa.Table) -> list[pa.Table]:
    return [rows.slice(start, _ROWS_A_GROUP) for start in range(0, len(rows), _ROWS_A_GROUP)]


def read_facts(stream: BinaryIO, columns: Mapping[str, Sequence[str]], texts: Sequence[str]) -> dict[str, pa.Table]:
    """Of each of the clocks that has facts, its columns, in the order of the file. `texts`: come as places in a dictionary."""
    # A third of the time that `read_table` takes for a small file.
    file = pq.ParquetFile(stream, read_dictionary=list(texts), pre_buffer=True)
    told = (file.metadata.metadata or {}).get(_CLOCKS.encode())
    if told is None:
        wanted = list(dict.fromkeys([CLOCK, *(name for names in columns.values() for name in names)]))
        found = by_clock(_in_utc(file.read(wanted, use_threads=False)))
        return {clock: found[clock].select(names) for clock, names in columns.items() if clock in found}
    clocks = json.loads(told)
    tables = {}
    for clock, names in columns.items():
        groups = [number for number, one in enumerate(clocks) if one == clock]
        if groups:
            tables[clock] = _in_utc(file.read_row_groups(groups, list(names), use_threads=False)).select(names)
    return tables


def _in_utc(rows: pa.Table) -> pa.Table:
    """Keys that are timestamps come in the zone that their writer names, which is UTC by one name or another."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_timestamp(field.type):
            rows = rows.set_column(number, field.name, rows[field.name].cast(pa.timestamp("us", tz="UTC")))
    return rows
