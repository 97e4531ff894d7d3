"""Whose the rows of an input are, what a parent brings, and unions: what is compiled, and what wrong ones say."""

from __future__ import annotations

import pytest

from tests.transforms.feature_group.given import compiled, group, problem, with_feature
from transforms.feature_group import Stream

PARENT = "parent: {source: accounts, columns: {account_closed_at: closed_at, product_type: product_type}}"
UNION = """\
name: account_snapshots
union_of:
  balances: {account_id: account_id, balance: balance}
  statements: {account_id: account_id, balance: balance, credit_limit: credit_limit}
"""
CHANGES = """\
name: changes
union_of:
  bnpl_plans: {customer_id: customer_id, settled: "settled_at is not null"}
  customers: {customer_id: customer_id, settled: "closed_at is not null"}
"""


def stream(text: str, source: str, union: str = "") -> Stream:
    return next(found for found in compiled(text, union=union).streams.values() if found.source == source)


def of_accounts(feature: str, more: str, source: str = "statements") -> str:
    """A group of accounts, whose record identifier the source has itself."""
    text = with_feature(feature, source=source, more=more)
    return text.replace("customer_id", "account_id").replace("spine: customers", "spine: accounts")


# ---- entities


def test_the_entity_is_a_column_an_expression_or_brought():
    feature = "{name: f, op: count}"
    own = stream(with_feature(feature, source="instalments"), "instalments")
    assert (own.entity_sql.spark, own.parent) == ("`customer_id`", None)
    assert stream(with_feature(feature, source="instalments", more="entity: customer_id"), "instalments") == own
    computed = stream(
        with_feature(feature, source="instalments", more='entity: {customer_id: "lower(customer_id)"}'), "instalments"
    )
    assert (computed.entity_sql.duckdb, computed.parent) == ('lower("customer_id")', None)
    via = stream(with_feature(feature, source="statements", more="entity: {customer_id: via accounts}"), "statements")
    assert via.parent is not None
    assert (str(via.entity_sql), via.parent.source, via.parent.entity) == ('"_entity"', "accounts", "customer_id")
    assert [(name, str(sql)) for name, sql in via.parent.on] == [("account_id", '"account_id":string')]
    assert via.sources == ("statements", "accounts")


def test_a_join_on_another_column_than_the_key():
    text = of_accounts("{name: f, op: count}", "entity: {account_id: via accounts on owner}", source="bnpl_plans")
    text = text.replace("owner", "customer_id")
    parent = stream(text, "bnpl_plans").parent
    assert parent is not None
    assert ([(name, str(sql)) for name, sql in parent.on], parent.entity) == (
        [("customer_id", '"customer_id":string')],
        "account_id",
    )


def test_a_spine_without_the_record_identifier_takes_it_as_the_groups_input_does():
    text = """\
name: g
record_identifier: portfolio_id
spine: accounts
inputs:
  - source: accounts
    entity: {portfolio_id: "concat(lender, '-', product_type)"}
    aggregates: [{name: f, op: count}]
"""
    made = compiled(text)
    (found,) = made.streams.values()
    assert found.entity_sql.duckdb == '("lender" || \'-\' || "product_type")'
    assert made.groups["g"].spine == made.groups["g"].presence[0]
    assert made.groups["g"].streams == (found.name,)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("entity: {customer: via accounts}", "write whose rows they are as {customer_id: …}: a column, an expression or via <source>"),
        ("entity: {customer_id: via acounts}", "no source named 'acounts' (did you mean 'accounts'?); known: SOURCES"),
        ("entity: {customer_id: via accounts by key}", "'via accounts by key' is not a join; write via <source>, or via <source> on <column>"),
        ("entity: {customer_id: via accounts on costumer_id}", "'accounts' has no column 'costumer_id' (did you mean 'customer_id'?); columns:"
         " account_id, version, customer_id, product_type, lender, credit_limit, opened_at, recorded_at, closed_at, restructured_at,"
         " legal_action_at, special_attention_at"),
        ("entity: {customer_id: via accounts on lender}", "'statements' has no column 'lender', by which 'accounts' is found; say which: parent:"
         " {source: accounts, on: {lender: <expression>}}; columns: COLUMNS"),
        ("entity: {customer_id: via fees}", "'statements' has no column 'fee_id', by which 'fees' is found; say which: parent: {source: fees, on:"
         " {fee_id: <expression>}}; columns: COLUMNS"),
        ("entity: {customer_id: balance}", "'balance' is money; an entity is text, a whole number or a date"),
        ("entity: {customer_id: \"concat(account, 'x')\"}", "no column named 'account' (did you mean 'account_id'?); columns: COLUMNS"),
        ("entity: account", "'statements' has no column 'account' to give the customer_id; name one (entity: <column>) or a join (entity:"
         " {customer_id: via <source>}); columns: COLUMNS"),
    ],
)  # fmt: skip
def test_a_wrong_entity(more, message):
    found = problem(with_feature("{name: f, op: count}", source="statements", more=more))
    columns = "account_id, period, statement_at, recorded_at, balance, credit_limit, minimum_due, due_date, full_due, _event_time, _known_time"
    assert found.replace(columns, "COLUMNS").replace(_known_sources(), "SOURCES") == f"g.yaml:6: {message}"


@pytest.mark.parametrize(
    ("more", "column"),
    [
        ('entity: {customer_id: "coalesce(decision, provider)"}', "decision"),
        (
            "parent: {source: accounts, on: {account_id: plan_id}, columns: {closed: closed_at}}\n"
            "    entity: {customer_id: cast(closed as string)}",
            "closed_at",
        ),
    ],
)
def test_an_entity_that_is_filled_in_later(more, column):
    told = problem(with_feature("{name: f, op: count}", more=more))
    assert told.partition(": ")[2] == f"'{column}' is filled in later, so it can't say whose a row is"


def test_what_only_the_entity_is_made_of_is_brought_too():
    more = 'parent: {source: accounts, columns: {kind: product_type}}\n    entity: {account_id: "concat(account_id, kind)"}'
    parent = stream(of_accounts("{name: f, op: count}", more), "statements").parent
    assert parent is not None
    assert parent.columns == (("_parent_product_type", "product_type"),)


def _known_sources() -> str:
    from tests.transforms.feature_group.given import SHIPPED

    return ", ".join(SHIPPED.sources)


# ---- parents


def test_a_parent_brings_columns_with_the_timestamps_that_settle_them():
    text = of_accounts("{name: f, op: count, where: account_closed_at is null, by: {product_type: map}}", PARENT)
    found = stream(text, "statements")
    assert found.parent is not None
    assert found.parent.entity is None
    assert found.parent.columns == (("_parent_closed_at", "closed_at"), ("_parent_product_type", "product_type"))
    masks = {(clock.masks, clock.parent_masks) for clock in found.clocks}
    assert masks == {((), ()), ((), ("closed_at",))}
    brought = with_feature(
        "{name: f, op: count, where: said = 'approved'}", source="instalments",
        more="parent: {source: bnpl_plans, columns: {said: decision}}",
    )  # fmt: skip
    plans = stream(brought, "instalments").parent
    assert plans is not None
    assert plans.columns == (("_parent_decided_at", "decided_at"), ("_parent_decision", "decision"))


def test_one_join_brings_both_entity_and_columns():
    both = "entity: {customer_id: via accounts}\n    " + PARENT
    found = stream(
        with_feature("{name: f, op: count, where: product_type = 'overdraft'}", source="statements", more=both), "statements"
    )
    assert found.parent is not None
    assert (found.parent.entity, found.parent.columns) == ("customer_id", (("_parent_product_type", "product_type"),))
    alone = with_feature("{name: g, op: count}", source="statements", more="entity: {customer_id: via accounts}")
    together = compiled(
        alone, with_feature("{name: f, op: count}", source="statements", more=both).replace("name: g\n", "name: h\n")
    )
    assert sorted(stream.source for stream in together.streams.values()) == ["customers", "statements"], "they share the stream"


def test_a_parent_is_found_by_an_expression_over_the_rows_columns():
    more = "parent: {source: instalments, columns: {due: due_date}, on: {instalment_id: concat(account_id, '-1')}}"
    parent = stream(
        of_accounts("{name: f, op: max, of: due}", more.replace("concat(account_id, '-1')", "\"concat(account_id, '-1')\"")),
        "statements",
    ).parent
    assert parent is not None
    assert [(name, str(sql)) for name, sql in parent.on] == [("instalment_id", "concat(\"account_id\":string,text:'-1')")]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("parent: {source: accounts, columns: {l: lendr}}", "'accounts' has no column 'lendr' (did you mean 'lender'?); columns: account_id,"
         " version, customer_id, product_type, lender, credit_limit, opened_at, recorded_at, closed_at, restructured_at, legal_action_at,"
         " special_attention_at, _event_time, _known_time"),
        ("parent: {source: accounts, columns: {balance: credit_limit}}", "'balance' is a column of 'statements' already; choose another name"),
        ("parent: {source: accounts}", "`parent` brings nothing: name `columns`, or bring the entity too (entity: {account_id: via accounts})"),
        ("parent: {source: accounts, columns: {l: lender}, on: {acount_id: account_id}}",
         "'accounts' is found by account_id, not by 'acount_id' (did you mean 'account_id'?)"),
        ("parent: {source: accounts, columns: {l: lender}, on: {account_id: balance}}",
         "'balance' is money, 'account_id' of 'accounts' is string"),
        ("parent: {source: fees, columns: {k: kind}}", "'statements' has no column 'fee_id', by which 'fees' is found; say which: parent:"
         " {source: fees, on: {fee_id: <expression>}}; columns: COLUMNS"),
        ("parent: {source: accounts, column: {l: lender}}", "unknown key 'column' (did you mean 'columns'?); known: source, columns, on"),
        ("parent: {source: accounts, columns: {l: lender}}\n    columns: {l: account_id}", "'l' is brought by `parent` already; choose another name"),
        ("entity: {account_id: via fees on account_id}\n    parent: {source: accounts, columns: {l: lender}}",
         "`entity` comes via 'fees' and `parent` is 'accounts': an input has one join; name one source in both"),
    ],
)  # fmt: skip
def test_a_wrong_parent(more, message):
    found = problem(of_accounts("{name: f, op: count}", more))
    columns = "account_id, period, statement_at, recorded_at, balance, credit_limit, minimum_due, due_date, full_due, _event_time, _known_time"
    line, _, told = found.partition(": ")
    assert line in ("g.yaml:6", "g.yaml:7")
    assert told.replace(columns, "COLUMNS") == message


@pytest.mark.parametrize(
    ("more", "instead", "same"),
    [
        (PARENT, PARENT + "  # a comment", True),
        (PARENT, PARENT.replace("account_closed_at: closed_at", "account_closed_at: opened_at"), False),
        (PARENT, PARENT.replace("product_type: product_type", "lender: lender"), True),  # not used
        (PARENT, PARENT[:-1] + ", on: {account_id: upper(account_id)}}", False),
        ("entity: {account_id: via accounts on account_id}\n    " + PARENT, PARENT, False),
    ],
)  # fmt: skip
def test_how_rows_are_joined_is_part_of_the_meaning(more, instead, same):
    feature = "{name: f, op: count, where: account_closed_at is null}"
    assert (group(of_accounts(feature, more)).version == group(of_accounts(feature, instead)).version) is same


# ---- payments

SETTLED = "settled_by: {source: payments, on: {instalment_id: instalment_id}, amount: amount, due: due_amount}"


def test_what_payments_add_lives_on_a_clock_of_its_own():
    text = with_feature("{name: f, op: sum, of: due_amount - paid_amount}", source="instalments", more=SETTLED)
    found = stream(text, "instalments")
    assert sorted(clock.settles for clock in found.clocks) == [False, True]
    assert found.sources == ("instalments", "payments")


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("{instalment_id: instalment_id}", "{instalment: instalment_id}",
         "'payments' has no column 'instalment' (did you mean 'instalment_id'?)"),
        ("{instalment_id: instalment_id}", "{instalment_id: instalment}", "no column named 'instalment' (did you mean 'instalment_id'?); columns: OWN"),
        ("amount: amount", "amount: outcome", "'outcome' is string; it must be money"),
        ("due: due_amount", "due: due_date", "'due_date' is date; it must be money"),
        ("due: due_amount", "due: due_amount, where: amount", "'amount' is money, a condition must be boolean"),
        ("due: due_amount", "due: due_amount, were: is_autopay", "unknown key 'were' (did you mean 'where'?); known: source, on, amount, due, where"),
        (", due: due_amount", "", "'due' is missing"),
    ],
)  # fmt: skip
def test_a_wrong_settlement(written, instead, message):
    assert written in SETTLED
    own = "instalment_id, plan_id, account_id, customer_id, number, agreed_at, recorded_at, due_date, due_amount, _event_time, _known_time"
    told = problem(with_feature("{name: f, op: count}", source="instalments", more=SETTLED.replace(written, instead)))
    assert told.replace(own, "OWN") == f"g.yaml:6: {message}"


# ---- names


def test_named_expressions_use_those_before_them_and_messages_say_their_names():
    more = "columns: {half: financed_amount / 2, quarter: half / 2}"
    (item,) = group(with_feature("{name: f, op: sum, of: quarter}", more=more)).windows
    assert item.column.type == "number"
    told = problem(with_feature("{name: f, op: sum, of: \"concat(quarter, 'x')\"}", more=more))
    assert told == "g.yaml:9: 'quarter' is number, concat() takes string"
    told = problem(with_feature("{name: f, op: count}", more="columns: {quarter: half / 2, half: financed_amount / 2}"))
    assert told.startswith("g.yaml:6: no column named 'half'; columns: plan_id,")


# ---- unions


def test_a_union_is_its_members_side_by_side():
    text = of_accounts("{name: f, op: last, of: credit_limit}", "", source="account_snapshots")
    found = stream(text, "account_snapshots", UNION)
    assert found.sources == ("balances", "statements")
    assert [(member.source, [name for name, _, _ in member.columns]) for member in found.members] == [
        ("balances", ["account_id", "balance"]),
        ("statements", ["account_id", "balance", "credit_limit"]),
    ]
    assert group(text, union=UNION).columns[0].type == "money"


def test_a_union_keeps_what_its_members_settle_later():
    found = stream(with_feature("{name: f, op: count, where: settled}", source="changes"), "changes", CHANGES)
    assert sorted(clock.masks for clock in found.clocks) == [(), ("bnpl_plans.settled_at", "customers.closed_at")]


def test_a_union_may_be_the_spine():
    text = with_feature("{name: f, op: count}").replace("spine: customers", "spine: changes")
    made = compiled(text, union=CHANGES)
    assert made.streams[made.groups["g"].spine[0]].source == "changes"


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("balance: balance}", "balance: balanc}", "u.yaml:3: no column named 'balanc' (did you mean 'balance'?); columns: account_id, day,"
         " recorded_at, balance, _event_time, _known_time"),
        ("balance: balance, credit", "balance: 1 > 2, credit", "u.yaml:4: 'balance' is money of 'balances' and boolean of 'statements': cast one of"
         " them"),
        ("balance: balance}", "_event_time: recorded_at}", "u.yaml:3: '_event_time' is each row's own already; choose another name"),
        ("  statements: {account_id: account_id, balance: balance, credit_limit: credit_limit}\n", "",
         "u.yaml:1: `union_of` takes two sources or more, each with its columns"),
        ("name: account_snapshots", "name: account_snapshots\nkey: [account_id]", "u.yaml:2: unknown key 'key'; known: name, description, owner,"
         " union_of"),
    ],
)  # fmt: skip
def test_a_wrong_union(written, instead, message):
    assert written in UNION
    text = of_accounts("{name: f, op: last, of: balance}", "", source="account_snapshots")
    assert problem(text, union=UNION.replace(written, instead, 1)) == message
