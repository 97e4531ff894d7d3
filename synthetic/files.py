"""The files of a sample: one a source and quarter of delivery, written a block at a time, in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthetic.clock import NULL, Flags, Ints, day_number, midnight
from synthetic.columns import Columns, row_count, take
from synthetic.dirt import (
    BAD_ROWS,
    CUT_LAST_LINE,
    FIRST_BAD,
    NULL_WORDS,
    NULLS_AS_WORDS,
    NULLS_IN,
    Bad,
)
from synthetic.layout import LAYOUTS, Layout
from synthetic.parameters import Parameters

UNFINISHED = ".writing"
MOST_ROWS = 1_000_000
"""Rows after which a quarter goes on in another file."""
_ROWS_A_GROUP = 32_768
_MOST_QUARTERS = 20
_MARK = b"\xef\xbb\xbf"

# What is odd about a whole file: in which source's file, counted from the first.
MARKED = ("customers", 0)
"""A UTF-8 byte-order mark."""
CARRIAGE_RETURNS = ("statements", 1)
"""Lines that end in CRLF."""
CUT = ("payments", 1)
"""A last line that is cut off."""


@dataclass
class FileCount:
    """What was written to one file; `rows` are lines of data, the unreadable ones among them."""

    rows: int = 0
    kept: int = 0
    duplicates: int = 0
    conflicts: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    nulls_as_words: int = 0
    bytes: int = 0

    def add(self, kinds: Ints, names: Sequence[str]) -> None:
        counts = np.bincount(kinds, minlength=FIRST_BAD + len(names))
        self.rows += len(kinds)
        self.kept += int(counts[0])
        self.duplicates += int(counts[1])
        self.conflicts += int(counts[2])
        for name, count in zip(names, counts[FIRST_BAD:].tolist(), strict=True):
            if count:
                self.add_bad(name, count)

    def add_bad(self, kind: str, count: int) -> None:
        self.bad[kind] = self.bad.get(kind, 0) + count


class SourceFiles:
    """The files of one source under `root`. Use as a context: when it ends well, `finish` gives the files their names."""

    def __init__(self, root: Path, layout: Layout, parameters: Parameters, most_rows: int = MOST_ROWS) -> None:
        self.layout = layout
        self.counts: dict[str, FileCount] = {}
        self._folder = root / layout.name
        self._folder.mkdir(parents=True, exist_ok=True)
        self._most_rows = most_rows
        self._is_growth = parameters.only_from is not None
        self._starts = [parameters.only_from] if parameters.only_from else quarters(parameters.first_day, parameters.until)
        self._edges = np.array([midnight(day_number(day)) for day in self._starts], np.int64)
        self._open: dict[int, _File] = {}
        self._parts = [0] * len(self._starts)
        self._last_line: dict[int, bytes] = {}

    def write(self, rows: Columns) -> None:
        """Append rows, which come in the order of delivery."""
        if not row_count(rows):
            return
        period = np.searchsorted(self._edges, rows["_delivered"], side="right") - 1
        bounds = np.searchsorted(period, np.arange(len(self._starts) + 1))
        if self.layout.format == "parquet":
            table = _table(self.layout, rows)
            for number, (start, end) in enumerate(pairwise(bounds)):
                if end > start:
                    self._file(number).write_table(table.slice(start, end - start))
                    self._count(number, rows["_kind"][start:end])
            return
        words = _nulls_as_words(self.layout, rows)
        lines = _lines(self.layout, rows, words)
        for number, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                self._file(number).write_lines(lines[start:end])
                self._last_line[number] = lines[end - 1].as_py()
                self._count(number, rows["_kind"][start:end])
                self._counted(number).nulls_as_words += int(words[start:end].sum())

    def finish(self) -> None:
        """Cut what is to be cut, close every file and give it its name."""
        for number, file in self._open.items():
            if (self.layout.name, number) == CUT and not self._is_growth:
                values = self._last_line[number].split(b",")
                file.write_bytes(b",".join(values[:3])[:-2])
                self._counted(number).rows += 1
                self._counted(number).add_bad(CUT_LAST_LINE, 1)
            file.close()
        self._open.clear()
        for name, count in self.counts.items():
            finished = self._folder.parent / name
            unfinished = finished.with_name(finished.name + UNFINISHED)
            unfinished.replace(finished)
            count.bytes = finished.stat().st_size

    def abandon(self) -> None:
        """Close the files as they are, unfinished."""
        for file in self._open.values():
            file.close()
        self._open.clear()

    def _count(self, number: int, kinds: Ints) -> None:
        self._counted(number).add(kinds, [bad.kind for bad in BAD_ROWS[self.layout.name]])

    def _counted(self, number: int) -> FileCount:
        return self.counts[self._open[number].name]

    def _file(self, number: int) -> _File:
        """The file of a quarter, or the next one when it is full."""
        current = self._open.get(number)
        if current is not None and self.counts[current.name].rows < self._most_rows:
            return current
        if current is not None:
            current.close()
        self._parts[number] += 1
        name = file_name(self.layout, self._starts[number], self._parts[number])
        self.counts[name] = FileCount()
        place = (self.layout.name, number)
        odd = not self._is_growth
        self._open[number] = _File(
            self._folder.parent / (name + UNFINISHED),
            name,
            self.layout,
            mark=_MARK if odd and place == MARKED else b"",
            end=b"\r\n" if odd and place == CARRIAGE_RETURNS else b"\n",
        )
        return self._open[number]


class _File:
    """One file being written."""

    def __init__(self, path: Path, name: str, layout: Layout, *, mark: bytes, end: bytes) -> None:
        self.name = name
        self._path = path
        self._end = end
        self._tables: list[Any] = []
        self._writer: Any = None
        self._stream: BinaryIO | None = None
        if layout.format != "parquet":
            self._stream = path.open("wb", buffering=1 << 18)
            self._stream.write(mark)
            if layout.format == "csv":
                self._stream.write(",".join(layout.columns).encode() + end)

    def write_lines(self, lines: Any) -> None:
        """Lines as a binary array, without their ends."""
        ended = pc.binary_join_element_wise(lines, pa.scalar(b"", pa.binary()), pa.scalar(self._end, pa.binary()))
        offsets = np.frombuffer(ended.buffers()[1], np.int32)[ended.offset : ended.offset + len(ended) + 1]
        self.write_bytes(memoryview(ended.buffers()[2])[offsets[0] : offsets[-1]])

    def write_bytes(self, data: bytes | memoryview) -> None:
        if self._stream is not None:
            self._stream.write(data)

    def write_table(self, table: Any) -> None:
        self._tables.append(table)
        if sum(part.num_rows for part in self._tables) >= _ROWS_A_GROUP:
            self._flush()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._tables:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        table = pa.concat_tables(self._tables).combine_chunks()
        self._tables = []
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)


def quarters(first: date, last: date) -> list[date]:
    """The first days of the files' stretches: quarters, or years when there would be more than twenty quarters."""
    step = 3 if (last - first) < timedelta(days=92 * _MOST_QUARTERS) else 12
    months = range(first.year * 12 + first.month - 1, last.year * 12 + last.month, step)
    starts = [date(month // 12, month % 12 + 1, 1) for month in months]
    return [first, *starts[1:]]


def file_name(layout: Layout, first_day: date, part: int) -> str:
    """Below the root; names sort as the days that they begin on, and then as their parts."""
    return f"{layout.name}/{layout.name}_{first_day.isoformat()}_{part:03d}.{layout.extension}"


def _table(layout: Layout, rows: Columns) -> Any:
    """Rows as a typed table, bad values put in."""
    arrays = layout.typed(rows)
    for position, bad in enumerate(BAD_ROWS[layout.name]):
        broken = rows["_kind"] == FIRST_BAD + position
        if bad.edit is None or not broken.any():
            continue
        values: dict[str, Any] = {}
        bad.edit(values)
        for name, value in values.items():
            arrays[name] = pc.if_else(pa.array(broken), pa.scalar(value, arrays[name].type), arrays[name])
    return pa.table(arrays)


def _nulls_as_words(layout: Layout, rows: Columns) -> Flags:
    """Which clean rows say a null by a word."""
    column = NULLS_IN.get(layout.name)
    if column is None:
        return np.zeros(row_count(rows), bool)
    key = rows[layout.key[0]]
    chosen: Flags = (rows[column] == NULL) & (key % NULLS_AS_WORDS.every == NULLS_AS_WORDS.first) & (rows["_kind"] < FIRST_BAD)
    return chosen


def _lines(layout: Layout, rows: Columns, words: Flags) -> Any:
    """Rows as lines, without their ends, a binary array."""
    texts = layout.text(rows)
    if words.any():
        column = NULLS_IN[layout.name]
        word = pa.array(NULL_WORDS).take(pa.array(rows[layout.key[0]] // NULLS_AS_WORDS.every % len(NULL_WORDS)))
        texts[column] = pc.if_else(pa.array(words), word, texts[column])
    if layout.format == "jsonl":
        texts = {name: _json_value(layout, name, text) for name, text in texts.items()}
        lines = _json_lines(texts)
    else:
        lines = pc.binary_join_element_wise(*texts.values(), ",", null_handling="replace", null_replacement="")
    lines = lines.cast(pa.binary())
    broken = np.flatnonzero(rows["_kind"] >= FIRST_BAD)
    if not len(broken):
        return lines
    values = [
        dict(zip(texts, row, strict=True))
        for row in zip(*(text.take(pa.array(broken)).to_pylist() for text in texts.values()), strict=True)
    ]
    kinds = rows["_kind"][broken] - FIRST_BAD
    replaced = [_broken_line(layout, BAD_ROWS[layout.name][kind], row) for kind, row in zip(kinds, values, strict=True)]
    return pc.replace_with_mask(lines, pa.array(rows["_kind"] >= FIRST_BAD), pa.array(replaced, pa.binary()))


def _json_value(layout: Layout, name: str, text: Any) -> Any:
    written = text if layout.columns[name].is_bare else pc.binary_join_element_wise('"', text, '"', "")
    return pc.fill_null(written, "null")


def _json_lines(texts: dict[str, Any]) -> Any:
    parts: list[Any] = []
    for number, (name, text) in enumerate(texts.items()):
        parts += [f'{"," if number else "{"}"{name}":', text]
    return pc.binary_join_element_wise(*parts, "}", "")


def _broken_line(layout: Layout, bad: Bad, values: dict[str, Any]) -> bytes:
    if bad.edit is not None:
        bad.edit(values)
    if layout.format == "jsonl":
        line = "{" + ",".join(f'"{name}":{value}' for name, value in values.items()) + "}"
        return line[: len(line) * 2 // 3].encode() if bad.line == "broken_json" else line.encode()
    texts = ["" if value is None else str(value) for value in values.values()]
    if bad.line == "column_too_many":
        texts.append("surplus")
    if bad.line == "column_missing":
        texts.pop()
    if bad.line == "latin1_bytes":
        values = {**values, "state": "Pérak"}
        return ",".join("" if value is None else str(value) for value in values.values()).encode("latin-1")
    return ",".join(texts).encode()


def remove_files(root: Path) -> None:
    """Remove the files of an earlier sample, finished or not; nothing else that may lie there."""
    for layout in LAYOUTS.values():
        for path in (root / layout.name).glob(f"{layout.name}_????-??-??_???.{layout.extension}*"):
            if path.name.removesuffix(UNFINISHED).endswith(f".{layout.extension}"):
                path.unlink()


def only(rows: Columns, owners: int, parameters: Parameters) -> Columns:
    """The rows of the first `owners` customers of a block that are delivered by the end of the sample."""
    return take(rows, (rows["_owner"] < owners) & (rows["_delivered"] < parameters.cut_off))
