"""The derived rules are true of what the engine computes: random histories at the edges break none of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.catalogue import load_catalogue
from conf.settings import load_settings
from expectations.suites import group_suite
from expectations.validate import validate
from jobs.validate import load_rules
from tests.engine import engine_answer
from tests.expectations.definitions import ZONE
from tests.histories import batch
from transforms.answer import snapshot_schema
from transforms.calendar import cut_off, iso_utc
from transforms.feature_group import compile_groups

DAY = date(2025, 6, 30)


@pytest.mark.parametrize("name", sorted(load_catalogue().groups))
def test_no_random_history_breaks_a_rule(spark: SparkSession, tmp_path: Path, name: str) -> None:
    catalogue = load_catalogue()
    definition, compiled = catalogue.group(name), compile_groups(catalogue, ZONE)
    group, schema = compiled.groups[name], snapshot_schema(compiled.groups[name])
    rows, _ = batch(catalogue.sources, definition, as_of=DAY, zone=ZONE, cases=20, seed=9)
    answers = engine_answer(spark, definition, catalogue.sources, rows, days=[DAY], folder=tmp_path, zone=ZONE)[DAY]
    moment = iso_utc(cut_off(DAY, ZONE))
    told = [{group.entity: entity, "event_time": moment, "time_zone": ZONE, **row} for entity, row in answers.items()]
    pq.write_table(pa.Table.from_pylist(told, schema=schema), tmp_path / "day.parquet")
    snapshot = spark.read.parquet(str(tmp_path / "day.parquet"))
    snapshot = snapshot.withColumns({"as_of": F.lit(DAY), "snapshot_version": F.lit("v1")})
    suite = group_suite(
        group,
        definition,
        catalogue.sources,
        event_time=moment,
        time_zone=ZONE,
        rows=len(answers),
        limits=load_settings("local").validation,
        written=load_rules(None, catalogue, compiled).get(("group", name), ()),
    )

    report = validate(snapshot, suite=suite, run_id="r1", asset=name, as_of="2025-06-30", now=datetime(2025, 7, 2, tzinfo=UTC))

    assert [failure for failure in report.failures if failure.severity != "warning"] == []
    assert report.rows > 20
