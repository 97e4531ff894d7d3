"""Training sets at rest: Parquet files that workers write, committed to Delta as a whole, and what they were made of."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.schema import Schema
from deltalake.transaction import AddAction, RemoveAction
from numpy.typing import NDArray

from conf.errors import LeaseError
from stores.delta import create_delta, open_delta
from stores.lease import Lease
from stores.storage import Storage
from transforms.spark_hash import spark_hash

FOLDER = "training_sets"
LABELS_AT_ONCE = 1_000_000
_WRITER = "etr"
"""Counts commits in the Delta log: of two that began on the same version, Delta lets one through."""


@dataclass(frozen=True)
class TrainingFile:
    """A file of rows; `path` relative to the lake."""

    path: str
    rows: int
    size: int


@dataclass(frozen=True)
class LabelSource:
    """Where labels came from: a file and what identifies its content, or the days of a spine."""

    file: str | None
    fingerprint: str | None
    days: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingSetVersion:
    """What a training set was made of, and what came of it.

    `version`: the hash of the definition, the labels, and what was read; `definition`: that of the definition alone. `groups`:
    the definition's version of each feature group; `curated`: the newest commit of each source that was read. `newest_day`: the
    newest local day that was taken to be complete. `counts`: of labels; `of_groups`: of each group how many labels it knew
    nothing of; `targets`: of each target how many rows have a value, and their mean. `without_history`: the files that list the
    labels of which nothing was known.
    """

    name: str
    version: str
    definition: str
    run_id: str
    labels: LabelSource
    newest_day: str
    groups: Mapping[str, str]
    curated: Mapping[str, int]
    counts: Mapping[str, int]
    of_groups: Mapping[str, Mapping[str, int]]
    targets: Mapping[str, Mapping[str, float | None]]
    files: tuple[TrainingFile, ...]
    without_history: tuple[TrainingFile, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    @classmethod
    def from_json(cls, data: bytes) -> TrainingSetVersion:
        told: dict[str, Any] = json.loads(data)
        told["labels"] = LabelSource(**{**told["labels"], "days": tuple(told["labels"]["days"])})
        for name in ("files", "without_history"):
            told[name] = tuple(TrainingFile(**file) for file in told[name])
        return cls(**told)


class TrainingSetTable:
    """`training_sets/<name>`: one row a label. Replaced as a whole; the files that go with an earlier one are deleted."""

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage = storage
        self.name = name
        self.path = f"{FOLDER}/{name}"
        self.report = f"{FOLDER}/_current/{name}.json"
        self.history_path = f"{FOLDER}/_without_history/{name}"

    def current(self) -> TrainingSetVersion | None:
        """What the table holds; None when it was never made, or its files are gone."""
        if not self.storage.exists(self.report):
            return None
        found = TrainingSetVersion.from_json(self.storage.read(self.report))
        return found if all(self.storage.exists(file.path) for file in found.files) else None

    def staging(self, run_id: str) -> str:
        """Where a run keeps its labels while it works."""
        return f"{FOLDER}/_staged/{self.name}/{run_id}"

    def remove_leftovers(self) -> None:
        """Delete what runs that died left behind: their labels, and files that never came to count."""
        current = self.current()
        kept = {file.path for file in (*current.files, *current.without_history)} if current else set()
        table = open_delta(self.storage, self.path)
        if table is not None:  # a run may have died between its commit and its report
            kept |= {f"{self.path}/{action['path']}" for action in pa.table(table.get_add_actions()).to_pylist()}
        for folder in (f"{FOLDER}/_staged/{self.name}", self.path, self.history_path):
            for file in list(self.storage.list(folder)):
                if file.path not in kept and "/_delta_log/" not in file.path:
                    self.storage.delete(file.path)

    def commit(self, made: TrainingSetVersion, schema: pa.Schema, lease: Lease | None = None) -> None:
        """One Delta transaction that replaces every row, then the report; then the files of the version before go.

        Raises LeaseError when the lease was lost, or another run committed at the same time; nothing is committed then.
        """
        if lease is not None:
            lease.check()
        try:
            self._commit_files(made, schema)
        except CommitFailedError as problem:
            raise LeaseError(
                f"{self.path}: another run committed to the table while this one did; nothing of this run was committed: "
                f"{problem}. Let that run end and run again"
            ) from problem
        self.storage.write(self.report, json.dumps(asdict(made), indent=1).encode())
        self.remove_leftovers()

    def _commit_files(self, made: TrainingSetVersion, schema: pa.Schema) -> None:
        actions: list[AddAction | RemoveAction] = [
            AddAction(
                path=file.path.removeprefix(f"{self.path}/"),
                size=file.size,
                partition_values={},
                modification_time=0,
                data_change=True,
                stats=json.dumps({"numRecords": file.rows}),
            )
            for file in made.files
        ]
        table = open_delta(self.storage, self.path)
        if table is None:
            added = [action for action in actions if isinstance(action, AddAction)]
            create_delta(self.storage, self.path, added, schema, partition_by=[], commit_properties=_told(made, 1))
            return
        table.create_write_transaction(
            actions,
            mode="overwrite",
            schema=Schema.from_arrow(schema),
            partition_by=[],
            commit_properties=_told(made, (table.transaction_version(_WRITER) or 0) + 1),
        )


def _told(made: TrainingSetVersion, number: int) -> CommitProperties:
    told = {"run_id": made.run_id, "training_set_version": made.version}
    return CommitProperties(custom_metadata=told, app_transactions=[Transaction(_WRITER, number)])


class LabelStage:
    """Labels on their way to the facts of their entities: files by the bucket of the entity, few and not tiny.

    So many labels as LABELS_AT_ONCE are held in memory, whatever the number that comes.
    """

    def __init__(self, storage: Storage, folder: str, bucket_bits: int) -> None:
        self.storage = storage
        self.folder = folder
        self.bucket_bits = bucket_bits
        self.files: dict[int, tuple[str, ...]] = {}
        self._waiting: list[pa.Table] = []
        self._flushed = 0

    def add(self, labels: pa.Table) -> None:
        """Rows with `_entity`."""
        self._waiting.append(labels)
        if sum(map(len, self._waiting)) >= LABELS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits; to be called at the end, too."""
        if not any(map(len, self._waiting)):
            return
        labels = pa.concat_tables(self._waiting)
        self._waiting = []
        bucket = self._buckets(labels["_entity"])
        order = np.argsort(bucket, kind="stable")
        labels, bucket = labels.take(pa.array(order)), bucket[order]
        found, starts = np.unique(bucket, return_index=True)
        ends = np.append(starts[1:], len(bucket))
        for one, start, end in zip(found.tolist(), starts.tolist(), ends.tolist(), strict=True):
            path = f"{self.folder}/bucket={one}/part-{self._flushed:05d}.parquet"
            with self.storage.open_output(path) as stream:
                pq.write_table(labels.slice(start, end - start), stream, compression="zstd")
            self.files[one] = (*self.files.get(one, ()), path)
        self._flushed += 1

    def _buckets(self, entities: pa.ChunkedArray) -> NDArray[np.int64]:
        if not self.bucket_bits:
            return np.zeros(len(entities), dtype=np.int64)
        hashes = spark_hash([entities]).to_numpy().view(np.uint64)
        buckets: NDArray[np.int64] = (hashes >> np.uint64(64 - self.bucket_bits)).astype(np.int64)
        return buckets


def read_labels(storage: Storage, paths: Iterable[str], schema: pa.Schema) -> pa.Table:
    """Staged labels of a bucket."""
    parts = [schema.empty_table()]
    for path in paths:
        with storage.open_input(path) as stream:
            parts.append(pq.read_table(stream, columns=schema.names, use_threads=False).cast(schema))
    return pa.concat_tables(parts)
