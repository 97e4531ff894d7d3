"""Values of every day: what is compiled, said in words, and what wrong ones say."""

from __future__ import annotations

import re

import pytest

from tests.transforms.feature_group.given import compiled, group, of_nothing, problem, with_feature
from transforms.feature_group import DailyColumn
from transforms.operations import OPERATIONS

UTILISATION = '{name: f, value: "sum(balance) / sum(credit_limit)", op: mean, windows: [30d, 90d], newest_per: account_id, where: balance > 0}'
VIA = "entity: {customer_id: via accounts}"


def daily(feature: str, *, source: str = "statements", more: str = VIA) -> DailyColumn:
    return group(with_feature(feature, source=source, kind="daily", more=more)).dailies[0]


def told(feature: str, *, source: str = "statements", more: str = VIA) -> str:
    return problem(with_feature(feature, source=source, kind="daily", more=more))


def test_a_daily_value_is_parts_and_an_expression_over_them():
    made = compiled(with_feature(UTILISATION, source="statements", kind="daily", more=VIA))
    first, second = made.groups["g"].dailies
    assert [column.name for column in made.groups["g"].columns] == ["f_30d", "f_90d"]
    assert [(part.name, part.operation.name, part.type, part.weight) for part in first.parts] == [
        ("part_1", "sum", "money", None),
        ("part_2", "sum", "money", None),
    ]
    assert (first.operation.name, first.value_type, first.column.type, first.every, first.lag) == (
        "mean",
        "number",
        "number",
        "day",
        0,
    )
    assert (first.parts, first.value_sql, first.newest_per) == (second.parts, second.value_sql, second.newest_per), "one series"
    stream = made.streams[first.stream]
    clock, values = next((clock, values) for clock, values in stream.clocks.items() if clock.name == first.clock)
    assert clock.daily
    sql = {value.name: str(value.sql) for value in values}
    assert sql[first.parts[1].value].endswith('then "credit_limit":money end')
    assert sql[str(first.newest_per)].endswith('then "account_id":string end')


def test_an_operation_that_is_said_twice_is_one_part():
    feature = '{name: f, value: "if(count() > 0, sum(balance) / count(), 0.0)", op: max}'
    found = daily(feature)
    assert [part.operation.name for part in found.parts] == ["count", "sum"]
    assert {"part_1", "part_2"} == set(re.findall("part_[0-9]+", found.value_sql.duckdb))


def test_parts_may_be_weighed_and_days_chosen():
    found = daily(
        '{name: f, value: "mean(balance, credit_limit)", op: count, days_where: "value >= 2 and weekday(day) < 6", lag: [0, 30]}'
    )
    assert found.parts[0].weight is not None
    assert found.days_where_sql is not None
    assert '"value"' in found.days_where_sql.duckdb
    assert '"day"' in found.days_where_sql.duckdb


def test_within_takes_what_began_in_a_window_of_each_day():
    feature = '{name: f, value: "sum(amount)", op: cv, every: month_end, within: 1mo, from: recorded_at, windows: [6mo]}'
    made = compiled(with_feature(feature, source="transactions", kind="daily"))
    (found,) = made.groups["g"].dailies
    values = {value.name: (value.type, str(value.sql)) for clock in made.streams[found.stream].clocks.values() for value in clock}
    assert values[str(found.since)] == ("timestamp", '"recorded_at":timestamp')
    assert (found.every, str(found.within), str(found.window)) == ("month_end", "1mo", "6mo")
    without = daily('{name: f, value: "sum(amount)", op: cv, within: 7d}', source="transactions", more="")
    assert without.since is not None


def test_a_daily_clock_is_never_shared_with_an_aggregate():
    text = with_feature('{name: f, value: "count()", op: max}', kind="daily") + "    aggregates: [{name: n, op: count}]\n"
    made = compiled(text)
    (plans,) = (stream for stream in made.streams.values() if stream.source == "bnpl_plans")
    assert sorted(clock.daily for clock in plans.clocks) == [False, True]


@pytest.mark.parametrize(
    ("feature", "null_when", "empty", "words"),
    [
        (UTILISATION, "there is no such day", "",
         "mean of the days' sum(balance) / sum(credit_limit) of statements where balance > 0, of the newest of each account_id in the 30"
         " local days to the cut-off"),
        ('{name: f, value: "count()", op: count, days_where: value >= 2, from: due_date, windows: [30d], lag: [30]}', "", "0",
         "number of the days' count() of statements, holding that day (from due_date), of days where value >= 2 in the 30 local days to the"
         " cut-off, 30 days earlier"),
        ('{name: f, value: "sum(balance)", op: slope, every: month_end, within: 1mo, windows: [12mo]}',
         "there are fewer than three days, or all on one day", "0",
         "least-squares slope a day of the month ends' sum(balance) of statements, each of what began in the 1 full calendar months to that"
         " day in the 12 full calendar months to the cut-off"),
        ('{name: f, value: "sum(balance)", op: max, until: due_date, windows: [mtd]}', "", "0",
         "greatest of the days' sum(balance) of statements, holding that day (until due_date) from the start of the local month to the cut-off"),
        ('{name: f, value: "sum(balance)", op: last, description: balance of the day}', "there is no such day", "", "balance of the day"),
    ],
)  # fmt: skip
def test_what_a_daily_column_says_of_itself(feature, null_when, empty, words):
    found = daily(feature).column
    text = with_feature(feature, source="statements", kind="daily", more=VIA)
    assert (found.null_when, of_nothing(found.name, text), found.words) == (null_when, empty, words)


COLUMNS = "account_id, period, statement_at, recorded_at, balance, credit_limit, minimum_due, due_date, full_due, _event_time, _known_time"


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("{name: f, value: balance, op: mean}",
         "'balance' has a value a row: take an operation of it, such as sum(balance) or max(balance)"),
        ("{name: f, value: balanc, op: mean}", "no column named 'balanc'; columns: day"),
        ("{name: f, value: 1 + 1, op: mean}", "'1 + 1' takes no operation of the facts of a day, such as count() or sum(balance)"),
        ("{name: f, value: sum(balanc), op: mean}", f"no column named 'balanc' (did you mean 'balance'?); columns: {COLUMNS}"),
        ("{name: f, value: summ(balance), op: mean}", "no function named 'summ' (did you mean 'sum'?); functions and operations: ALL"),
        ("{name: f, value: sum(max(balance)), op: mean}", "max() stands inside another operation: an operation takes values of rows"),
        ("{name: f, value: sum(account_id), op: mean}", "'account_id' is string; operation 'sum' takes integer, money, number"),
        ("{name: f, value: sum(), op: mean}", "sum() takes 1 argument; here it has 0"),
        ('{name: f, value: "mean(balance, credit_limit, 1)", op: mean}', "mean() takes 1 or 2 arguments, the second a weight; here it has 3"),
        ('{name: f, value: "mean(balance, account_id)", op: mean}', "'account_id' is string; a weight is a number or money"),
        ("{name: f, value: percentile(balance), op: mean}", "percentile() can't stand in `value`: it needs q, which only `with` can say"),
        ("{name: f, value: max(account_id), op: mean}",
         "'max(account_id)' is string; operation 'mean' takes integer, money, number"),
        ("{name: f, value: sum(balance) > 1, op: mean}",
         "'sum(balance) > 1' is boolean; operation 'mean' takes integer, money, number"),
        ("{name: f, value: count(), op: men}", "no operation named 'men' (did you mean 'mean'?); known: OPERATIONS"),
        ("{name: f, value: count(), op: max, days_where: valu > 1}", "no column named 'valu' (did you mean 'value'?); columns: value, day"),
        ("{name: f, value: count(), op: max, days_where: value}", "'value' is integer, a condition must be boolean"),
        ("{name: f, value: count(), op: max, within: 1mo, until: due_date}",
         "`within` takes what began in its window, whether or not it still holds; leave `until` out"),
        ("{name: f, value: count(), op: max, within: 1w}", "window '1w' is not a length of time; write a whole number and a unit (d or mo), such"
         " as '30d' or '6mo', or 'mtd' or 'life'"),
        ("{name: f, value: count(), op: max, every: week}", "'week' is not one of 'day' or 'month_end'"),
        ("{name: f, value: count(), op: max, at: due_date}", "unknown key 'at'; known: name, description, online, internal, scoring, value, op,"
         " where, from, until, newest_per, every, within, days_where, windows, lag, with"),
        ("{name: f, value: count(), op: percentile}", "operation 'percentile' needs the parameter 'q': which percentile, 0 to 100"),
        ("{name: f, value: count(), op: max, newest_per: acount_id}",
         f"no column named 'acount_id' (did you mean 'account_id'?); columns: {COLUMNS}"),
        ("{name: f, op: max}", "'value' is missing"),
    ],
)  # fmt: skip
def test_a_wrong_daily_value(feature, message):
    found = told(feature).removeprefix("g.yaml:9: ")
    found = found.replace(", ".join(sorted(OPERATIONS)), "OPERATIONS")
    if "functions and operations: " in found:
        found = found.partition("operations: ")[0] + "operations: ALL"
    assert found == message


@pytest.mark.parametrize(
    "said",
    [
        "where: balance > 0", "from: due_date", "until: due_date", "newest_per: account_id", "every: month_end", "within: 7d",
        "days_where: value > 1", "windows: [7d]", "lag: [1]",
    ],
)  # fmt: skip
def test_each_key_changes_the_meaning(said):
    def version(more: str) -> str:
        return group(
            with_feature("{name: f, value: sum(balance), op: max" + more + "}", source="statements", kind="daily", more=VIA)
        ).version

    assert version(f", {said}") != version("")
    assert version(", description: of words") == version("")


def test_the_value_and_the_operation_are_the_meaning():
    def version(value: str, op: str = "max") -> str:
        return group(with_feature(f"{{name: f, value: {value}, op: {op}}}", source="statements", kind="daily", more=VIA)).version

    assert version("sum(balance)") == version("SUM( (balance) )")
    assert len({version("sum(balance)"), version("max(balance)"), version("sum(full_due)"), version("sum(balance)", "min")}) == 4


def test_operations_and_functions_have_names_of_their_own():
    from conf.expressions.functions import FUNCTIONS

    assert set(OPERATIONS).isdisjoint(FUNCTIONS)
