"""Compiling feature groups: what columns come out, what is shared, what changes a version, and what wrong definitions say."""

from __future__ import annotations

from typing import Any

import pytest

from conf.catalogue import Catalogue, load_catalogue
from conf.errors import DefinitionError
from conf.specs import FeatureGroup
from conf.yaml_file import load_model, parse_yaml
from transforms.feature_group import Compiled, CompiledGroup, compile_groups
from transforms.operations import OPERATIONS

SOURCES = load_catalogue().sources
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


def compiled(*texts: str) -> Compiled:
    files = [parse_yaml(text, "g.yaml") for text in texts]
    groups = {group.name: group for group in (load_model(FeatureGroup, file) for file in files)}
    places = {f"FeatureGroup:{file.data['name']}": file for file in files}
    return compile_groups(Catalogue(SOURCES, groups, places), "Asia/Kuala_Lumpur")


def only(text: str) -> CompiledGroup:
    return compiled(text).groups["g"]


def test_columns_are_named_typed_and_described():
    told = {column.name: (column.type, column.nullable, column.decimal_digits) for column in only(GROUP).columns}
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
    words = {column.name: column.words for column in only(GROUP).columns}
    assert words["amount_sum_30d_lag30d"] == (
        "sum of size of bnpl_plans where decision = 'approved' in the 30 local days to the cut-off, 30 days earlier"
    )
    assert words["active_count"] == "number of bnpl_plans, holding at the cut-off (from created_at until settled_at)"


def test_groups_of_one_entity_share_what_is_prepared():
    other = GROUP.replace("name: g", "name: h").replace("plan_count", "plans").replace("lag: [0, 30]", "lag: [0]")
    together = compiled(GROUP, other)
    assert sorted(stream.source for stream in together.streams.values()) == ["bnpl_plans", "customers"]
    assert together.groups["g"].streams == together.groups["h"].streams


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
    assert (only(GROUP).version == only(GROUP.replace(written, instead)).version) is same


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
    with pytest.raises(DefinitionError) as problem:
        compiled(GROUP.replace(written, instead))
    assert str(problem.value) == message


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
    with pytest.raises(DefinitionError) as problem:
        compiled(GROUP.replace(written, instead))
    assert str(problem.value).startswith(f"g.yaml:{line}: ")
    assert names in str(problem.value)


def test_every_shipped_and_example_definition_compiles():
    counts: dict[str, Any] = {}
    for folder in (None, "examples/uci_card", "examples/superlender"):
        counts |= {g.name: len(g.columns) for g in compile_groups(load_catalogue(folder), "UTC").groups.values()}
    assert sum(counts[name] for name in ("customer_credit", "account_conduct", "customer_bnpl", "customer_payment")) >= 80
