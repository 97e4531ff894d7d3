"""Rows on their way to their buckets: what doesn't fit memory waits in a file of this machine, until all have come."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from conf.errors import EnvironmentProblem

WAITING = "waiting.arrow"
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class BucketStage:
    """`folder`: of this machine, for what waits. `most_rows`: how many are in memory at most, of all buckets together."""

    def __init__(self, folder: Path, most_rows: int) -> None:
        self._path = folder / WAITING
        self._most_rows = most_rows
        self._in_memory: dict[int, list[pa.Table]] = {}
        self._rows_in_memory = 0
        self._in_file: dict[int, list[tuple[int, int]]] = {}  # where each piece begins, and its bytes
        self._size = 0

    def add(self, rows: pa.Table) -> None:
        """Rows sorted by `bucket`. Raises EnvironmentProblem where the disk is full."""
        buckets = rows["bucket"].to_numpy()
        kept = rows.drop_columns(["bucket"])
        starts = np.flatnonzero(np.diff(buckets, prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(buckets)]):
            self._in_memory.setdefault(int(buckets[start]), []).append(kept.slice(start, end - start))
        self._rows_in_memory += len(rows)
        if self._rows_in_memory > self._most_rows:
            self._spill()

    def buckets(self) -> Iterator[tuple[int, pa.Table]]:
        """Each bucket that has rows, once, with all of them as they came; for when all have been added."""
        with ExitStack() as stack:
            file = stack.enter_context(self._path.open("rb")) if self._in_file else None
            for bucket in sorted({*self._in_memory, *self._in_file}):
                pieces = [_read(file, *piece) for piece in self._in_file.get(bucket, ())]
                yield bucket, pa.concat_tables([*pieces, *self._in_memory.pop(bucket, ())]).combine_chunks()

    def _spill(self) -> None:
        try:
            with self._path.open("ab") as file:
                for bucket, tables in self._in_memory.items():
                    piece = _written(pa.concat_tables(tables).combine_chunks())
                    file.write(piece)
                    self._in_file.setdefault(bucket, []).append((self._size, piece.size))
                    self._size += piece.size
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise EnvironmentProblem(
                f"{self._path.parent}: the disk is full, where facts wait until all have come. Make room there, or let TMPDIR "
                "name another folder, and run again: what is done already is not done twice"
            ) from problem
        self._in_memory.clear()
        self._rows_in_memory = 0


def _written(rows: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=_COMPRESSED) as writer:
        writer.write_table(rows)
    return sink.getvalue()


def _read(file: BinaryIO | None, begin: int, size: int) -> pa.Table:
    assert file is not None
    file.seek(begin)
    return pa.ipc.open_stream(pa.py_buffer(file.read(size))).read_all()
