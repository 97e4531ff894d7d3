"""Intricate features of the catalogue said anew in SQL, over the sample's ledgers as they were known at the cut-off."""

from __future__ import annotations

import json
import math
from typing import Any

import duckdb
import pytest

from tests.catalogue import formulas_of_accounts, formulas_of_customers, formulas_of_quality
from tests.catalogue.lake import CATALOGUE, Lake

FORMULAS = formulas_of_customers.FORMULAS | formulas_of_accounts.FORMULAS | formulas_of_quality.FORMULAS
NULL_OF_NOTHING = (
    formulas_of_customers.NULL_OF_NOTHING | formulas_of_accounts.NULL_OF_NOTHING | formulas_of_quality.NULL_OF_NOTHING
)


@pytest.mark.parametrize("feature", FORMULAS)
def test_the_formula_gives_what_ships(lake: Lake, ledgers: duckdb.DuckDBPyConnection, feature: str) -> None:
    name, column = feature.split(".")
    group = CATALOGUE.groups[name]
    ships = {row[group.record_identifier]: row[column] for row in lake.snapshots[name].to_pylist()}
    made = dict(ledgers.execute(FORMULAS[feature]).fetchall())
    expected = {entity: made.get(entity, _of_nothing(feature)) for entity in ships}
    if group.blank_unless:
        agreed = {entity for (entity,) in ledgers.execute("select entity from owners join agreed using (customer_id)").fetchall()}
        expected = {entity: value if entity in agreed else None for entity, value in expected.items()}
    assert any(value is not None and value != _of_nothing(feature) for value in ships.values())
    assert {entity: (expected[entity], value) for entity, value in ships.items() if not same(expected[entity], value)} == {}


def _of_nothing(feature: str) -> Any:
    return None if feature in NULL_OF_NOTHING else "{}" if "bucket" in feature else 0


def same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, str):
        return bool(json.loads(one) == json.loads(other))
    return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
