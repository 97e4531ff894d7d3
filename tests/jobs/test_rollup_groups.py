"""Rollups by Spark, where the members are too many for one process: the same file of the same rows, by workers and by Spark."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.rollup_groups import RollupCall
from jobs.workers import SparkWorkers
from jobs.writers import ByJvm, ByWorkers
from stores.lake import Lake
from stores.snapshots import DayWriter, Snapshot, SnapshotTable, sort_by_day
from tests.jobs.by_hand import PLANS_DAILY, ZONE, catalogue_of
from transforms.answer import snapshot_schema

DAY = date(2025, 9, 30)
ROLLUP: dict[str, Any] = {
    "name": "portfolio",
    "record_identifier": "portfolio_id",
    "rollup": {
        "members": [{"group": "customer_plans", "entity": "substring(customer_id, 1, 1)", "columns": {"n": "plan_count_7d"}}],
        "columns": [{"name": "plans", "op": "sum", "of": "n"}, {"name": "mean", "op": "mean", "of": "n", "where": "n > 1"}],
    },
}


@pytest.mark.parametrize("by", ["workers", "jvm"])
def test_spark_writes_what_duckdb_does(spark, tmp_path, monkeypatch, by) -> None:
    workers = SparkWorkers(lambda: spark)
    writer = ByWorkers(workers) if by == "workers" else ByJvm(spark)
    _, compiled = catalogue_of(PLANS_DAILY, ROLLUP)
    lake, group = Lake(tmp_path / "lake"), compiled.rollups["portfolio"]
    schema = snapshot_schema(compiled.groups["customer_plans"])
    row = {"event_time": "t", "time_zone": ZONE, "has_history": True}
    rows = [row | {"customer_id": f"{'ab'[number % 2]}{number}", "plan_count_7d": number} for number in range(9)]
    with DayWriter(lake.storage, "customer_plans", {DAY.isoformat(): "p"}, schema) as day:
        day.write(DAY.isoformat(), pa.Table.from_pylist(rows, schema=schema))
        files = sort_by_day(day.close())[DAY.isoformat()]
    reads = {"customer_plans": Snapshot("customer_plans", DAY.isoformat(), "p", "d", {}, "r", files)}
    SnapshotTable(lake.storage, "customer_plans").commit([reads["customer_plans"]], schema)

    found = {}
    for version, limit in (("duckdb", 9), ("spark", 8)):
        monkeypatch.setattr("jobs.rollup_groups.rows_in_process", lambda _, limit=limit: limit)
        call = RollupCall(group, DAY, version, reads, ZONE, lake.storage, workers, "snapshots", writer)
        tables = [pq.read_table(lake.uri(file.path), partitioning=None) for file in call.run()]
        wanted = [(field.name, field.type) for field in snapshot_schema(group)]
        assert all([(field.name, field.type) for field in table.schema] == wanted for table in tables)
        found[version] = sorted((row for table in tables for row in table.to_pylist()), key=lambda row: row["portfolio_id"])
    assert found["spark"] == found["duckdb"]
    own = {"event_time": "2025-09-30T16:00:00Z", "time_zone": ZONE, "has_history": True}
    assert found["spark"] == [
        own | {"portfolio_id": "a", "plans": 20, "mean": 5.0},
        own | {"portfolio_id": "b", "plans": 16, "mean": 5.0},
    ]
