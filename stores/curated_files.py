"""A curated table's Parquet files: written where the rows are, one run of files a month, and committed to Delta together."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.schema import Field, Schema
from deltalake.transaction import AddAction

from conf.errors import LeaseError, PublishError
from stores.delta import create_delta, open_delta
from stores.parquet_writers import ledger_writer
from stores.partitioned import PartitionedFiles
from stores.storage import Storage
from transforms.calendar import microseconds

PARTITION = "_month"
_WRITER = "etr"
"""Counts commits in the Delta log: of two that began on the same version, Delta lets one through."""
_OURS = re.compile(r"part-(.+)-[0-9a-f]{32}\.parquet")
Range = tuple[Any, Any]
"""The first and the last of some values."""
_CLOCKS = ("_known_time", "_event_time")
ROWS_A_GROUP = 65_536
_ROWS_IN_MEMORY = 4 * ROWS_A_GROUP
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class CuratedFile:
    """A file of a curated table; `path` below the table's folder.

    `newest`: the latest known time among its rows, or event time where none has one, in microseconds since 1970 UTC.
    """

    path: str
    month: str
    rows: int
    size: int
    newest: int | None = None


def write_curated(
    batches: Iterable[pa.RecordBatch], *, storage: Storage, folder: str, schema: pa.Schema, run_id: str
) -> list[CuratedFile]:
    """Write rows of `schema`, in any order, as one file a month below `folder`. They count once they are committed.

    Their names tell the run, so that those of a run that died can be told from those of one that lives.
    """

    def new_path(month: str) -> str:
        return f"{folder}/{PARTITION}={month}/part-{run_id}-{uuid.uuid4().hex}.parquet"

    with PartitionedFiles(storage, new_path, ledger_writer, rows_a_group=ROWS_A_GROUP, waiting=_ROWS_IN_MEMORY) as files:
        months = _Months(files, schema)
        for batch in batches:
            months.add(batch)
        return [
            CuratedFile(file.path.removeprefix(f"{folder}/"), month, file.rows, file.size, months.newest(month))
            for month, file in files.close().items()
        ]


class _Months:
    """Rows on their way to the files of their months, and the latest moment of each."""

    def __init__(self, files: PartitionedFiles, schema: pa.Schema) -> None:
        self._files = files
        self._schema = schema
        self._stored = pa.schema([field for field in schema if field.name != PARTITION])
        self._latest: dict[tuple[str, str], datetime] = {}  # by month and clock

    def add(self, batch: pa.RecordBatch) -> None:
        batch = batch.select(self._schema.names)
        column = batch.column(PARTITION)
        for month in pc.unique(column).to_pylist():
            mine = batch.filter(pc.equal(column, month)).select(self._stored.names).cast(self._stored)
            self._files.add(month, pa.Table.from_batches([mine]))
            for clock in (name for name in _CLOCKS if name in mine.schema.names):
                latest = pc.max(mine[clock]).as_py()
                if latest is not None:
                    self._latest[month, clock] = max(latest, self._latest.get((month, clock), latest))

    def newest(self, month: str) -> int | None:
        """The latest moment of its rows, by the first clock that any of them has; in microseconds since 1970 UTC."""
        found = next((self._latest[month, clock] for clock in _CLOCKS if (month, clock) in self._latest), None)
        return None if found is None else microseconds(found)


def run_of(path: str) -> str | None:
    """The run that wrote a file, by its name; None for a file that others wrote, such as a compaction."""
    match = _OURS.fullmatch(path.rpartition("/")[2])
    return match[1] if match else None


def commit_curated(storage: Storage, table: str, files: Iterable[CuratedFile], schema: pa.Schema, told: Mapping[str, str]) -> int:
    """Add files to the table in the folder `table`, made now if there is none, in one commit that says `told`; its version.

    Columns that are new become columns of the table, null in older rows, by a commit before it.
    Raises LeaseError when another run committed meanwhile; nothing is added then.
    """
    actions = [
        AddAction(
            path=file.path,
            size=file.size,
            partition_values={PARTITION: file.month},
            modification_time=0,
            data_change=True,
            # No least and greatest values: deltalake takes a column without them for one that no value is in.
            stats=json.dumps({"numRecords": file.rows}),
        )
        for file in files
    ]
    try:
        there = open_delta(storage, table)
        if there is None:
            told_first = _properties(told, 1)
            create_delta(storage, table, actions, schema, partition_by=[PARTITION], commit_properties=told_first)
        else:
            _append(there, actions, schema, told)
    except CommitFailedError as problem:
        raise LeaseError(
            f"{storage.uri(table)}: another run committed to the table while this one did; nothing of this run was added: "
            f"{problem}. Let that run end and run again"
        ) from problem
    made = open_delta(storage, table)
    if made is None:
        raise PublishError(f"{storage.uri(table)}: the table is gone just after a commit to it; run again")
    return made.version()


def _append(table: DeltaTable, actions: list[AddAction], schema: pa.Schema, told: Mapping[str, str]) -> None:
    number = (table.transaction_version(_WRITER) or 0) + 1
    there = {field.name for field in table.schema().fields}
    new = [field for field in Schema.from_arrow(schema).fields if field.name not in there]
    if new:
        table.alter.add_columns([Field(field.name, field.type, nullable=True) for field in new])
    table.create_write_transaction(
        list(actions),
        mode="append",
        schema=table.schema(),
        partition_by=[PARTITION],
        commit_properties=_properties(told, number),
    )


def _properties(told: Mapping[str, str], number: int) -> CommitProperties:
    return CommitProperties(custom_metadata=dict(told), app_transactions=[Transaction(_WRITER, number)])


def read_rows(
    storage: Storage, paths: Iterable[str], schema: pa.Schema, *, near: Mapping[str, Range] | None = None
) -> Iterator[pa.RecordBatch]:
    """Columns of some Parquet files as batches of `schema`; one that a file lacks is null.

    `near`: row groups in which a column has no value from the first to the last, by what the file says of them, may be left out.
    """
    for path in paths:
        with storage.open_input(path) as stream:
            file = pq.ParquetFile(stream)
            there = [name for name in schema.names if name in file.schema_arrow.names]
            groups = [number for number in range(file.num_row_groups) if _may_have(file.metadata.row_group(number), near or {})]
            for batch in file.iter_batches(_ROWS_AT_ONCE, row_groups=groups, columns=there) if groups else ():
                arrays = [
                    batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(len(batch), field.type)
                    for field in schema
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _may_have(group: pq.RowGroupMetaData, near: Mapping[str, Range]) -> bool:
    for number in range(group.num_columns) if near else ():
        column = group.column(number)
        told = column.statistics
        if column.path_in_schema in near and told is not None and told.has_min_max:
            first, last = near[column.path_in_schema]
            if told.max < first or last < told.min:
                return False
    return True
