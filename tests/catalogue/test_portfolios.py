"""Portfolios, every number of each said anew in SQL over the sample's ledgers."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from tests.catalogue.formulas_of_portfolios import MEMBERS, PORTFOLIOS
from tests.catalogue.lake import CATALOGUE, DAY, ZONE, Lake
from tests.catalogue.test_formulas import same
from transforms.as_of import as_of
from transforms.calendar import microseconds
from transforms.portfolios import portfolio_regulatory

CUT_OFF = datetime(DAY.year, DAY.month, DAY.day + 1, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def test_every_number_of_every_portfolio(spark: SparkSession, lake: Lake, ledgers: duckdb.DuckDBPyConnection, tmp_path) -> None:
    def frame(name: str, table) -> DataFrame:
        pq.write_table(table, tmp_path / f"{name}.parquet")
        return spark.read.parquet(str(tmp_path / f"{name}.parquet"))

    reads = CATALOGUE.groups["portfolio_regulatory"].reads
    frames = {name: frame(name, lake.snapshots[name]) for name in reads.groups}
    for name in reads.sources:
        frames[name] = as_of(frame(name, lake.curated[name]), source=CATALOGUE.sources[name], cut_off=microseconds(CUT_OFF))
    ships = {row["portfolio_id"]: row.asDict() for row in portfolio_regulatory(frames, DAY, CUT_OFF).collect()}

    ledgers.execute(MEMBERS)
    told = ledgers.sql(PORTFOLIOS).to_arrow_table().to_pylist()
    expected = {row["portfolio"]: {name: value for name, value in row.items() if name != "portfolio"} for row in told}
    assert ships.keys() == expected.keys()
    differ = {
        (portfolio, name): (value, ships[portfolio][name])
        for portfolio, row in expected.items()
        for name, value in row.items()
        if not same(value, ships[portfolio][name])
    }
    assert differ == {}
    for name in expected["grab:bnpl"]:
        assert any(row[name] for row in ships.values()), name
