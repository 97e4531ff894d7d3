"""The oracle's SQL: expressions worked out by hand, and against DuckDB's own answers to what conf compiles for it."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from decimal import Decimal as M
from typing import Any

import duckdb
import pytest

from conf.expressions import duckdb_setup, parse
from conf.expressions.functions import EXAMPLE_COLUMNS, FUNCTIONS
from tests.histories import utc
from tests.oracle import Expression, OracleError, disagreements

KL, NEW_YORK = "Asia/Kuala_Lumpur", "America/New_York"
ROW = {
    "a": 7, "neg": -7, "zero": 0, "m": M("10.00"), "x": 2.5, "s": " Abc_", "yes": True, "no": False,
    "d": date(2025, 1, 31), "ts": utc("2025-01-31 16:00"), "nul": None, "nob": None, "nos": None,
}  # fmt: skip
TYPES = {
    "a": "integer", "neg": "integer", "zero": "integer", "m": "money", "x": "number", "s": "string", "yes": "boolean",
    "no": "boolean", "d": "date", "ts": "timestamp", "nul": "integer", "nob": "boolean", "nos": "string",
}  # fmt: skip
KINDS = {bool: "boolean", int: "integer", float: "number", M: "money", str: "string", date: "date", datetime: "timestamp"}


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        # numbers
        ("a + 1.5", 8.5), ("a * m", M("70.00")), ("m - a", M("3.00")), ("m + x", 12.5), ("m + 0.25", M("10.25")),
        ("m + 0.125", 10.125), ("1.1 * m", 11.0), ("a / 2", 3.5), ("a / zero", None), ("m / 4", 2.5), ("a % 4", 3),
        ("neg % 4", -3), ("m % 3", M("1.00")), ("a % zero", None), ("a + nul", None), ("-m", M("-10.00")),
        ("9223372036854775807 + 1", None), ("ratio(a, 2)", 3.5), ("ratio(a, zero)", None), ("ratio(a, nul)", None),
        ("abs(neg)", 7), ("sign(neg)", -1), ("sign(zero)", 0), ("round(x)", 3.0), ("round(-x)", -3.0),
        ("round(2.675, 2)", 2.68), ("round(m / 8, 1)", 1.3), ("floor(-x)", -3), ("ceil(-x)", -2), ("floor(1e30)", None),
        ("ln(1)", 0.0), ("ln(zero)", None), ("exp(0)", 1.0), ("exp(1000)", None), ("sqrt(4)", 2.0), ("sqrt(neg)", None),
        ("power(2, 3)", 8.0), ("power(zero, neg)", None),
        # conditions
        ("nul = nul", None), ("a <> 7", False), ("a != 8", True), ("s < 'B'", True), ("m = 10", True), ("m < 10.01", True),
        ("yes and nob", None), ("no and nob", False), ("yes or nob", True), ("no or nob", None), ("not nob", None),
        ("nul is null", True), ("a is not null", True), ("nob is true", False), ("nob is not false", True),
        ("a in (1, 7, null)", True), ("a in (1, null)", None), ("a not in (1, 2)", True), ("a not in (1, null)", None),
        ("nul in (1)", None), ("a between 7 and 8", True), ("a between 8 and nul", False), ("a between 1 and nul", None),
        ("a not between 8 and 9", True), ("s like '_Ab%'", True), ("s like '%c_'", True), ("s like '%c\\_'", False),
        ("s not like 'Ab%'", True), ("nos like '%'", None), ("nos not like '%'", None),
        # choices
        ("case when nob then 1 when a > 1 then 2 else 3 end", 2), ("case a when 1 then m end", None),
        ("case a when 7 then 1 else m end", M("1.00")), ("if(nob, 1, 2.5)", 2.5), ("coalesce(nul, m)", M("10.00")),
        ("coalesce(nul, 0)", 0), ("nullif(a, 7)", None), ("nullif(a, nul)", 7), ("greatest(nul, 3, a)", 7),
        ("least(m, 3)", M("3.00")), ("greatest(nul, nul)", None),
        # casts
        ("cast(a as string)", "7"), ("cast(yes as string)", "true"), ("cast(yes as integer)", 1), ("cast(a as boolean)", True),
        ("cast(m as string)", "10.00"), ("cast(d as string)", "2025-01-31"),
        ("cast(ts as string)", "2025-01-31T16:00:00.000000Z"), ("cast('12' as integer)", 12), ("cast('1.9' as integer)", None),
        ("cast('x' as integer)", None), ("cast(-x as integer)", -2), ("cast(m as number)", 10.0), ("cast(x as money)", M("2.50")),
        ("cast(1.005 as money)", M("1.01")), ("cast(' .5 ' as number)", 0.5), ("cast('1e3' as number)", 1000.0),
        ("cast('1e3' as money)", None), ("cast('Yes' as boolean)", True), ("cast('2025-02-30' as date)", None),
        ("cast('2025-01-31 16:00:00' as timestamp)", utc("2025-01-31 16:00")), ("cast('1e30' as integer)", None),
        # text
        ("lower(s)", " abc_"), ("upper(s)", " ABC_"), ("trim(s)", "Abc_"), ("length(s)", 5), ("substring(s, 2, 2)", "Ab"),
        ("substring(s, 4)", "c_"), ("concat(trim(s), '-', cast(a as string))", "Abc_-7"), ("s || nos", None),
        ("concat(s, nos)", None), ("replace(s, 'b', '--')", " A--c_"), ("replace(s, '', 'x')", " Abc_"),
        ("starts_with(s, ' A')", True), ("ends_with(s, '_')", True), ("contains(s, 'bc')", True), ("contains(s, nos)", None),
        ("regexp_like(s, '^\\s[A-C]b')", True), ("regexp_like(s, 'c$')", False), ("regexp_like(s, '_$')", True),
        # dates, in Kuala Lumpur
        ("year(d) * 100 + month(d)", 202501), ("day(ts)", 1), ("hour(ts)", 0), ("weekday(d)", 5), ("weekday(ts)", 6),
        ("local_date(ts)", date(2025, 2, 1)), ("start_of_day(d)", utc("2025-01-30 16:00")),
        ("end_of_day(d)", utc("2025-01-31 16:00")), ("end_of_month(d)", utc("2025-01-31 16:00")),
        ("end_of_day(date '9999-12-31')", None), ("ts >= end_of_day(d)", True), ("days_between(d, ts)", 1),
        ("days_between(ts, d)", -1), ("add_days(d, 28)", date(2025, 2, 28)), ("add_days(d, 4000000)", None),
        ("d + interval 1 day", date(2025, 2, 1)), ("ts - interval 2 days", utc("2025-01-29 16:00")),
        ("ts + interval '90' minute", utc("2025-01-31 17:30")), ("d > date '2025-01-30'", True),
        ("ts = timestamp '2025-01-31T16:00:00Z'", True), ("month_name(d)", "Jan"), ("month_name(ts)", "Feb"),
        ("weekday_name(d)", "Fri"), ("weekday_name(ts)", "Sat"), ("seconds_between(ts, ts + interval 90 minutes)", 5400.0),
        ("months_between(date '2024-02-29', d)", 11), ("months_between(d, date '2025-02-28')", 0), ("months_between(d, ts)", 0),
        ("months_between(d, date '2025-01-30')", -1), ("add_months(d, 1)", date(2025, 2, 28)),
        ("add_months(d, -11)", date(2024, 2, 29)), ("add_months(d, 200000)", None),
        # lists and maps
        ("percentage(a, 14)", 50.0), ("percentage(a, zero)", None), ("json_number('{\"a\":1e-05}', 'a')", 1e-05),
        ("json_number('{\"a\":\"120.00\"}', 'a')", 120.0), ("json_number('{\"a\":\"x\"}', 'a')", None),
        ("json_number('[0,7]', 2)", 7.0), ("json_number('[0,7]', 3)", None), ("json_number('{\"a\":[1]}', 'a')", None),
        ("json_text('[\"x\",1]', 1)", "x"), ("json_text('[\"x\",1]', 2)", None), ("json_text('{', 'a')", None),
        ("list_text('[0,null,\"x\",true]', '-')", "0-x-true"), ("list_text('[0.5]', '-')", None), ("list_text('[]', '-')", ""),
    ],
)  # fmt: skip
def test_sql(sql, value):
    expression = Expression(sql, TYPES, KL)
    found = expression.value(ROW)
    assert (found, type(found)) == (value, type(value))
    assert value is None or expression.type == KINDS[type(value)]


@pytest.mark.parametrize(
    ("sql", "value"),
    [
        ("days_between(date '2025-03-09', timestamp '2025-03-10T03:59:59Z')", 0),  # still the 9th in New York
        ("days_between(date '2025-03-09', timestamp '2025-03-10T04:00:00Z')", 1),
        ("start_of_day(date '2025-03-09')", utc("2025-03-09 05:00")),  # winter time when it begins,
        ("end_of_day(date '2025-03-09')", utc("2025-03-10 04:00")),  # summer time when it ends
        ("timestamp '2025-03-09T05:00:00Z' + interval 1 day", utc("2025-03-10 05:00")),  # 24 hours, not a local day
        ("hour(timestamp '2025-11-02T06:30:00Z')", 1),
        ("hour(timestamp '2025-11-02T05:30:00Z')", 1),
    ],
)
def test_local_time_where_clocks_change(sql, value):
    assert Expression(sql, {}, NEW_YORK).value({}) == value


@pytest.mark.parametrize(
    "sql",
    [
        "s > 1", "d = '2025-01-31'", "cast(ts as date)", "cast(x as string)", "s + 1", "now()", "sum(a)", "b", "hour(d)", "m * m",
        "d > ts", "d + interval 2 hours",
    ],
)  # fmt: skip
def test_sql_that_the_definitions_should_not_hold_is_refused(sql):
    with pytest.raises(OracleError):
        Expression(sql, TYPES, KL).value(ROW)


MORE = [
    "case when late then amount else paid end", "coalesce(amount, n)", "amount - paid * n", "n + x", "amount / nullif(n, 0)", "n % 3",
    "amount % 7", "amount > x", "amount >= 9.90", "x between n and amount", "name in ('a', 'bc') or late", "not (late and n > 1)",
    "days_between(due_date, created_at)", "created_at >= end_of_day(due_date)", "local_date(paid_at) > due_date", "hour(paid_at)",
    "created_at + interval '36' hour", "due_date - interval 30 days", "cast(amount as integer)", "cast(x as money)",
    "cast(name as number)", "cast(code as date)", "add_months(birth_date, -1)", "months_between(birth_date, due_date)", "json_text(shares, 'b')",
    "json_number(shares, 'c')", "json_number(items, 3)", "json_text(items, 2)", "list_text(shares, ',')", "month_name(due_date)",
    "name || '-' || code", "name like 'a%'", "name not like '%c'",
    "round(amount, 1)", "round(x, 1)", "least(due_date, birth_date)", "greatest(paid_at, created_at)", "if(x > 0, ln(x), -1.5)",
]  # fmt: skip


def some_rows(count: int) -> list[dict[str, Any]]:
    """Random rows of EXAMPLE_COLUMNS, a fifth of the values null, many on edges."""
    chance = random.Random(7)
    values: dict[str, list[Any]] = {
        "string": ["", " a", "a", "A", "bc", "abc", "12", "1.5", "2025-02-28", "Ab-c"],
        "integer": [0, 1, -1, 2, 3, 7, -30, 365],
        "number": [0.0, -0.5, 0.1, 2.5, 2.675, 1e6, -3.25],
        "money": [M("0.00"), M("0.01"), M("-0.01"), M("9.90"), M("10.00"), M("2.35"), M("99999999.99")],
        "boolean": [True, False],
        "date": [date(2024, 2, 29), date(2025, 3, 9), date(2025, 11, 2), date(2025, 12, 31)],
        "timestamp": [
            datetime(2025, 3, 9, 5, tzinfo=UTC), datetime(2025, 3, 10, 3, 59, 59, 999999, UTC), datetime(2025, 3, 10, 4, tzinfo=UTC),
            datetime(2025, 11, 2, 5, 30, tzinfo=UTC), datetime(2024, 2, 29, 23, tzinfo=UTC),
        ],
    }  # fmt: skip
    of_column = {
        "shares": ["{}", '{"atome":0.25,"b":"x","c":1e-05}', '{"b": 12, "c" : "120.00"}', '{"c":null}', "[1]", '{"c":1'],
        "items": ["[]", "[0,0,1]", '["a","b,c",null]', '["1.50", 2.5]', "[true]", '[{"a":1}]', "0,1"],
    }
    return [
        {
            name: None if chance.random() < 0.2 else chance.choice(of_column.get(name, values[kind]))
            for name, kind in EXAMPLE_COLUMNS.items()
        }
        for _ in range(count)
    ]


def test_duckdb_says_the_same_on_random_rows():
    """Every documented function's example and more, over 60 random rows, in New York."""
    rows = some_rows(60)
    sql_types = {
        "string": "varchar", "integer": "bigint", "number": "double", "money": "decimal(18,2)", "boolean": "boolean",
        "date": "date", "timestamp": "timestamp",
    }  # fmt: skip
    texts = [function.example for function in FUNCTIONS.values()] + MORE
    with duckdb.connect() as connection:
        duckdb_setup(connection)
        columns = ", ".join(f"{name} {sql_types[kind]}" for name, kind in EXAMPLE_COLUMNS.items())
        connection.execute(f"create table some_rows (place integer, {columns})")
        for place, row in enumerate(rows):
            told = [v.astimezone(UTC).replace(tzinfo=None) if isinstance(v, datetime) else v for v in row.values()]
            connection.execute(f"insert into some_rows values ({', '.join('?' * (len(row) + 1))})", [place, *told])
        for text in texts:
            compiled = parse(text, EXAMPLE_COLUMNS, zone=NEW_YORK)
            answers = connection.execute(f"select {compiled.duckdb()} from some_rows order by place").fetchall()
            expression = Expression(text, EXAMPLE_COLUMNS, NEW_YORK)
            assert expression.type == compiled.type, text
            actual = {str(place): {text: _utc(answer)} for place, (answer,) in enumerate(answers)}
            expected = {str(place): {text: expression.value(row)} for place, row in enumerate(rows)}
            assert disagreements(expected, actual, tolerance=1e-12) == []


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
