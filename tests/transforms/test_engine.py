"""The engine against the oracle on random histories that sit on the edges; and against itself by every path."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date, timedelta

import pytest

from conf.catalogue import load_catalogue
from conf.specs import FeatureGroup
from tests.engine import Answers, answer_from_files, small_answer
from tests.histories import DAYS, History, batch, with_another_future
from tests.oracle import answer, disagreements

CATALOGUE = load_catalogue()
SOURCES = {**CATALOGUE.sources, **CATALOGUE.unions}
GROUPS = [name for name, group in CATALOGUE.groups.items() if group.function is None]
DAY = timedelta(days=1)


def expected_of(group: FeatureGroup, rows: History, day: date, zone: str) -> dict[str, dict[str, object]]:
    return answer(group, SOURCES, rows, as_of=day, zone=zone, groups=CATALOGUE.groups)


def actual_of(group: FeatureGroup, rows: History, days: Sequence[date], zone: str) -> Answers:
    return small_answer(group, CATALOGUE.sources, rows, days=days, zone=zone, catalogue=CATALOGUE)


@pytest.mark.parametrize(("number", "name"), list(enumerate(GROUPS)))
def test_the_engine_says_what_the_oracle_says(number, name):
    """Late and amended rows, ties, nulls, both edges to the microsecond, days of 23 and 25 hours; three days in one pass."""
    as_of, zone = DAYS[number % len(DAYS)]
    group = CATALOGUE.group(name)
    rows, _ = batch(SOURCES, group, as_of=as_of, zone=zone, cases=8)
    days = [as_of - DAY, as_of, as_of + DAY]
    actual = actual_of(group, rows, days, zone)
    for day in days:
        expected = expected_of(group, rows, day, zone)
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


def test_the_same_rows_by_every_path(tmp_path):
    """In memory or from files, a day alone or among others, one bucket or eight, all at once or in layers that amend the first."""
    as_of, zone = DAYS[0]
    rows, _ = batch(CATALOGUE.sources, SMALL, as_of=as_of, zone=zone, cases=25, seed=2)
    sources = {name: CATALOGUE.sources[name] for name in rows}
    days = [as_of - DAY, as_of]
    together = answer_from_files(SMALL, sources, rows, days=days, folder=tmp_path / "a", zone=zone, bucket_bits=3)
    alone = answer_from_files(SMALL, sources, rows, days=[as_of], folder=tmp_path / "b", zone=zone, bucket_bits=0)
    assert disagreements(together[as_of], alone[as_of], tolerance=0) == []
    small = small_answer(SMALL, sources, rows, days=days, zone=zone)
    assert disagreements(together[as_of], small[as_of], tolerance=0) == []
    assert len({str(values) for values in alone[as_of].values()}) > 20
    chance = random.Random(3)
    parts: list[dict[str, list]] = [{name: [] for name in rows} for _ in range(3)]
    for name, some in rows.items():
        for row in some:
            chance.choice(parts)[name].append(row)
    layered = answer_from_files(SMALL, sources, parts[0], days=days, folder=tmp_path / "c", zone=zone, later=parts[1:])
    for day in days:
        assert disagreements(together[day], layered[day], tolerance=0) == []


def test_what_happens_or_is_known_after_the_cut_off_changes_nothing():
    """Rule 7: every row that doesn't count at T is rewritten; the snapshot stays identical."""
    as_of, zone = DAYS[0]
    for name in ("account_conduct", "customer_bnpl", "customer_payment", "customer_transaction"):
        group = CATALOGUE.group(name)
        rows, _ = batch(SOURCES, group, as_of=as_of, zone=zone, cases=6, seed=4)
        rewritten, changed = with_another_future(rows, SOURCES, group, as_of=as_of, zone=zone)
        assert changed > 20
        before, after = (actual_of(group, some, [as_of], zone)[as_of] for some in (rows, rewritten))
        assert disagreements(before, after, tolerance=0) == []
