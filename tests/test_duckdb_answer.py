"""The oracle against a second answer, in SQL: random definitions over random histories, and the shipped ones."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from conf.catalogue import load_catalogue
from tests.duckdb_answer import DuckdbAnswer
from tests.histories import DAYS, batch
from tests.oracle import OPERATIONS, answer, disagreements
from tests.random_groups import SOURCES, random_group

CATALOGUE = load_catalogue()
SEEDS = range(60)


def compared(group, sources, *, moment, cases, seed) -> list[str]:
    """Where the two differ, in the columns that SQL says."""
    as_of, zone = DAYS[moment % len(DAYS)]
    rows, _ = batch(sources, group, as_of=as_of, zone=zone, cases=cases, seed=seed)
    expected = answer(group, sources, rows, as_of=as_of, zone=zone, groups=CATALOGUE.groups)
    actual = DuckdbAnswer(group, sources, rows, as_of=as_of, zone=zone).answer()
    assert len(expected) > cases / 2
    columns = {name for values in actual.values() for name in values}
    return disagreements({entity: cut(values, columns) for entity, values in expected.items()}, actual)


def cut(values: Mapping[str, object], columns: set[str]) -> dict[str, object]:
    return {name: value for name, value in values.items() if name in columns}


@pytest.mark.parametrize("seed", SEEDS)
def test_random_definitions(seed):
    assert compared(random_group(seed), SOURCES, moment=seed, cases=8, seed=seed) == []


def test_random_definitions_say_everything():
    """Together the groups that are compared use every operation, and every key of an aggregate."""
    items = [item for seed in SEEDS for item in random_group(seed).inputs]
    features = [feature for item in items for feature in (*item.aggregates, *item.states)]
    assert {feature.op for feature in features} == set(OPERATIONS)
    said = {key for feature in features for key, value in feature.model_dump(exclude_defaults=True).items() if value}
    assert said >= {"of", "where", "windows", "by", "lag", "at", "from_", "until", "ahead", "with_", "weight", "newest_per"}
    assert all(any(getattr(item, key) for item in items) for key in ("parent", "entity", "settled_by", "columns", "daily"))


@pytest.mark.parametrize("name", [name for name, group in CATALOGUE.groups.items() if not group.is_later])
def test_shipped_definitions(name):
    group = CATALOGUE.group(name)
    inputs = [
        item.model_copy(update={"aggregates": published(item.aggregates), "states": published(item.states)})
        for item in group.inputs
    ]
    plain = group.model_copy(update={"inputs": tuple(inputs), "derived": (), "blank_unless": None})
    assert compared(plain, {**CATALOGUE.sources, **CATALOGUE.unions}, moment=len(name), cases=15, seed=1) == []


def published(features):
    """All of them, so that they can be compared."""
    return tuple(feature.model_copy(update={"internal": False}) for feature in features)
