"""The rows of a labels file to typed labels, and what is wrong with the rows that are refused. No Spark."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from conf.database import open_duckdb
from transforms.calendar import iso_utc
from transforms.label_sql import LabelColumns, label_sql

_NAMED = 5


@dataclass(frozen=True)
class RejectedLabel:
    """A row that is no label. `line`: its line or row in the file; `row`: JSON of what was read."""

    line: int
    key: str | None
    rules: tuple[str, ...]
    reasons: tuple[str, ...]
    row: str | None


@dataclass(frozen=True)
class CheckedLabels:
    """The labels of some rows, with their order, and the rows that are none."""

    labels: pa.Table
    rejected: tuple[RejectedLabel, ...]


class LabelChecker:
    """Types the rows of a file, batch by batch, and judges each."""

    def __init__(self, columns: LabelColumns) -> None:
        self.columns = columns
        self._connection = open_duckdb(threads=1)
        self._connection.execute("set TimeZone = 'UTC'")

    def __enter__(self) -> LabelChecker:
        return self

    def __exit__(self, *problem: object) -> None:
        self._connection.close()

    def check(self, rows: pa.RecordBatch) -> CheckedLabels:
        """Rows in: columns by their names in the file, as text or as values for which `typed_values.is_value` holds, `_line`, and
        of an unreadable row `_unreadable` and `_raw`."""
        self._connection.register("raw", pa.Table.from_batches([rows]))
        judged = self._connection.sql(label_sql(self.columns, rows.schema)).to_arrow_table()
        self._connection.unregister("raw")
        good = judged.filter(pc.invert(judged["_breaks"]))
        return CheckedLabels(self._labels(good), tuple(self._rejected(judged.filter(judged["_breaks"]))))

    def _labels(self, good: pa.Table) -> pa.Table:
        entity = good["_entity"].combine_chunks()
        if self.columns.hmac_key is not None:
            entity = pa.array([self._hashed(text) for text in entity.to_pylist()], pa.string())
        arrays = {"_entity": entity, "_time": good["_typed_1"], "_row": good["_line"]}
        arrays |= {name: good[f"_typed_{number}"] for number, name in enumerate(self.columns.own, start=2)}
        schema = self.columns.schema
        return pa.table({field.name: arrays[field.name].cast(field.type) for field in schema}, schema=schema)

    def _hashed(self, text: str) -> str:
        assert self.columns.hmac_key is not None
        return hmac.new(self.columns.hmac_key, text.encode(), hashlib.sha256).hexdigest()

    def _rejected(self, bad: pa.Table) -> Iterator[RejectedLabel]:
        for row in bad.select(["_line", "_entity", "_reasons", "_row"]).to_pylist():
            told = row["_reasons"]
            is_told = row["_entity"] is not None and self.columns.hmac_key is None
            key = f"{self.columns.entity}={row['_entity']}" if is_told else None
            yield RejectedLabel(
                row["_line"], key, tuple(one["rule"] for one in told), tuple(one["reason"] for one in told), row["_row"]
            )


# ---- the same label twice


@dataclass(frozen=True)
class DistinctLabels:
    """Labels of which no two have the same entity and time; `conflicts`: all those that contradict one another."""

    labels: pa.Table
    duplicates: int
    conflicts: tuple[RejectedLabel, ...]


def distinct(labels: pa.Table, names: Mapping[str, str]) -> DistinctLabels:
    """Of labels of one entity and time the first; where they bring different values, none.

    Rows in: of `LabelColumns.schema`. Rows out: sorted by entity (its bytes), time and row. `names`: what the file calls
    `_entity` and `_time`, for the messages.
    """
    labels = labels.combine_chunks().sort_by([("_entity", "ascending"), ("_time", "ascending"), ("_row", "ascending")])
    if len(labels) < 2:
        return DistinctLabels(labels, 0, ())
    codes = np.stack([_codes(labels[name]) for name in labels.column_names if name != "_row"], axis=1)
    key = codes[:, :2]
    begins = np.concatenate([[True], (key[1:] != key[:-1]).any(axis=1)])
    group = np.cumsum(begins) - 1
    first = np.flatnonzero(begins)[group]
    differs = np.zeros(len(np.flatnonzero(begins)), dtype=np.bool_)
    differs[group[(codes != codes[first]).any(axis=1)]] = True
    kept = labels.filter(pa.array(begins & ~differs[group]))
    conflicts = labels.filter(pa.array(differs[group]))
    return DistinctLabels(kept, len(labels) - len(kept) - len(conflicts), tuple(_contradicting(conflicts, names)))


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Equal numbers for equal values; nulls are equal to each other."""
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: NDArray[np.int64] = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _contradicting(conflicts: pa.Table, names: Mapping[str, str]) -> Iterator[RejectedLabel]:
    rows = conflicts.to_pylist()
    for (entity, time), group in itertools.groupby(rows, key=lambda row: (row["_entity"], row["_time"])):
        some = list(group)
        lines = ", ".join(str(row["_row"]) for row in some[:_NAMED]) + (", ..." if len(some) > _NAMED else "")
        reason = f"{names['_entity']} and {names['_time']} are those of other labels with other values: rows {lines}"
        for row in some:
            told = {names.get(name, name): value for name, value in row.items() if name != "_row"} | {
                names["_time"]: iso_utc(time)
            }
            yield RejectedLabel(
                row["_row"],
                f"{names['_entity']}={entity}",
                ("conflict",),
                (reason,),
                json.dumps(told, default=str, ensure_ascii=False),
            )
