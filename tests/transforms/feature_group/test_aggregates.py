"""Aggregates and states: what columns come out, what is shared, what changes a version, and what wrong ones say."""

from __future__ import annotations

import pytest

from conf.expressions.functions import numbers
from conf.specs import Aggregate
from tests.transforms.feature_group.given import compiled, group, of_nothing, problem, with_feature
from transforms.operations import OPERATIONS

GROUP = """\
name: g
record_identifier: customer_id
spine: customers
inputs:
  - source: bnpl_plans
    columns: {size: "financed_amount * 2"}
    aggregates:
      - {name: plan_count, op: count, windows: [7d], by: {provider: [atome, Grab Pay, other]}}
      - {name: amount_sum, op: sum, of: size, where: "decision = 'approved'", windows: [30d], lag: [0, 30]}
    states:
      - {name: active_count, op: count, from: created_at, until: settled_at}
derived:
  - {name: share, expr: "ratio(plan_count_{w}, active_count)", windows: [7d]}
"""


def test_columns_are_named_typed_and_described():
    told = {column.name: (column.type, column.nullable, column.decimal_digits) for column in group(GROUP).columns}
    assert told == {
        "plan_count_7d": ("integer", False, 18),
        "plan_count_provider_atome_7d": ("integer", False, 18),
        "plan_count_provider_grab_pay_7d": ("integer", False, 18),
        "plan_count_provider_other_7d": ("integer", False, 18),
        "amount_sum_30d": ("money", False, 28),
        "amount_sum_30d_lag30d": ("money", False, 28),
        "active_count": ("integer", False, 18),
        "share_7d": ("number", True, 28),
    }
    words = {column.name: column.words for column in group(GROUP).columns}
    assert words["amount_sum_30d_lag30d"] == (
        "sum of size of bnpl_plans where decision = 'approved' in the 30 local days to the cut-off, 30 days earlier"
    )
    assert words["active_count"] == "number of bnpl_plans, holding at the cut-off (from created_at until settled_at)"


def test_groups_of_one_entity_share_what_is_prepared():
    other = GROUP.replace("name: g", "name: h").replace("plan_count", "plans").replace("lag: [0, 30]", "lag: [0]")
    together = compiled(GROUP, other)
    assert sorted(stream.source for stream in together.streams.values()) == ["bnpl_plans", "customers"]
    assert together.groups["g"].streams == together.groups["h"].streams


def test_the_spine_and_an_input_of_the_same_source_share_what_is_prepared():
    made = compiled(with_feature("{name: f, op: count}", source="customers"))
    assert [stream.source for stream in made.streams.values()] == ["customers"]


def test_what_depends_on_a_mutable_timestamp_lives_on_a_clock_of_its_own():
    plans = next(stream for stream in compiled(GROUP).streams.values() if stream.source == "bnpl_plans")
    assert sorted((clock.masks, clock.until is not None) for clock in plans.clocks) == [
        ((), False),
        (("decided_at",), False),
        (("settled_at",), True),
    ]


@pytest.mark.parametrize(
    ("written", "instead", "same"),
    [
        ("spine: customers", "spine: customers\ndescription: other words", True),
        ("decision = 'approved'", "(decision  =  'approved')", True),
        ("op: count, windows: [7d]", "windows: [7d], op: count", True),
        ("decision = 'approved'", "decision = 'declined'", False),
        ("windows: [30d]", "windows: [31d]", False),
        ("until: settled_at", "until: cancelled_at", False),
        ("ratio(plan_count_{w}, active_count)", "ratio(active_count, plan_count_{w})", False),
        ("spine: customers", "spine: accounts", False),
    ],
)
def test_a_version_is_the_hash_of_the_meaning(written, instead, same):
    assert written in GROUP
    assert (group(GROUP).version == group(GROUP.replace(written, instead)).version) is same


def test_how_an_engine_is_asked_is_no_part_of_the_meaning(monkeypatch):
    plain = group(GROUP)
    monkeypatch.setattr(numbers, "_may_overflow", lambda args: True)
    guarded = group(GROUP)
    assert guarded.derived[0].sql.duckdb != plain.derived[0].sql.duckdb
    assert guarded.version == plain.version


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("op: sum", "op: summ", f"g.yaml:9: no operation named 'summ' (did you mean 'sum'?); known: {', '.join(sorted(OPERATIONS))}"),
        ("of: size, ", "", "g.yaml:9: operation 'sum' needs `of`: the value that it takes"),
        ("of: size", "of: provider", "g.yaml:9: 'provider' is string; operation 'sum' takes integer, money, number"),
        ("until: settled_at", "until: provider", "g.yaml:11: 'provider' is string; it must be a timestamp or a date"),
        ("by: {provider:", "by: {providr:", "g.yaml:8: no column named 'providr' (did you mean 'provider'?); columns: plan_id, customer_id,"
         " provider, merchant_category, financed_amount, created_at, recorded_at, decided_at, decision, settled_at, cancelled_at, refunded_at,"
         " refunded_amount, _event_time, _known_time, size"),
        ("name: active_count", "name: is_deleted", "g.yaml:11: 'is_deleted' is reserved by the Feature Store; reserved:"
         " api_invocation_time, day, hour, is_deleted, month, temp_event_time_col, write_time, year"),
        ("name: amount_sum", f"name: {'a' * 61}", f"g.yaml:9: '{'a' * 61}_30d' has 65 characters; SageMaker allows 64"),
        ("name: active_count", "name: plan_count_7d", "g.yaml:11: column 'plan_count_7d' is there already; choose another name"),
        ("name: active_count", "name: Plan_Count_7d", "g.yaml:11: column 'Plan_Count_7d' is 'plan_count_7d' but for upper and lower case,"
         " which SQL engines don't tell apart; choose another name"),
        ("name: active_count", "name: event_time", "g.yaml:11: column 'event_time' is there already; choose another name"),
        ("{size:", "{provider:", "g.yaml:6: 'provider' is a column of 'bnpl_plans' already; choose another name"),
        ("- source: bnpl_plans", "- source: statements", "g.yaml:5: 'statements' has no column 'customer_id' to give the customer_id; name"
         " one (entity: <column>) or a join (entity: {customer_id: via <source>}); columns: account_id, period, statement_at,"
         " recorded_at, balance, credit_limit, minimum_due, due_date, full_due, _event_time, _known_time, size"),
        ("- source: bnpl_plans", "- source: bnpl_plans\n    entity: {customer_id: via statements}", "g.yaml:6: 'statements' has no"
         " column 'customer_id'; columns: account_id, period, statement_at, recorded_at, balance, credit_limit, minimum_due, due_date, full_due"),
    ],
)  # fmt: skip
def test_a_wrong_definition(written, instead, message):
    assert written in GROUP
    assert problem(GROUP.replace(written, instead)) == message


@pytest.mark.parametrize(
    ("written", "instead", "line", "names"),
    [
        ("of: size", "of: financed_amont", 9, "'financed_amount'"),
        ("decision = 'approved'", "decison = 'approved'", 9, "'decision'"),
        ("ratio(plan_count_{w}", "ratio(plan_cont_{w}", 13, "'plan_count_7d'"),
        ("ratio(plan_count_{w}", "ration(plan_count_{w}", 13, "'ratio'"),
        ("financed_amount * 2", "financed_amount *", 6, "'*'"),
    ],
)
def test_a_wrong_expression_names_its_line_and_the_nearest_name(written, instead, line, names):
    told = problem(GROUP.replace(written, instead))
    assert told.startswith(f"g.yaml:{line}: ")
    assert names in told


WEIGHING = ", ".join(sorted(name for name, operation in OPERATIONS.items() if operation.weighs))
AGGREGATE_KEYS = [field.alias or name for name, field in Aggregate.model_fields.items()]
COLUMNS = (
    "plan_id, customer_id, provider, merchant_category, financed_amount, created_at, recorded_at, decided_at, decision, settled_at,"
    " cancelled_at, refunded_at, refunded_amount, _event_time, _known_time"
)


@pytest.mark.parametrize(
    ("feature", "message"),
    [
        ("{name: f, op: last_n, of: provider, with: {m: 3}}",
         "g.yaml:9: operation 'last_n' has no parameter 'm'; known: n"),
        ("{name: f, op: last_n, of: provider}", "g.yaml:9: operation 'last_n' needs the parameter 'n': how many values"),
        ("{name: f, op: sum, of: financed_amount, with: {n: 3}}",
         "g.yaml:9: operation 'sum' has no parameter 'n'; it takes none"),
        ("{name: f, op: share, of: provider, weight: decision}", "g.yaml:9: 'decision' is string; a weight is a number or money"),
        ("{name: f, op: share, of: provider, weight: financed_amont}",
         f"g.yaml:9: no column named 'financed_amont' (did you mean 'financed_amount'?); columns: {COLUMNS}"),
        ("{name: f, op: count, weight: financed_amount}",
         f"g.yaml:9: operation 'count' takes no weight; those that do: {WEIGHING}"),
        ("{name: f, op: sum, of: financed_amount, newest_per: plan}",
         f"g.yaml:9: no column named 'plan' (did you mean 'plan_id'?); columns: {COLUMNS}"),
        ("{name: f, op: sum, of: financed_amount, newest_per: created_at}",
         "g.yaml:9: 'created_at' is timestamp; `newest_per` takes text, whole numbers, money, dates or booleans"),
        ("{name: f, op: change_count, of: provider, newest_per: plan_id}",
         "g.yaml:9: operation 'change_count' looks at the fact before, which `newest_per` may leave out"),
        ("{name: f, op: count, by: {provider: maps}}",
         "g.yaml:9: `by` takes a list of values, such as [atome, grab, other], or `map`: one JSON column for all of them"),
        ("{name: f, op: count, by: {provider: [a, a]}}", "g.yaml:9: a value is written twice: a, a"),
        ("{name: f, op: count, by: {provider: map, decision: map}}", "g.yaml:9: `by` takes one column"),
        ("{name: f, op: count, by: {created_at: map}}",
         "g.yaml:9: 'created_at' is timestamp; `by` takes text, whole numbers, money, dates or booleans"),
        ("{name: f, op: count, ahead: true}", "g.yaml:9: `ahead` needs `windows`"),
        ("{name: f, op: count, ahead: true, windows: [6mo]}",
         "g.yaml:9: a window ahead of the cut-off is a number of days, such as '30d'"),
        ("{name: f, op: count, ahead: true, windows: [7d], lag: [3]}", "g.yaml:9: a window ahead of the cut-off has no `lag`"),
        ("{name: f, op: sum, of: coalesce(refunded_amount, 0)}",
         f"g.yaml:9: unknown key '0)'; known: {', '.join(AGGREGATE_KEYS)}; an expression with a comma is written in quotes"),
        ("{name: f, op: all}", "g.yaml:9: operation 'all' needs `of` or `where`: the condition that it judges"),
        ("{name: f, op: any, of: provider}", "g.yaml:9: 'provider' is string; operation 'any' takes boolean"),
    ],
)  # fmt: skip
def test_what_a_feature_can_not_say(feature, message):
    assert problem(with_feature(feature)) == message


def test_each_key_that_operations_take_has_a_value_of_its_own():
    """`newest_per`, `weight` and the key of a map are read beside the value, and null where it is: they make no facts."""
    made = compiled(
        with_feature("{name: f, op: top_k, of: provider, where: decision = 'approved', weight: financed_amount, newest_per: plan_id,"
                     " by: {merchant_category: map}, with: {n: '2'}, windows: [30d]}")
    )  # fmt: skip
    over_all, by_map = made.groups["g"].windows
    assert (over_all.column.name, by_map.column.name) == ("f_30d", "f_by_merchant_category_30d")
    assert (over_all.map_by, over_all.operation, by_map.operation) == (None, *[OPERATIONS["top_k"](n=2)] * 2)
    stream = made.streams[by_map.stream]
    clock, values = next((clock, values) for clock, values in stream.clocks.items() if clock.name == by_map.clock)
    told = {value.name: value for value in values}
    assert clock.masks == ("decided_at",)
    assert told[by_map.value].ordered  # which of two facts of one moment is the newest matters
    value = 'case when (=("decision":string,text:\'approved\')) then "provider":string end'
    assert str(told[by_map.value].sql) == value
    weight, newest_per, key = (str(told[str(name)].sql) for name in (by_map.weight, by_map.newest_per, by_map.map_by))
    assert weight == f'case when {value} is not null then "financed_amount":money end'
    assert key == f'case when {value} is not null then "merchant_category":string end'
    weighed = 'case when "financed_amount":money is not null then "plan_id":string end'
    assert newest_per == f"case when {value} is not null then {weighed} end"


def test_the_newest_is_chosen_before_facts_are_told_apart():
    feature = "{name: f, op: count, where: decision = 'approved', newest_per: plan_id, by: {provider: [atome, other]}}"
    made = compiled(with_feature(feature))
    assert len({item.value for item in made.groups["g"].windows}) == 3
    assert len({item.newest_per for item in made.groups["g"].windows}) == 1


@pytest.mark.parametrize(
    ("feature", "type_", "null_when", "empty", "words"),
    [
        ("{name: f, op: count, by: {provider: map}, windows: [7d]}", "string", "", "{}",
         "number of bnpl_plans, for each provider in the 7 local days to the cut-off"),
        ("{name: f, op: mean, of: financed_amount, by: {provider: map}}", "string", "", "{}",
         "mean of financed_amount of bnpl_plans, for each provider"),
        ("{name: f, op: last_n, of: provider, with: {n: 3}, by: {provider: [atome]}}", "string", "", "[]",
         "last 3 provider of bnpl_plans, provider atome"),
    ],
)  # fmt: skip
def test_what_a_map_or_a_list_says(feature, type_, null_when, empty, words):
    found = group(with_feature(feature)).columns[-1]
    assert (found.type, found.null_when, of_nothing(found.name, with_feature(feature)), found.words) == (
        type_,
        null_when,
        empty,
        words,
    )


@pytest.mark.parametrize(
    ("feature", "null_when", "empty", "words"),
    [
        ("{name: f, op: count}", "", "0", "number of bnpl_plans"),
        ("{name: f, op: count, of: refunded_amount}", "", "0", "number of bnpl_plans with refunded_amount"),
        ("{name: f, op: any, where: decision = 'declined'}", "", "false", "whether any of bnpl_plans meets decision = 'declined'"),
        ("{name: f, op: recency, where: decision = 'declined'}", "there is no such fact", "",
         "local days since the last of bnpl_plans where decision = 'declined'"),
        ("{name: f, op: std, of: financed_amount, windows: [6mo]}", "there are fewer than two values", "",
         "sample standard deviation of financed_amount of bnpl_plans in the 6 full calendar months to the cut-off"),
        ("{name: f, op: mean, of: financed_amount, weight: refunded_amount, lag: [30], windows: [mtd]}",
         "there is no such fact or the weights add up to 0", "",
         "mean of financed_amount of bnpl_plans weighted by refunded_amount from the start of the local month to the cut-off, 30 days"
         " earlier"),
        ("{name: f, op: sum, of: financed_amount, newest_per: provider, at: decided_at, from: decided_at, until: settled_at}", "", "0",
         "sum of financed_amount of bnpl_plans, of the newest of each provider, counted at decided_at, holding at the cut-off (from"
         " decided_at until settled_at)"),
        ("{name: f, op: count, description: plans of BNPL, windows: [7d], ahead: true}", "", "0",
         "plans of BNPL in the 7 local days after the cut-off"),
    ],
)  # fmt: skip
def test_what_a_column_says_of_itself(feature, null_when, empty, words):
    (found,) = group(with_feature(feature)).columns
    assert (found.null_when, of_nothing(found.name, with_feature(feature)), found.words) == (null_when, empty, words)


def test_the_clocks_of_a_row_are_columns():
    (item,) = group(with_feature("{name: f, op: max, of: _known_time, where: _event_time < _known_time}")).windows
    assert (item.column.type, item.column.null_when) == ("timestamp", "there is no such fact")


@pytest.mark.parametrize(
    "said",
    [
        "with: {n: '3'}", "weight: refunded_amount", "newest_per: provider", "by: {provider: map}", "where: settled_at is null",
        "at: decided_at", "from: decided_at", "until: settled_at", "lag: [1]", "windows: [7d]", "ahead: true, windows: [7d]",
    ],
)  # fmt: skip
def test_each_key_changes_the_meaning(said):
    plain = "{name: f, op: top_k, of: provider, with: {n: '2'}}"
    other = plain.replace("with: {n: '2'}", said) if said.startswith("with") else plain.replace("}}", "}, " + said + "}")
    assert group(with_feature(other)).version != group(with_feature(plain)).version


def test_order_is_no_part_of_the_meaning():
    features = ["{name: a, op: count}", "{name: b, op: sum, of: financed_amount}"]
    derived = ["{name: c, expr: a + 1}", "{name: d, expr: c + 1}"]

    def version(one: list[str], other: list[str], inputs: int = 1) -> str:
        plans = f"  - source: bnpl_plans\n    aggregates: [{', '.join(one)}]\n"
        payments = "  - {source: payments, aggregates: [{name: e, op: count}]}\n"
        both = [plans, payments][::inputs]
        head = "name: g\nrecord_identifier: customer_id\nspine: customers\ninputs:\n"
        return group(f"{head}{''.join(both)}derived: [{', '.join(other)}]\n").version

    assert len({version(features, derived), version(features[::-1], derived[::-1]), version(features, derived, -1)}) == 1


@pytest.mark.parametrize("said", ["description: other words", "online: false", "scoring: forbidden", "# a comment"])
def test_what_is_said_about_a_column_is_no_part_of_its_meaning(said):
    plain = with_feature("{name: f, op: count}")
    other = plain + f"      {said}\n" if said.startswith("#") else with_feature("{name: f, op: count, " + said + "}")
    assert group(other).version == group(plain).version


def test_an_internal_column_is_no_part_of_the_meaning_until_something_is_made_from_it():
    def version(internal: str, derived: str = "") -> str:
        text = with_feature("{name: f, op: count}") + f"      - {{name: i, op: count, internal: true{internal}}}\n" + derived
        return group(text).version

    made = "derived: [{name: d, expr: i + 1}]\n"
    assert version("") == version(", windows: [7d]")
    assert version("", made) != version(", where: settled_at is null", made)
