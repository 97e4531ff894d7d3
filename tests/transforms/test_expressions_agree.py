"""Spark, with and without ANSI, and DuckDB give the same answer to every function, operator and cast of the subset."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from conf.expressions import Expression, column_of, duckdb_setup, parse
from conf.expressions.functions import EXAMPLE_COLUMNS, FUNCTIONS
from transforms import calendar

SPARK_SCHEMA = """name string, code string, shares string, items string, n bigint, m bigint, x double, y double, amount decimal(18,2), paid decimal(28,2),
    late boolean, due_date date, birth_date date, created_at timestamp, paid_at timestamp"""
ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
OTHERS = [
    # arithmetic: nulls, division by zero, overflow of integers, money and doubles
    "n + m", "n - m", "n * m", "n / m", "n % m", "- n", "-(- n)", "n + 1.5", "n + null", "9223372036854775807 + n",
    "n * n * n",
    "-9223372036854775807 - abs(n)", "abs(-9223372036854775807 - 1)", "- (-9223372036854775807 - 1)",
    "x + y", "x - y", "x * y", "x / y", "x % y", "- x", "x * 1e308 * 10", "x / 1e-300 / 1e-300",
    "coalesce(x * 1e308 * 10, -1)",
    "exp(1000 * abs(x))", "exp(x) - exp(x + 700)", "power(x, 0.5)", "power(0, n)", "ln(n)", "ln(x) / ln(y)",
    "sqrt(n)", "ln(0)",
    "amount + paid", "amount - paid", "amount * n", "m * paid * n", "amount / paid", "amount % 7", "amount % paid",
    "- amount",
    "amount * x", "amount * 1.1", "paid + 0.25", "amount + n", "paid * 100000000 * 100000000 * 100000000", "1 / 3",
    "7 / 0",
    "((amount - paid) / amount + 1) * n", "ratio(ratio(n, m), x) + ratio(amount, n)",
    # rounding: halves away from zero, as written in decimals
    "round(amount)", "round(amount, 1)", "round(amount * -1)", "round(n)", "round(x)", "round(x, 3)",
    "round(2.675, 2)",
    "round(-2.5)", "round(x * 1e30, 2)", "round(x * 1e-7, 8)", "floor(amount)", "ceil(x)", "floor(- x)",
    "floor(x * 1e30)",
    "floor(n)", "sign(x)", "sign(n)", "abs(n)", "abs(x)",
    # comparisons, three-valued logic
    "n = m", "n != m", "n <> 3", "n < x", "amount >= paid", "amount > 100", "amount = 12.50", "amount < 0.005",
    "x <= 1.5",
    "name < code", "late = (n > 0)", "due_date >= birth_date", "created_at < paid_at", "due_date = date '2025-03-09'",
    "created_at >= timestamp '2025-03-09T07:00:00Z'", "late and n > 0", "late or n > 0", "not late",
    "not (late and n > m)",
    "late is null", "n is not null", "x / y is null", "late is true", "late is not false", "n in (1, 2, 3)",
    "n not in (1, null)",
    "amount in (0, 12.5, n)", "name in ('ab', 'b')", "n between 0 and m", "amount not between -5 and 5",
    "null or late",
    # patterns
    "name like 'a%'", "name not like '_b%'", "name like '%\\%'", "name like ''", "code like '%é%'", "name || code",
    "name || null",
    "regexp_like(name, '^$')", "regexp_like(name, 'b.a|\\W')", "regexp_like(name, '[^a-c\\s]{2}')",
    "regexp_like(name, '\\d\\.?$')",
    "regexp_like(code, '^.$')", "regexp_like(name, '[\\[&\\-]')", "replace(name, '', 'x')",
    "replace(name, code, '''')",
    "contains(name, '')", "starts_with(name, code)", "substring(code, 1)", "substring(name, 3, 0)",
    "substring(name, 9, 9)",
    "length(code)", "trim(name || '  ')", "'it''s \\ {0} \\n' || name",
    # choices
    "case when late then n when n > 0 then m else 0 end", "case n when 1 then 'one' when 2 then 'two' end",
    "case when n > 0 then amount else 0.5 end", "case when late then n else x end", "if(late, null, name)",
    "if(n > m, n, amount)",
    "coalesce(n, x)", "coalesce(null, due_date)", "greatest(n, m, 0)", "greatest(amount, n)", "least(x, y, 0)",
    "least(name, code)",
    "greatest(due_date, birth_date)", "least(created_at, null)", "nullif(name, code)", "nullif(amount, 0)",
    "nullif(x, n)",
    # time
    "due_date + interval '30' day", "due_date - interval 1 days", "created_at + interval 30 days",
    "created_at - interval 90 minutes",
    "interval '36' hour + created_at", "add_days(due_date, -400)", "add_days(due_date, n * 100000000)",
    "add_seconds(created_at, -400)", "add_seconds(created_at, n * 100000000)", "add_seconds(paid_at, 10000000000000)",
    "year(due_date)",
    "month(birth_date)", "day(created_at)", "weekday(created_at)", "days_between(created_at, paid_at)",
    "days_between(birth_date, due_date)", "local_date(created_at) = due_date",
    "end_of_day(local_date(created_at)) > created_at",
    "hour(start_of_day(due_date))", "created_at >= start_of_day(due_date)", "created_at",
    "hour(created_at + interval '1' hour)",
    "month_name(due_date)", "weekday_name(due_date)", "seconds_between(paid_at, created_at) / 3600", "add_months(birth_date, -11)",
    "months_between(created_at, paid_at)", "months_between(due_date, birth_date)", "add_months(due_date, 119988)",
    "floor(months_between(birth_date, due_date) / 12)", "weekday(created_at + interval '7' hour)", "month(created_at)",
    # lists and maps
    "json_number(shares, 'b\"c')", "json_number(shares, 'é')", "json_text(shares, 'atome')", "json_text(shares, 'b')",
    "json_text(items, 2)", "json_number(items, 1)", "json_number(items, 3)", "json_number(items, 100)", "json_text(code, 1)",
    "list_text(items, '')", "list_text(items, ' - ')", "list_text(shares, ',')", "json_number(name, 'a')", "percentage(n, m)",
    "percentage(x, y) / x",
    # casts
    "cast(n as number)", "cast(n as money)", "cast(n as string)", "cast(n as boolean)", "cast(amount as number)",
    "cast(amount as integer)", "cast(amount as string)", "cast(x as integer)", "cast(x * 1e30 as integer)",
    "cast(x as money)",
    "cast(2.675 as money)", "cast(x * 1e30 as money)", "cast(late as integer)", "cast(late as string)",
    "cast(due_date as string)",
    "cast(created_at as string)", "cast(null as money)", "cast(name as string)",
    *(f"cast(trim(code) as {type_})" for type_ in ("integer", "number", "money", "boolean", "date", "timestamp")),
    *(f"cast(code as {type_})" for type_ in ("integer", "number", "money", "boolean", "date", "timestamp")),
]  # fmt: skip
MAPS = (
    "{}", "[]", "", "null", '{"atome":0.25,"b\\"c":1e-05,"é":12345678901234567890.5}', ' { "atome" : "120.00" , "b" : null } ',
    '{"atome":true}', '{"atome":-0.0}', '{"atome":1e999}', '{"atome":"x\\u00e9\\n\\"y\\\\","b":7}', '{"b":",\\"atome\\":1","atome":2}',
    '{"atome":{"a":1}}', '{"atome":[1]}', '{"atome":01}', '{"atome":1', '{"atome":1}}', "{'atome':1}", '{"atome":NaN}', '{"atome":1}\n',
    '{"atome":"a\tb"}', '{"atome":"","b":""}', "{" + ",".join(f'"k{n}":"{"x" * 99}"' for n in range(300)) + ',"atome":5}',
)  # fmt: skip
LISTS = (
    "[]", "{}", "", "[ ]", "[0,0,1,2]", '["a","b,c",null,"d\\"e"]', "[1.5]", "[1,[2]]", "[-3, true,false]", "[01]", "[1,]", "[1] ", "[,1]",
    '["é🤦","\\u00e9"]', "[null]", '["1.50",2]', "[1e3]", "[123456789012345678]", "[" + ",".join(str(n) for n in range(3000)) + "]",
)  # fmt: skip
CODES = (
    "", "a", "b", "é", "🤦", "12", " 12 ", "+7", "-0", "007", "1.5", "-1.005", "2.675", ".5", "5.", "1e3", "1e999",
    "-1E-3", "1_000", "1,234.50", "0x10", "1d", "12L", "12\n", "NaN", "inf", "Infinity", "9223372036854775807", "9223372036854775808",
    "99999999999999999999999999.99", "999999999999999999999999999", "true", "FALSE", "t", "no", "1", "0",
    "2025-01-31", "2025-02-30", "2024-02-29", "2025-1-5", "2025", "2025-01-31T10:00:00Z", "2025-01-31 10:00:00.5", "2025-01-31T24:00:00Z",
    "2025-01-31T10:00:00+08:00", "2025-01-31 10:00", "epoch", "0000-01-01", "1999-12-31 23:59:59.123456Z",
)  # fmt: skip


def rows(count: int) -> list[dict[str, Any]]:
    """Seeded rows: nulls in each column, zeros and ties, extremes, instants about the clock changes of New York."""
    source = random.Random(20250309)

    def moment() -> datetime:
        if source.random() < 0.5:
            change = source.choice((datetime(2025, 3, 9, 7, tzinfo=UTC), datetime(2025, 11, 2, 6, tzinfo=UTC)))
            return change + timedelta(microseconds=source.choice((-1, 0, 1)), hours=source.randint(-30, 30))
        if source.random() < 0.05:
            return source.choice((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)))
        return datetime(1999, 1, 1, tzinfo=UTC) + timedelta(microseconds=source.randrange(10**15))

    def day() -> date:
        return source.choice(
            (date(2025, 3, 9), date(2025, 11, 2), date(9999, 12, 31), date(1970, 1, 1) + timedelta(source.randrange(25_000)))
        )

    def money() -> Decimal:
        return Decimal(source.choice((0, 1250, -50, 49, 51, 250, source.randrange(-(10**7), 10**7), 10**17 + 5))) / 100

    make = {
        "name": lambda: "".join(source.choice("abc1.& [-\\%\n") for _ in range(source.randrange(6))),
        "code": lambda: source.choice(CODES + CODES[-12:]),
        "shares": lambda: source.choice(MAPS),
        "items": lambda: source.choice(LISTS),
        "n": lambda: source.choice((0, 1, 2, 3, -1, -7, source.randrange(-(10**6), 10**6), 2**62, -(2**62))),
        "x": lambda: source.choice((0.0, 1.5, -2.5, 2.675, 0.1, -0.5, source.uniform(-100, 100), 1e15 + 0.5)),
        "amount": money,
        "late": lambda: source.random() < 0.5,
        "due_date": day,
        "created_at": moment,
    }
    like = {"m": "n", "y": "x", "paid": "amount", "birth_date": "due_date", "paid_at": "created_at"}
    return [
        {name: make[like.get(name, name)]() if source.random() < 0.9 else None for name in EXAMPLE_COLUMNS} for _ in range(count)
    ]


@pytest.fixture(scope="module")
def data() -> list[dict[str, Any]]:
    return rows(300)


@pytest.fixture(scope="module")
def expressions() -> list[Expression]:
    texts = [function.example for function in FUNCTIONS.values()] + OTHERS
    return [parse(text, EXAMPLE_COLUMNS, zone="America/New_York") for text in texts]


def instant(expression: Expression, sql: str, microseconds: str) -> str:
    """Timestamps are compared as microseconds: Python would show them in the machine's own zone."""
    return f"{microseconds}({sql})" if expression.type == "timestamp" else sql


def in_duckdb(data: list[dict[str, Any]], expressions: list[Expression], time_zone: str) -> Iterator[list[Any]]:
    fields = []
    for name, type_ in EXAMPLE_COLUMNS.items():
        fields.append((name, pa.decimal128(28 if name == "paid" else 18, 2) if type_ == "money" else ARROW_TYPES[type_]))
    table = pa.Table.from_pylist(data, schema=pa.schema(fields))
    # One of the two timestamps reaches DuckDB without a zone.
    table = table.set_column(table.schema.get_field_index("paid_at"), "paid_at", table["paid_at"].cast(pa.timestamp("us")))
    with duckdb.connect() as connection:
        duckdb_setup(connection)
        connection.execute(f"SET TimeZone = '{time_zone}'")
        connection.register("data", table)
        selected = ", ".join(
            f"{instant(expression, expression.duckdb(), 'epoch_us')} AS c{place}" for place, expression in enumerate(expressions)
        )
        result = connection.sql(f"SELECT {selected} FROM data").to_arrow_table()
    for column in result.columns:
        yield column.to_pylist()


def in_spark(spark: SparkSession, data: list[dict[str, Any]], expressions: list[Expression], ansi: bool) -> Iterator[list[Any]]:
    before = spark.conf.get("spark.sql.ansi.enabled")
    spark.conf.set("spark.sql.ansi.enabled", str(ansi).lower())
    try:
        frame = spark.createDataFrame([tuple(row.values()) for row in data], SPARK_SCHEMA).coalesce(1)
        selected = [instant(expression, expression.spark(), "unix_micros") for expression in expressions]
        collected = frame.selectExpr(*selected).collect()
    finally:
        spark.conf.set("spark.sql.ansi.enabled", str(before))
    for place in range(len(expressions)):
        yield [row[place] for row in collected]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isfinite(one) and math.isclose(one, other, rel_tol=1e-12)
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("ansi", [True, False])
def test_both_engines_give_the_same_answers(spark, data, expressions, ansi):
    answers = in_duckdb(data, expressions, "Asia/Tokyo" if ansi else "UTC")
    differ = []
    for expression, ours, theirs in zip(expressions, in_spark(spark, data, expressions, ansi), answers, strict=True):
        wrong = [at for at, pair in enumerate(zip(ours, theirs, strict=True)) if not same(*pair)]
        if wrong:
            at = wrong[0]
            read = {name: data[at][name] for name in expression.columns}
            differ.append(f"{expression.text}: Spark {ours[at]!r}, DuckDB {theirs[at]!r} of {read}; {len(wrong)} rows")
    assert differ == []


PLAIN: dict[str, Any] = {
    "name": "abc", "code": "x", "shares": "{}", "items": "[]", "n": 3, "m": -7, "x": 1.5, "y": -2.5, "amount": Decimal("12.50"),
    "paid": Decimal("7.00"), "late": True, "due_date": date(2025, 1, 31), "birth_date": date(1990, 2, 28),
    "created_at": datetime(2025, 3, 9, 7, tzinfo=UTC), "paid_at": datetime(2025, 3, 10, tzinfo=UTC),
}  # fmt: skip
PAST_ITS_TYPE = ("e30", "e308", "e-300", "9223372036854775807", "100000000", "119988", "exp(1000")


def test_what_is_said_never_to_be_null_is_not():
    """Of columns that have a value, in rows of plain values."""
    named = {name: column_of(name, type_, nullable=False) for name, type_ in EXAMPLE_COLUMNS.items()}
    texts = [function.example for function in FUNCTIONS.values()] + OTHERS
    told = [parse(text, {}, zone="America/New_York", named=named) for text in texts if not any(t in text for t in PAST_ITS_TYPE)]
    never = [expression for expression in told if not expression.nullable]
    assert len(never) > 120
    answers = zip(never, in_duckdb([PLAIN], never, "UTC"), strict=True)
    assert [expression.text for expression, values in answers if None in values] == []


@pytest.mark.parametrize(
    "zone", ["UTC", "Asia/Kuala_Lumpur", "America/New_York", "America/Santiago", "America/Havana", "Pacific/Apia"]
)
def test_both_engines_begin_a_day_where_the_calendar_does(spark, zone):
    """Santiago's clocks skip midnight, Havana's show one twice, Apia left out 30 December 2011."""
    days = [
        date(2005, 1, 1) + timedelta(number) for number in range(7_000)
    ]  # to 2024: editions of the zones differ on later laws
    start = parse("start_of_day(day)", {"day": "date"}, zone=zone)
    expected = [calendar.midnight(day, zone) for day in days]
    with duckdb.connect() as connection:
        connection.register("days", pa.table({"day": days}))
        in_duckdb = connection.sql(f"SELECT epoch_us({start.duckdb()}) FROM days").fetchall()
    in_spark = spark.createDataFrame([(day,) for day in days], "day date").selectExpr(f"unix_micros({start.spark()})").collect()
    assert [row[0] for row in in_duckdb] == expected
    assert [row[0] for row in in_spark] == expected
