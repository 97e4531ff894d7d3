"""A few rows of the lake, without Spark: of a ledger by the value of a column, of a snapshot or training set by the entity."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stores.delta import open_delta
from stores.lake import Lake
from stores.snapshots import Snapshot, SnapshotTable
from stores.storage import Storage
from stores.training_sets import TrainingSetVersion


class LakeLedgers:
    """The curated tables; what was read once is not read again."""

    def __init__(self, lake: Lake) -> None:
        self._dataset = cache(lambda source: _dataset(lake, source))
        self._rows = cache(self._read)

    def rows(self, source: str, column: str, values: Collection[Any]) -> list[dict[str, Any]]:
        """Every version of every row with one of `values` in `column`; none of a source of which nothing has come."""
        return self._rows(source, column, tuple(values))

    def all_rows(self, source: str) -> list[dict[str, Any]]:
        """Every version of every row."""
        table = self._dataset(source)
        return list(table.to_table().to_pylist()) if table is not None else []

    def _read(self, source: str, column: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        table = self._dataset(source)
        if table is None or not values:
            return []
        return list(table.to_table(filter=pc.field(column).isin(list(values))).to_pylist())


def _dataset(lake: Lake, source: str) -> Any:
    table = open_delta(lake.storage, lake.curated(source).name)
    return None if table is None else table.to_pyarrow_dataset()


class DaySnapshots:
    """Versions of groups' snapshots of a day, by group."""

    def __init__(self, storage: Storage, snapshots: Mapping[str, Snapshot]) -> None:
        self._datasets = {name: SnapshotTable(storage, name).dataset(snapshot) for name, snapshot in snapshots.items()}

    def batches(self, group: str, columns: Sequence[str], only: tuple[str, str] | None) -> Iterator[list[dict[str, Any]]]:
        """Every row of a group, some columns of it, so many rows at a time; `only` those with that value in that column."""
        chosen = None if only is None else pc.field(only[0]) == only[1]
        for batch in self._datasets[group].to_batches(columns=list(columns), filter=chosen):
            yield list(batch.to_pylist())

    def rows(self, group: str, columns: Sequence[str], identifier: str, values: Collection[str]) -> list[dict[str, Any]]:
        """The rows with one of `values` as the identifier."""
        wanted = pc.field(identifier).isin(pa.array(list(values), pa.string()))
        found = self._datasets[group].to_table(columns=list(columns), filter=wanted)
        return list(found.to_pylist())


def snapshot_row(storage: Storage, snapshot: Snapshot, identifier: str, entity: str) -> dict[str, Any] | None:
    """One entity's row of a version of a day, None where it has none."""
    for file in snapshot.files:
        with storage.open_input(file.path) as stream:
            rows = pq.read_table(stream)
            found = rows.filter(pc.equal(rows[identifier], entity)).to_pylist()
        if found:
            return dict(found[0])
    return None


def training_rows(storage: Storage, made: TrainingSetVersion, identifier: str, entity: str) -> list[dict[str, Any]]:
    """One entity's rows of a training set, by label time."""
    found: list[dict[str, Any]] = []
    for file in made.files:
        with storage.open_input(file.path) as stream:
            found += pq.read_table(stream, filters=pc.field(identifier) == entity).to_pylist()
    return sorted(found, key=lambda row: row["label_time"])
