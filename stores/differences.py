"""What differs between two versions of a day: one row a value, entity, column, was and is; in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from conf.database import open_duckdb
from stores.lake import write_rows
from stores.snapshots import Restatement, Snapshot, SnapshotFile
from stores.storage import Storage

DIFF_SCHEMA = pa.schema(
    [
        ("as_of", pa.string()),
        ("was_version", pa.string()),
        ("is_version", pa.string()),
        ("entity", pa.string()),
        ("column", pa.string()),
        ("was", pa.string()),
        ("is", pa.string()),
    ]
)
"""One row for each value that differs, as text. A row that came or went is one difference, of the record identifier's column."""

MEMORY = "1GB"
"""Beyond it, the join spills to disk."""
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Comparison:
    """Two versions of a day to be compared, the current one and the one made now, whose `restates` isn't known yet; pickles."""

    storage: Storage
    record_identifier: str
    was: Snapshot
    made: Snapshot
    reasons: tuple[str, ...]
    diff_path: str

    def restatement(self) -> Restatement:
        """Compare them, and write what differs to `diff_path`: no file where nothing does."""
        was, made = (_Version(self.storage, version.files) for version in (self.was, self.made))
        names = [name for name in made.schema.names if name in was.schema.names]
        counted = _Counted({}, 0)
        with tempfile.TemporaryDirectory() as spill, _database(spill) as connection:
            connection.register("was", was.reader(names))
            connection.register("made", made.reader(names))
            others = [name for name in names if name != self.record_identifier]
            found = connection.sql(_difference(self.record_identifier, others)).to_arrow_reader(_ROWS_AT_ONCE)
            rows = (self._told(batch) for batch in counted.of(found))
            written = write_rows(self.storage, self.diff_path, rows, DIFF_SCHEMA)
        return Restatement(
            was=self.was.version,
            reasons=self.reasons,
            entities=counted.entities,
            values=dict(sorted(counted.values.items())),
            added=tuple(name for name in made.schema.names if name not in names),
            removed=tuple(name for name in was.schema.names if name not in names),
            diff=self.diff_path if written else None,
        )

    def _told(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        versions = (self.made.as_of, self.was.version, self.made.version)
        same = [pa.repeat(pa.scalar(text, pa.string()), len(batch)) for text in versions]
        return pa.RecordBatch.from_arrays([*same, *batch.columns], schema=DIFF_SCHEMA)


@dataclass(frozen=True)
class _Version:
    """The rows of one version, a batch at a time."""

    storage: Storage
    files: Sequence[SnapshotFile]

    @property
    def schema(self) -> pa.Schema:
        if not self.files:
            return pa.schema([])
        with self.storage.open_input(self.files[0].path) as stream:
            return pq.read_schema(stream)

    def reader(self, names: Sequence[str]) -> pa.RecordBatchReader:
        schema = pa.schema([self.schema.field(name) for name in names])
        return pa.RecordBatchReader.from_batches(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        for file in self.files:
            with self.storage.open_input(file.path) as stream:
                for batch in pq.ParquetFile(stream).iter_batches(_ROWS_AT_ONCE, columns=schema.names):
                    yield batch.select(schema.names).cast(schema)


@dataclass
class _Counted:
    """Counts differences as they pass, by column, and the entities that have any; rows of one entity follow one another."""

    values: dict[str, int]
    entities: int

    def of(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        last: str | None = None
        for batch in batches:
            for item in pc.value_counts(batch["column"]).to_pylist():
                self.values[item["values"]] = self.values.get(item["values"], 0) + item["counts"]
            entities = batch["entity"]
            fresh = pc.not_equal(entities[1:], entities[:-1])
            self.entities += int(entities[0].as_py() != last) + int(pc.sum(fresh).as_py() or 0)
            last = entities[-1].as_py()
            yield batch


def _database(spill: str) -> duckdb.DuckDBPyConnection:
    connection = open_duckdb(threads=1, memory_limit=MEMORY, temp_directory=spill)
    connection.execute("set TimeZone = 'UTC'")
    return connection


def _difference(identifier: str, columns: Sequence[str]) -> str:
    """SQL over the tables `was` and `made`: entity, column, was, is; the rows of one entity together, in order."""

    def differs(column: str) -> str:
        was, made = f'w."{column}"', f'm."{column}"'
        return f"case when {was} is distinct from {made} then {_row(column, was, made)} end"

    key_was, key_made = f'w."{identifier}"', f'm."{identifier}"'
    listed = ", ".join(differs(column) for column in columns)
    return f"""
        select entity, d.name as "column", d.was as was, d.made as "is"
        from (
            select coalesce({key_was}, {key_made}) as entity,
                unnest(case
                    when {key_was} is null or {key_made} is null then [{_row(identifier, key_was, key_made)}]
                    else list_filter([{listed}], lambda x : x is not null)
                end) as d
            from was w full join made m on {key_was} = {key_made}
        )
        order by entity, "column"
    """


def _row(column: str, was: str, made: str) -> str:
    return f"{{'name': '{column}', 'was': cast({was} as varchar), 'made': cast({made} as varchar)}}"
