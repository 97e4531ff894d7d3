"""Groups that are rolled up from other groups' rows of the day: by DuckDB on one machine, by Spark where there are more."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from conf.errors import InputError
from jobs.later_groups import check_reads
from jobs.prepare_facts import rows_in_process
from transforms.answer import snapshot_schema
from transforms.fact_sql import SPARK
from transforms.prepare_duckdb import connect
from transforms.rollups import roll_up, rollup_sql

if TYPE_CHECKING:
    from jobs.workers import Workers
    from jobs.writers import Writer
    from stores.snapshots import Kind, Snapshot, SnapshotFile, SnapshotTable
    from stores.storage import Storage
    from transforms.feature_group import CompiledRollup

MEMORY = "1500MB"
"""Of DuckDB; what doesn't fit spills to disk."""


@dataclass(frozen=True)
class RollupCall:
    """One version of a rollup's day, to be made. `reads`: the snapshots of that day of the groups that it reads."""

    group: CompiledRollup
    day: date
    version: str
    reads: Mapping[str, Snapshot]
    zone: str
    storage: Storage
    workers: Workers
    kind: Kind
    writer: Writer

    def run(self) -> tuple[SnapshotFile, ...]:
        """Roll up, and write; no file where no row is a member of anything.

        Raises: InputError for a group that it reads without a snapshot of the day, or with one made without a column of today's.
        """
        check_reads(self.group, self.reads, self.day)
        self._check_columns()
        read = sum(snapshot.rows for snapshot in self.reads.values())
        files = self._in_process() if read <= rows_in_process(self.workers) else self._in_spark()
        return tuple(sorted(files, key=lambda file: file.path))

    def _check_columns(self) -> None:
        for name, columns in self.group.read().items():
            there = self._table(name).dataset(self.reads[name]).schema.names
            if lacking := [column for column in columns if column not in there]:
                raise InputError(
                    f"{self.group.name} reads {', '.join(lacking)} of {name}, whose snapshot as of {self.day} was made without; "
                    f"make it anew: etr materialize --as-of {self.day} --groups {name},{self.group.name}"
                )

    def _table(self, name: str) -> SnapshotTable:
        from stores.snapshots import SnapshotTable

        return SnapshotTable(self.storage, name, self.kind)

    def _in_process(self) -> list[SnapshotFile]:
        from stores.snapshots import DayWriter

        tables = {name: self._table(name).dataset(snapshot) for name, snapshot in self.reads.items()}
        with (
            tempfile.TemporaryDirectory(prefix="etr-") as spill,
            connect(memory_limit=MEMORY, temp_directory=spill, preserve_insertion_order=False) as connection,
        ):
            rows = roll_up(self.group, tables, day=self.day, zone=self.zone, connection=connection)
        as_of, schema = self.day.isoformat(), snapshot_schema(self.group)
        with DayWriter(self.storage, self.group.name, {as_of: self.version}, schema, self.kind) as writer:
            if len(rows):
                writer.write(as_of, rows)
            return [file for _, file in writer.close()]

    def _in_spark(self) -> list[SnapshotFile]:
        spark = self.workers.spark()
        views = {name: f"rollup_{uuid.uuid4().hex}" for name in self.reads}
        for name, snapshot in self.reads.items():
            self._table(name).read(spark, snapshot).createTempView(views[name])
        try:
            rows = spark.sql(rollup_sql(self.group, views, SPARK, day=self.day, zone=self.zone))
            some = rows.coalesce(4 * self.workers.at_once)
            table = self._table(self.group.name)
            return self.writer.rows_of_day(some, snapshot_schema(self.group), table, self.day.isoformat(), self.version)
        finally:
            for view in views.values():
                spark.catalog.dropTempView(view)
