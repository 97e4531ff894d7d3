"""Expressions: their types, what a wrong one says, and answers worked out by hand. No Spark."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from conf.errors import EnvironmentProblem
from conf.expressions import ExpressionError, column_of, duckdb_setup, parse, parse_condition
from conf.expressions.__main__ import reference
from conf.expressions.functions import EXAMPLE_COLUMNS, FUNCTIONS

COLUMNS = {
    "provider": "string",
    "number": "integer",
    "share": "number",
    "financed_amount": "money",
    "paid": "money",
    "autopay": "boolean",
    "due_date": "date",
    "created_at": "timestamp",
    "Month end": "date",
}
LISTED = "columns: provider, number, share, financed_amount, paid, autopay, due_date, created_at, Month end"
FUNCTION_NAMES = ", ".join(sorted(FUNCTIONS))
NOT_PART = "is not part of the expression language (docs/expressions.md)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # names
        ("financed_amont", f"no column named 'financed_amont' (did you mean 'financed_amount'?); {LISTED}"),
        ("Provider = 'x'", f"no column named 'Provider' (did you mean 'provider'?); {LISTED}"),
        ("plans.zzz", f"no column named 'plans.zzz'; {LISTED}"),
        ("lowr(provider)", f"no function named 'lowr' (did you mean 'lower'?); functions: {FUNCTION_NAMES}"),
        ("sum(number)", f"no function named 'sum'; functions: {FUNCTION_NAMES}"),
        # types
        ("lower(financed_amount)", "'financed_amount' is money, lower() takes string"),
        ("ln(paid > 1)", "'paid > 1' is boolean, ln() takes integer, money or number"),
        ("provider > 1", "'provider' is string, '1' is integer: '>' takes values of one type"),
        (
            "created_at > due_date",
            "'created_at' is timestamp, 'due_date' is date: '>' takes values of one type; "
            "write start_of_day(due_date) or end_of_day(due_date), or local_date(created_at)",
        ),
        (
            "due_date in ('2025-01-01')",
            "'due_date' is date, '2025-01-01' is string: 'in' takes values of one type; write date '2025-01-01'",
        ),
        ("number = null", "a comparison with null is never true; write number is null"),
        ("null != number", "a comparison with null is never true; write number is not null"),
        ("provider + 'x'", "'provider' is string, '+' takes numbers; to join texts write ||"),
        ("provider || number", "'number' is integer, '||' takes string; write cast(… as string)"),
        ("paid * financed_amount", "'paid' and 'financed_amount' are both money: '*' takes money and an integer or a number"),
        (
            "due_date + 1",
            "'due_date' is date, '+' takes numbers, or an interval beside a date, such as due_date + interval '30' day",
        ),
        ("created_at - due_date", "'created_at' is timestamp, '-' takes numbers; write days_between(due_date, created_at)"),
        ("- due_date", "'due_date' is date, '-' takes numbers"),
        ("not number", "'number' is integer, 'not' takes boolean"),
        ("case when number then 1 end", "'number' is integer, 'when' takes boolean"),
        ("case when autopay then 1 else 'x' end", "'1' is integer, 'x' is string: 'case' takes values of one type"),
        ("if(autopay, due_date, null) = paid", "'if(autopay, due_date, NULL)' is date, 'paid' is money: '=' takes values of one type"),
        ("coalesce(null, null)", "coalesce() has only nulls: give one a type, such as cast(null as integer)"),
        ("null", "'null' is always null: give it a type, such as cast(null as integer)"),
        ("number is true", "'number IS TRUE': 'is' goes with [not] null, or a boolean with true or false"),
        # arguments
        ("ratio(paid)", "ratio() takes 2 arguments, here it has 1: ratio(a, b)"),
        ("round(share, 1, 2)", "round() takes 1 to 2 arguments, here it has 3: round(x, [decimals])"),
        ("coalesce(paid)", "coalesce() takes 2 or more arguments, here it has 1: coalesce(a, b, …)"),
        ("round(share, number)", "'number' is computed; decimals of round() must be written out (integer)"),
        ("round(share, 11)", "'11' is not a number of decimals; round() takes 0 to 10"),
        ("substring(provider, 0)", "'0' is not a place in a text; substring() counts characters from 1"),
        (
            "regexp_like(provider, '(?=a)b')",
            "'(?=a)b' is not a pattern that regexp_like() takes: '(?=' is not supported; groups are (…) or (?:…)",
        ),
        ("regexp_like(provider, '[a')", "'[a' is not a pattern that regexp_like() takes: a class '[' is not closed"),
        ("regexp_like(provider, 'a*+')", "'a*+' is not a pattern that regexp_like() takes: '*+' repeats a repetition"),
        ("regexp_like(provider, '\\b')", "'\\b' is not a pattern that regexp_like() takes: '\\b' is not supported; \\d, \\w, \\s and escaped punctuation are"),
        ("json_number(provider, 0)", "'0' is no place in JSON; json_number() takes a map's key, or a list's place from 1 to 100"),
        ("json_text(provider, provider)", "'provider' is computed; key or place of json_text() must be written out (string or integer)"),
        ("list_text(provider, provider)", "'provider' is computed; separator of list_text() must be written out (string)"),
        ("month_name(number)", "'number' is integer, month_name() takes date or timestamp"),
        ("seconds_between(due_date, created_at)", "'due_date' is date, seconds_between() takes timestamp"),
        ("provider like provider", "'provider' is not a pattern; 'like' takes text written out, such as 'abc%'"),
        # casts and literals
        ("cast(number as numbr)", "no type named 'numbr' (did you mean 'number'?); types: string, integer, number, money, boolean, date, timestamp"),
        ("cast(created_at as date)", "'created_at' is timestamp, which has no cast to date; write local_date(created_at)"),
        (
            "cast(due_date as timestamp)",
            "'due_date' is date, which has no cast to timestamp; write start_of_day(due_date) or end_of_day(due_date)",
        ),
        ("cast(autopay as date)", "'autopay' is boolean, which has no cast to date"),
        ("date '2025-02-30'", "date '2025-02-30' is no day; write it as date '2025-01-31'"),
        (
            "created_at > timestamp '2025-01-31'",
            "timestamp '2025-01-31' is no instant; write it in UTC, as timestamp '2025-01-31T16:00:00Z'",
        ),
        ("9223372036854775808", "'9223372036854775808' is too large for an integer (64 bits)"),
        ("1e999", "'1e999' is too large for a number (a double)"),
        ("paid + 100000000000000000000000000.5", "'100000000000000000000000000.5' is too large for money (26 digits before the point)"),
        (
            "created_at + interval '1' month",
            "'INTERVAL '1' MONTH' is not a length of time here: write a whole number of days, hours or minutes, such as interval '30' day",
        ),
        ("due_date + interval 2 hours", "'due_date' is a date: 'INTERVAL '2' HOURS' must be in whole days"),
        ("number + interval 2 days", "'number' is integer: an interval can only be added to or taken from a date or timestamp"),
        ("interval 2 days", "'INTERVAL '2' DAYS' is an interval: it can only be added to or taken from a date or timestamp"),
        # syntax
        ("", "the expression is empty"),
        ("paid +", "syntax error at '+' (character 6): something is missing after it"),
        ("paid number", "syntax error at 'number' (character 6): unexpected here"),
        ("(paid", "syntax error at 'paid' (character 2): expected ')' after it"),
        ("paid\n + number )", "syntax error at ')' (line 2, character 11): unexpected here"),
        ("cast(paid integer)", "syntax error at 'integer' (character 11): expected 'as' after it"),
        ("provider = 'atome", "syntax error in 'provider = 'atome': a quote or a comment is not closed"),
        ("(" * 3000 + "paid" + ")" * 3000, "the expression is nested too deeply"),
        # SQL that is outside the subset
        ("sum(number) over ()", f"'sum(number) OVER ()' {NOT_PART}"),
        ("paid in (select 1)", "'paid IN (SELECT 1)': 'in' takes a list of values in parentheses"),
        ("number::string", "'CAST(number AS TEXT)' is not part of the expression language; write cast(x as <type>)"),
        ("number; paid", f"'number; paid' {NOT_PART}"),
        ("lower(distinct provider)", f"'DISTINCT provider' {NOT_PART}"),
    ],
)  # fmt: skip
def test_a_wrong_expression_says_what_and_what_next(text, message):
    with pytest.raises(ExpressionError) as caught:
        parse(text, COLUMNS)
    assert str(caught.value) == message


def test_a_condition_must_be_boolean():
    assert parse_condition("autopay and number > 1", COLUMNS).type == "boolean"
    with pytest.raises(ExpressionError) as caught:
        parse_condition("paid + 1", COLUMNS)
    assert str(caught.value) == "'paid + 1' is money, a condition must be boolean"


@pytest.mark.parametrize(
    ("text", "type_", "columns"),
    [
        ("financed_amount - paid", "money", {"financed_amount", "paid"}),
        ("financed_amount * number", "money", {"financed_amount", "number"}),
        ("financed_amount * 1.1", "number", {"financed_amount"}),
        ("financed_amount + 1.25", "money", {"financed_amount"}),
        ("financed_amount + 1.125", "number", {"financed_amount"}),
        ("paid + share", "number", {"paid", "share"}),
        ("number + 1", "integer", {"number"}),
        ("number / 2", "number", {"number"}),
        ("coalesce(paid, 0)", "money", {"paid"}),
        ('"Month end" + interval 1 day', "date", {"Month end"}),
        ("created_at + interval '36' hour", "timestamp", {"created_at"}),
        ("case when autopay then null else provider end", "string", {"autopay", "provider"}),
        ("1 + 1", "integer", set()),
        ("DAYS_BETWEEN(due_date, created_at)", "integer", {"due_date", "created_at"}),
    ],
)
def test_types_and_columns(text, type_, columns):
    expression = parse(text, COLUMNS)
    assert (expression.text, expression.type, expression.columns) == (text, type_, columns)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("paid>1 AND autopay", "( paid  > (1) )\n and autopay", True),
        ("autopay and paid > 1 and number = 2", "autopay and (paid > 1 and number = 2)", True),
        ("LOWER(provider) <> 'x'", "lower(provider) != 'x'", True),
        ("share > 1.50", "share > 1.5 -- half", True),
        ("due_date + interval '30' day", "due_date + interval 30 days", True),
        ("provider = 'x'", "provider = 'X'", False),
        ("number - (1 - 2)", "number - 1 - 2", False),
        ("autopay and paid > 1 or number = 2", "autopay and (paid > 1 or number = 2)", False),
        ("number + 1", "number + 1.0", False),
        ("substring(provider, 1, 2)", "substring(provider, 1, 3)", False),
        ("provider like 'a'", "provider not like 'a'", False),
        ("round(share, 1)", "round(share, 2)", False),
        ("cast(number as money)", "cast(number as number)", False),
    ],
)
def test_the_canonical_form_is_the_meaning(one, other, same):
    assert (parse(one, COLUMNS).canonical() == parse(other, COLUMNS).canonical()) is same


@pytest.mark.parametrize("text", ["local_date(created_at)", "hour(created_at)", "end_of_day(due_date)", "year(created_at)"])
def test_the_zone_is_part_of_the_meaning_where_it_matters(text):
    assert parse(text, COLUMNS, zone="Asia/Tokyo").canonical() != parse(text, COLUMNS).canonical()
    assert parse("day(due_date)", COLUMNS, zone="Asia/Tokyo").canonical() == parse("day(due_date)", COLUMNS).canonical()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("round(2.675, 2)", 2.68),
        ("round(-2.5)", -3.0),
        ("cast(1.005 as money)", Decimal("1.01")),
        ("cast(-1.99 as integer)", -1),
        ("cast('1.9' as integer)", None),
        ("7 / 2", 3.5),
        ("9223372036854775807 / 1", 2.0**63),
        ("1e300 / 1e-300", None),  # past a double
        ("cast('1e308' as number) / cast('0.01' as money)", None),
        ("percentage(1e300, 1e-10)", None),
        ("-7 % 3", -1),
        ("ratio(1, 0)", None),
        ("9223372036854775807 + 1", None),
        ("weekday(date '2025-01-06')", 1),  # a Monday
        ("weekday(date '2025-01-05')", 7),
        ("days_between(date '2025-01-31', date '2025-02-02')", 2),
        ("days_between(date '2025-03-09', timestamp '2025-03-10T03:59:59Z')", 0),  # still the 9th in New York
        ("days_between(date '2025-03-09', timestamp '2025-03-10T04:00:00Z')", 1),
        ("start_of_day(date '2025-03-09')", datetime(2025, 3, 9, 5)),  # winter time when it begins,
        ("end_of_day(date '2025-03-09')", datetime(2025, 3, 10, 4)),  # summer time when it ends
        ("end_of_month(date '2025-02-03')", datetime(2025, 3, 1, 5)),
        ("timestamp '2025-03-09T05:00:00Z' + interval 1 day", datetime(2025, 3, 10, 5)),  # 24 hours, not a local day
        ("date '2025-03-09' + interval 1 day", date(2025, 3, 10)),
        ("end_of_day(date '9999-12-31')", None),
        ("month_name(timestamp '2025-04-01T03:59:59Z')", "Mar"),  # still March in New York
        ("weekday_name(timestamp '2025-01-06T04:59:59Z')", "Sun"),
        ("seconds_between(timestamp '2025-01-01T00:00:00Z', timestamp '2025-01-01T00:00:01.5Z')", 1.5),
        ("months_between(date '2024-02-29', date '2025-02-28')", 11),
        ("months_between(date '2025-03-15', date '2025-02-20')", -1),
        ("add_months(date '2025-01-31', 1)", date(2025, 2, 28)),
        ("add_months(date '9999-12-31', 1)", None),
        ("percentage(1, 0)", None),
        ("percentage(1, 8)", 12.5),
        ('json_number(\'{"a":1e-05,"b":"120.00"}\', \'b\')', 120.0),
        ('json_number(\'{"a":1e-05,"b":"120.00"}\', \'c\')', None),
        ("json_number('[0,7]', 2)", 7.0),
        ('json_text(\'{"x":",\\"a\\":\\"no\\"","a":"yes"}\', \'a\')', "yes"),
        ("json_text('[1]', 1)", None),
        ("json_text('{\"a\":\"x\"', 'a')", None),
        ("list_text('[2,1,null,0]', '')", "210"),
        ("list_text('[0.5]', '')", None),
        ("hour(timestamp '2025-11-02T06:30:00Z')", 1),
        ("hour(timestamp '2025-11-02T05:30:00Z')", 1),
        ("greatest(null, 1, 2.5)", 2.5),
        ("null or true", True),
        ("1 in (2, null)", None),
        ("'a_c' like 'a\\_c'", False),  # a backslash is a character
        ("substring('héllo', 2, 3)", "éll"),
        ("regexp_like('ab' || 'c', '^[a-c]{3}$')", True),
        ("concat('a', null)", None),
        ("case 2 when 1 then 'one' when 2 then 'two' end", "two"),
        ("cast('2025-01-31 16:00:00' as timestamp)", datetime(2025, 1, 31, 16)),
        ("cast('2025-02-30' as date)", None),
    ],
)
def test_answers_worked_out_by_hand(text, expected):
    with duckdb.connect() as connection:
        duckdb_setup(connection)
        answer = connection.execute("SELECT " + parse(text, {}, zone="America/New_York").duckdb()).fetchall()[0][0]
    assert (type(answer), answer) == (type(expected), expected)


@pytest.mark.parametrize(
    ("text", "nullable"),
    [
        ("n + m > 1", False), ("n + paid_at_or_null", True), ("coalesce(paid_at_or_null, n)", False), ("paid_at_or_null is null", False),
        ("n / 7", False), ("n / 0", True), ("n / m", True), ("n % 7", False), ("n % m", True), ("ratio(n, m)", True), ("nullif(n, 1)", True),
        ("if(n > m, 1, 0)", False), ("case when n > 1 then 1 end", True), ("case when paid_at_or_null > 1 then 1 else 0 end", False),
        ("case when n > 1 then null else 0 end", True), ("greatest(paid_at_or_null, n)", False), ("greatest(paid_at_or_null, null)", True),
        ("ln(n)", True), ("exp(n)", True), ("cast(n as string)", False), ("cast(cast(n as string) as integer)", True), ("n in (1, null)", True),
        ("n in (1, m)", False), ("not (n > m or n = 1)", False), ("json_number('{}', 'a')", True), ("percentage(n, 5)", False),
        ("round(n / 7, 2)", False), ("floor(n / 7)", False), ("paid_at_or_null is true", False), ("concat(cast(n as string), 'x')", False),
    ],
)  # fmt: skip
def test_what_may_be_null(text, nullable):
    """Of columns of which only one may be."""
    kind = "boolean" if "is true" in text else "integer"
    named = {"n": column_of("n", "integer", nullable=False), "m": column_of("m", "integer", nullable=False)}
    assert parse(text, {"paid_at_or_null": kind}, named=named).nullable is nullable


@pytest.mark.parametrize(
    ("text", "one_by_one", "together"),
    [
        ("number + paid", {"number", "paid"}, ()),
        ("greatest(number, paid)", set(), (("number", "paid"),)),
        ("coalesce(number, 0)", set(), ()),
        ("share + least(number, paid)", {"share"}, (("number", "paid"),)),
        ("greatest(number, number)", {"number"}, ()),
        ("greatest(number, number + paid)", set(), ((),)),  # one of the two is null for more than one reason
        ("coalesce(ratio(number, paid), share)", set(), ((),)),
    ],
)
def test_which_columns_make_it_null(text, one_by_one, together):
    """Each of some; all of others together."""
    found = parse(text, COLUMNS)
    assert (found.missing, found.missing_together) == (one_by_one, together)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(90, datetime(2025, 1, 1, 0, 1, 30)), (-1, datetime(2024, 12, 31, 23, 59, 59)), (10**15, None)],
)
def test_seconds_are_added_to_an_instant(seconds, expected):
    found = parse(f"add_seconds(timestamp '2025-01-01T00:00:00Z', {seconds})", {})
    assert duckdb.sql(f"select {found.duckdb()}").fetchall() == [(expected,)]


def test_every_function_is_shown_by_an_example_of_its_own():
    for name, function in FUNCTIONS.items():
        parse(function.example, EXAMPLE_COLUMNS)
        assert f"{name}(" in function.example


def test_the_reference_page_is_that_of_the_table():
    page = Path(__file__).parents[2] / "docs" / "expressions.md"
    assert page.read_text(encoding="utf-8") == reference(), "write it anew: python -m conf.expressions > docs/expressions.md"


def test_a_duckdb_without_zones_is_named():
    class WithoutIcu:
        def execute(self, sql: str) -> None:
            raise RuntimeError("Extension icu not found")

    with pytest.raises(EnvironmentProblem) as caught:
        duckdb_setup(WithoutIcu())
    assert str(caught.value) == (
        "this DuckDB knows no time zones (no ICU: Extension icu not found); install the wheel that requirements/runtime.lock names"
    )
