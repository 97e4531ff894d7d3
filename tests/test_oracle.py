"""The oracle, worked out by hand: each rule of time, nulls and money at its edge.

As of 30 June 2025 in Kuala Lumpur (UTC+8) the cut-off T is 2025-06-30 16:00 UTC, and 7 days begin at 2025-06-23 16:00 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from conf.specs import FeatureGroup, Source, TimeColumn
from conf.windows import Window
from tests.histories import utc
from tests.oracle import answer, disagreements, span

D = date(2025, 6, 30)
KL = "Asia/Kuala_Lumpur"
T = utc("2025-06-30 16:00")
US = timedelta(microseconds=1)
M = Decimal

PEOPLE = Source(
    name="people", format="csv", location="people/*", key=["person"], version="version", event_time="since",
    known_time="recorded", columns={"person": "string", "version": "integer", "since": "timestamp", "recorded": "timestamp"},
)  # fmt: skip
PLANS = Source(
    name="plans", format="csv", location="plans/*", zone=KL, key=["plan"], version="recorded", event_time="created",
    known_time="recorded", mutable={"settled": ["outcome"]},
    columns={
        "plan": "string", "person": "string", "created": "timestamp", "recorded": "timestamp", "amount": "money",
        "score": "number", "size": "integer", "provider": "string", "due": "date", "good": "boolean",
        "settled": "timestamp", "outcome": "string",
    },
)  # fmt: skip
PARTS = Source(
    name="parts", format="csv", location="parts/*", key=["part"], event_time="paid", known_time="recorded", grace="2h",
    columns={
        "part": "integer", "plan": "string", "paid": "timestamp", "recorded": "timestamp", "amount": "money", "ok": "boolean",
    },
)  # fmt: skip
BALANCES = Source(
    name="balances", format="csv", location="balances/*", zone="Pacific/Kiritimati", key=["person", "day"],
    event_time="end_of_day(day)", columns={"person": "string", "day": "date", "amount": "money"},
)  # fmt: skip
SOURCES = {source.name: source for source in (PEOPLE, PLANS, PARTS, BALANCES)}
ANN = {"person": "ann", "version": 1, "since": utc("2020-01-01"), "recorded": utc("2020-01-01")}


def plan(created: str | datetime, **values: Any) -> dict[str, Any]:
    """A plan of ann's, known at once unless `recorded` says otherwise; each has a name of its own by its time and values."""
    at = utc(created) if isinstance(created, str) else created
    return {"plan": f"{at}{values}", "person": "ann", "created": at, "recorded": at, **values}


def ask(*inputs: Mapping[str, Any], as_of: date = D, derived: Sequence[Any] = (), people: Any = (ANN,), **rows: Any) -> Any:
    """The answer of a group of `inputs`, by entity."""
    group = FeatureGroup(name="g", record_identifier="person", spine="people", inputs=inputs, derived=derived)
    return answer(group, SOURCES, {"people": people, **rows}, as_of=as_of, zone=KL)


def ann(feature: Mapping[str, Any], *plans: Mapping[str, Any], as_of: date = D, kind: str = "aggregates") -> Any:
    """Ann's columns of one feature over plans; the value itself when there is one column."""
    answers = ask({"source": "plans", kind: [{"name": "f", **feature}]}, plans=plans, as_of=as_of)["ann"]
    del answers["has_history"]
    return answers["f"] if list(answers) == ["f"] else answers


def count(*plans: Mapping[str, Any], **feature: Any) -> Any:
    return ann({"op": "count", **feature}, *plans)


# Rule 1 and 2: cut-off and windows


def test_window_holds_its_start_and_not_the_cutoff():
    edges = [
        plan("2025-06-23 15:59:59.999999"),  # before 7 days begin
        plan("2025-06-23 16:00"),  # at the start: in
        plan("2025-06-30 15:59:59.999999"),  # T - 1 µs: in
        plan("2025-06-30 16:00"),  # T: out of everything
    ]
    assert count(*edges, windows=["7d", "8d", "life"]) == {"f_7d": 2, "f_8d": 3, "f_life": 3}
    assert count(*edges) == 3


@pytest.mark.parametrize(
    ("window", "as_of", "zone", "start", "end"),
    [
        ("1d", D, KL, "2025-06-29 16:00", "2025-06-30 16:00"),
        ("1d", date(2025, 3, 9), "America/New_York", "2025-03-09 05:00", "2025-03-10 04:00"),  # 23 hours
        ("1d", date(2025, 11, 2), "America/New_York", "2025-11-02 04:00", "2025-11-03 05:00"),  # 25 hours
        ("1d", date(2025, 4, 24), "Africa/Cairo", "2025-04-23 22:00", "2025-04-24 22:00"),  # ends in a midnight that is not
        ("1d", date(2025, 4, 25), "Africa/Cairo", "2025-04-24 22:00", "2025-04-25 21:00"),  # and the next begins there
        ("1d", date(2025, 11, 1), "America/Havana", "2025-11-01 04:00", "2025-11-02 04:00"),  # the first of two midnights
        ("1d", date(2025, 4, 6), "Australia/Lord_Howe", "2025-04-05 13:00", "2025-04-06 13:30"),  # 24 hours and a half
        ("1mo", D, KL, "2025-05-31 16:00", "2025-06-30 16:00"),  # the month that ends at T is full
        ("1mo", date(2025, 6, 29), KL, "2025-04-30 16:00", "2025-05-31 16:00"),
        ("2mo", date(2025, 1, 31), KL, "2024-11-30 16:00", "2025-01-31 16:00"),  # across a year
        ("12mo", date(2024, 2, 29), KL, "2023-02-28 16:00", "2024-02-29 16:00"),
        ("mtd", date(2025, 6, 1), KL, "2025-05-31 16:00", "2025-06-01 16:00"),
        ("mtd", D, KL, "2025-05-31 16:00", "2025-06-30 16:00"),
    ],
)
def test_span_of_a_window(window, as_of, zone, start, end):
    assert span(Window.parse(window), as_of=as_of, zone=zone) == (utc(start), utc(end))


def test_lagged_window_ends_earlier_and_knows_what_is_known_at_the_cutoff():
    plans = [
        plan("2025-06-16 15:59:59.999999"),  # a microsecond before the week of 17 to 23 June
        plan("2025-06-16 16:00"),
        plan("2025-06-23 15:59:59.999999", recorded=T),  # known late, still known at T
        plan("2025-06-23 16:00"),  # the lagged window has ended
    ]
    assert count(*plans, windows=["7d"], lag=[7, 0]) == {"f_7d_lag7d": 2, "f_7d": 1}


def test_window_ahead_holds_the_cutoff_and_not_its_end():
    plans = [
        plan("2025-06-01", due=date(2025, 6, 30)),  # D itself is behind
        plan("2025-06-01", due=date(2025, 7, 1)),  # begins at T: in
        plan("2025-06-01", due=date(2025, 7, 7)),
        plan("2025-06-01", due=date(2025, 7, 8)),  # at the end of 7 days: out, and in 8
        plan(T, due=date(2025, 7, 2)),  # agreed at T: not known of
        plan("2025-06-01", due=date(2025, 7, 3), recorded=T + US),  # learned of after T
        plan("2025-06-01", due=None),
    ]
    assert count(*plans, at="due", ahead=True, windows=["7d", "8d"]) == {"f_7d": 2, "f_8d": 3}
    assert count(*plans, at="due", windows=["7d"]) == {"f_7d": 1}


# Rule 3: two clocks, versions, mutable timestamps


def test_known_time_may_be_the_cutoff_and_the_grace_later_not_more():
    late = plan("2025-06-30 12:00", recorded=T)
    assert count(late) == 1
    assert count({**late, "recorded": T + US}) == 0  # plans have no grace
    paid = {"plan": "p", "paid": T - US, "amount": M("1.00")}
    parts = [
        {**paid, "part": 1, "recorded": T + timedelta(hours=2)},  # two hours of grace: in
        {**paid, "part": 2, "recorded": T + timedelta(hours=2) + US},
        {**paid, "part": 3, "recorded": T, "paid": T},  # grace is for knowing, not for happening
        {**paid, "part": 4, "recorded": None},  # never known
    ]
    by_plan = {"source": "parts", "entity": "plan", "aggregates": [{"name": "f", "op": "count"}]}
    assert ask(by_plan, people=[{**ANN, "person": "p"}], parts=parts) == {"p": {"has_history": True, "f": 1}}


def test_newest_version_known_by_then_counts_whatever_the_order_of_rows():
    first = plan("2025-06-01", plan="p", recorded=utc("2025-06-01"), amount=M("1.00"))
    second = {**first, "recorded": T, "amount": M("2.00"), "created": utc("2025-06-02")}
    third = {**first, "recorded": T + US, "amount": M("4.00")}
    feature = {"op": "sum", "of": "amount"}
    assert ann(feature, third, first, second) == M("2.00")
    assert ann(feature, third, first) == M("1.00")
    assert ann(feature, third) == M("0.00")
    assert ann(feature, {**second, "created": T}, first) == M("1.00")  # an amendment that moves the fact past T isn't there yet


def test_version_is_ordered_by_its_column_and_not_by_when_it_was_recorded():
    old = {**ANN, "person": "ann", "version": 2, "recorded": utc("2025-01-01")}
    older = {**ANN, "version": 10, "recorded": utc("2024-01-01")}
    feature = {"source": "people", "aggregates": [{"name": "f", "op": "last", "of": "version"}]}
    assert ask(feature, people=[old, older])["ann"]["f"] == 10


def test_two_rows_of_one_version_are_refused():
    twice = plan("2025-06-01")
    with pytest.raises(ValueError, match="plans: two rows of key"):
        count(twice, twice)


def test_mutable_timestamp_and_what_it_settles_are_null_until_it_has_passed():
    plans = [
        plan("2025-06-01", settled=T - US, outcome="good"),
        plan("2025-06-01", settled=T, outcome="bad"),
        plan("2025-06-01", settled=None, outcome="early"),  # settled by nothing
    ]
    assert ann({"op": "distinct_count", "of": "outcome"}, *plans) == 1
    assert count(*plans, where="settled is null") == 2
    assert ann({"op": "distinct_count", "of": "outcome"}, *plans, as_of=date(2025, 7, 1)) == 2


@pytest.mark.parametrize(
    ("event_time", "inside", "outside", "days_ago"),
    [
        ("end_of_day(day)", date(2025, 6, 30), date(2025, 7, 1), 0),  # 30 June ends in Kiritimati (UTC+14) at 10:00 UTC
        ("start_of_day(day)", date(2025, 7, 1), date(2025, 7, 2), 0),
        ("end_of_month(day)", date(2025, 6, 1), date(2025, 7, 1), 0),
        ("end_of_month(day)", date(2024, 12, 31), date(2025, 7, 1), 181),  # in Kuala Lumpur it is still 31 December
    ],
)
def test_event_time_of_a_date_is_judged_in_the_zone_of_its_source(event_time, inside, outside, days_ago):
    source = BALANCES.model_copy(update={"event_time": TimeColumn.model_validate(event_time)})
    feature = {"source": "balances", "aggregates": [{"name": "f", "op": "last", "of": "day"}, {"name": "n", "op": "recency"}]}
    group = FeatureGroup(name="g", record_identifier="person", spine="people", inputs=[feature])
    rows = [{"person": "ann", "day": day, "amount": M("1.00")} for day in (outside, inside)]
    found = answer(group, SOURCES | {"balances": source}, {"people": [ANN], "balances": rows}, as_of=D, zone=KL)["ann"]
    assert (found["f"], found["n"]) == (inside, days_ago)


def test_what_is_true_at_the_end_of_a_day_counts_on_that_day():
    """The end of D is the last microsecond before T, and known by then."""
    feature = {"source": "balances", "aggregates": [{"name": "n", "op": "recency"}]}
    source = BALANCES.model_copy(update={"zone": KL})
    group = FeatureGroup(name="g", record_identifier="person", spine="people", inputs=[feature])
    rows = {"people": [ANN], "balances": [{"person": "ann", "day": D, "amount": M("1.00")}]}
    assert answer(group, SOURCES | {"balances": source}, rows, as_of=D, zone=KL)["ann"]["n"] == 0
    assert answer(group, SOURCES | {"balances": source}, rows, as_of=D - timedelta(days=1), zone=KL)["ann"]["n"] is None


def test_fact_that_counts_at_another_time_is_known_by_its_own():
    plans = [
        plan("2025-01-01", due=date(2025, 6, 24)),  # the first day of 7
        plan("2025-01-01", due=date(2025, 6, 23)),
        plan("2025-06-29", due=date(2025, 6, 30), recorded=T + US),  # due, but not heard of
    ]
    assert count(*plans, at="due", windows=["7d"]) == {"f_7d": 1}


def test_from_and_until_are_judged_at_the_cutoff():
    plans = [
        plan("2025-06-01", settled=T - US),  # over
        plan("2025-06-01", settled=T),  # not yet over
        plan("2025-06-01"),
    ]
    assert ann({"op": "count", "from": "created", "until": "settled"}, *plans, kind="states") == 2
    assert ann({"op": "count", "from": "settled"}, *plans, kind="states") == 1  # from before T, not at it, not null
    dues = [plan("2025-06-01", due=day) for day in (date(2025, 6, 30), date(2025, 7, 1))]  # from the start of 1 July is from T
    assert count(*dues, **{"from": "due"}) == 1
    assert count(*dues, until="due") == 1


# Entities and the spine


def test_entity_comes_from_the_newest_parent_that_counts():
    owner = plan("2025-01-01", plan="p", person="bob", recorded=utc("2025-01-01"))
    sold = {**owner, "person": "ann", "recorded": T}
    returned = {**owner, "person": "bob", "recorded": T + US}
    part = {"part": 1, "plan": "p", "paid": utc("2024-06-01"), "recorded": utc("2024-06-01"), "amount": M("3.00"), "ok": True}
    orphan = {**part, "part": 2, "plan": "nowhere"}
    item = {
        "source": "parts",
        "entity": {"person": "via plans"},
        "aggregates": [{"name": "f", "op": "sum", "of": "amount"}],
    }
    people = [ANN, {**ANN, "person": "bob"}]
    assert ask(item, people=people, plans=[returned, owner, sold], parts=[part, orphan]) == {
        "ann": {"has_history": True, "f": M("3.00")},
        "bob": {"has_history": False, "f": M("0.00")},
    }


def test_spine_is_who_is_known_by_then_and_history_is_any_fact_that_counts():
    people = [
        ANN,
        {**ANN, "person": "old", "since": T - US},
        {**ANN, "person": "new", "since": T},
        {**ANN, "person": "unheard", "recorded": T + US},
    ]
    plans = [
        plan("2001-01-01"),  # in no window, met by no `where`: history all the same
        plan(T, person="old"),  # the future is not
        plan("2025-06-01", person="stranger"),
    ]
    item = {"source": "plans", "aggregates": [{"name": "f", "op": "count", "where": "size > 1", "windows": ["7d"]}]}
    assert ask(item, people=people, plans=plans) == {
        "ann": {"has_history": True, "f_7d": 0},
        "old": {"has_history": False, "f_7d": 0},
    }


# Settled by payments


def settled(parts: Sequence[tuple[str | datetime, str | None]], due: str = "amount", **more: Any) -> tuple[Any, ...]:
    rows = [
        {"part": number, "plan": "p", "paid": utc(str(at)), "recorded": utc(str(at)), "amount": paid and M(paid), "ok": True}
        for number, (at, paid) in enumerate(parts, start=8)
    ]
    rows += [{**rows[0], "part": 100, "ok": None, "amount": M("99.00")}] if rows else []  # `where` isn't true of it
    found = ask(
        {
            "source": "plans",
            "settled_by": {"source": "parts", "on": {"plan": "plan"}, "amount": "amount", "where": "ok", "due": due},
            "columns": {"left": "amount - paid_amount", "half": "left / 2"},
            "aggregates": [
                {"name": name, "op": "last", "of": name} for name in ("paid_amount", "paid_at", "last_paid_at", "half")
            ],
        },
        plans=[plan("2025-01-01", plan="p", amount=M("10.00"), **more)],
        parts=rows,
    )["ann"]
    return found["paid_amount"], found["paid_at"], found["last_paid_at"], found["half"]


def test_settled_by_adds_up_the_payments_that_count():
    one, two, three = "2025-05-01", "2025-05-02", "2025-05-03"
    assert settled([]) == (M("0.00"), None, None, 5.0)
    assert settled([(one, "9.99")]) == (M("9.99"), None, utc(one), 0.005)
    assert settled([(three, "1.00"), (one, "4.00"), (two, "6.00")]) == (M("11.00"), utc(two), utc(three), -0.5)  # in time's order
    assert settled([(one, "9.00"), (two, None), (three, "1.00")]) == (M("10.00"), utc(three), utc(three), 0.0)
    assert settled([(T - US, "4.00"), (T, "6.00")]) == (M("4.00"), None, T - US, 3.0)
    assert settled([(one, "4.00")], due="amount * 0") == (M("4.00"), utc(one), utc(one), 3.0)
    assert settled([(one, "4.00")], due="cast(null as decimal(18,2))") == (M("4.00"), None, utc(one), 3.0)


# Rule 4: nulls, empty windows and the operations

WHEN = ("2025-06-28 16:00", "2025-06-29 15:59", "2025-06-29 16:00")  # local 29 June, 29 June, 30 June


@pytest.mark.parametrize(
    ("feature", "empty", "one", "three"),
    [
        ({"op": "count"}, 0, 1, 4),
        ({"op": "count", "of": "size"}, 0, 1, 3),
        ({"op": "sum", "of": "amount"}, M("0.00"), M("0.10"), M("0.35")),
        ({"op": "sum", "of": "size"}, 0, 3, 8),
        ({"op": "sum", "of": "score"}, 0.0, 0.1, 0.6),
        ({"op": "mean", "of": "amount"}, None, M("0.10"), M("0.12")),  # 0.11666…
        ({"op": "mean", "of": "size"}, None, 3.0, 8 / 3),
        ({"op": "min", "of": "size"}, None, 3, 1),
        ({"op": "max", "of": "amount"}, None, M("0.10"), M("0.20")),
        ({"op": "variance", "of": "size"}, None, None, 7 / 3),  # (1/9 + 25/9 + 16/9) / 2
        ({"op": "std", "of": "size"}, None, None, 1.5275252316519468),
        ({"op": "distinct_count", "of": "size % 2"}, 0, 1, 2),
        ({"op": "first", "of": "size"}, None, 3, 3),
        ({"op": "last", "of": "size"}, None, 3, 4),
        ({"op": "any", "of": "size = 4"}, False, False, True),
        ({"op": "all", "of": "size > 1"}, None, True, False),
        ({"op": "any", "where": "size = 4"}, False, False, True),
        ({"op": "all", "where": "size > 0"}, None, True, True),  # null, of the fourth, is not a value
        ({"op": "any", "of": "size = 4", "where": "size < 4"}, False, False, False),
        ({"op": "recency"}, None, 1, 0),
        ({"op": "age"}, None, 1, 1),
        ({"op": "recency", "where": "size = 1"}, None, None, 1),
        ({"op": "slope", "of": "size"}, None, None, 2.0),  # days 0, 0, 1; values 3, 1, 4
        ({"op": "gap_mean"}, None, None, 1 / 3),
        ({"op": "streak", "of": "size > 2"}, 0, 1, 1),
        ({"op": "streak", "of": "size > 0"}, 0, 1, 3),
    ],
)
def test_operation_over_nothing_over_one_fact_and_over_three(feature, empty, one, three):
    facts = [
        plan(WHEN[0], amount=M("0.10"), size=3, score=0.1),
        plan(WHEN[1], amount=M("0.05"), size=1, score=0.2),
        plan(WHEN[2], amount=M("0.20"), size=4, score=0.3),
        plan(WHEN[2]),  # its values are null
    ]
    windows = {"windows": ["30d"]}
    assert list(ann({**feature, **windows}, *[]).values()) == [empty]
    (first,) = ann({**feature, **windows}, facts[0]).values()
    (all_three,) = ann({**feature, **windows}, *reversed(facts)).values()
    assert disagreements({"f": {"1": one, "3": three}}, {"f": {"1": first, "3": all_three}}, tolerance=1e-15) == []


def test_slope_needs_three_facts_on_more_than_one_day():
    same_day = [plan(f"2025-06-29 0{hour}:00", size=hour) for hour in (1, 2, 3)]
    assert ann({"op": "slope", "of": "size"}, *same_day) is None
    assert ann({"op": "slope", "of": "size"}, *same_day[:1], plan("2025-06-01", size=1), plan("2025-06-02")) is None


def test_streak_is_of_the_newest_and_passes_over_nulls():
    facts = [plan(f"2025-06-0{day}", good=good) for day, good in ((1, True), (2, False), (3, True), (4, None), (5, True))]
    assert ann({"op": "streak", "of": "good"}, *facts) == 2
    assert ann({"op": "streak", "of": "not good"}, *facts) == 0


def test_ties_are_broken_by_known_time_then_by_key_in_its_type():
    same = "2025-06-01"
    plans = [
        plan(same, plan="z", size=1, recorded=utc("2025-06-02")),
        plan(same, plan="b", size=2, recorded=utc("2025-06-03")),
        plan(same, plan="a", size=3, recorded=utc("2025-06-03")),
    ]
    assert (ann({"op": "first", "of": "size"}, *plans), ann({"op": "last", "of": "size"}, *plans)) == (1, 2)
    parts = [
        {"part": part, "plan": "ann", "paid": utc(same), "recorded": utc(same), "amount": M(part), "ok": True} for part in (9, 10)
    ]
    by_number = {"source": "parts", "entity": "plan", "aggregates": [{"name": "f", "op": "last", "of": "part"}]}
    assert ask(by_number, parts=parts)["ann"]["f"] == 10  # not '9', as text would have it


def test_condition_that_is_null_is_not_true():
    plans = [plan("2025-06-01", size=size) for size in (1, 5, None)]
    assert (count(*plans, where="size > 2"), count(*plans, where="not size > 2")) == (1, 1)


def test_by_has_a_column_for_each_declared_value_and_other_takes_what_is_not_declared():
    plans = [plan("2025-06-30", provider=name) for name in ("atome", "Atome", "other", "shady", None)]
    found = count(*plans, by={"provider": ["atome", "Grab Pay", "other"]}, windows=["7d"])
    assert found == {"f_7d": 5, "f_provider_atome_7d": 1, "f_provider_grab_pay_7d": 0, "f_provider_other_7d": 4}


# Rule 5: money


@pytest.mark.parametrize(
    ("cents", "mean"),
    [(("0.01", "0.02"), "0.02"), (("-0.01", "-0.02"), "-0.02"), (("0.01", "0.01", "0.02"), "0.01"), (("0.00", "-0.01"), "-0.01")],
)
def test_mean_of_money_rounds_half_away_from_zero(cents, mean):
    plans = [plan("2025-06-01", amount=M(cent), size=number) for number, cent in enumerate(cents)]
    assert ann({"op": "mean", "of": "amount"}, *plans) == M(mean)


def test_sums_are_exact_and_computed_money_is_rounded_fact_by_fact():
    big = [plan("2025-06-01", amount=M("9999999999999999.99"), size=number) for number in range(11)]
    assert ann({"op": "sum", "of": "amount"}, *big) == M("109999999999999999.89")
    assert ann(
        {"op": "sum", "of": "cast(amount * 0.5 as money)"}, *[plan("2025-06-01", amount=M("0.01"), size=n) for n in (1, 2)]
    ) == M("0.02")
    floats = [plan("2025-06-01", score=score) for score in (1e16, 1.0, -1e16)]
    assert ann({"op": "sum", "of": "score"}, *floats) == 1.0  # in whatever order


# Derived


def test_derived_reads_columns_before_it_and_internal_ones_are_not_published():
    found = ask(
        {
            "source": "plans",
            "aggregates": [
                {"name": "n", "op": "count", "windows": ["1d", "7d"], "internal": True},
                {"name": "total", "op": "sum", "of": "amount", "windows": ["7d"]},
            ],
        },
        derived=[
            {"name": "mean", "expr": "ratio(total_7d, n_{w})", "windows": ["1d", "7d"]},
            {"name": "hidden", "expr": "n_7d + 1", "internal": True},
            {"name": "flag", "expr": "hidden > 2 and has_history"},
        ],
        plans=[plan("2025-06-28", amount=M("1.00")), plan("2025-06-27", amount=M("2.00"))],
    )
    assert found["ann"] == {"has_history": True, "total_7d": M("3.00"), "mean_1d": None, "mean_7d": 1.5, "flag": True}


def test_disagreements_name_entity_column_and_both_values():
    assert disagreements({"a": {"x": 1, "y": 0.1, "z": 1}, "b": {}}, {"a": {"x": 1.0, "y": 0.1 + 1e-15}, "c": {}}) == [
        "a.x: expected 1, got 1.0",
        "a.z: missing",
        "b: only expected",
        "c: not expected",
    ]
