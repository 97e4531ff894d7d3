"""Rows of many partitions, written as they come: each partition to a Parquet file of its own, in memory that is bounded."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stores.storage import Storage


@dataclass(frozen=True)
class WrittenFile:
    """A file that is there, and how many rows and bytes it has."""

    path: str
    rows: int
    size: int


class PartitionedFiles:
    """The files under way, and the rows of each that wait until they fill a row group.

    `path_of`: where a partition's file lies, asked once. `waiting`: how many rows wait at most, of all partitions together. Files
    appear when `close` returns, which the block must come to, and not at all when it raises before.
    """

    def __init__(
        self,
        storage: Storage,
        path_of: Callable[[str], str],
        writer_of: Callable[[Any, pa.Schema], pq.ParquetWriter],
        *,
        rows_a_group: int,
        waiting: int,
    ) -> None:
        self._storage = storage
        self._path_of = path_of
        self._writer_of = writer_of
        self._rows_a_group = rows_a_group
        self._most_waiting = waiting
        self._waiting: dict[str, list[pa.Table]] = {}
        self._counts: dict[str, int] = {}  # of those that wait
        self._all_waiting = 0
        self._stack = ExitStack()
        self._writers: dict[str, pq.ParquetWriter] = {}
        self._paths: dict[str, str] = {}
        self._rows: dict[str, int] = {}

    def __enter__(self) -> PartitionedFiles:
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.__exit__(*problem)  # type: ignore[arg-type]

    def add(self, partition: str, rows: pa.Table) -> None:
        """Rows of one partition, all with the same columns, to come after those it has; where none come its file is empty."""
        self._waiting.setdefault(partition, []).append(rows)
        self._counts[partition] = self._counts.get(partition, 0) + len(rows)
        self._rows[partition] = self._rows.get(partition, 0) + len(rows)
        self._all_waiting += len(rows)
        if self._counts[partition] >= self._rows_a_group:
            self._write(partition)
        while self._all_waiting > self._most_waiting:
            self._write(max(self._counts, key=lambda name: self._counts[name]))

    def close(self) -> dict[str, WrittenFile]:
        """Finish every file: by partition, in order."""
        for partition in sorted(self._waiting):
            self._write(partition)
        self._stack.close()
        return {partition: self._file(partition) for partition in sorted(self._paths)}

    def _write(self, partition: str) -> None:
        rows = pa.concat_tables(self._waiting.pop(partition))
        self._all_waiting -= self._counts.pop(partition)
        if partition not in self._writers:
            self._paths[partition] = self._path_of(partition)
            stream = self._stack.enter_context(self._storage.open_output(self._paths[partition]))
            self._writers[partition] = self._stack.enter_context(self._writer_of(stream, rows.schema))
        self._writers[partition].write_table(rows)

    def _file(self, partition: str) -> WrittenFile:
        path = self._paths[partition]
        stored = self._storage.stat(path)
        assert stored is not None
        return WrittenFile(path, self._rows[partition], stored.size)
