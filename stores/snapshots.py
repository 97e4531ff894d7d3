"""Snapshots at rest: Parquet files that workers write, committed to Delta a day at a time, and the current version of a day."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.schema import Schema
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from stores.storage import Storage

PARTITION = ("as_of", "snapshot_version")


@dataclass(frozen=True)
class SnapshotFile:
    """A file of one version of one day; `path` relative to the lake."""

    path: str
    rows: int
    size: int


@dataclass(frozen=True)
class Snapshot:
    """One version of a group's day. `definition`: the version of what was asked; `curated`: of what was read."""

    group: str
    as_of: str
    version: str
    definition: str
    curated: Mapping[str, int]
    run_id: str
    files: tuple[SnapshotFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def day(self) -> date:
        return date.fromisoformat(self.as_of)

    @classmethod
    def from_json(cls, data: bytes) -> Snapshot:
        told = json.loads(data)
        return cls(**{**told, "files": tuple(SnapshotFile(**file) for file in told["files"])})


class SnapshotTable:
    """`snapshots/<group>`: one row an entity, as-of day and version."""

    def __init__(self, storage: Storage, group: str) -> None:
        self.storage = storage
        self.group = group
        self.path = f"snapshots/{group}"

    def current(self, day: date) -> Snapshot | None:
        """The version of a day that is served; None when the day was never made."""
        place = self._pointer(day)
        return Snapshot.from_json(self.storage.read(place)) if self.storage.exists(place) else None

    def days(self) -> list[date]:
        """The days that have a current version, oldest first."""
        names = (file.path.rsplit("/", 1)[1] for file in self.storage.list(f"snapshots/_current/{self.group}"))
        return sorted(date.fromisoformat(name.removesuffix(".json")) for name in names)

    def read(self, spark: SparkSession, snapshot: Snapshot) -> DataFrame:
        """The rows of one version, with `as_of` and `snapshot_version`."""
        rows = spark.read.parquet(*(self.storage.uri(file.path) for file in snapshot.files))
        return rows.withColumns({"as_of": F.lit(snapshot.as_of).cast("date"), "snapshot_version": F.lit(snapshot.version)})

    def commit(self, snapshot: Snapshot, schema: pa.Schema) -> None:
        """One Delta transaction for the day's version, then the pointer. Committing the same version again changes nothing."""
        uri = self.storage.uri(self.path)
        values: dict[str, str | None] = {"as_of": snapshot.as_of, "snapshot_version": snapshot.version}
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.path.removeprefix(f"{self.path}/"),
                size=file.size,
                partition_values=values,
                modification_time=0,
                data_change=True,
                stats=json.dumps({"numRecords": file.rows}),
            )
            for file in snapshot.files
        ]
        full = pa.schema([*schema, pa.field("as_of", pa.date32()), pa.field("snapshot_version", pa.string())])
        told = CommitProperties(custom_metadata={"run_id": snapshot.run_id})
        if not DeltaTable.is_deltatable(uri):
            added = [action for action in actions if isinstance(action, AddAction)]
            create_table_with_add_actions(
                uri, Schema.from_arrow(full), added, mode="error", partition_by=list(PARTITION), commit_properties=told
            )
        else:
            table = DeltaTable(uri)
            table.create_write_transaction(
                actions,
                mode="overwrite",
                schema=Schema.from_arrow(_widest(table, full)),
                partition_by=list(PARTITION),
                partition_filters=[("as_of", "=", snapshot.as_of), ("snapshot_version", "=", snapshot.version)],
                commit_properties=told,
            )
        self.storage.write(self._pointer(snapshot.day), json.dumps(asdict(snapshot), indent=1).encode())

    def _pointer(self, day: date) -> str:
        return f"snapshots/_current/{self.group}/{day.isoformat()}.json"


def _widest(table: DeltaTable, schema: pa.Schema) -> pa.Schema:
    """The table's columns and after them those that are new."""
    there = pa.schema(table.schema().to_arrow())
    return pa.schema([*there, *(field for field in schema if field.name not in there.names)])


class DayWriter:
    """Writes a group's rows as one Parquet file a day, where they are made. The files count once they are committed."""

    def __init__(self, storage: Storage, group: str, versions: Mapping[str, str], schema: pa.Schema) -> None:
        self.storage = storage
        self.group = group
        self.versions = versions  # by as-of day
        self.schema = schema
        self._stack = ExitStack()
        self._open: dict[str, tuple[pq.ParquetWriter, str]] = {}
        self._rows: dict[str, int] = {}

    def __enter__(self) -> DayWriter:
        return self

    def __exit__(self, *problem: object) -> None:
        self._stack.__exit__(*problem)  # type: ignore[arg-type]

    def write(self, as_of: str, rows: pa.Table) -> None:
        if as_of not in self._open:
            name = f"part-{uuid.uuid4().hex}.parquet"
            path = f"snapshots/{self.group}/as_of={as_of}/snapshot_version={self.versions[as_of]}/{name}"
            stream = self._stack.enter_context(self.storage.open_output(path))
            writer = self._stack.enter_context(pq.ParquetWriter(stream, self.schema, compression="zstd"))
            self._open[as_of] = (writer, path)
        self._open[as_of][0].write_table(rows)
        self._rows[as_of] = self._rows.get(as_of, 0) + len(rows)

    def close(self) -> Iterator[tuple[str, SnapshotFile]]:
        """Finish every file; each day with its file."""
        self._stack.close()
        for as_of, (_, path) in self._open.items():
            stat = self.storage.stat(path)
            assert stat is not None
            yield as_of, SnapshotFile(path, self._rows[as_of], stat.size)


def sort_by_day(files: Sequence[tuple[str, SnapshotFile]]) -> dict[str, tuple[SnapshotFile, ...]]:
    """Files by day, each day's in order of path."""
    days: dict[str, list[SnapshotFile]] = {}
    for as_of, file in files:
        days.setdefault(as_of, []).append(file)
    return {as_of: tuple(sorted(found, key=lambda file: file.path)) for as_of, found in sorted(days.items())}
