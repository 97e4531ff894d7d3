"""The engine against the oracle on random definitions over random histories: what analysts may write together, at every edge."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, UnionSource
from tests.conformance.answers import by_engine, by_oracle
from tests.conformance.cases import Case
from tests.engine import small_answer
from tests.histories import DAYS, batch, smallest, with_another_future
from tests.oracle import OPERATIONS, answer, disagreements, span
from tests.random_groups import SOURCES, random_group

SEEDS = range(80)
MICROSECOND = timedelta(microseconds=1)
DELIVERED = {name: source for name, source in SOURCES.items() if not isinstance(source, UnionSource)}
UNIONS = {name: source for name, source in SOURCES.items() if isinstance(source, UnionSource)}


def drawn(seed, *, cases=6):
    """A group, the rows of several histories, an as-of day and its zone."""
    as_of, zone = DAYS[seed % len(DAYS)]
    group = random_group(seed)
    return group, batch(SOURCES, group, as_of=as_of, zone=zone, cases=cases, seed=seed, keys=14)[0], as_of, zone


def on_days(group, rows, days, zone):
    catalogue = Catalogue(DELIVERED, {group.name: group}, unions=UNIONS)
    return small_answer(group, DELIVERED, rows, days=days, zone=zone, catalogue=catalogue)


def fail_with_the_smallest(rows, group, differences):
    rows = smallest(rows, lambda some: bool(differences(some)))
    pytest.fail(f"{differences(rows)}\n{rows}\n{group.model_dump(exclude_defaults=True)}")


@pytest.mark.parametrize("seed", SEEDS)
def test_random_definitions(seed):
    """Six histories of up to 14 keys a ledger, three days in one pass."""
    group, rows, as_of, zone = drawn(seed)
    days = [as_of - timedelta(days=random.Random(seed).choice([1, 7, 31])), as_of, as_of + timedelta(days=1)]

    def differences(some):
        actual = on_days(group, some, days, zone)
        expected = {day: answer(group, SOURCES, some, as_of=day, zone=zone) for day in days}
        return [f"{day} {line}" for day in days for line in disagreements(expected[day], actual[day])]

    if differences(rows):
        fail_with_the_smallest(rows, group, differences)


@pytest.mark.parametrize("seed", range(200, 220))
def test_random_definitions_to_the_microsecond_and_in_hindsight(seed):
    """Cut-offs at T, a microsecond and half a day before it; and a snapshot of T from a month later."""
    group, rows, as_of, zone = drawn(seed, cases=3)
    cut_off = span(None, as_of=as_of, zone=zone)[1]
    moments = [{"at": cut_off - step} for step in (timedelta(), MICROSECOND, timedelta(hours=11))]
    moments.append({"as_of": as_of, "now": cut_off + timedelta(days=30)})

    def differences(some):
        found = []
        for moment in moments:
            asked = {"as_of": None, "at": None, "now": None} | moment
            case = Case(str(seed), zone, sources=SOURCES, rows=some, group=group, groups={}, expect={}, **asked)
            found += [f"{moment} {line}" for line in disagreements(by_oracle(case), by_engine(case))]
        return found

    if differences(rows):
        fail_with_the_smallest(rows, group, differences)


@pytest.mark.parametrize("seed", range(300, 330))
def test_what_nobody_could_know_changes_nothing(seed):
    """Rule 7 on random definitions: another future of the same past gives the same answers, to the last digit."""
    group, rows, as_of, zone = drawn(seed)
    other, changed = with_another_future(rows, SOURCES, group, as_of=as_of, zone=zone, seed=seed)
    before, after = (on_days(group, some, [as_of], zone)[as_of] for some in (rows, other))
    assert changed > 5
    assert disagreements(before, after, tolerance=0) == []


def test_the_definitions_say_everything_together():
    """Every operation is among them, most over days, too; and every key that a definition may have."""
    items = [item for seed in SEEDS for item in random_group(seed).inputs]
    features = [feature for item in items for feature in (*item.aggregates, *item.states)]
    days = [daily for item in items for daily in item.daily]
    assert {feature.op for feature in features} == set(OPERATIONS)
    assert len({daily.op for daily in days}) > 30
    said = {key for feature in features for key, value in feature.model_dump(exclude_defaults=True).items() if value}
    assert said >= {"of", "where", "windows", "by", "lag", "at", "from_", "until", "ahead", "with_", "weight", "newest_per"}
    said = {key for daily in days for key, value in daily.model_dump(exclude_defaults=True).items() if value}
    assert said >= {"where", "from_", "until", "newest_per", "every", "within", "days_where", "lag", "with_"}
    assert all(any(getattr(item, key) for item in items) for key in ("parent", "entity", "settled_by", "columns"))


def test_one_entity_with_a_hundred_thousand_facts():
    """As many as a busy business has: nothing overflows, and thousands of ties keep their order."""
    as_of, zone = DAYS[0]
    cut_off = span(None, as_of=as_of, zone=zone)[1]
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    plans = [
        {
            "plan": f"p{number:06}",
            "person": "ann",
            "created": (at := cut_off - timedelta(minutes=number * 7 % 500_000, microseconds=number % 2)),
            "recorded": at,
            "amount": Decimal(number * 37 % 10_007) / 100,
            "size": number * 13 % 101,
            "provider": f"m{number * 11 % 997}",
            "account": f"x{number * 3 % 50}",
        }
        for number in range(100_000)
    ]
    features = [
        {"name": "n", "op": "count", "windows": ["1d", "90d", "365d"]},
        {"name": "total", "op": "sum", "of": "amount", "windows": ["90d"], "lag": [0, 30]},
        {"name": "providers", "op": "distinct_count", "of": "provider", "windows": ["90d"]},
        {"name": "middle", "op": "percentile", "of": "size", "with": {"q": "50"}, "windows": ["90d"]},
        {"name": "last", "op": "last_n", "of": "plan", "with": {"n": "3"}, "windows": ["90d"]},
        {"name": "changes", "op": "change_count", "of": "size", "windows": ["90d"]},
        {"name": "newest", "op": "sum", "of": "size", "newest_per": "account", "windows": ["90d"]},
    ]
    people = [{"person": name, "since": long_ago} for name in ("ann", "bob")]
    group = FeatureGroup.model_validate(
        {
            "name": "g",
            "record_identifier": "person",
            "spine": "people",
            "inputs": [{"source": "plans", "aggregates": features}],
        }
    )
    rows = {"people": people, "plans": plans}
    expected = answer(group, SOURCES, rows, as_of=as_of, zone=zone)
    assert expected["ann"]["n_365d"] > 99_000
    assert disagreements(expected, on_days(group, rows, [as_of], zone)[as_of]) == []
