"""Random histories: that they reach the edges, can be made again and cut down; and what must hold of any of them."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.catalogue import load_catalogue
from conf.specs import FeatureGroup
from conf.windows import Window
from tests import oracle
from tests.histories import DAYS, History, batch, histories, smallest, utc
from tests.oracle import span, start_of_day
from tests.oracle.ledger import time_of

T = utc("2025-06-30 16:00")
US = timedelta(microseconds=1)
CATALOGUE = load_catalogue()
SOURCES = {**CATALOGUE.sources, **CATALOGUE.unions}
GROUPS = {name: group for name, group in CATALOGUE.groups.items() if not group.is_later}


def answer(group: FeatureGroup, rows: History, *, as_of: date, zone: str) -> dict[str, Any]:
    return oracle.answer(group, SOURCES, rows, as_of=as_of, zone=zone, groups=CATALOGUE.groups)


def arbitrary(day: tuple[date, str]) -> st.SearchStrategy[Any]:
    as_of, zone = day
    return st.sampled_from(list(GROUPS.values())).flatmap(
        lambda group: st.tuples(
            st.just(group), st.just(as_of), st.just(zone), histories(SOURCES, group, as_of=as_of, zone=zone, groups=GROUPS)
        )
    )


ANY_HISTORY = st.sampled_from(DAYS).flatmap(arbitrary)
FEW = settings(max_examples=15, deadline=None, derandomize=True)


@FEW
@given(ANY_HISTORY)
def test_rows_of_the_future_change_nothing(drawn):
    """Rule 7: without the versions that happened at or after T, or were known after T + grace, the answer is the same."""
    group, as_of, zone, rows = drawn
    cutoff = start_of_day(as_of + timedelta(days=1), zone)
    past = {}
    for name, some in rows.items():
        source = CATALOGUE.sources[name]
        past[name] = [
            row
            for row in some
            if time_of(source, source.event_time, row) < cutoff
            and time_of(source, source.known_time, row) <= cutoff + source.grace
        ]
    before = answer(group, rows, as_of=as_of, zone=zone)
    assert answer(group, past, as_of=as_of, zone=zone) == before


@FEW
@given(ANY_HISTORY)
def test_order_of_rows_changes_nothing(drawn):
    group, as_of, zone, rows = drawn
    turned = {name: some[::-1] for name, some in rows.items()}
    before = answer(group, rows, as_of=as_of, zone=zone)
    assert answer(group, turned, as_of=as_of, zone=zone) == before


@FEW
@given(ANY_HISTORY)
def test_counts_and_maxima_grow_with_the_window(drawn):
    group, as_of, zone, rows = drawn
    for values in answer(group, rows, as_of=as_of, zone=zone).values():
        for feature in (feature for item in group.inputs for feature in item.aggregates if feature.op in ("count", "max")):
            grown = [values.get(f"{feature.name}_{w}") for w in sorted(feature.windows) if w.kind == "days" and not feature.lag]
            known = [value for value in grown if value is not None]
            assert known == sorted(known)


@pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)
def test_batch_gives_each_case_what_it_gets_alone(group):
    as_of, zone = DAYS[0]
    together, alone = batch(SOURCES, group, as_of=as_of, zone=zone, cases=10, groups=GROUPS)
    apart: dict[str, Any] = {}
    for rows in alone:
        apart |= answer(group, rows, as_of=as_of, zone=zone)
    assert len(apart) > 12
    assert answer(group, together, as_of=as_of, zone=zone) == apart


def test_histories_reach_the_edges():
    """Every edge occurs among a hundred histories; without it a test over them would prove little."""
    group, (as_of, zone) = CATALOGUE.group("customer_bnpl"), DAYS[0]
    together, _ = batch(SOURCES, group, as_of=as_of, zone=zone, cases=100)
    plans = together["bnpl_plans"]
    created = [row["created_at"] for row in plans]
    week = span(Window.parse("7d"), as_of=as_of, zone=zone)[0]
    reached = {
        "at T": T in created,
        "just before T": T - US in created,
        "at a window's start": week in created,
        "just before a window's start": week - US in created,
        "known at T": any(row["recorded_at"] == T and row["created_at"] < T for row in plans),
        "known just after T": any(row["created_at"] < T < row["recorded_at"] for row in plans),
        "settled at T": T in [row["settled_at"] for row in plans],
        "ties": any(created.count(moment) > 1 for moment in created),
        "many versions": any(sum(row["plan_id"] == other["plan_id"] for other in plans) > 2 for row in plans),
        "settled columns without their timestamp": any(row["decision"] and not row["decided_at"] for row in plans),
        "due on the day after D": date(2025, 7, 1) in [row["due_date"] for row in together["instalments"]],
    }
    assert [what for what, found in reached.items() if not found] == []


def test_histories_of_one_seed_are_the_same():
    group, (as_of, zone) = CATALOGUE.group("customer_payment"), DAYS[1]
    first, second = (batch(SOURCES, group, as_of=as_of, zone=zone, cases=3, seed=5)[0] for _ in range(2))
    assert first == second
    assert first != batch(SOURCES, group, as_of=as_of, zone=zone, cases=3, seed=6)[0]


def test_smallest_leaves_the_rows_that_a_failure_needs():
    (as_of, zone), count = DAYS[0], {"name": "plans", "op": "count", "windows": ["365d"]}
    inputs = [{"source": "bnpl_plans", "aggregates": [count]}]
    spec = {"name": "small", "record_identifier": "customer_id", "spine": "customers", "inputs": inputs}
    group = FeatureGroup.model_validate(spec)
    rows, _ = batch(SOURCES, group, as_of=as_of, zone=zone, cases=20)

    def fails(some: Any) -> bool:
        return any(values["plans_365d"] >= 2 for values in answer(group, some, as_of=as_of, zone=zone).values())

    assert fails(rows)
    assert {name: len(some) for name, some in smallest(rows, fails).items()} == {"bnpl_plans": 2, "customers": 1}
