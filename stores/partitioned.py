"""Rows of many partitions, written as they come: each partition to a Parquet file of its own, in memory that is bounded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pyarrow as pa
import pyarrow.parquet as pq

from stores.parquet_writers import ledger_writer
from stores.storage import Storage

ROWS_A_GROUP = 65_536


class PartitionedFiles:
    """The files under way, and the rows of each that wait until they fill a row group.

    `path_of`: where a partition's file lies, asked once. `waiting`: how many rows wait at most, of all partitions together. Files
    appear when `close` returns, and not at all when the block of `stack` raises.
    """

    def __init__(self, storage: Storage, path_of: Callable[[str], str], stack: ExitStack, *, waiting: int) -> None:
        self.paths: dict[str, str] = {}
        """By partition."""
        self._storage = storage
        self._path_of = path_of
        self._stack = stack
        self._most_waiting = waiting
        self._waiting: dict[str, list[pa.Table]] = {}
        self._counts: dict[str, int] = {}  # of those that wait
        self._all_waiting = 0
        self._writers: dict[str, pq.ParquetWriter] = {}

    def add(self, partition: str, rows: pa.Table) -> None:
        """Rows of one partition, all with the same columns, to come after those it has."""
        self._waiting.setdefault(partition, []).append(rows)
        self._counts[partition] = self._counts.get(partition, 0) + len(rows)
        self._all_waiting += len(rows)
        if self._counts[partition] >= ROWS_A_GROUP:
            self._write(partition)
        while self._all_waiting > self._most_waiting:
            self._write(max(self._counts, key=lambda name: self._counts[name]))

    def close(self) -> None:
        for partition in sorted(self._waiting):
            self._write(partition)
        self._stack.close()

    def _write(self, partition: str) -> None:
        rows = pa.concat_tables(self._waiting.pop(partition))
        self._all_waiting -= self._counts.pop(partition)
        if partition not in self._writers:
            self.paths[partition] = self._path_of(partition)
            stream = self._stack.enter_context(self._storage.open_output(self.paths[partition]))
            self._writers[partition] = self._stack.enter_context(ledger_writer(stream, rows.schema))
        self._writers[partition].write_table(rows)
