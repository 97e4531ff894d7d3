"""Facts by hand: since when and until when each holds, to the microsecond, on both kinds of clock; and which rows touch which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from conf.catalogue import Catalogue
from conf.specs import FeatureGroup, Source
from transforms.calendar import FOREVER, moment
from transforms.curated import curated_table
from transforms.feature_group import Compiled, compile_groups
from transforms.prepare_duckdb import affected_keys, connect, of_keys, prepare, tables_of

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="people", format="csv", location="people/*", key=["person"], event_time="since",
            columns={"person": "string", "since": "timestamp"},
        ),
        Source(
            name="plans", format="csv", location="plans/*", key=["plan"], version="version", event_time="made",
            known_time="recorded", grace="1h", mutable={"settled": ["outcome"]},
            columns={
                "plan": "string", "person": "string", "shop": "string", "made": "timestamp", "version": "integer",
                "recorded": "timestamp", "amount": "money", "settled": "timestamp", "outcome": "string",
            },
        ),
        Source(
            name="shops", format="csv", location="shops/*", key=["shop"], version="version", event_time="opened",
            known_time="recorded", mutable={"shut": []},
            columns={"shop": "string", "version": "integer", "opened": "timestamp", "recorded": "timestamp", "kind": "string",
                     "owner": "string", "shut": "timestamp"},
        ),
        Source(
            name="parts", format="csv", location="parts/*", key=["part"], version="version", event_time="paid",
            known_time="recorded",
            columns={"part": "string", "version": "integer", "plan": "string", "paid": "timestamp", "recorded": "timestamp",
                     "amount": "money"},
        ),
    )
}  # fmt: skip
PAID = {"source": "parts", "on": {"plan": "plan"}, "amount": "amount", "due": "amount"}
AGGREGATE = {"name": "f", "op": "last"}
DAILY = {"name": "f", "op": "max", "windows": ["7d"]}


def compiled_of(**item: object) -> Compiled:
    group = {"name": "g", "record_identifier": "person", "spine": "people", "inputs": [{"source": "plans", **item}]}
    return compile_groups(Catalogue(SOURCES, {"g": FeatureGroup.model_validate(group)}), "UTC")


def facts_of(rows: Mapping[str, Sequence[Mapping[str, object]]], **item: object) -> list[tuple[object, ...]]:
    """(at, valid from, valid until, value), or of days (holds from, holds until, valid from, valid until, value), of the facts of the one feature, in words; earliest first."""
    compiled = compiled_of(**item)
    group = compiled.groups["g"]
    used = next(iter((*group.windows, *group.dailies)))
    value = used.value if group.windows else used.parts[0].value
    stream = compiled.streams[used.stream]
    tables = {name: curated_table(source, rows.get(name, ())) for name, source in SOURCES.items()}
    found = [row for row in prepare(stream, tables, SOURCES).to_pylist() if row["clock"] == used.clock]
    names = ["at", "valid_from", "valid_until"] if group.windows else ["holds_from", "holds_until", "valid_from", "valid_until"]
    return [(*(in_words(row[name]) for name in names), row[value]) for row in found if row[value] is not None]


def in_words(instant: int | None) -> str | None:
    """`02 12:00` is noon of 2 June 2025; `+` a microsecond later."""
    if instant is None or instant == FOREVER:
        return None if instant is None else "ever"
    at, after = moment(instant), ""
    if at.microsecond == 1:
        at, after = at - timedelta(microseconds=1), "+"
    return at.strftime("%d %H:%M") + after


def day(number: int, hour: int = 12) -> datetime:
    return datetime(2025, 6, number, hour, tzinfo=UTC)


PLAN = {"plan": "p", "person": "ann", "made": day(2), "recorded": day(2), "version": 1, "amount": "10.00", "shop": "s"}


@pytest.mark.parametrize(
    ("case", "plans", "expected"),
    [
        ("known at once: from just after it happened", [PLAN], [("02 12:00", "02 12:00+", "ever", 1000)]),
        ("known within the grace: the same", [PLAN | {"recorded": day(2, 13)}], [("02 12:00", "02 12:00+", "ever", 1000)]),
        ("late: from its known time less the grace", [PLAN | {"recorded": day(5)}], [("02 12:00", "05 11:00", "ever", 1000)]),
        ("amended: until the amendment counts", [PLAN, PLAN | {"version": 2, "recorded": day(5), "amount": "7.00"}],
         [("02 12:00", "02 12:00+", "05 11:00", 1000), ("02 12:00", "05 11:00", "ever", 700)]),
        ("amended without a change: one fact", [PLAN, PLAN | {"version": 2, "recorded": day(5)}],
         [("02 12:00", "02 12:00+", "ever", 1000)]),
        ("an older version that comes later never counts",
         [PLAN | {"version": 2}, PLAN | {"version": 1, "recorded": day(5), "amount": "7.00"}],
         [("02 12:00", "02 12:00+", "ever", 1000)]),
        ("an amendment may move it", [PLAN, PLAN | {"version": 2, "recorded": day(5), "made": day(3)}],
         [("02 12:00", "02 12:00+", "05 11:00", 1000), ("03 12:00", "05 11:00", "ever", 1000)]),
        ("of nobody", [PLAN | {"person": None}], []),
    ],
)  # fmt: skip
def test_versions_and_both_clocks(case, plans, expected):
    assert facts_of({"plans": plans}, aggregates=[{"name": "f", "op": "sum", "of": "amount"}]) == expected, case


def test_an_amendment_that_changes_nothing_is_known_to_whom_it_breaks_ties():
    plans = [PLAN, PLAN | {"version": 2, "recorded": day(5)}]
    assert facts_of({"plans": plans}, aggregates=[{**AGGREGATE, "of": "amount"}]) == [
        ("02 12:00", "02 12:00+", "05 11:00", 1000),
        ("02 12:00", "05 11:00", "ever", 1000),
    ]


SETTLED = PLAN | {"settled": day(6), "outcome": "good"}


def test_what_a_mutable_timestamp_settles_is_null_until_it_has_passed():
    """At 6 June 12:00 it has not; a microsecond later it has. A settled column without its timestamp is never read."""
    of_outcome = {"aggregates": [{**AGGREGATE, "of": "coalesce(outcome, 'none')"}]}
    assert facts_of({"plans": [SETTLED]}, **of_outcome) == [
        ("02 12:00", "02 12:00+", "06 12:00+", "none"),
        ("02 12:00", "06 12:00+", "ever", "good"),
    ]
    assert facts_of({"plans": [SETTLED | {"settled": None}]}, **of_outcome) == [("02 12:00", "02 12:00+", "ever", "none")]


def test_days_keep_what_holds_in_the_world_and_what_is_known_apart():
    """`holds_from` and `holds_until` are of the world, the rest is knowledge; it holds from just after to the moment, inclusive."""
    of_outcome = {"daily": [{**DAILY, "value": "distinct_count(coalesce(outcome, 'none'))"}]}
    late = SETTLED | {"recorded": day(20)}
    assert facts_of({"plans": [late]}, **of_outcome) == [
        ("02 12:00", "06 12:00", "20 11:00", "ever", "none"),
        ("06 12:00", "ever", "20 11:00", "ever", "good"),
    ]
    until = {"daily": [{**DAILY, "value": "sum(amount)", "from": "made", "until": "settled"}]}
    assert facts_of({"plans": [late]}, **until) == [("02 12:00", "06 12:00", "20 11:00", "ever", 1000)]
    amended = [late, late | {"version": 2, "recorded": day(25), "settled": None}]
    assert facts_of({"plans": amended}, **until) == [
        ("02 12:00", "06 12:00", "20 11:00", "25 11:00", 1000),
        ("02 12:00", "ever", "25 11:00", "ever", 1000),
    ]


PARTS = [
    {"part": "a", "version": 1, "plan": "p", "paid": day(3), "recorded": day(3), "amount": "4.00"},
    {"part": "b", "version": 1, "plan": "p", "paid": day(4), "recorded": day(9), "amount": "6.00"},  # told late
]


def test_payments_count_since_they_happened_and_are_known():
    owed = {"settled_by": PAID, "aggregates": [{**AGGREGATE, "of": "amount - paid_amount"}]}
    assert facts_of({"plans": [PLAN], "parts": PARTS}, **owed) == [
        ("02 12:00", "02 12:00+", "03 12:00+", 1000),
        ("02 12:00", "03 12:00+", "09 12:00", 600),
        ("02 12:00", "09 12:00", "ever", 0),
    ]
    paid = {"settled_by": PAID, "aggregates": [{**AGGREGATE, "of": "local_date(paid_at)"}]}
    assert facts_of({"plans": [PLAN], "parts": PARTS}, **paid) == [("02 12:00", "09 12:00", "ever", 20243)]  # 4 June


def test_payments_on_days_count_on_the_days_after_them_once_they_are_known():
    owed = {"settled_by": PAID, "daily": [{**DAILY, "value": "sum(amount - paid_amount)"}]}
    assert facts_of({"plans": [PLAN], "parts": PARTS}, **owed) == [
        ("02 12:00", "ever", "02 12:00+", "03 12:00+", 1000),
        ("02 12:00", "03 12:00", "03 12:00+", "ever", 1000),
        ("03 12:00", "ever", "03 12:00+", "09 12:00", 600),
        ("03 12:00", "04 12:00", "09 12:00", "ever", 600),
        ("04 12:00", "ever", "09 12:00", "ever", 0),
    ]


SHOP = {"shop": "s", "version": 1, "opened": day(1), "recorded": day(1), "kind": "food", "owner": "eve", "shut": None}
KIND = {"parent": {"source": "shops", "columns": {"kind": "kind", "shut": "shut"}}}


def test_a_parent_brings_what_it_says_while_it_counts_and_nulls_before():
    rows = {"plans": [PLAN], "shops": [SHOP | {"recorded": day(3)}, SHOP | {"version": 2, "recorded": day(8), "kind": "toys"}]}
    known = [
        ("02 12:00", "02 12:00+", "03 12:00", "none"),
        ("02 12:00", "03 12:00", "08 12:00", "food"),
        ("02 12:00", "08 12:00", "ever", "toys"),
    ]
    of_kind = [{**AGGREGATE, "of": "coalesce(kind, 'none')"}]
    assert facts_of(rows, **KIND, aggregates=of_kind) == known
    assert facts_of({"plans": [PLAN]}, **KIND, aggregates=of_kind) == [("02 12:00", "02 12:00+", "ever", "none")]


def test_a_parents_mutable_timestamp_has_passed_or_not_as_the_rows_own():
    rows = {"plans": [PLAN], "shops": [SHOP | {"shut": day(7)}]}
    assert facts_of(rows, **KIND, aggregates=[{**AGGREGATE, "of": "shut is null"}]) == [
        ("02 12:00", "02 12:00+", "07 12:00+", True),
        ("02 12:00", "07 12:00+", "ever", False),
    ]
    assert facts_of(rows, **KIND, daily=[{**DAILY, "value": "distinct_count(shut is null)"}]) == [
        ("02 12:00", "07 12:00", "02 12:00+", "ever", True),
        ("07 12:00", "ever", "02 12:00+", "ever", False),
    ]


@pytest.mark.parametrize(
    ("case", "later", "expected"),
    [
        ("a new row, and a new version of one", {"plans": [PLAN | {"version": 2, "recorded": day(9)}, PLAN | {"plan": "new"}]},
         {"p": True, "new": False}),
        ("a payment of its", {"parts": [PARTS[0]]}, {"p": True}),
        ("an amended payment that has left it", {"parts": [PARTS[1] | {"version": 2, "plan": "q"}]}, {"p": True, "q": True}),
        ("its parent's new version", {"shops": [SHOP | {"version": 2}]}, {"p": True}),
        ("another's parent", {"shops": [SHOP | {"shop": "other"}]}, {}),
    ],
)  # fmt: skip
def test_what_new_rows_touch(case, later, expected):
    """The keys whose facts may differ, and whether there were facts of them before; only their rows are prepared again."""
    compiled = compiled_of(
        **KIND, settled_by=PAID, aggregates=[{**AGGREGATE, "of": "paid_amount"}, {**AGGREGATE, "name": "k", "of": "kind"}]
    )
    stream = next(stream for stream in compiled.streams.values() if stream.source == "plans")
    first = {"plans": [PLAN, PLAN | {"plan": "q", "shop": None}], "parts": [PARTS[1]], "shops": [SHOP]}
    tables = {}
    for name, source in SOURCES.items():
        old, new = curated_table(source, first.get(name, ()), run="r1"), curated_table(source, later.get(name, ()), run="r2")
        tables[name] = type(old).from_batches([*old.to_batches(), *new.to_batches()], old.schema)
    with connect() as duck, tables_of(tables, duck) as named:
        keys = affected_keys(stream, named, SOURCES, {name: ["r2"] for name in SOURCES}, duck)
        assert dict(zip(keys["key_0"].to_pylist(), keys["_known_before"].to_pylist(), strict=True)) == expected, case
        with of_keys(stream, named, SOURCES, keys, duck) as own:
            prepared = duck.sql(f"select distinct plan from {own['plans'].name}").fetchall()
    assert {plan for (plan,) in prepared} == set(expected)
