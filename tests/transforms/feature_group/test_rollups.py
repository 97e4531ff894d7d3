"""Rollups compiled: what their columns are, what changes their meaning, and what wrong ones say."""

from __future__ import annotations

import pytest

from conf.catalogue import load_catalogue
from tests.transforms.feature_group.given import SHIPPED, ZONE, compiled, problem
from transforms.describe import features_of
from transforms.feature_group import compile_groups

GROUP = """\
name: g
record_identifier: portfolio_id
rollup:
  members:
    - group: h
      entity: "concat(lender, ':', product)"
      beside: {i: owner}
      columns: {owed: limit_sum, rate: share_of_limit, opened: "coalesce(opened_on, date '2020-01-01')", passes: "i.plans > 1", n: "coalesce(accounts, 0)"}
    - group: i
      entity: "cast(plans as string)"
      columns: {owed: cast(null as money), passes: plans > 2}
  columns:
    - {name: members, op: count}
    - {name: known, op: count, of: rate, where: passes}
    - {name: owed_sum, op: sum, of: owed, description: What is owed}
    - {name: owed_of_passing, op: sum, of: owed, where: passes}
    - {name: owed_mean, op: mean, of: owed}
    - {name: rate_mean, op: mean, of: rate, where: n > 0}
    - {name: opened_first, op: min, of: opened, online: false}
    - {name: owed_max, op: max, of: owed}
    - {name: pass_share, op: share, of: passes, scoring: forbidden}
    - {name: rich_share, op: share, of: owed > 5, where: passes is not null}
"""
ACCOUNTS = """\
name: h
record_identifier: account_id
spine: accounts
inputs:
  - source: accounts
    aggregates:
      - {name: lender, op: last, of: lender}
      - {name: product, op: last, of: product_type}
      - {name: owner, op: last, of: customer_id}
      - {name: limit_sum, op: sum, of: credit_limit}
      - {name: opened_on, op: last, of: local_date(opened_at)}
      - {name: accounts, op: count}
      - {name: hidden, op: count, internal: true}
derived:
  - {name: share_of_limit, expr: "ratio(limit_sum, 100)"}
"""
PLANS = """\
name: i
record_identifier: customer_id
spine: customers
inputs:
  - source: bnpl_plans
    aggregates:
      - {name: plans, op: count}
      - {name: accounts, op: count, where: "decision = 'approved'"}
"""


def test_a_rollup_says_what_it_reads_and_gives():
    made = compiled(GROUP, ACCOUNTS, PLANS)
    found = made.rollups["g"]
    assert (found.entity, found.groups, made.sources_of(found)) == ("portfolio_id", ("h", "i"), ())
    assert found.read() == {
        "h": ("account_id", "accounts", "lender", "limit_sum", "opened_on", "owner", "product", "share_of_limit"),
        "i": ("customer_id", "plans"),
    }
    assert [(c.name, c.type, c.null_when) for c in found.columns] == [
        ("members", "integer", ""),
        ("known", "integer", ""),
        ("owed_sum", "money", "owed is null of all of them"),
        ("owed_of_passing", "money", "owed is null of all of them"),
        ("owed_mean", "money", "owed is null of all of them"),
        ("rate_mean", "number", "rate is null of all of them or no member meets n > 0"),
        ("opened_first", "date", "opened is null of all of them"),
        ("owed_max", "money", "owed is null of all of them"),
        ("pass_share", "number", ""),
        ("rich_share", "number", "no member meets passes is not null"),
    ]
    assert [c.decimal_digits for c in found.columns if c.type == "money"] == [28, 28, 18, 28]
    words = {c.name: c.words for c in found.columns}
    assert words["owed_sum"] == "What is owed: sum(owed) of members"
    assert words["rich_share"] == "rich share: share(owed > 5, where passes is not null) of members"
    assert [c.name for c in found.columns if not c.online] == ["opened_first"]


def test_each_column_is_made_from_the_sources_of_what_it_names():
    features = {f.name: f for f in features_of(SHIPPED, compile_groups(load_catalogue(), ZONE), ["portfolio_regulatory"])}
    assert features["portfolio_count"].inputs == ("accounts", "bnpl_plans")
    assert set(features["portfolio_affordability_fail_share"].inputs) == {"accounts", "customers", "instalments", "bnpl_plans"}
    assert {feature.window for feature in features.values()} == {None}


@pytest.mark.parametrize(
    ("written", "instead", "same"),
    [
        ("description: What is owed", "description: Other words", True),
        ("name: members", "name: renamed", False),  # another group, of the same columns but one
        ("op: mean, of: rate", "op: max, of: rate", False),
        ("plans > 2", "plans > 3", False),
        ("entity: \"concat(lender, ':', product)\"", "entity: lender", False),
        ("beside: {i: owner}", "beside: {i: lender}", False),
    ],
)
def test_the_version_is_what_is_read_and_made(written, instead, same):
    assert written in GROUP
    changed = compiled(GROUP.replace(written, instead), ACCOUNTS, PLANS).rollups["g"].version
    assert (changed == compiled(GROUP, ACCOUNTS, PLANS).rollups["g"].version) is same


@pytest.mark.parametrize(
    ("written", "instead", "changed"),
    [
        ("of: credit_limit", "of: credit_limit * 2",
         {"known", "owed_sum", "owed_of_passing", "owed_mean", "rate_mean", "owed_max", "rich_share"}),
        ("op: last, of: customer_id", "op: first, of: customer_id",
         {"known", "owed_of_passing", "pass_share", "rich_share"}),
        ("of: local_date(opened_at)", "of: 'add_days(local_date(opened_at), 1)'", {"opened_first"}),
        ("{name: hidden, op: count, internal: true}", "{name: hidden, op: sum, of: credit_limit, internal: true}", set()),
    ],
)  # fmt: skip
def test_a_column_means_something_else_when_what_it_names_of_the_members_does(written, instead, changed):
    """A member's row is found by its lender and product, and beside it lies a row for its owner."""
    from transforms.feature_group.meaning import column_versions

    assert written in ACCOUNTS
    one, other = compiled(GROUP, ACCOUNTS, PLANS), compiled(GROUP, ACCOUNTS.replace(written, instead), PLANS)
    was, now = (column_versions(made, made.rollups["g"]) for made in (one, other))
    assert {name for name in was if was[name] != now[name]} == changed


OWED = "columns: {owed: cast(null as money), passes: plans > 2}"


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("owed: limit_sum", "owed: limit_sun", "g.yaml:8: no column named 'limit_sun' (did you mean 'limit_sum'?); columns: account_id, has_history, lender, product, owner, limit_sum, opened_on,"
            " accounts, share_of_limit, customer_id, i.has_history, plans, i.accounts"),
        ("owed: limit_sum", "owed: hidden", "g.yaml:8: 'hidden' is internal to h, so that no snapshot holds it"),
        ("entity: \"concat(lender, ':', product)\"", "entity: share_of_limit",
         "g.yaml:6: 'share_of_limit' is number; an entity is text, a whole number or a date"),
        ("beside: {i: owner}", "beside: {i: limit_sum}", "g.yaml:7: 'limit_sum' is money; a record identifier is text, a whole number or a date"),
        ("beside: {i: owner}", "beside: {h: owner}", "g.yaml:7: 'h' is the group of the members themselves"),
        ("owed: cast(null as money)", "owed: plans", "g.yaml:11: 'owed' is money of 'h' and integer of 'i': cast one of them"),
        ("owed: cast(null as money)", "a-b: plans", "g.yaml:11: 'a-b' can't be named in an expression: letters, digits and '_', a letter first"),
        ("op: sum, of: owed, desc", "op: sum, of: passes, desc", "g.yaml:15: 'passes' is boolean; `sum` takes integer, money, number"),
        ("of: owed > 5", "of: owed", "g.yaml:22: 'owed' is money; `share` takes a condition"),
        ("of: owed > 5", "of: owe > 5", "g.yaml:22: no column named 'owe' (did you mean 'owed'?); columns: owed, rate, opened, passes, n"),
        ("where: n > 0", "where: n", "g.yaml:18: 'n' is integer, a condition must be boolean"),
        ("name: known", "name: members", "g.yaml:14: column 'members' is there already; choose another name"),
        ("name: known", "name: portfolio_id", "g.yaml:14: column 'portfolio_id' is there already; choose another name"),
        ("name: known", f"name: {'k' * 65}", f"g.yaml:14: '{'k' * 65}' has 65 characters; SageMaker allows 64"),
        ("name: known", "name: is_deleted", "g.yaml:14: 'is_deleted' is reserved by the Feature Store; reserved: "),
        ("op: sum, of: owed, desc", "op: sum, desc", "g.yaml:15: 'owed_sum': `sum` needs `of`: the value"),
        ("op: share, of: passes", "op: share", "g.yaml:21: 'pass_share': `share` needs `of`: a condition"),
        ("op: count}", "op: last}", "g.yaml:13: 'last' is not one of 'count', 'sum', 'mean', 'min', 'max' or 'share'"),
        ("record_identifier: portfolio_id", "record_identifier: portfolio_id\nspine: accounts",
         "g.yaml:1: `rollup` takes the place of `spine`, `inputs`, `derived` and `blank_unless`"),
        ("record_identifier: portfolio_id", "record_identifier: portfolio_id\nfunction: a:b\nreads: {sources: [accounts]}\ncolumns: {c: money}",
         "g.yaml:1: a group is made by a `rollup` or by a `function`, not by both"),
        ("entity: \"cast(plans", "entty: \"cast(plans", "g.yaml:9: 'entity' is missing\ng.yaml:10: unknown key 'entty' (did you mean 'entity'?); known: group, entity, beside, columns"),
    ],
)  # fmt: skip
def test_a_wrong_rollup(written, instead, message):
    assert written in GROUP
    assert problem(GROUP.replace(written, instead), ACCOUNTS, PLANS).startswith(message)


def test_a_name_that_two_groups_beside_have_is_ambiguous():
    """`accounts` is a column of h and of i; of a member of h its own, of one beside which both lie neither."""
    text = GROUP.replace("    - group: i\n", "    - group: g2\n").replace(
        'entity: "cast(plans as string)"', "entity: word\n      beside: {h: word, i: word}"
    )
    other = "name: g2\nrecord_identifier: word\nspine: accounts\ninputs:\n  - {source: accounts, entity: {word: lender}}\n"
    text = text.replace(OWED, "columns: {n: accounts}")
    assert (
        problem_of(text, ACCOUNTS, PLANS, other)
        == "g.yaml:12: 'accounts' is a column of several groups; write h.accounts or i.accounts"
    )


def problem_of(*texts: str) -> str:
    """As `problem`, of any number of groups."""
    from conf.catalogue import Catalogue
    from conf.errors import DefinitionError
    from conf.specs import FeatureGroup
    from conf.yaml_file import load_model, parse_yaml

    files = {text.split()[1]: parse_yaml(text, f"{text.split()[1]}.yaml") for text in texts}
    groups = {name: load_model(FeatureGroup, file) for name, file in files.items()}
    places = {f"FeatureGroup:{name}": file for name, file in files.items()}
    try:
        compile_groups(Catalogue(SHIPPED.sources, groups, places), ZONE)
    except DefinitionError as found:
        return str(found)
    return ""


def rollup(name: str, of: str) -> str:
    return f"name: {name}\nrecord_identifier: {name}_id\nrollup:\n  members: [{{group: {of}, entity: {of}_id}}]\n  columns: [{{name: n, op: count}}]\n"


def test_rollups_of_rollups_and_none_of_itself():
    accounts = ACCOUNTS.replace("name: h", "name: account")
    assert problem_of(rollup("b", "a"), rollup("a", "account"), accounts) == ""
    assert problem_of(rollup("a", "a")) == "a.yaml:4: 'a' is made of its own rows: a <- a"
    assert problem_of(rollup("a", "b"), rollup("b", "c"), rollup("c", "a"), accounts).splitlines() == [
        "a.yaml:4: 'a' is made of its own rows: a <- b <- c <- a",
        "b.yaml:4: 'b' is made of its own rows: b <- c <- a <- b",
        "c.yaml:4: 'c' is made of its own rows: c <- a <- b <- c",
    ]


def test_a_group_of_which_there_is_none_is_told_with_its_line(tmp_path):
    from conf.errors import DefinitionError
    from tests.jobs.test_features import folder

    conf = folder(tmp_path, rollup("a", "b").replace("entity: b_id", "entity: b_id, beside: {c: b_id}"))
    with pytest.raises(DefinitionError) as failure:
        load_catalogue(conf)
    assert "no feature group named 'b'" in str(failure.value)


def test_what_a_rollup_makes_is_no_column_for_derived_ones():
    derived = "name: j\nrecord_identifier: portfolio_id\nspine: accounts\ninputs: [{source: accounts, entity: {portfolio_id: lender}}]\nderived:\n  - {name: d, expr: owed_sum}\n"
    assert problem_of(derived, GROUP, ACCOUNTS, PLANS) == (
        "j.yaml:6: 'owed_sum' is a column of g, which is made of other groups' snapshots, after them; name what it is made of instead"
    )
