"""Groups that a Python function makes: what it is given, what its answer must be, and when it is made again."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.errors import DefinitionError, EtrError, InputError
from jobs.due import Ledgers, find_due
from jobs.function_groups import FunctionCall
from jobs.later_groups import in_order
from jobs.workers import SparkWorkers
from jobs.writers import ByWorkers
from stores.lake import Lake
from stores.snapshots import DayWriter, Snapshot, SnapshotTable, sort_by_day
from tests.jobs.by_hand import PLANS_DAILY, ZONE, catalogue_of, took_in
from tests.tables import table
from transforms.answer import snapshot_schema
from transforms.feature_group import CompiledFunctionGroup

DAY = date(2025, 9, 30)
CODE = """
from pyspark.sql import functions as F

def quality(frames, as_of, cut_off):
    plans = frames["plans"].groupBy("customer_id").agg(F.sum("amount").cast("decimal(20,2)").alias("planned"))
    told = F.lit(f"{as_of} {cut_off:%Y-%m-%dT%H:%M%z}")
    counted = frames["customer_plans"].select("customer_id", F.col("plan_count_7d").cast("int").alias("plans_7d"))
    return plans.join(counted, on="customer_id", how="left").withColumn("told", told)

def missing_and_extra(frames, as_of, cut_off):
    return quality(frames, as_of, cut_off).drop("plans_7d").withColumn("plan_7d", F.lit(1))

def wrong_types(frames, as_of, cut_off):
    return quality(frames, as_of, cut_off).withColumn("planned", F.lit(1.5)).withColumn("told", F.lit(1))

def doubled(frames, as_of, cut_off):
    rows = quality(frames, as_of, cut_off)
    return rows.unionByName(rows.where("customer_id = 'bob'")).unionByName(rows.limit(1).withColumn("customer_id", F.lit(None)))

def nothing(frames, as_of, cut_off):
    quality(frames, as_of, cut_off)

def fails_at_once(frames, as_of, cut_off):
    return frames["plan"]

def fails_later(frames, as_of, cut_off):
    def rate(customer):
        raise ValueError(f"no rates for {customer}")

    return quality(frames, as_of, cut_off).withColumn("told", F.udf(rate, "string")("customer_id"))
"""
QUALITY: dict[str, Any] = {
    "name": "customer_quality",
    "record_identifier": "customer_id",
    "function": "quality_by_hand:quality",
    "reads": {"sources": ["plans"], "groups": ["customer_plans"]},
    "columns": {"planned": "money", "plans_7d": "integer", "told": "string"},
}


@dataclass(frozen=True)
class OneTable:
    """A lake whose one ledger is a DataFrame."""

    storage: Any
    rows: Any

    def curated(self, _: str) -> OneTable:
        return self

    def read(self, _: Any) -> Any:
        return self.rows


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "code" / "quality_by_hand.py"
    path.parent.mkdir()
    path.write_text(CODE)
    monkeypatch.syspath_prepend(str(path.parent))
    monkeypatch.delitem(sys.modules, "quality_by_hand", raising=False)
    return path


def call(spark: Any, lake: Lake, function: str = "quality", *, read: bool = True) -> FunctionCall:
    """As of 30 September, with two plans of ann, one of them of tomorrow, and one of bob; ann alone has a snapshot."""
    _, compiled = catalogue_of(PLANS_DAILY, {**QUALITY, "function": f"quality_by_hand:{function}"})
    plans = table(
        spark,
        "plan_id string, customer_id string, amount decimal(18,2), created_at timestamp, recorded_at timestamp, "
        "_event_time timestamp, _known_time timestamp",
        *(
            (plan, customer, amount, at, at, at, at)
            for plan, customer, amount, at in (
                ("p1", "ann", "1.50", "2025-09-30 15:59:59"),
                ("p2", "ann", "2.00", "2025-09-30 16:00:00"),
                ("p3", "bob", "4.00", "2025-09-30 00:00:00"),
            )
        ),
    )
    reads = {"customer_plans": plans_snapshot(lake)} if read else {}
    group = compiled.functions["customer_quality"]
    from_table, writer = OneTable(lake.storage, plans), ByWorkers(SparkWorkers(lambda: spark))
    return FunctionCall(group, DAY, "v1", reads, compiled, from_table, spark, "snapshots", writer)  # type: ignore[arg-type]


def plans_snapshot(lake: Lake, version: str = "p1", day: date = DAY) -> Snapshot:
    _, compiled = catalogue_of(PLANS_DAILY)
    group = compiled.groups["customer_plans"]
    schema = snapshot_schema(group)
    row = {"customer_id": "ann", "event_time": "t", "time_zone": ZONE, "has_history": True, "plan_count_7d": 7}
    with DayWriter(lake.storage, group.name, {day.isoformat(): version}, schema) as writer:
        writer.write(day.isoformat(), pa.Table.from_pylist([row], schema=schema))
        files = sort_by_day(writer.close())[day.isoformat()]
    made = Snapshot(group.name, day.isoformat(), version, group.version, {"plans": 0}, "r1", files)
    SnapshotTable(lake.storage, group.name).commit([made], schema)
    return made


def test_a_function_is_given_what_counts_and_its_rows_become_a_snapshot(spark, tmp_path, module) -> None:
    lake = Lake(tmp_path / "lake")
    done = call(spark, lake)
    files = done.run()
    tables = [pq.read_table(lake.uri(file.path), partitioning=None) for file in files]
    assert {table.schema for table in tables} == {snapshot_schema(done.group)}
    rows = sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["customer_id"])
    same = {
        "event_time": "2025-09-30T16:00:00Z",
        "time_zone": ZONE,
        "has_history": True,
        "told": "2025-09-30 2025-09-30T16:00+0000",
    }
    assert rows == [
        same | {"customer_id": "ann", "planned": Decimal("1.50"), "plans_7d": 7},
        same | {"customer_id": "bob", "planned": Decimal("4.00"), "plans_7d": None},
    ]
    assert sum(file.rows for file in files) == 2


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            "missing_and_extra",
            "doesn't give what its definition says: it gives no plans_7d; it gives plan_7d, which the definition doesn't declare",
        ),
        (
            "wrong_types",
            "doesn't give what its definition says: planned is double, declared as money: cast it to decimal(28,2); "
            "told is int, declared as string: cast it to string",
        ),
        (
            "doubled",
            "must give one row for each customer_id, and none without: as of 2025-09-30 it gives 'bob' 2 times, null 1 times",
        ),
        ("nothing", "gave NoneType; it must give a Spark DataFrame"),
        ("fails_at_once", "failed as of 2025-09-30: KeyError: 'plan'"),
    ],
)
def test_what_a_function_gives_is_held_against_its_definition(spark, tmp_path, module, function, message) -> None:
    with pytest.raises(DefinitionError) as failure:
        call(spark, Lake(tmp_path / "lake"), function).run()
    assert str(failure.value) == f"customer_quality: quality_by_hand:{function} {message}"
    assert list(Lake(tmp_path / "lake").storage.list("snapshots/customer_quality")) == []


def test_what_fails_when_spark_computes_is_told_too(spark, tmp_path, module) -> None:
    with pytest.raises(DefinitionError) as failure:
        call(spark, Lake(tmp_path / "lake"), "fails_later").run()
    assert str(failure.value).startswith("customer_quality: quality_by_hand:fails_later failed as of 2025-09-30: ")
    assert "ValueError: no rates for " in str(failure.value)


def test_a_group_that_was_not_made_is_named(tmp_path, module) -> None:
    _, compiled = catalogue_of(PLANS_DAILY, QUALITY)
    lake = Lake(tmp_path / "lake")
    group = compiled.functions["customer_quality"]
    asked = FunctionCall(group, DAY, "v1", {}, compiled, lake, None, "snapshots", ByWorkers(None))  # type: ignore[arg-type]
    with pytest.raises(InputError) as failure:
        asked.run()
    assert str(failure.value) == (
        "customer_quality reads the snapshot of customer_plans, and there is none as of 2025-09-30; "
        "make it too: etr materialize --as-of 2025-09-30 --groups customer_plans,customer_quality"
    )


def test_a_function_is_due_when_its_code_its_ledgers_or_the_snapshots_that_it_reads_change(tmp_path, module) -> None:
    lake = Lake(tmp_path / "lake")
    took_in(lake, "plans", ["2025-09-01T00:00:00Z"])
    days = {"customer_quality": (DAY,)}

    def due(**groups: Any) -> list[str]:
        _, compiled = catalogue_of(PLANS_DAILY, QUALITY)
        ledgers = Ledgers.of(compiled, groups or days, lake)
        found = find_due(ledgers, groups or days, lake, restating="asked", horizon=timedelta(days=35))
        return [str(wanted) for wanted in found.make]

    def make() -> None:
        _, compiled = catalogue_of(PLANS_DAILY, QUALITY)
        ledgers = Ledgers.of(compiled, days, lake)
        (wanted,) = find_due(ledgers, days, lake, restating="asked", horizon=timedelta(days=35)).make
        plans = SnapshotTable(lake.storage, "customer_plans").current(DAY)
        assert plans is not None
        group = compiled.functions["customer_quality"]
        made = replace(
            plans, group=group.name, version=wanted.version, definition=group.version, curated=ledgers.newest(group.name),
            groups={"customer_plans": plans.version},
        )  # fmt: skip
        SnapshotTable(lake.storage, group.name).restore(made)

    assert due() == ["compute customer_quality as of 2025-09-30"]
    plans_snapshot(lake)
    make()
    assert due() == []
    plans_snapshot(lake, version="p2")
    assert due() == ["compute customer_quality as of 2025-09-30 anew: customer_plans has another version of that day"]
    make()
    took_in(lake, "plans", ["2025-09-01T00:00:00Z"] * 2)
    came = "plans: plans/1.csv came later, with rows that were known by then"
    assert due() == [f"compute customer_quality as of 2025-09-30 anew: {came}"]
    make()
    module.write_text(CODE.replace("left", "inner"))
    assert due() == ["compute customer_quality as of 2025-09-30 anew: its definition changed"]
    module.write_text(CODE + "# a comment\n")
    assert due() == []
    # What will be made is what will be read: the snapshot of customer_plans was made by hand, and is made again.
    assert due(customer_quality=(DAY,), customer_plans=(DAY,))[-1].endswith(
        "anew: customer_plans has another version of that day"
    )


def test_groups_are_made_after_those_that_they_read() -> None:
    def group(name: str, *reads: str) -> CompiledFunctionGroup:
        return CompiledFunctionGroup(name, "customer_id", "m", "f", (), reads, (), "v")

    ordered = in_order([group("c", "b", "a"), group("b", "a"), group("a", "customer_plans")])
    assert [one.name for one in ordered] == ["a", "b", "c"]
    with pytest.raises(EtrError) as failure:
        in_order([group("a", "b"), group("b", "a"), group("c")])
    assert str(failure.value) == "a, b read one another's snapshots; none of them can be made first"
