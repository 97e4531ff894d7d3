"""The offline store in SageMaker's layout: snapshots as Parquet by year, month, day and hour of the event time, UTC."""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.errors import PublishError
from stores.lake import write_rows
from stores.parquet_writers import offline_writer
from stores.protocols import FeatureType
from stores.records import event_time_text
from stores.snapshots import SnapshotFile
from stores.storage import Storage

ROWS_A_FILE = 1_000_000
BYTES_A_FILE = 128 * 2**20
ROWS_AT_ONCE = 65_536
EVENT_TIME = "event_time"

ADDED_COLUMNS = (
    pa.field("write_time", pa.timestamp("us", tz="UTC")),
    pa.field("api_invocation_time", pa.timestamp("us", tz="UTC")),
    pa.field("is_deleted", pa.bool_()),
)
"""What the service appends to every record."""

_ARROW_TYPES: Mapping[FeatureType, pa.DataType] = {
    "Integral": pa.int64(),
    "Fractional": pa.float64(),
    "String": pa.string(),
}
_ALPHANUMERICS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_EXACT_IN_A_DOUBLE = 2**53


@dataclass(frozen=True)
class Piece:
    """Rows `start` up to, and not including, `stop` of a snapshot's file."""

    path: str
    start: int
    stop: int


Part = tuple[Piece, ...]
"""What one task reads, and what becomes one file."""


def plan_parts(files: Iterable[SnapshotFile], *, most_rows: int = ROWS_A_FILE, most_bytes: int = BYTES_A_FILE) -> list[Part]:
    """Merge small files and split large ones, in order, into parts of bounded size; the same files give the same parts."""
    parts: list[Part] = []
    part: list[Piece] = []
    rows, size = 0, 0.0
    for file in files:
        pieces = min(file.rows, max(math.ceil(file.rows / most_rows), math.ceil(file.size / most_bytes)))
        for number in range(pieces):
            piece = Piece(file.path, file.rows * number // pieces, file.rows * (number + 1) // pieces)
            if part and (rows + piece.stop - piece.start > most_rows or size + file.size / pieces > most_bytes):
                parts.append(tuple(part))
                part, rows, size = [], 0, 0.0
            part.append(piece)
            rows += piece.stop - piece.start
            size += file.size / pieces
    return [*parts, tuple(part)] if part else parts


@dataclass(frozen=True)
class FitRows:
    """Reads the rows of a snapshot that are fit to publish; pickles. `quarantine_file`: whose `key` names the others."""

    storage: Storage
    record_identifier: str
    quarantine_file: str | None

    def read(self, part: Part, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches with `columns` in that order; a row without an identifier, or with a quarantined one, is left out."""
        quarantined = self._quarantined()
        for piece in part:
            for batch in _read_piece(self.storage, piece, list(dict.fromkeys([*columns, self.record_identifier]))):
                identifiers = batch.column(self.record_identifier)
                fit = pc.is_valid(identifiers)
                if quarantined is not None:
                    fit = pc.and_(fit, pc.invert(pc.is_in(identifiers, value_set=quarantined)))
                yield batch.filter(fit).select(list(columns))

    def event_time(self, parts: Iterable[Part]) -> str | None:
        """That of the first row; None where no row is fit."""
        batches = (batch for part in parts for batch in self.read(part, [EVENT_TIME]))
        return next((str(batch[EVENT_TIME][0]) for batch in batches if len(batch)), None)

    def _quarantined(self) -> pa.Array | None:
        if self.quarantine_file is None:
            return None
        with self.storage.open_input(self.quarantine_file) as stream:
            keys = pq.ParquetFile(stream).read(columns=["key"])["key"]
        return keys.combine_chunks()


@dataclass(frozen=True)
class OfflineDay:
    """One version of a group's day on its way into the offline store; pickles.

    `types`: every feature in order, identifier and event time among them. `told`: the features that are the same in every row.
    `before`: how often the version was published before another one was; those files are left as they are.
    """

    group: str
    version: str
    event_time: str
    written: datetime
    rows: FitRows
    table: Storage
    types: Mapping[str, FeatureType]
    told: Mapping[str, str]
    parts: tuple[Part, ...]
    before: int = 0

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([*(pa.field(name, _ARROW_TYPES[kind]) for name, kind in self.types.items()), *ADDED_COLUMNS])

    def path(self, number: int) -> str:
        """Where a part goes, below the table's `data` folder: the same whenever this version is written."""
        moment = datetime.fromisoformat(self.event_time)
        again = f"/{self.before}" if self.before else ""
        random = _sixteen_alphanumerics(f"{self.group}/{self.version}/{number}{again}")
        return f"{moment:year=%Y/month=%m/day=%d/hour=%H/%Y%m%dT%H%M%SZ}_{random}.parquet"


@dataclass(frozen=True)
class OfflineFile:
    """A file of the offline store; `path` below the table's `data` folder."""

    path: str
    rows: int
    size: int


def write_part(day: OfflineDay, number: int) -> OfflineFile:
    """Write one part, or the part again; no file where no row of it is fit (then `size` is 0).

    Raises: PublishError where a row is of another event time, or a column can't become its feature.
    """
    path = day.path(number)
    rows = write_rows(day.table, path, rows_of_part(day, number), day.schema, offline_writer)
    stored = day.table.stat(path) if rows else None
    return OfflineFile(path, rows, stored.size if stored else 0)


def rows_of_part(day: OfflineDay, number: int) -> Iterator[pa.RecordBatch]:
    """The rows of one part as they are published. Raises as `write_part` does."""
    columns = [name for name in day.types if name not in day.told]
    return (as_offline_rows(batch, day) for batch in day.rows.read(day.parts[number], columns))


def as_offline_rows(batch: pa.RecordBatch, day: OfflineDay) -> pa.RecordBatch:
    """The rows with every feature in its offline type, and the three columns that the service appends."""
    if len(batch) and pc.unique(batch.column(EVENT_TIME)).to_pylist() != [day.event_time]:
        raise PublishError(f"{day.group}: a row's {EVENT_TIME} is not {day.event_time}, the snapshot's; compute the day anew")
    arrays = []
    for name, kind in day.types.items():
        if name in day.told:
            arrays.append(pa.repeat(day.told[name], len(batch)))
        else:
            arrays.append(as_feature(batch.column(name), kind, where=f"{day.group}.{name}"))
    written = pa.repeat(pa.scalar(day.written, ADDED_COLUMNS[0].type), len(batch))
    return pa.RecordBatch.from_arrays([*arrays, written, written, pa.repeat(False, len(batch))], schema=day.schema)


def as_feature(column: pa.Array, kind: FeatureType, *, where: str) -> pa.Array:
    """A snapshot's column as the offline store has it: the same text, or the nearest double, that a client reads online."""
    try:
        if kind == "Fractional" and pa.types.is_decimal128(column.type):
            return _nearest_double(column)
        if kind == "String" and pa.types.is_timestamp(column.type):
            distinct = column.dictionary_encode()
            texts = [event_time_text(moment) for moment in distinct.dictionary.to_pylist()]
            return pa.array(texts, pa.string()).take(distinct.indices)
        return column.cast(_ARROW_TYPES[kind])
    except pa.ArrowException as problem:
        raise PublishError(f"{where}: a column of type {column.type} can't be published as {kind}: {problem}") from problem


def decimal_words(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The unscaled values of a decimal column, low half and high half a row; what a null has is not said."""
    halves = np.frombuffer(column.buffers()[1], dtype="<i8").reshape(-1, 2)
    return halves[column.offset : column.offset + len(column)]


def _nearest_double(column: pa.Array) -> pa.Array:
    """Arrow's own cast is a bit off (120.10 becomes 120.10000000000001): it multiplies by 0.01, which no double is."""
    if not len(column):
        return pa.array([], pa.float64())
    low, high = decimal_words(column).T
    doubles = low / 10.0**column.type.scale
    absent = column.is_null().to_numpy(zero_copy_only=False)
    wide = (high != low >> 63) | (low >= _EXACT_IN_A_DOUBLE) | (low <= -_EXACT_IN_A_DOUBLE)
    for row in np.flatnonzero(wide & ~absent):
        value: Decimal = column[int(row)].as_py()
        doubles[row] = float(value)
    return pa.array(doubles, mask=absent)


def _read_piece(storage: Storage, piece: Piece, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with storage.open_input(piece.path) as stream:
        file = pq.ParquetFile(stream)
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise PublishError(f"{storage.uri(piece.path)}: no column '{missing[0]}'; compute the day anew, then publish it")
        starts = [0, *accumulate(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))]
        if piece.stop > starts[-1]:
            told = f"{starts[-1]:,} rows, where its snapshot tells of {piece.stop:,} at least"
            raise PublishError(f"{storage.uri(piece.path)}: {told}; compute the day anew, then publish it")
        groups = range(bisect_right(starts, piece.start) - 1, bisect_left(starts, piece.stop))
        at = starts[groups.start]
        for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=list(groups), columns=list(columns)):
            start, stop = max(piece.start - at, 0), min(piece.stop - at, len(batch))
            if start < stop:
                yield batch.slice(start, stop - start).select(list(columns))
            at += len(batch)


def _sixteen_alphanumerics(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest())
    letters = []
    for _ in range(16):
        number, digit = divmod(number, len(_ALPHANUMERICS))
        letters.append(_ALPHANUMERICS[digit])
    return "".join(letters)
