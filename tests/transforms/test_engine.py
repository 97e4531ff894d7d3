"""The engine against the oracle on random histories that sit on the edges; and against itself by every path."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pytest

from conf.catalogue import Catalogue, load_catalogue
from conf.specs import FeatureGroup
from stores.facts import _Part
from tests.engine import Answers, answer_from_files, small_answer
from tests.histories import DAYS, History, batch, with_another_future
from tests.oracle import answer, disagreements

CATALOGUE = load_catalogue()
SOURCES = {**CATALOGUE.sources, **CATALOGUE.unions}
GROUPS = {name: group for name, group in CATALOGUE.groups.items() if not group.is_later}
AGREED = {name: group.model_copy(update={"blank_unless": None}) for name, group in GROUPS.items()}  # blanks would hide the rest
DAY = timedelta(days=1)


def expected_of(
    name: str, rows: History, day: date, zone: str, groups: Mapping[str, FeatureGroup]
) -> dict[str, dict[str, object]]:
    return answer(groups[name], SOURCES, rows, as_of=day, zone=zone, groups=groups)


def actual_of(name: str, rows: History, days: Sequence[date], zone: str, groups: Mapping[str, FeatureGroup]) -> Answers:
    catalogue = Catalogue(CATALOGUE.sources, groups, unions=CATALOGUE.unions)
    return small_answer(groups[name], CATALOGUE.sources, rows, days=days, zone=zone, catalogue=catalogue)


@pytest.mark.parametrize(("number", "name"), list(enumerate(GROUPS)))
def test_the_engine_says_what_the_oracle_says(number, name):
    """Late and amended rows, ties, nulls, both edges to the microsecond, days of 23 and 25 hours; three days in one pass."""
    as_of, zone = DAYS[number % len(DAYS)]
    rows, _ = batch(SOURCES, AGREED[name], as_of=as_of, zone=zone, cases=8, groups=AGREED)
    days = [as_of - DAY, as_of, as_of + DAY]
    actual = actual_of(name, rows, days, zone, AGREED)
    for day in days:
        expected = expected_of(name, rows, day, zone, AGREED)
        assert len(expected) > 8
        assert disagreements(expected, actual[day]) == []


@pytest.mark.parametrize("name", [name for name, group in GROUPS.items() if group.blank_unless])
def test_the_engine_blanks_what_the_oracle_blanks(name):
    """Some agreed at T, others never did or no longer do."""
    as_of, zone = DAYS[0]
    rows, _ = batch(SOURCES, GROUPS[name], as_of=as_of, zone=zone, cases=12, seed=7, groups=GROUPS)
    expected = expected_of(name, rows, as_of, zone, GROUPS)
    blank = [all(values[column] is None for column in values if column != "has_history") for values in expected.values()]
    assert set(blank) == {False, True}
    assert disagreements(expected, actual_of(name, rows, [as_of], zone, GROUPS)[as_of]) == []


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


WINDOWED = FeatureGroup.model_validate(
    {
        "name": "windowed",
        "record_identifier": "customer_id",
        "spine": "instalments",
        "inputs": [
            {
                "source": "instalments",
                "aggregates": [
                    {"name": "due", "op": "sum", "of": "due_amount", "windows": ["2d", "30d"]},
                    {"name": "number", "op": "last", "of": "number", "at": "due_date", "windows": ["7d"]},
                ],
            },
            {
                "source": "statements",
                "entity": {"customer_id": "via accounts"},
                "aggregates": [{"name": "trend", "op": "slope", "of": "balance", "windows": ["30d"]}],
            },
        ],
    }
)
"""Of which only recent facts are read."""


@pytest.mark.parametrize("group", [SMALL, WINDOWED], ids=lambda group: group.name)
def test_the_same_rows_by_every_path(tmp_path, monkeypatch, group):
    """In memory or from files, a day alone or among others, one bucket or eight, all at once or in layers that amend the first.

    Of facts that no window looks at files tell enough to know who has a history, also when later layers replace some of them.
    """
    lost: list[bool] = []
    loses = _Part.loses_any_before
    monkeypatch.setattr(_Part, "loses_any_before", lambda part, *given: (lost.append(loses(part, *given)), lost[-1])[1])
    monkeypatch.setattr("stores.fact_files._MANY", 1)
    as_of, zone = DAYS[0]
    rows, _ = batch(CATALOGUE.sources, group, as_of=as_of, zone=zone, cases=25, seed=2)
    sources = {name: CATALOGUE.sources[name] for name in rows}
    days = [as_of - DAY, as_of]
    together = answer_from_files(group, sources, rows, days=days, folder=tmp_path / "a", zone=zone, bucket_bits=3)
    alone = answer_from_files(group, sources, rows, days=[as_of], folder=tmp_path / "b", zone=zone, bucket_bits=0)
    assert disagreements(together[as_of], alone[as_of], tolerance=0) == []
    small = small_answer(group, sources, rows, days=days, zone=zone)
    assert disagreements(together[as_of], small[as_of], tolerance=0) == []
    assert len({str(values) for values in alone[as_of].values()}) > 20
    chance = random.Random(3)
    parts: list[dict[str, list]] = [{name: [] for name in rows} for _ in range(3)]
    for name, some in rows.items():
        for row in some:
            chance.choice(parts)[name].append(row)
    lost.clear()
    layered = answer_from_files(group, sources, parts[0], days=days, folder=tmp_path / "c", zone=zone, later=parts[1:])
    for day in days:
        assert disagreements(together[day], layered[day], tolerance=0) == []
    if group is WINDOWED:
        assert set(lost) == {True, False}


def test_what_happens_or_is_known_after_the_cut_off_changes_nothing():
    """Rule 7: every row that doesn't count at T is rewritten; the snapshot stays identical."""
    as_of, zone = DAYS[0]
    for name in ("account_conduct", "customer_bnpl", "customer_payment", "customer_transaction"):
        rows, _ = batch(SOURCES, AGREED[name], as_of=as_of, zone=zone, cases=6, seed=4, groups=AGREED)
        rewritten, changed = with_another_future(rows, SOURCES, AGREED[name], as_of=as_of, zone=zone)
        assert changed > 20
        before, after = (actual_of(name, some, [as_of], zone, AGREED)[as_of] for some in (rows, rewritten))
        assert disagreements(before, after, tolerance=0) == []
