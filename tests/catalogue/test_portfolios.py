"""Portfolios, every number of each said anew in SQL over the sample's ledgers."""

from __future__ import annotations

import duckdb

from tests.catalogue.formulas_of_portfolios import MEMBERS, PORTFOLIOS
from tests.catalogue.lake import Lake
from tests.catalogue.test_formulas import same


def test_every_number_of_every_portfolio(lake: Lake, ledgers: duckdb.DuckDBPyConnection) -> None:
    ships = {row["portfolio_id"]: row for row in lake.snapshots["portfolio_regulatory"].to_pylist()}
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
