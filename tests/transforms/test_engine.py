"""The engine against the oracle on random histories that sit on the edges; and against itself by every path."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from conf.catalogue import load_catalogue
from conf.specs import FeatureGroup
from tests.engine import engine_answer, small_answer
from tests.histories import DAYS, batch, utc
from tests.oracle import answer, disagreements, span

CATALOGUE = load_catalogue()
DAY = timedelta(days=1)


def made(group_name: str, as_of: date, zone: str, *, cases: int, seed: int = 1):
    group = CATALOGUE.group(group_name)
    rows, _ = batch(CATALOGUE.sources, group, as_of=as_of, zone=zone, cases=cases, seed=seed)
    return group, {name: CATALOGUE.sources[name] for name in rows}, rows


@pytest.mark.parametrize(
    ("group_name", "moment"),
    [
        ("customer_bnpl", 0), ("customer_bnpl", 1),
        ("customer_payment", 0), ("customer_payment", 2),
        ("customer_credit", 4), ("customer_credit", 5),
        ("account_conduct", 6), ("account_conduct", 3),
    ],
)  # fmt: skip
def test_the_engine_says_what_the_oracle_says(group_name, moment):
    """Late and amended rows, ties, nulls, both edges to the microsecond, days of 23 and 25 hours; three days in one pass."""
    as_of, zone = DAYS[moment]
    group = CATALOGUE.group(group_name)
    rows, _ = batch({**CATALOGUE.sources, **CATALOGUE.unions}, group, as_of=as_of, zone=zone, cases=8)
    days = [as_of - DAY, as_of, as_of + DAY]
    actual = small_answer(group, CATALOGUE.sources, rows, days=days, zone=zone, catalogue=CATALOGUE)
    sources = {**CATALOGUE.sources, **CATALOGUE.unions}
    for day in days:
        expected = answer(group, sources, rows, as_of=day, zone=zone, groups=CATALOGUE.groups)
        assert len(expected) > 8
        assert disagreements(expected, actual[day]) == []


SMALL = FeatureGroup.model_validate(
    {
        "name": "small",
        "record_identifier": "customer_id",
        "spine": "customers",
        "inputs": [
            {
                "source": "instalments",
                "settled_by": {
                    "source": "payments",
                    "on": {"instalment_id": "instalment_id"},
                    "amount": "amount",
                    "where": "outcome = 'succeeded'",
                    "due": "due_amount",
                },
                "aggregates": [
                    {"name": "unpaid", "op": "sum", "of": "due_amount - paid_amount", "at": "due_date", "until": "paid_at"},
                    {"name": "number", "op": "last", "of": "number", "windows": ["30d", "6mo"]},
                ],
            },
            {
                "source": "statements",
                "entity": {"customer_id": "via accounts"},
                "aggregates": [{"name": "trend", "op": "slope", "of": "balance", "windows": ["365d"]}],
            },
        ],
    }
)


def test_the_same_rows_by_every_path(spark, tmp_path):
    """In one process or by Spark, a day alone or among others, one bucket or eight, all at once or in layers that amend the first."""
    as_of, zone = DAYS[0]
    rows, _ = batch(CATALOGUE.sources, SMALL, as_of=as_of, zone=zone, cases=25, seed=2)
    sources = {name: CATALOGUE.sources[name] for name in rows}
    days = [as_of - DAY, as_of]
    together = engine_answer(spark, SMALL, sources, rows, days=days, folder=tmp_path / "a", zone=zone, bucket_bits=3)
    alone = engine_answer(spark, SMALL, sources, rows, days=[as_of], folder=tmp_path / "b", zone=zone, bucket_bits=0)
    assert disagreements(together[as_of], alone[as_of], tolerance=0) == []
    small = small_answer(SMALL, sources, rows, days=days, zone=zone)
    assert disagreements(together[as_of], small[as_of], tolerance=0) == []
    assert len({str(values) for values in alone[as_of].values()}) > 20
    chance = random.Random(3)
    parts: list[dict[str, list]] = [{name: [] for name in rows} for _ in range(3)]
    for name, some in rows.items():
        for row in some:
            chance.choice(parts)[name].append(row)
    layered = engine_answer(spark, SMALL, sources, parts[0], days=days, folder=tmp_path / "c", zone=zone, later=parts[1:])
    for day in days:
        assert disagreements(together[day], layered[day], tolerance=0) == []


def test_what_happens_or_is_known_after_the_cut_off_changes_nothing():
    """Rule 7: every row that doesn't count at T is rewritten; the snapshot stays identical."""
    as_of, zone = DAYS[0]
    cut_off = span(None, as_of=as_of, zone=zone)[1]
    group, sources, rows = made("customer_bnpl", as_of, zone, cases=20, seed=4)
    rewritten, changed = {}, 0
    for name, some in rows.items():
        source = sources[name]
        amounts = [column for column, spec in source.columns.items() if spec.type == "money"]
        rewritten[name] = []
        for row in some:
            event, known = row[source.event_time.column], row[source.known_time.column]
            if event >= cut_off or known > cut_off + source.grace:
                row = row | dict.fromkeys(amounts) | {"provider": "rewritten"} if name == "bnpl_plans" else row
                changed += 1
            rewritten[name].append({key: value for key, value in row.items() if key in source.columns})
    assert changed > 20
    long_ago = utc("2000-01-01T00:00:00Z")
    agreed = [
        {"consent_id": who, "customer_id": who, "purpose": "bureau", "given_at": long_ago, "recorded_at": long_ago}
        for who in {row["customer_id"] for row in rows["customers"]}
    ]
    before, after = (
        small_answer(group, CATALOGUE.sources, {**some, "consents": agreed}, days=[as_of], zone=zone, catalogue=CATALOGUE)[as_of]
        for some in (rows, rewritten)
    )
    assert any(row["bnpl_plan_count_90d"] for row in before.values())
    assert disagreements(before, after, tolerance=0) == []
