"""Each operation over a small window: empty, null, one, many; and facts whose validity ends or begins between cut-offs."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pytest

from conf.windows import Window
from transforms.calendar import FOREVER, cut_off, day_number, midnight
from transforms.kernel import Facts, Queries, Timeline, Values
from transforms.operations import OPERATIONS, build_operation

ZONE = "Asia/Kuala_Lumpur"
DAY = 86_400_000_000
D = date(2025, 6, 30)
T = cut_off(D, ZONE)


def facts_of(*rows: tuple, type_: str = "integer", words: tuple[str, ...] = ()) -> Facts:
    """Rows of (entity, days before T at which it counts, value or None[, valid from, valid until])."""
    entity = np.array([row[0] for row in rows], dtype=np.int64)
    at = np.array([T - int(row[1] * DAY) for row in rows], dtype=np.int64)
    valid_from = np.array([row[3] if len(row) > 3 else a + 1 for row, a in zip(rows, at, strict=True)], dtype=np.int64)
    valid_until = np.array([row[4] if len(row) > 4 else FOREVER for row in rows], dtype=np.int64)
    dtype = {"number": np.float64, "boolean": np.bool_}.get(type_, np.int64)
    data = np.array([row[2] if row[2] is not None else 0 for row in rows], dtype=dtype)
    present = np.array([row[2] is not None for row in rows], dtype=np.bool_)
    return Facts(entity, at, valid_from, valid_until, {"v": Values(type_, data, present, words)})


def queries_of(*entities: int, days: tuple[date, ...] = (D,)) -> Queries:
    return Queries(
        np.repeat(np.array(entities, dtype=np.int64), len(days)),
        np.array([day_number(day) for _ in entities for day in days]),
        np.array([cut_off(day, ZONE) for _ in entities for day in days]),
    )


def answer(op: str, facts: Facts, window: str = "7d", *, queries: Queries | None = None, **options) -> list:
    timeline = Timeline(facts, queries or queries_of(0, 1), ZONE)
    result = build_operation(op, {}).answer(timeline.select(Window.parse(window), **options), timeline.facts.values["v"])
    return [value if there else None for value, there in zip(result.data.tolist(), result.present.tolist(), strict=True)]


# entity 0 has four facts in the window, one without a value, one before it; entity 1 has none
ROWS = ((0, 8, 1000), (0, 6, 5), (0, 5, None), (0, 3, 3), (0, 3, 3), (0, 1, -4))


@pytest.mark.parametrize(
    ("op", "expected", "empty"),
    [
        ("count", 4, 0),
        ("sum", 7, 0),
        ("mean", 1.75, None),
        ("min", -4, None),
        ("max", 5, None),
        ("variance", pytest.approx(15.583333333333334), None),
        ("std", pytest.approx(math.sqrt(15.583333333333334)), None),
        ("distinct_count", 3, 0),
        ("first", 5, None),
        ("last", -4, None),
        ("recency", 0, None),  # a day before T is the local day D itself, at its start
        ("age", 5, None),
        ("gap_mean", pytest.approx(5 / 3), None),
        ("slope", pytest.approx(-21.25 / 12.75), None),
    ],
)
def test_an_operation_ignores_nulls_and_what_lies_outside(op, expected, empty):
    assert answer(op, facts_of(*ROWS)) == [expected, empty]


def test_slope_is_least_squares_on_the_local_day():
    """Values 5, 3, 3, -4 on days 0, 3, 3, 5: products around the means add up to -21.25, squares of the days to 12.75."""
    assert answer("slope", facts_of(*ROWS))[0] == pytest.approx(np.polyfit([0, 3, 3, 5], [5, 3, 3, -4], 1)[0])


@pytest.mark.parametrize(("op", "rows"), [("variance", 1), ("std", 1), ("slope", 2), ("gap_mean", 1)])
def test_too_few_values_are_null(op, rows):
    assert answer(op, facts_of(*[(0, 1 + n, 5) for n in reversed(range(rows))]))[0] is None


def test_slope_of_a_single_day_is_null():
    assert answer("slope", facts_of((0, 1, 1), (0, 1, 2), (0, 1, 3)))[0] is None


@pytest.mark.parametrize(("cents", "mean"), [((1, 2), 2), ((-1, -2), -2), ((1, 1, 2), 1), ((1, 2, 2), 2), ((5, 0), 3)])
def test_a_mean_of_money_is_rounded_half_away_from_zero(cents, mean):
    assert answer("mean", facts_of(*[(0, 1, c) for c in cents], type_="money"))[0] == mean


@pytest.mark.parametrize(
    ("values", "any_", "all_", "streak"),
    [
        ((), False, None, 0),
        ((None,), False, None, 0),
        ((True,), True, True, 1),
        ((False, True, True), True, False, 2),
        ((True, True, False), True, False, 0),
        ((True, None, True), True, True, 2),
    ],
)
def test_conditions(values, any_, all_, streak):
    facts = facts_of(*[(0, 5 - n, value) for n, value in enumerate(values)], type_="boolean")
    assert [answer(op, facts)[0] for op in ("any", "all", "streak")] == [any_, all_, streak]


def test_a_window_holds_its_start_and_not_its_end():
    start = midnight(date(2025, 6, 24), ZONE)
    microsecond = 1 / DAY
    rows = ((0, (T - start) / DAY + microsecond, 1), (0, (T - start) / DAY, 2), (0, microsecond, 4), (0, 0, 8))
    assert answer("sum", facts_of(*rows))[0] == 2 + 4


def test_ahead_counts_from_the_cut_off_what_is_known_by_then():
    known, unknown = T - DAY, T + 1
    rows = ((0, 1, 1), (0, 0, 2, known), (0, -6.9, 4, known), (0, -6.9, 8, unknown), (0, -7, 16, known))
    days = (date(2025, 6, 29), D)
    facts = facts_of(*rows)
    assert answer("sum", facts, ahead=True)[0] == 2 + 4
    assert answer("sum", facts, ahead=True, queries=queries_of(0, days=days)) == [2, 2 + 4]


def test_lag_moves_the_window_and_not_the_knowledge():
    rows = ((0, 38, 1), (0, 36.5, 2), (0, 36.5, 4, T + 1), (0, 30.5, 8), (0, 29.5, 16))
    assert answer("sum", facts_of(*rows), lag=30)[0] == 2 + 8


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_many_cut_offs_at_once_are_as_each_alone(op):
    """Facts that come to be known late, are amended, or end; entities without any; days on which nothing is there."""
    random = np.random.default_rng(11)
    rows = []
    for entity in (0, 0, 0, 1, 3, 3, 3, 3, 3, 3, 3, 3):
        for _ in range(5):
            ago = float(random.integers(0, 40)) + float(random.choice([0, 0.25, 1 / DAY]))
            at = T - int(ago * DAY)
            late = int(random.choice([0, 0, 0, 3])) * DAY
            ends = FOREVER if random.random() < 0.6 else at + late + int(random.integers(1, 20)) * DAY
            value = None if random.random() < 0.2 else int(random.integers(-3, 4))
            rows.append((entity, ago, value, at + 1 + late, ends))
    rows.sort(key=lambda row: (row[0], -row[1]))
    takes = OPERATIONS[op].takes
    type_ = "integer" if "integer" in takes else "boolean"
    facts = facts_of(*rows, type_=type_)
    days = tuple(date(2025, 6, n) for n in range(1, 31))
    together = answer(op, facts, "14d", queries=queries_of(0, 1, 2, 3, days=days))
    alone = [answer(op, facts, "14d", queries=queries_of(0, 1, 2, 3, days=(day,))) for day in days]
    assert together == [alone[n][entity] for entity in range(4) for n in range(len(days))]
    assert len(set(map(str, together))) > 1
