"""Groups answered together: what they share is computed once, rows are those of the spine, what is missing says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from conf.windows import Window
from tests.transforms.small import ZONE, D, facts_of, queries_of
from transforms import answer as answering
from transforms.answer import answer, answer_groups, finish, snapshot_schema
from transforms.feature_group import (
    Clock,
    Column,
    CompiledGroup,
    DailyColumn,
    DailyPart,
    DerivedColumn,
    WindowColumn,
)
from transforms.feature_group.sql import Sql
from transforms.kernel import Facts
from transforms.operations import build_operation

EVENTS = Clock().name
SPINE, ORDERS = ("customers", EVENTS, "there"), ("orders", EVENTS, "v")
ENTITIES = pa.array(["ann", "bob", "cat"])


def column(name: str, type_: str, op: str | None = None, **more: Any) -> Column:
    return Column(name, name, type_, "", "", True, more.pop("internal", False), "allowed", op, **more)


def window(name: str, op: str, of: str = "money", window: str = "7d", **more: Any) -> WindowColumn:
    parameters = more.pop("with_", {})
    operation = build_operation(op, parameters)
    type_ = "string" if more.get("map_by") else operation.type_of(of)
    internal = more.pop("internal", False)
    stream, clock, value = more.pop("facts", ORDERS)
    return WindowColumn(
        column(name, type_, op, internal=internal), stream, clock, value, Window.parse(window), 0, False, operation, **more
    )


def derived(name: str, type_: str, sql: str, *uses: str) -> DerivedColumn:
    return DerivedColumn(column(name, type_), Sql.filled(sql), uses)


def group(name: str, *columns: Any, spine: tuple[str, str, str] = SPINE, **more: Any) -> CompiledGroup:
    kinds: dict[type, list[Any]] = {WindowColumn: [], DailyColumn: [], DerivedColumn: []}
    for item in columns:
        kinds[type(item)].append(item)
    return CompiledGroup(
        name, "customer_id", spine, (spine, ORDERS), tuple(kinds[WindowColumn]), tuple(kinds[DerivedColumn]), "1",
        dailies=tuple(kinds[DailyColumn]), **more,
    )  # fmt: skip


def facts() -> dict[tuple[str, str], Facts]:
    """Ann is a customer since long ago, bob since D; cat has an order and is none."""
    rows = ((0, 6, 1000, "x", 2), (0, 5, 250, "y", 1), (0, 1, 1, "x", None), (2, 1, 7, "x", 1))
    found = facts_of(*rows, type_="money", by=("string", -2), w=("integer", -1))
    customers = facts_of((0, 400, True), (1, 1, True), type_="boolean")
    return {
        SPINE[:2]: replace(customers, values={"there": customers.values["v"]}),
        ORDERS[:2]: found,
    }


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    return [{name: cell for name, cell in row.items() if name not in ("event_time", "time_zone")} for row in table.to_pylist()]


def answered(
    *groups: CompiledGroup, given: Mapping[tuple[str, str], Facts] | None = None, days: tuple[date, ...] = (D,)
) -> dict[str, list]:
    told: dict[str, list] = {one.name: [] for one in groups}
    queries = queries_of(0, 1, 2, days=days)
    for one, parts in answer_groups(groups, facts() if given is None else given, queries, ENTITIES, ZONE):
        table = finish(one, parts)
        assert table.schema == snapshot_schema(one)
        told[one.name] += rows_of(table)
    return told


def test_a_group_has_a_row_for_each_entity_of_its_own_spine():
    one = group("one", window("total", "sum"))
    other = group("other", window("n", "count"), spine=ORDERS)
    assert answered(one, other) == {
        "one": [
            {"customer_id": "ann", "has_history": True, "total": Decimal("12.51")},
            {"customer_id": "bob", "has_history": True, "total": Decimal("0.00")},
        ],
        "other": [{"customer_id": "ann", "has_history": True, "n": 3}, {"customer_id": "cat", "has_history": True, "n": 1}],
    }


def test_the_cut_off_and_the_zone_are_told():
    [table] = answer(group("one"), facts(), queries_of(0, days=(D - timedelta(days=1), D)), ENTITIES, ZONE)
    assert table.select(["event_time", "time_zone"]).to_pylist() == [
        {"event_time": "2025-06-29T16:00:00Z", "time_zone": ZONE}, {"event_time": "2025-06-30T16:00:00Z", "time_zone": ZONE},
    ]  # fmt: skip


def test_what_groups_share_is_computed_once(monkeypatch):
    """Three groups, the same column under three names: one timeline, one selection, one sum."""
    made: list[str] = []
    timeline, each = answering.Timeline, answering.answer_each
    monkeypatch.setattr(answering, "Timeline", lambda *given, **named: (made.append("timeline"), timeline(*given, **named))[1])
    monkeypatch.setattr(answering, "answer_each", lambda some, asked: (made.append(f"{len(asked)} asked"), each(some, asked))[1])
    groups = [group(name, window(name, "sum"), window("n", "count"), spine=ORDERS) for name in ("a", "b", "c")]
    told = answered(*groups)
    assert [told[name][0][name] for name in "abc"] == [Decimal("12.51")] * 3
    assert made == ["timeline", "2 asked"]


def test_what_lies_before_every_window_is_left_out_where_nothing_asks_for_it(monkeypatch):
    """Ann has orders on the 6th, 5th and 1st day from the end: the window of 5 days begins with the second."""
    lengths: list[int] = []

    class Told(answering.Timeline):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            lengths.append(len(self.facts))

    monkeypatch.setattr(answering, "Timeline", Told)
    some, back = window("some", "count", window="5d"), window("back", "change_count", window="5d")
    [ann, _] = answered(group("one", some, window("few", "count", window="2d")))["one"]
    assert (ann["has_history"], ann["some"], ann["few"], lengths.pop()) == (True, 2, 1, 2)
    [ann, _] = answered(group("one", some, back))["one"]
    assert (ann["some"], ann["back"], lengths.pop()) == (2, 2, 3)
    [ann, _] = answered(group("one", some, window("all", "count", window="life")))["one"]
    assert (ann["some"], ann["all"], lengths.pop()) == (2, 3, 3)


def test_an_entity_whose_facts_all_lie_before_every_window_has_history():
    later = D + timedelta(days=3)
    told = answered(group("one", window("total", "sum", window="1d"), spine=ORDERS), days=(later,))["one"]
    assert [(row["customer_id"], row["has_history"], row["total"]) for row in told] == [
        ("ann", True, Decimal("0.00")), ("cat", True, Decimal("0.00")),
    ]  # fmt: skip


COLUMNS = [
    window("total", "sum"), window("mean", "mean"), window("n", "count"), window("any", "any", "boolean", facts=SPINE),
    window("last", "last_n", with_={"n": "2"}), window("by", "sum", map_by="by"), window("share", "share", "string"),
    window("newest", "sum", newest_per="by"), window("weighted", "mean", weight="w"),
]  # fmt: skip


def test_every_kind_of_column_of_some_facts_and_of_none():
    one = group("one", *COLUMNS)
    ann, bob = answered(one)["one"]
    assert ann == {
        "customer_id": "ann", "has_history": True, "total": Decimal("12.51"), "mean": Decimal("4.17"), "n": 3, "any": False,
        "last": '["0.01","2.50"]', "by": '{"x":"10.01","y":"2.50"}', "share": ann["share"], "newest": Decimal("2.51"),
        "weighted": Decimal("7.50"),
    }  # fmt: skip
    nothing = {
        "total": Decimal("0.00"), "mean": None, "n": 0, "last": "[]", "by": "{}", "share": "{}", "newest": Decimal("0.00"), "weighted": None,
    }  # fmt: skip
    assert bob == {"customer_id": "bob", "has_history": True, "any": True} | nothing
    without = answered(one, given={SPINE[:2]: facts()[SPINE[:2]]})["one"]
    assert without[0] == {"customer_id": "ann", "has_history": True, "any": False} | nothing


def test_answers_come_in_pieces_of_bounded_size(monkeypatch):
    days = tuple(D - timedelta(days=n) for n in (3, 2, 1, 0))
    one, other = group("one", *COLUMNS), group("other", *COLUMNS, spine=ORDERS)
    whole = answered(one, other, days=days)
    monkeypatch.setattr(answering, "MAXIMUM_CELLS", 2 * len(COLUMNS) * 3)
    queries = queries_of(0, 1, 2, days=days)
    pieces = [table for one, table in answer_groups([one, other], facts(), queries, ENTITIES, ZONE) if one.name == "one"]
    assert [len(piece) for piece in pieces] == [3, 1, 1, 0]  # of 3 queries each; bob is a customer since D only, cat isn't one
    assert answered(one, other, days=days) == whole


def test_derived_columns_see_the_row_and_those_before_them():
    one = group(
        "one",
        window("n", "count", internal=True),
        derived("twice", "integer", "n * 2", "n"),
        derived("four", "integer", "twice * 2", "twice"),
        derived("due", "date", "as_of + 1", "as_of"),
        derived("late", "boolean", "cut_off > timestamptz '2025-06-30 15:59:59Z' and has_history", "cut_off", "has_history"),
    )
    assert answered(one)["one"][0] == {
        "customer_id": "ann", "has_history": True, "twice": 6, "four": 12, "due": date(2025, 7, 1), "late": True,
    }  # fmt: skip


@pytest.mark.parametrize(("spine", "other", "said"), [(ORDERS, "cat", False), (SPINE, "bob", None)])
def test_without_consent_everything_else_is_blank(spine, other, said):
    """Ann consents: she has more than one order. Cat doesn't, and of bob, who has none, it isn't known."""
    columns = [
        window("n", "count"),
        window("last", "last_n", with_={"n": "1"}),
        derived("asked", "boolean", "nullif(n, 0) > 1", "n"),
    ]
    for consent in (columns[-1], derived("allowed", "boolean", "asked", "asked")):
        one = group(
            "one", *columns, derived("allowed", "boolean", "asked", "asked"), spine=spine, blank_unless=consent.column.name
        )
        told = answered(one)["one"]
        kept = {"asked": True, "allowed": True, "n": 3, "last": '["0.01"]'}
        blank = dict.fromkeys(kept) | {consent.column.name: said}
        assert told == [{"customer_id": "ann", "has_history": True} | kept, {"customer_id": other, "has_history": True} | blank]


def daily(name: str, part: str, op: str, window: str, sql: str = "p") -> DailyColumn:
    inner, operation = build_operation(part, {}), build_operation(op, {})
    type_ = inner.type_of("money")
    own = column(name, operation.type_of(type_), op)
    clock = replace(Clock(), daily=True).name
    parts = (DailyPart("p", inner, "v", None, type_),)
    return DailyColumn(own, "orders", clock, parts, Sql.filled(sql), type_, None, False, operation, Window.parse(window))


def test_values_of_every_day_beside_the_others():
    """Orders of 25, 26 and 30 June: nothing on the 24th, then 10.00, four days of 12.50, and 12.51 on D."""
    clock = replace(Clock(), daily=True).name
    given = facts() | {("orders", clock): facts()[ORDERS[:2]]}
    one = group(
        "one", window("n", "count"), daily("mean", "sum", "mean", "7d"), daily("most", "count", "max", "7d"),
        daily("days", "count", "count", "life"), daily("total", "sum", "sum", "7d"), derived("both", "integer", "n + most", "n", "most"),
    )  # fmt: skip
    nothing = {"mean": Decimal("0.00"), "most": 0, "days": 0, "total": Decimal("0.00"), "n": 0, "both": 0}
    ann, bob = answered(one, given=given)["one"]
    assert ann == {
        "customer_id": "ann", "has_history": True, "n": 3, "mean": Decimal("10.36"), "most": 3, "days": 6, "total": Decimal("72.51"), "both": 6,
    }  # fmt: skip
    assert bob == {"customer_id": "bob", "has_history": True} | nothing
    assert answered(one, given={SPINE[:2]: given[SPINE[:2]]})["one"][0] == {"customer_id": "ann", "has_history": True} | nothing


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_of_money_has_28_digits(sign):
    most = sign * (10**18 - 1)
    given = {ORDERS[:2]: facts_of(*[(0, 1, most)] * 50, type_="money")}
    told = answered(group("one", window("total", "sum"), window("mean", "mean"), spine=ORDERS), given=given)["one"]
    assert told == [{"customer_id": "ann", "has_history": True, "total": 50 * Decimal(most) / 100, "mean": Decimal(most) / 100}]
