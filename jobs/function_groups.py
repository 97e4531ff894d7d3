"""Groups that a Python function makes: called with what counts at T, its answer held against its definition, and written."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from conf.errors import DefinitionError, InputError
from jobs.later_groups import check_reads
from transforms.calendar import cut_off, iso_utc, moment

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import DataType

    from conf.specs import ColumnType
    from jobs.writers import Writer
    from stores.lake import Lake
    from stores.snapshots import Kind, Snapshot, SnapshotFile
    from transforms.feature_group import Compiled, CompiledFunctionGroup

_EXAMPLES = 3
_CASTS: Mapping[ColumnType, str] = {
    "string": "string",
    "integer": "bigint",
    "number": "double",
    "money": "decimal(28,2)",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}


@dataclass(frozen=True)
class FunctionCall:
    """One version of a function group's day, to be made. `reads`: the snapshots of that day that it is given, by group."""

    group: CompiledFunctionGroup
    day: date
    version: str
    reads: Mapping[str, Snapshot]
    compiled: Compiled
    lake: Lake
    spark: SparkSession
    kind: Kind
    writer: Writer

    def run(self) -> tuple[SnapshotFile, ...]:
        """Call the function, check what it gives, and write it.

        Raises: InputError for a group that it reads without a snapshot of the day; DefinitionError when the function fails, or
        gives other columns than it declares, or an identifier twice or never.
        """
        from pyspark.errors import PySparkException

        check_reads(self.group, self.reads, self.day)
        rows = self._checked(self._call()).persist()
        try:
            self._check_identifiers(rows)
            return self._write(rows)
        except PySparkException as problem:  # Spark calls a function's own code only now
            raise self._failed(problem) from problem
        finally:
            rows.unpersist()

    @property
    def _name(self) -> str:
        return f"{self.group.name}: {self.group.module}:{self.group.function}"

    def _call(self) -> DataFrame:
        from pyspark.sql import DataFrame as SparkDataFrame

        from stores.snapshots import SnapshotTable
        from transforms.as_of import as_of

        instant = cut_off(self.day, self.compiled.zone)
        frames: dict[str, DataFrame] = {}
        for name in self.group.sources:
            rows = self.lake.curated(name).read(self.spark)
            if rows is None:
                raise InputError(f"{self.group.name} reads the ledger {name}, and there is none; take it in: etr curate")
            frames[name] = as_of(rows, source=self.compiled.sources[name], cut_off=instant)
        for name, snapshot in self.reads.items():
            frames[name] = SnapshotTable(self.lake.storage, name, self.kind).read(self.spark, snapshot)
        try:
            function: Callable[..., Any] = getattr(importlib.import_module(self.group.module), self.group.function)
            given = function(frames, self.day, moment(instant))
        except Exception as problem:
            raise self._failed(problem) from problem
        if not isinstance(given, SparkDataFrame):
            raise DefinitionError(f"{self._name} gave {type(given).__name__}; it must give a Spark DataFrame")
        return given

    def _failed(self, problem: Exception) -> DefinitionError:
        return DefinitionError(f"{self._name} failed as of {self.day}: {type(problem).__name__}: {problem}")

    def _checked(self, given: DataFrame) -> DataFrame:
        """The columns of a snapshot, in order, in their types."""
        from pyspark.sql import functions as F

        types: dict[str, ColumnType] = {self.group.entity: "string"}
        types |= {column.name: column.type for column in self.group.columns}
        there = {field.name: field.dataType for field in given.schema.fields}
        problems = []
        if missing := [name for name in types if name not in there]:
            problems.append(f"it gives no {', '.join(missing)}")
        if extra := [name for name in there if name not in types]:
            problems.append(f"it gives {', '.join(extra)}, which the definition doesn't declare")
        if twice := sorted({name for name in given.columns if given.columns.count(name) > 1}):
            problems.append(f"it gives {', '.join(twice)} more than once")
        for name, kind in types.items():
            if name in there and not _fits(there[name], kind):
                problems.append(f"{name} is {there[name].simpleString()}, declared as {kind}: cast it to {_CASTS[kind]}")
        if problems:
            raise DefinitionError(f"{self._name} doesn't give what its definition says: {'; '.join(problems)}")
        event_time = iso_utc(cut_off(self.day, self.compiled.zone))
        own = [
            F.lit(event_time).alias("event_time"),
            F.lit(self.compiled.zone).alias("time_zone"),
            F.lit(True).alias("has_history"),
        ]
        cast = {name: F.col(f"`{name}`").cast(_CASTS[kind]).alias(name) for name, kind in types.items()}
        return given.select(cast.pop(self.group.entity), *own, *cast.values())

    def _check_identifiers(self, rows: DataFrame) -> None:
        from pyspark.sql import functions as F

        entity = self.group.entity
        wrong = rows.groupBy(entity).count().where((F.col("count") > 1) | F.col(entity).isNull())
        found = wrong.orderBy(F.desc("count"), entity).limit(_EXAMPLES + 1).collect()
        if not found:
            return
        told = [f"{'null' if row[entity] is None else repr(row[entity])} {row['count']:,} times" for row in found[:_EXAMPLES]]
        more = " and others" if len(found) > _EXAMPLES else ""
        raise DefinitionError(
            f"{self._name} must give one row for each {entity}, and none without: "
            f"as of {self.day} it gives {', '.join(told)}{more}"
        )

    def _write(self, rows: DataFrame) -> tuple[SnapshotFile, ...]:
        from stores.snapshots import SnapshotTable
        from transforms.answer import snapshot_schema

        some = rows.coalesce(4 * self.spark.sparkContext.defaultParallelism)
        table = SnapshotTable(self.lake.storage, self.group.name, self.kind)
        written = self.writer.rows_of_day(some, snapshot_schema(self.group), table, self.day.isoformat(), self.version)
        return tuple(sorted(written, key=lambda file: file.path))


def _fits(there: DataType, kind: ColumnType) -> bool:
    """Whether a column can become its declared type without losing anything."""
    from pyspark.sql import types as T

    match kind:
        case "string":
            return isinstance(there, T.StringType)
        case "integer":
            return isinstance(there, T.ByteType | T.ShortType | T.IntegerType | T.LongType)
        case "number":
            return isinstance(there, T.DoubleType | T.FloatType)
        case "money":
            return isinstance(there, T.DecimalType) and there.scale <= 2 and there.precision - there.scale <= 26
        case "boolean":
            return isinstance(there, T.BooleanType)
        case "date":
            return isinstance(there, T.DateType)
        case _:
            return isinstance(there, T.TimestampType)
