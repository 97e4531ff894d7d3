"""Snapshots at rest: Parquet files, committed to Delta with the days that were made together, and each day's current version."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.schema import Schema
from deltalake.transaction import AddAction, RemoveAction

from conf.errors import LeaseError
from stores.delta import create_delta, open_delta
from stores.lease import Lease
from stores.parquet_dataset import parquet_dataset
from stores.parquet_writers import feature_writer
from stores.partitioned import PartitionedFiles
from stores.storage import Storage

if TYPE_CHECKING:
    from pyarrow.dataset import Dataset
    from pyspark.sql import DataFrame, SparkSession

PARTITION = ("as_of", "snapshot_version")
Kind = Literal["snapshots", "hindsight"]
"""`hindsight`: today's knowledge about a past day; for study, in tables of its own, never judged or published."""

_WRITER = "etr"
"""Counts commits in the Delta log: of two that began on the same version, Delta lets one through."""
_AT_ONCE = 16
ROWS_A_GROUP = 16_384  # then a row group costs little more than its rows do
CELLS_WAITING = 12_000_000  # of all days of one group, in each task


@dataclass(frozen=True)
class SnapshotFile:
    """A file of one version of one day; `path` relative to the lake."""

    path: str
    rows: int
    size: int


@dataclass(frozen=True)
class Restatement:
    """How a version differs from the one that was current before it, `was`.

    `entities`: those with any difference; `values`: how many differ, by column (the record identifier's: whole rows).
    `added`, `removed`: columns that only one of the two has; their values are in no count. `diff`: the file with a row a
    difference (entity, column, was, is), relative to the lake; None where only columns came or went.
    """

    was: str
    reasons: tuple[str, ...]
    entities: int
    values: Mapping[str, int]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    diff: str | None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Restatement:
        """From its fields as JSON has them."""
        return cls(**{**told, **{name: tuple(told[name]) for name in ("reasons", "added", "removed")}})

    @property
    def is_none(self) -> bool:
        """Whether nothing differs at all."""
        return not (self.entities or self.added or self.removed)


@dataclass(frozen=True)
class Snapshot:
    """One version of a group's day.

    `definition`: the version of what was asked; `curated`: of each source that was read; `groups`: of each group's snapshot
    that was. `confirmed`: the version that was computed since and found to have the same rows, so that this one stands for it.
    """

    group: str
    as_of: str
    version: str
    definition: str
    curated: Mapping[str, int]
    run_id: str
    files: tuple[SnapshotFile, ...]
    groups: Mapping[str, str] = field(default_factory=dict)
    restates: Restatement | None = None
    confirmed: str | None = None
    kind: Kind = "snapshots"

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @property
    def day(self) -> date:
        return date.fromisoformat(self.as_of)

    def stands_for(self, version: str) -> bool:
        """Whether its rows are those of `version`."""
        return version in (self.version, self.confirmed)

    @classmethod
    def from_json(cls, data: bytes) -> Snapshot:
        told: dict[str, Any] = json.loads(data)
        told["files"] = tuple(SnapshotFile(**file) for file in told["files"])
        told["restates"] = Restatement.of(told["restates"]) if told.get("restates") else None
        return cls(**told)


class SnapshotTable:
    """`snapshots/<group>`: one row an entity, as-of day and version; or `hindsight/<group>`."""

    def __init__(self, storage: Storage, group: str, kind: Kind = "snapshots") -> None:
        self.storage = storage
        self.group = group
        self.kind = kind
        self.path = f"{kind}/{group}"

    def current(self, day: date) -> Snapshot | None:
        """The version of a day that is served; None when the day was never made."""
        return self._read(self._pointer(day))

    def all_current(self) -> dict[date, Snapshot]:
        """The current version of every day, oldest first."""
        days = self.days()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = zip(days, pool.map(self.current, days), strict=True)
            return {day: snapshot for day, snapshot in found if snapshot is not None}

    def find(self, day: date, version: str) -> Snapshot | None:
        """A version of a day, current or earlier; None when there is none, or its files are gone."""
        found = self._read(self._manifest(day, version))
        if found is None:
            return None
        there = {file.path for file in self.storage.list(self.folder(found.as_of, found.version))}
        return found if all(file.path in there for file in found.files) else None

    def versions(self, day: date) -> list[Snapshot]:
        """Every version of a day that was kept, oldest first, the current one last."""
        current = self.current(day)
        places = (file.path for file in self.storage.list(f"{self.kind}/_versions/{self.group}/{day.isoformat()}"))
        found = [Snapshot.from_json(self.storage.read(place)) for place in places]
        others = sorted((s for s in found if current and s.version != current.version), key=lambda snapshot: snapshot.run_id)
        return [*others, current] if current else []

    def days(self) -> list[date]:
        """The days that have a current version, oldest first."""
        names = (file.path.rsplit("/", 1)[1] for file in self.storage.list(f"{self.kind}/_current/{self.group}"))
        return sorted(date.fromisoformat(name.removesuffix(".json")) for name in names)

    def read(self, spark: SparkSession, snapshot: Snapshot) -> DataFrame:
        """The rows of one version, with `as_of` and `snapshot_version`."""
        from pyspark.sql import functions as F

        rows = spark.read.parquet(*(self.storage.uri(file.path) for file in snapshot.files))
        return rows.withColumns({"as_of": F.lit(snapshot.as_of).cast("date"), "snapshot_version": F.lit(snapshot.version)})

    def dataset(self, snapshot: Snapshot) -> Dataset:
        """As `read`, for whoever reads it without Spark, a column or all."""
        with self.storage.open_input(snapshot.files[0].path) as stream:
            stored = pq.read_schema(stream)
        schema = pa.schema([*stored, pa.field("as_of", pa.date32()), pa.field("snapshot_version", pa.string())])
        version = {"as_of": snapshot.day, "snapshot_version": snapshot.version}
        return parquet_dataset(self.storage, [(file.path, version) for file in snapshot.files], schema)

    def folder(self, as_of: str, version: str) -> str:
        """Where a version's files lie."""
        return f"{self.path}/as_of={as_of}/snapshot_version={version}"

    def new_file(self, as_of: str, version: str) -> str:
        """Where another file of a version goes."""
        return f"{self.folder(as_of, version)}/part-{uuid.uuid4().hex}.parquet"

    def diff_path(self, day: date, was: str, version: str) -> str:
        """Where the differences between two versions of a day lie."""
        return f"{self.kind}/_diffs/{self.group}/as_of={day.isoformat()}/{was}-{version}.parquet"

    def begin(self, versions: Mapping[date, str], run_id: str) -> None:
        """Files of these versions are about to be written, some perhaps in vain: noted for `sweep`. Earlier ones of them go."""
        days = sorted(day.isoformat() for day in versions)
        self.storage.write(f"{self._notes}/{run_id}-{days[0]}.json", json.dumps({"days": days}).encode())
        for day, version in versions.items():
            self._remove(day, version)

    def sweep(self) -> None:
        """Delete what no commit has of the days that earlier runs wrote: of a run that died, of a task that outlived its run.

        Call it under the lease, before this run begins to write.
        """
        notes = [file.path for file in self.storage.list(self._notes)]
        days = sorted({day for note in notes for day in json.loads(self.storage.read(note))["days"]})
        if days:
            self.storage.delete_unfinished(self.path)
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                there = pool.map(lambda day: list(self.storage.list(f"{self.path}/as_of={day}")), days)
            self._remove_strays({file.path for files in there for file in files})
        for note in notes:
            self.storage.delete(note)

    def commit(self, snapshots: Sequence[Snapshot], schema: pa.Schema, lease: Lease | None = None) -> None:
        """One Delta transaction for the versions of some days, one of each, then their pointers. Committing the same again
        changes nothing.

        Of hindsight, a day's earlier versions go. Raises LeaseError when the lease was lost, or another run committed at the
        same time; nothing is committed then.
        """
        if lease is not None:
            lease.check()
        try:
            self._commit_files(snapshots, schema)
        except CommitFailedError as problem:
            days = " to ".join(dict.fromkeys([snapshots[0].as_of, snapshots[-1].as_of]))
            raise LeaseError(
                f"{self.path}: another run committed to the table while this one did, as of {days}; nothing of this "
                f"was committed: {problem}. Let that run end and run again"
            ) from problem
        strays: set[str] = set()
        for snapshot in snapshots:
            self._write(snapshot)
            folder = f"{self.path}/as_of={snapshot.as_of}"
            self.storage.delete_unfinished(folder)
            strays |= {file.path for file in self.storage.list(folder)} - {file.path for file in snapshot.files}
        self._remove_strays(strays)

    def restore(self, snapshot: Snapshot, lease: Lease | None = None) -> None:
        """Make an earlier version, as `find` gave it, the current one again."""
        if lease is not None:
            lease.check()
        self._write(snapshot)

    def confirm(self, current: Snapshot, made: Snapshot, lease: Lease | None = None) -> Snapshot:
        """Note that the day was computed again and came out the same: the current version stands, the new files go."""
        if lease is not None:
            lease.check()
        confirmed = replace(current, definition=made.definition, curated=made.curated, groups=made.groups, confirmed=made.version)
        self._write(confirmed)
        if self.find(made.day, made.version) is None:
            self._remove(made.day, made.version)
        return confirmed

    def _remove_strays(self, files: set[str]) -> None:
        """Delete those of the files that no commit has."""
        table = open_delta(self.storage, self.path) if files else None
        committed = pa.table(table.get_add_actions()).to_pylist() if table is not None else []
        for path in files - {f"{self.path}/{unquote(action['path'])}" for action in committed}:
            self.storage.delete(path)

    def _remove(self, day: date, version: str) -> None:
        """Delete the files of a version that isn't committed."""
        self.storage.delete_folder(self.folder(day.isoformat(), version))

    def _commit_files(self, snapshots: Sequence[Snapshot], schema: pa.Schema) -> None:
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.path.removeprefix(f"{self.path}/"),
                size=file.size,
                partition_values={"as_of": snapshot.as_of, "snapshot_version": snapshot.version},
                modification_time=0,
                data_change=True,
                stats=json.dumps({"numRecords": file.rows}),
            )
            for snapshot in snapshots
            for file in snapshot.files
        ]
        run_id = snapshots[0].run_id
        full = pa.schema([*schema, pa.field("as_of", pa.date32()), pa.field("snapshot_version", pa.string())])
        table = open_delta(self.storage, self.path)
        if table is None:
            added = [action for action in actions if isinstance(action, AddAction)]
            create_delta(self.storage, self.path, added, full, partition_by=PARTITION, commit_properties=_told(run_id, 1))
            return
        days = ("as_of", "in", [snapshot.as_of for snapshot in snapshots])
        versions = ("snapshot_version", "in", [snapshot.version for snapshot in snapshots])  # each is of one day only
        table.create_write_transaction(
            actions,
            mode="overwrite",
            schema=Schema.from_arrow(_widest(table, full)),
            partition_by=list(PARTITION),
            partition_filters=[days] if self.kind == "hindsight" else [days, versions],
            commit_properties=_told(run_id, (table.transaction_version(_WRITER) or 0) + 1),
        )

    def _write(self, snapshot: Snapshot) -> None:
        told = json.dumps(asdict(snapshot), indent=1).encode()
        self.storage.write(self._manifest(snapshot.day, snapshot.version), told)
        self.storage.write(self._pointer(snapshot.day), told)

    def _read(self, place: str) -> Snapshot | None:
        return Snapshot.from_json(self.storage.read(place)) if self.storage.exists(place) else None

    def _pointer(self, day: date) -> str:
        return f"{self.kind}/_current/{self.group}/{day.isoformat()}.json"

    @property
    def _notes(self) -> str:
        """Where it says of which days files were begun since the last sweep."""
        return f"{self.kind}/_under_way/{self.group}"

    def _manifest(self, day: date, version: str) -> str:
        return f"{self.kind}/_versions/{self.group}/{day.isoformat()}/{version}.json"


def _told(run_id: str, number: int) -> CommitProperties:
    return CommitProperties(custom_metadata={"run_id": run_id}, app_transactions=[Transaction(_WRITER, number)])


def _widest(table: DeltaTable, schema: pa.Schema) -> pa.Schema:
    """The table's columns and after them those that are new."""
    there = pa.schema(table.schema().to_arrow())
    return pa.schema([*there, *(field for field in schema if field.name not in there.names)])


class DayWriter:
    """Writes a group's rows as one Parquet file a day, where they are made. The files count once they are committed.

    `versions`: by as-of day.
    """

    def __init__(
        self, storage: Storage, group: str, versions: Mapping[str, str], schema: pa.Schema, kind: Kind = "snapshots"
    ) -> None:
        table = SnapshotTable(storage, group, kind)
        self._files = PartitionedFiles(
            storage,
            lambda as_of: table.new_file(as_of, versions[as_of]),
            lambda stream, _: feature_writer(stream, schema, each_once=schema.names[0]),  # which refuses rows of another schema
            rows_a_group=ROWS_A_GROUP,
            waiting=CELLS_WAITING // len(schema),
        )

    def __enter__(self) -> DayWriter:
        return self

    def __exit__(self, *problem: object) -> None:
        self._files.__exit__(*problem)

    def write(self, as_of: str, rows: pa.Table) -> None:
        self._files.add(as_of, rows)

    def close(self) -> Iterator[tuple[str, SnapshotFile]]:
        """Finish every file; each day with its file."""
        for as_of, file in self._files.close().items():
            yield as_of, SnapshotFile(file.path, file.rows, file.size)


def sort_by_day(files: Iterable[tuple[str, SnapshotFile]]) -> dict[str, tuple[SnapshotFile, ...]]:
    """Files by day, each day's in order of path."""
    days: dict[str, list[SnapshotFile]] = {}
    for as_of, file in files:
        days.setdefault(as_of, []).append(file)
    return {as_of: tuple(sorted(found, key=lambda file: file.path)) for as_of, found in sorted(days.items())}
