"""Values of every day, against a plain statement of what they are: what holds at each point, and what is known at T."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.windows import Window
from tests.transforms.small import ZONE, D, T, told, values_of
from transforms import daily
from transforms.calendar import FOREVER, NEVER_DAY, cut_off, day_number, local_days_of, midnight
from transforms.daily import answer_dailies
from transforms.feature_group import Column, DailyColumn, DailyPart
from transforms.feature_group.sql import Sql
from transforms.kernel import Facts, Queries
from transforms.operations import build_operation

DAY, HOUR = timedelta(days=1), 3_600_000_000
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Row:
    """A fact: since when it holds and until when, what it says of which account; since and until when it is known."""

    at: int
    value: int | None = 1
    account: str | None = "x"
    holds_until: int = int(FOREVER)
    valid_from: int | None = None  # from its own time on
    valid_until: int = int(FOREVER)
    entity: int = 0


def facts_of(rows: Sequence[Row]) -> Facts:
    rows = sorted(rows, key=lambda row: (row.entity, row.at))
    known = [row.at + 1 if row.valid_from is None else row.valid_from for row in rows]
    columns = ([row.entity for row in rows], [row.at for row in rows], known, [row.valid_until for row in rows])
    values = {
        "v": values_of("integer", *(row.value for row in rows)),
        "account": values_of("string", *(row.account for row in rows)),
        "since": values_of("timestamp", *(row.at for row in rows)),
    }
    return Facts(
        *(np.array(column, dtype=np.int64) for column in columns),
        values,
        np.array([row.holds_until for row in rows], dtype=np.int64),
    )


def column_of(
    part: str = "sum",
    op: str = "first_n",
    window: str = "5d",
    *,
    sql: str = "p",
    with_: dict[str, str] | None = None,
    newest: bool = False,
    within: str | None = None,
    days_where: str | None = None,
    **options: Any,
) -> DailyColumn:
    inner = build_operation(part, {})
    type_ = inner.type_of("integer")
    operation = build_operation(op, with_ or ({"n": "99"} if op.endswith("_n") else {}))
    column = Column("c", "c", operation.type_of(type_), "", "", True, False, "allowed", op)
    changes_daily = inner.ages or "day" in sql or "day" in (days_where or "")
    return DailyColumn(
        column, "s", "c", (DailyPart("p", inner, "v", None, type_),), Sql.filled(sql), type_,
        Sql.filled(days_where) if days_where else None, changes_daily, operation,
        Window.parse(window), newest_per="account" if newest else None, within=Window.parse(within) if within else None,
        since="since" if within else None, **options,
    )  # fmt: skip


def queries_of(*days: date, entities: Sequence[int] = (0,), zone: str = ZONE) -> Queries:
    moments = [(entity, day_number(day), cut_off(day, zone)) for entity in entities for day in days]
    return Queries(*(np.array(part, dtype=np.int64) for part in zip(*moments, strict=True)))


def ask(columns: Sequence[DailyColumn], rows: Sequence[Row], queries: Queries, zone: str = ZONE) -> list[list[Any]]:
    began = [
        min(
            (local(row.at, zone) for row in rows if row.entity == entity and row.at < moment and known(row, moment)), default=None
        )
        for entity, moment in zip(queries.entity, queries.cut_off, strict=True)
    ]
    began_days = np.array([int(NEVER_DAY) if day is None else day_number(day) for day in began], dtype=np.int64)
    found: dict[int, list[Any]] = {}
    for points in {column.points for column in columns}:
        some = [number for number, column in enumerate(columns) if column.points == points]
        answers = answer_dailies([columns[number] for number in some], facts_of(rows), began_days, queries, zone)
        found |= {number: told(answer, values_of("integer")) for number, answer in zip(some, answers, strict=True)}
    return [found[number] for number in range(len(columns))]


def known(row: Row, moment: int) -> bool:
    return (row.at + 1 if row.valid_from is None else row.valid_from) <= moment < row.valid_until


def local(instant: int, zone: str) -> date:
    return EPOCH + timedelta(days=int(local_days_of(np.array([instant]), zone)[0]))


def at(text: str, zone: str = ZONE) -> int:
    """A local date and hour, such as `06-28 10`, of 2025."""
    day, hour = text.split()
    return midnight(date.fromisoformat(f"2025-{day}"), zone) + int(hour) * HOUR


def test_a_fact_holds_from_the_end_of_its_day_to_the_end_of_the_day_before_it_ceases():
    """a ceases at the very end of the 28th and holds then; b a microsecond before it."""
    end = midnight(date(2025, 6, 29), ZONE)
    rows = [Row(at("06-26 10"), 1, holds_until=end), Row(at("06-27 10"), 2, holds_until=end - 1), Row(end - 1, 4), Row(end, 8)]
    assert ask([column_of()], rows, queries_of(D)) == [["[1,3,5,12,12]"]]


def test_the_newest_of_each_account_takes_over_and_gives_back():
    """y's second balance ends on the 29th, and its first one, which still holds, counts again."""
    rows = [
        Row(at("06-26 10"), 1, "x"), Row(at("06-28 10"), 2, "x"), Row(at("06-26 11"), 10, "y"),
        Row(at("06-27 10"), 20, "y", holds_until=at("06-29 10")), Row(at("06-27 10"), 400, None),
    ]  # fmt: skip
    assert ask([column_of(newest=True)], rows, queries_of(D)) == [["[11,21,22,12,12]"]]


def test_columns_share_points_and_each_has_its_own_window():
    rows = [Row(at("06-28 10"), 3), Row(at("06-29 10"), None), Row(at("05-01 10"), 1)]
    columns = [
        column_of(), column_of("count", "max", "30d"), column_of("sum", "mean", "2d"), column_of("sum", "first_n", "2d", lag=2),
        column_of("count", "count", "5d", days_where="value >= 2"), column_of("max", "recency", "life", days_where="value = 1"),
        column_of("sum", "last", "1d", sql="p + extract(day from day)"), column_of(op="first_n", window="3mo", every="month_end"),
        column_of("sum", "change_count", "30d"), column_of("sum", "change_count", "life"),
    ]  # fmt: skip
    assert [answers[0] for answers in ask(columns, rows, queries_of(D))] == [
        "[1,1,4,4,4]", 2, 4.0, "[1,4]", 3, 3, 34, "[0,1,4]", 1, 2,
    ]  # fmt: skip


def test_what_reads_the_day_is_asked_of_each_day():
    """Nothing says the same of every day, null or 0; nothing says the day itself; and a fact is a day older on each."""
    rows = [Row(at("06-28 10"), 3)]
    columns = [
        column_of("max", "sum", "5d", sql="p + day(day)"), column_of("max", "sum", "5d", sql="coalesce(p + day(day), 0)"),
        column_of("max", "sum", "5d", sql="coalesce(p, day(day))"), column_of("recency", "sum", "5d"),
        column_of("max", "count", "5d", days_where="day(day) % 2 = 0"),
    ]  # fmt: skip
    asked = ask(columns, rows, queries_of(D))
    assert [answers[0] for answers in asked] == [9 + 28 + 29 + 30, 9 + 28 + 29 + 30, 26 + 27 + 9, 0 + 1 + 2, 2]


@pytest.mark.parametrize(
    ("part", "op", "expected"),
    [
        ("count", "distinct_count", 3), ("count", "mode", 1), ("recency", "distinct_count", 3), ("entropy", "mode", 0.0),
        ("last", "last", "y"), ("last", "distinct_count", 2), ("last", "mode", "x"),
    ],
)  # fmt: skip
def test_a_day_that_says_what_one_operation_says_of_texts(part, op, expected):
    """Nothing on the 26th, x, and on the 30th x and y: what is said of texts and isn't one is no place among them."""
    rows = [Row(at("06-27 10"), account="x"), Row(at("06-30 10"), account="y")]
    inner, operation = build_operation(part, {}), build_operation(op, {})
    type_ = inner.type_of("string")
    column = Column("c", "c", operation.type_of(type_), "", "", True, False, "allowed", op)
    parts = (DailyPart("p", inner, "account", None, type_),)
    asked = DailyColumn(column, "s", "c", parts, Sql.column("p"), type_, None, inner.ages, operation, Window.parse("5d"))
    [answer] = answer_dailies([asked], facts_of(rows), np.array([day_number(date(2025, 6, 27))]), queries_of(D), ZONE)
    assert told(answer, values_of("string", "x", "y") if operation.type_of(type_) == "string" else values_of("integer")) == [
        expected
    ]


def test_what_is_within_a_window_of_each_point():
    rows = [Row(at("06-27 00"), 1), Row(at("06-28 23"), 2), Row(at("05-31 23"), 4), Row(at("04-30 23"), 8)]
    columns = [
        column_of(within="2d"), column_of(window="2mo", every="month_end", within="1mo"),
        column_of(window="3d", within="mtd"), column_of(window="3mo", every="month_end", within="2mo"), column_of(within="life"),
    ]  # fmt: skip
    assert [answers[0] for answers in ask(columns, rows, queries_of(D))] == [
        "[0,1,3,2,0]", "[4,3]", "[3,3,3]", "[8,12,7]", "[12,13,15,15,15]",
    ]  # fmt: skip
    assert ask([column_of(window="2d", within="1mo")], rows, queries_of(date(2025, 6, 30))) == [["[4,3]"]]


def test_knowledge_is_judged_at_the_cut_off_and_not_at_the_point():
    """Asked on the 29th the late fact isn't known; on the 30th it always was, and the amended one never."""
    rows = [
        Row(at("06-26 10"), 1, valid_from=at("06-30 10")), Row(at("06-27 10"), 10, valid_until=at("06-30 10")),
        Row(at("06-28 10"), 100),
    ]  # fmt: skip
    queries = queries_of(date(2025, 6, 29), D, date(2025, 7, 1))
    assert ask([column_of()], rows, queries) == [["[0,0,10,110,110]", "[1,1,101,101,101]", "[1,101,101,101,101]"]]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (Row(at("06-26 10"), valid_from=at("06-29 10")), ["[0,0]", "[0,0]", "[1,1]", "[1,1]"]),
        (Row(at("06-26 10"), valid_until=at("06-29 10")), ["[1,1]", "[1,1]", "[0,0]", "[0,0]"]),
        (Row(at("06-26 10"), holds_until=at("06-29 10")), ["[1,1]", "[1,1]", "[1,0]", "[0,0]"]),
        (Row(at("06-26 10"), valid_from=at("06-20 10")), ["[1,1]", "[1,1]", "[1,1]", "[1,1]"]),  # agreed before it began
    ],
)
def test_cut_offs_between_which_knowledge_changed_are_told_apart(row, expected):
    days = [date(2025, 6, day) for day in (27, 28, 29, 30)]
    assert ask([column_of(window="2d")], [row], queries_of(*days)) == [expected]


def test_an_entity_without_facts_has_points_but_no_lifetime():
    columns = [
        column_of("count", "max", "3d"),
        column_of("max", "max", "3d"),
        column_of("max", "count", "3d"),
        column_of("count", "count", "life"),
    ]
    assert [answers[0] for answers in ask(columns, [], queries_of(D))] == [0, None, 0, 0]
    nothing = np.array([NEVER_DAY])
    [answer] = answer_dailies([column_of("count", "max", "3d", within="7d", newest=True)], None, nothing, queries_of(D), ZONE)
    assert told(answer, values_of("integer")) == [0]


def test_the_last_day_of_an_event_is_looked_at_up_to_the_event():
    """At noon of the 30th, what came at ten is there, what ceased before T isn't, and June is not over; at T, it is."""
    noon = at("06-30 12")
    rows = [
        Row(at("06-29 10"), 1, holds_until=at("06-30 11")),
        Row(at("06-29 23"), 8, holds_until=noon),
        Row(at("06-30 10"), 2, holds_until=at("06-30 13")),
        Row(noon, 4),
    ]
    queries = Queries(np.array([0, 0, 0]), np.array([day_number(D)] * 3), np.array([noon, noon + 1, T]), "event")
    columns = [
        column_of(window="2d"), column_of(window="2mo", every="month_end"), column_of(window="3d", within="1mo"), column_of(window="1d", within="1d"),
    ]  # fmt: skip
    assert ask(columns, rows, queries) == [
        ["[9,10]", "[9,6]", "[9,4]"], ["[0,0]", "[0,0]", "[0,4]"], ["[0,0,0]", "[0,0,0]", "[0,0,4]"], ["[2]", "[6]", "[4]"],
    ]  # fmt: skip


def test_texts_are_told_in_the_words_of_their_own_points(monkeypatch):
    """Two entities are answered apart; each one's words are numbered anew."""
    monkeypatch.setattr(daily, "MAXIMUM_POINTS", 1)
    rows = [Row(at("06-28 10"), 1), Row(at("06-28 10"), 2, entity=1)]
    column = column_of("sum", "last", "3d", sql="'is ' || p")
    column = DailyColumn(**{**vars(column), "value_type": "string"})
    assert ask([column], rows, queries_of(D, entities=(0, 1))) == [["is 1", "is 2"]]


# ---- against the plain statement


def points(column: DailyColumn, rows: Sequence[Row], as_of: date, moment: int, zone: str) -> list[tuple[date, int | None]]:
    """Each point of the window and what its part says: the facts known at T that hold at the point's end."""
    before = [local(row.at, zone) for row in rows if row.at < moment and known(row, moment)]
    last = as_of - DAY * column.lag
    if column.window.kind == "lifetime":
        first = min(before, default=last + DAY)
    else:
        first = last - DAY * (column.window.count - 1)
    result = []
    counts = DAYS_WHERE[column.days_where_sql.duckdb if column.days_where_sql else None]
    for number in range((last - first).days + 1):
        day = first + DAY * number
        if column.every == "month_end" and (day + DAY).day != 1:
            continue
        end = min(cut_off(day, zone), moment)
        held = [row for row in rows if known(row, moment) and row.at < end and not row.holds_until < end]
        if column.within is not None:
            start = midnight(day - DAY * (column.within.count - 1), zone)
            held = [row for row in held if start <= row.at]
        if column.newest_per:
            newest = {row.account: row for row in held if row.account is not None}
            held = [row for row in held if newest.get(row.account) is row]
        part = INNER[column.parts[0].operation.name]([row.value for row in held if row.value is not None])
        value = SQL[column.value_sql.duckdb](part, day)
        result.append((day, value if counts(value, day) else None))
    return result


INNER: dict[str, Callable[[list[int]], int | None]] = {
    "count": len,
    "sum": sum,
    "max": lambda values: max(values, default=None),
    "last": lambda values: values[-1] if values else None,
}


SQL: dict[str, Callable[[int | None, date], int | None]] = {
    "p": lambda part, day: part,
    "p + day(day) % 3": lambda part, day: None if part is None else part + day.day % 3,
    "coalesce(p, day(day) % 3)": lambda part, day: day.day % 3 if part is None else part,  # of no fact, too
}
DAYS_WHERE: dict[str | None, Callable[[int | None, date], bool]] = {
    None: lambda value, day: True,
    "value > 0": lambda value, day: value is not None and value > 0,
    "day(day) % 2 = 0": lambda value, day: day.day % 2 == 0,
}
OUTER: dict[str, Callable[[list[int]], Any]] = {
    "first_n": lambda values: "[" + ",".join(map(str, values)) + "]",
    "count": len,
    "sum": sum,
    "mean": lambda values: sum(values) / len(values) if values else None,
    "min": lambda values: min(values, default=None),
    "last": lambda values: values[-1] if values else None,
    "distinct_count": lambda values: len(set(values)),
}


def plainly(column: DailyColumn, rows: Sequence[Row], as_of: date, moment: int, zone: str) -> Any:
    values = [value for _, value in points(column, rows, as_of, moment, zone) if value is not None]
    return OUTER[column.operation.name](values)


DAYS = st.integers(0, 12)
MOMENTS = st.tuples(DAYS, st.sampled_from((-1, 0, 1, 9 * HOUR, 20 * HOUR)))
ENDS = st.one_of(st.none(), MOMENTS)


@st.composite
def histories(draw: st.DrawFn, zone: str, start: date) -> list[Row]:
    """Facts on the edges of days: late, amended, ended, of several accounts."""

    def instant(moment: tuple[int, int]) -> int:
        return midnight(start + DAY * moment[0], zone) + moment[1]

    rows = []
    for _ in range(draw(st.integers(0, 9))):
        begins, ends = instant(draw(MOMENTS)), draw(ENDS)
        late, amended = draw(ENDS), draw(ENDS)
        rows.append(
            Row(
                begins,
                draw(st.one_of(st.none(), st.integers(-2, 3))),
                draw(st.sampled_from(("x", "x", "y", None))),
                int(FOREVER) if ends is None else instant(ends),
                None if late is None else max(instant(late), begins + 1),
                int(FOREVER) if amended is None else instant(amended),
                draw(st.sampled_from((0, 0, 1))),
            )
        )
    return sorted(rows, key=lambda row: (row.entity, row.at))


@pytest.mark.parametrize(
    ("zone", "start"),
    [(ZONE, date(2025, 6, 24)), ("America/New_York", date(2025, 3, 4)), ("Australia/Lord_Howe", date(2025, 3, 30))],
)
@given(data=st.data())
@settings(max_examples=120, deadline=None)
def test_days_are_what_they_say(zone, start, data):
    """Many cut-offs at once, of both grains, against each point looked at by itself; clocks change inside the history."""
    rows = data.draw(histories(zone, start))
    columns = [
        column_of(
            data.draw(st.sampled_from(sorted(INNER))), data.draw(st.sampled_from(sorted(OUTER))), data.draw(st.sampled_from(("1d", "4d", "9d", "life"))),
            sql=data.draw(st.sampled_from(sorted(SQL))), days_where=data.draw(st.sampled_from((None, *list(DAYS_WHERE)[1:]))),
            newest=data.draw(st.booleans()), within=data.draw(st.sampled_from((None, None, "1d", "3d"))),
            lag=data.draw(st.sampled_from((0, 0, 2))), every=data.draw(st.sampled_from(("day", "day", "month_end"))),
        )
    ]  # fmt: skip
    days = [start + DAY * n for n in sorted(data.draw(st.sets(DAYS, min_size=1, max_size=5)))]
    queries = queries_of(*days, entities=(0, 1), zone=zone)
    if data.draw(st.booleans()):
        moments = queries.cut_off - data.draw(st.sampled_from((0, 1, 5 * HOUR, 15 * HOUR)))
        queries = Queries(queries.entity, queries.as_of, moments, "event")
    expected = [
        plainly(columns[0], [row for row in rows if row.entity == entity], EPOCH + DAY * int(day), int(moment), zone)
        for entity, day, moment in zip(queries.entity, queries.as_of, queries.cut_off, strict=True)
    ]
    assert ask(columns, rows, queries, zone) == [expected]
    whole, daily.MAXIMUM_POINTS = daily.MAXIMUM_POINTS, 3
    try:
        assert ask(columns, rows, queries, zone) == [expected]
    finally:
        daily.MAXIMUM_POINTS = whole
