"""Our own tables under one root: curated ledgers with what was taken into them, run manifests, quarantine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.errors import DefinitionError, InputError, PublishError
from stores.curated_files import PARTITION, CuratedFile, commit_curated, read_rows, run_of
from stores.lease import Lease, hold_all
from stores.parquet_dataset import parquet_dataset
from stores.storage import Storage, open_storage

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset
    from pyspark.sql import DataFrame, SparkSession

    from conf.settings import S3Settings

_COMMIT_FILE = re.compile(r"([0-9]{20})(?:\.json|\.checkpoint(?:\..*)?\.parquet)")
_METADATA_KEY = "etr_curate"
_ZSTD_WRITER = partial(pq.ParquetWriter, compression="zstd")

QUARANTINE_SCHEMA = pa.schema(
    [
        ("source_or_group", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("key", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("row", pa.string()),
    ]
)
"""One row for each quarantined row: `rule` and `reason` are joined by `; ` when it breaks several; `row` is JSON text."""


@dataclass(frozen=True)
class TakenFile:
    """A raw file that a commit took in, wholly. `fingerprint` identifies its content, `tag` spares reading it again."""

    path: str
    size: int
    tag: str
    fingerprint: str


@dataclass(frozen=True)
class SetAsideFiles:
    """Files of the rows that a commit's run set aside: written before it, and added to their own ledger after it."""

    ledger: str
    files: tuple[CuratedFile, ...]
    earliest_effect: int
    """Microseconds since 1970 UTC: no cut-off before it sees one of these rows."""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "files": [asdict(file) for file in self.files]}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SetAsideFiles:
        return cls(values["ledger"], tuple(CuratedFile(**file) for file in values["files"]), values["earliest_effect"])


@dataclass(frozen=True)
class CurateCommit:
    """One commit of a curated table: what was taken in, and what came of it."""

    version: int
    """The table's version that this commit made."""
    run_id: str
    files: tuple[TakenFile, ...]
    counts: Mapping[str, int]
    earliest_effect: int | None
    """Microseconds since 1970 UTC: no cut-off before it sees a row of this commit; None when it kept no row."""
    partitions: tuple[str, ...]
    """The values of `_month` among its rows."""
    newest_moment: int | None = None
    """The latest known time among its rows, or event time where none has one, in microseconds since 1970 UTC."""
    set_aside: SetAsideFiles | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> CurateCommit:
        files = tuple(TakenFile(**file) for file in values["files"])
        aside = values.get("set_aside")
        changed = {
            "files": files,
            "partitions": tuple(values["partitions"]),
            "set_aside": SetAsideFiles.of(aside) if aside else None,
        }
        return cls(**{**values, **changed})


class CuratedTable:
    """One curated ledger: a Delta table that only ever grows, and the list of what was taken into it.

    The Delta commit is the truth: it names its files in its metadata. The index beside the table repeats that, so that the
    log may be cleaned up; whatever a crash kept out of the index is read from the log at the next look.
    """

    def __init__(self, lake: Lake, source: str) -> None:
        self.source = source
        self._lake = lake
        self.name = f"curated/{source}"
        self.uri = lake.uri("curated", source)
        self.storage = lake.storage
        self._index = f"curated/{source}.commits.json"

    def version(self) -> int | None:
        """The newest version, read from the log's file names; None before the first commit."""
        return max((number for number, _ in self._log()), default=None)

    def commits(self) -> list[CurateCommit]:
        """Every commit that took files in, oldest first."""
        return self._look()[1]

    def taken_files(self) -> dict[str, TakenFile]:
        """The newest state in which each path was taken in."""
        return {file.path: file for commit in self.commits() for file in commit.files}

    def read(
        self, spark: SparkSession, *, months: Sequence[str] | None = None, runs: Sequence[str] | None = None
    ) -> DataFrame | None:
        """The table, or the rows of some months or runs; None before the first commit."""
        if self.version() is None:
            return None
        table = spark.read.format("delta").load(self.uri)
        table = table if months is None else table.where(table["_month"].isin(list(months)))
        return table if runs is None else table.where(table["_run"].isin(list(runs)))

    def dataset(self, *, months: Sequence[str] | None = None, runs: Sequence[str] | None = None) -> Dataset | None:
        """As `read`, for whoever reads it without Spark, a column or all."""
        if self.version() is None:
            return None
        schema = pa.schema(self._delta().schema().to_arrow())
        files = [(path, {PARTITION: unquote(path.split(f"/{PARTITION}=")[1].split("/")[0])}) for path in self.paths()]
        found = parquet_dataset(self.storage, files, schema)
        for column, values in ((PARTITION, months), ("_run", runs)):
            found = found if values is None else found.filter(pc.field(column).isin(pa.array(values, pa.string())))
        return found

    def batches(self, schema: pa.Schema, *, runs: Collection[str] | None = None) -> pa.RecordBatchReader:
        """Columns of all its rows, or of those that some runs took in; a column that is newer than a row is null.

        No rows before the first commit. `runs`: `schema` has `_run`; no other run's files are read, as long as theirs are there.
        """
        paths = self.paths()
        if runs is None:
            return pa.RecordBatchReader.from_batches(schema, read_rows(self.storage, paths, schema))
        commits = [commit for commit in self.commits() if commit.run_id in runs]
        added = {path for commit in commits for path in self.paths_added(commit.version)}
        if added <= {*paths} and {commit.run_id for commit in commits} == {*runs}:
            paths = sorted(added)
        wanted = pa.array(runs, pa.string())
        own = (rows.filter(pc.is_in(rows["_run"], value_set=wanted)) for rows in read_rows(self.storage, paths, schema))
        return pa.RecordBatchReader.from_batches(schema, own)

    def paths(self) -> list[str]:
        """The Parquet files, below the lake's root, that hold the table's rows now; found without Spark."""
        if self.version() is None:
            return []
        return sorted(self._path(action["path"]) for action in pa.table(self._delta().get_add_actions()).to_pylist())

    def paths_added(self, version: int) -> list[str]:
        """The Parquet files that one commit added, as long as the log has it."""
        return sorted(self._path(json.loads(line)["add"]["path"]) for line in self._log_lines(version, b'{"add"'))

    def _delta(self) -> DeltaTable:
        from stores.delta import open_delta  # deltalake takes longer than a wrong argument should

        table = open_delta(self.storage, self.name)
        if table is None:
            raise InputError(f"{self.uri}: the table was there and is gone; run again")
        return table

    def _path(self, logged: str) -> str:
        return f"{self.name}/{unquote(logged)}"

    def newest_moment(self) -> int | None:
        """The latest known time among its rows, or event time where there are none, in microseconds since 1970 UTC.

        None where there are no rows, or a commit doesn't say.
        """
        found = [commit.newest_moment for commit in self.commits() if commit.counts.get("kept")]
        known = [moment for moment in found if moment is not None]
        return max(known) if known and len(known) == len(found) else None

    def check_columns(self, columns: Mapping[str, str]) -> None:
        """Raises DefinitionError when a column exists with another type; `columns` are Delta type names by column."""
        if self.version() is None:
            return
        existing = {field.name: str(field.type.to_json()).strip('"') for field in self._delta().schema().fields}
        for name, wanted in columns.items():
            if existing.get(name, wanted) != wanted:
                raise DefinitionError(
                    f"{self.source}: column '{name}' is {wanted} by its definition and {existing[name]} in {self.uri}; "
                    "a type never changes in place: give the column another name, or curate into another lake"
                )

    def append(
        self,
        files: Sequence[CuratedFile],
        schema: pa.Schema,
        *,
        run_id: str,
        taken: Iterable[TakenFile],
        counts: Mapping[str, int],
        earliest_effect: int | None,
        set_aside: SetAsideFiles | None = None,
        lease: Lease | None = None,
    ) -> CurateCommit:
        """Add rows, in files that `write_curated` wrote, and the raw files they came from in one commit.

        `schema`: of the rows; columns that are new are null in older rows. `counts["kept"]`: how many rows there must be. A file
        whose rows are all known still has to be remembered as taken: that is a commit without rows.
        Raises, before anything is committed: LeaseError when the lease was lost, PublishError for another number of rows.
        """
        rows = sum(file.rows for file in files)
        if rows != counts["kept"]:
            raise PublishError(
                f"{self.name}: {rows:,} rows were written where {counts['kept']:,} were counted; nothing was committed; run again"
            )
        facts = {
            "run_id": run_id,
            "files": [asdict(file) for file in taken],
            "counts": dict(counts),
            "earliest_effect": earliest_effect,
            "partitions": sorted({file.month for file in files}),
            "newest_moment": max((file.newest for file in files if file.newest is not None), default=None),
            "set_aside": set_aside.to_json() if set_aside else None,
        }
        if lease is not None:
            lease.check()
        told = {_METADATA_KEY: json.dumps(facts, separators=(",", ":"))}
        version = commit_curated(self.storage, self.name, files, schema, told)
        if self._facts_of(self._commit_info(version)) != facts:
            raise PublishError(f"{self.name}: version {version} is not this run's commit; another writer wrote the table")
        self.save_index()
        return CurateCommit.of({**facts, "version": version})

    def save_index(self) -> None:
        """Bring the index up to the newest commit; does nothing when it is."""
        known, commits, written = self._look()
        if known > written:
            text = {"version": known, "commits": [commit.to_json() for commit in commits]}
            self.storage.write(self._index, json.dumps(text, separators=(",", ":")).encode())

    def remove_strays(self, run_id: str) -> None:
        """Delete files that no commit has: of runs that died, and of this run where Spark ran a task twice.

        Call it under the lease, when all that this run writes to the table is committed.
        """
        self.storage.delete_unfinished(self.name)
        there = {file.path: run for file in self.storage.list(self.name) if (run := run_of(file.path)) is not None}
        ended = {commit.run_id for commit in self.commits()} - {run_id}
        for path in self.paths():
            there.pop(path, None)
        strays = {path for path, run in there.items() if run not in ended}
        strays |= self._never_committed({path: run for path, run in there.items() if run in ended})
        if strays:
            strays -= self._lake.files_set_aside()
        for path in strays:
            self.storage.delete(path)

    def _never_committed(self, files: Mapping[str, str]) -> set[str]:
        """Of files by the run that wrote them, and committed others, those of tasks that Spark ran twice and that outlived it.

        What a run committed may be kept for older versions. Where the log no longer tells, a file stays.
        """
        found = set[str]()
        for run in sorted(set(files.values())):
            versions = [commit.version for commit in self.commits() if commit.run_id == run]
            if all(self._log_lines(version, b"{") for version in versions):
                named = {path for version in versions for path in self.paths_added(version)}
                found |= {path for path, its in files.items() if its == run} - named
        return found

    def _look(self) -> tuple[int, list[CurateCommit], int]:
        """The newest version, its commits, and the version up to which the index had them."""
        written, commits = -1, []
        if self.storage.exists(self._index):
            index = json.loads(self.storage.read(self._index))
            written, commits = index["version"], [CurateCommit.of(commit) for commit in index["commits"]]
        log = sorted(self._log())
        newest = max((version for version, _ in log), default=-1)
        if newest < written:
            raise InputError(
                f"{self.uri}: its index knows version {written}, the table is gone or older; put the table back, or "
                f"remove {self.storage.uri(self._index)} as well to curate it anew"
            )
        for version, kind in log:
            if kind == "json" and version > written and (facts := self._facts_of(self._commit_info(version))) is not None:
                commits.append(CurateCommit.of({**facts, "version": version}))
        return newest, commits, written

    def _log(self) -> list[tuple[int, str]]:
        folder = f"curated/{self.source}/_delta_log"
        names = (Path(file.path).name for file in self.storage.list(folder))
        matches = filter(None, map(_COMMIT_FILE.fullmatch, names))
        return [(int(match[1]), "json" if match[0].endswith(".json") else "checkpoint") for match in matches]

    def _commit_info(self, version: int) -> dict[str, Any] | None:
        return next((json.loads(line)["commitInfo"] for line in self._log_lines(version, b'{"commitInfo"')), None)

    def _log_lines(self, version: int, start: bytes) -> list[bytes]:
        """The actions of a commit that begin with `start`; none when the log was cleaned up."""
        try:
            text = self.storage.read(f"curated/{self.source}/_delta_log/{version:020d}.json")
        except FileNotFoundError:
            return []
        return [line for line in text.splitlines() if line.startswith(start)]

    def _facts_of(self, info: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """What `append` wrote into a commit; None for other commits, such as a compaction."""
        text = (info or {}).get(_METADATA_KEY)
        if text is None:
            return None
        facts: dict[str, Any] = json.loads(text)
        return facts


class Lake:
    """Everything under the lake's root."""

    def __init__(self, root: str | Path, s3: S3Settings | None = None) -> None:
        """`s3`: how S3 is reached, where the root lies there."""
        self.storage: Storage = open_storage(root, s3)

    def __repr__(self) -> str:
        return f"Lake({self.storage.root!r})"

    def uri(self, *parts: str) -> str:
        """Where a table or file of the lake lies, as Spark and deltalake take it."""
        return self.storage.uri("/".join(parts))

    def hold(self, tables: Sequence[str], run_id: str, wait_seconds: float = 0.0) -> AbstractContextManager[list[Lease]]:
        """Hold the leases on tables such as `curated/accounts` inside the block, ordered by name. Raises LeaseError."""
        return hold_all(self.storage, tables, run_id, wait_seconds)

    def curated(self, source: str) -> CuratedTable:
        return CuratedTable(self, source)

    def files_set_aside(self) -> set[str]:
        """The files of rows set aside that commits of any ledger name, added to their own ledger or not yet."""
        names = (file.path.removeprefix("curated/") for file in self.storage.list("curated"))
        sources = [name.removesuffix(".commits.json") for name in names if "/" not in name and name.endswith(".commits.json")]
        commits = (commit for source in sources for commit in self.curated(source).commits())
        asides = (commit.set_aside for commit in commits if commit.set_aside is not None)
        return {f"curated/{aside.ledger}/{file.path}" for aside in asides for file in aside.files}

    def write_run(self, run_id: str, name: str, content: Mapping[str, Any]) -> str:
        """Write `runs/<run_id>/<name>.json` and return its URI."""
        path = f"runs/{run_id}/{name}.json"
        self.storage.write(path, json.dumps(content, indent=1, default=str).encode())
        return self.uri(path)

    def quarantine_path(self, run_id: str, what: str) -> str:
        """Where a run's quarantined rows of a source or group go, below the root; a worker writes it."""
        return f"quarantine/{run_id}/{what}.parquet"

    def write_quarantine(self, run_id: str, what: str, rows: Iterable[pa.RecordBatch]) -> int:
        """Write quarantined rows, of QUARANTINE_SCHEMA, and return how many; no file when there are none."""
        return write_rows(self.storage, self.quarantine_path(run_id, what), rows, QUARANTINE_SCHEMA)


def write_rows(
    storage: Storage,
    path: str,
    rows: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    writer_of: Callable[[Any, pa.Schema], pq.ParquetWriter] = _ZSTD_WRITER,
) -> int:
    """Stream batches, a row group each, to one Parquet file and return the number of rows; no file when there are none."""
    batches = (batch for batch in rows if batch.num_rows)
    first = next(batches, None)
    if first is None:
        return 0
    count = 0
    with storage.open_output(path) as stream, writer_of(stream, schema) as writer:
        for batch in chain([first], batches):
            writer.write_batch(batch.select(schema.names).cast(schema))
            count += batch.num_rows
    return count
