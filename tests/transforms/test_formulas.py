"""The formula of each column, and the page that has them all."""

from __future__ import annotations

from conf.catalogue import Catalogue, load_catalogue
from conf.specs import FeatureGroup
from conf.yaml_file import load_model, parse_yaml
from transforms.catalogue_page import page
from transforms.describe import features_of
from transforms.feature_group import compile_groups
from transforms.formulas import formulas, joins

GROUP = """\
name: g
description: One | two.
owner: risk
record_identifier: customer_id
spine: customers
blank_unless: agreed
inputs:
  - source: consents
    states: [{name: agreed, op: any, where: "purpose = 'bureau'", from: given_at, until: withdrawn_at}]
  - source: bnpl_plans
    columns: {big: financed_amount > 100}
    aggregates:
      - {name: n, op: count, windows: [7d], by: {provider: [atome, other]}, lag: [0, 30]}
      - {name: late, op: sum, of: financed_amount, where: "big or decision = 'declined'", at: decided_at, windows: [mtd], by: {provider: [atome]}}
      - {name: share, op: share, of: merchant_category, weight: financed_amount, windows: [90d]}
      - {name: middle, op: percentile, of: financed_amount, with: {q: 50}, newest_per: provider}
      - {name: per, op: count, by: {provider: map}, internal: true}
    daily:
      - {name: most, value: count(), where: big, until: settled_at, op: max, windows: [30d]}
      - {name: ends, value: sum(financed_amount), op: count, every: month_end, within: 1mo, days_where: value > 0, windows: [6mo]}
  - source: instalments
    parent: {source: bnpl_plans, columns: {made_at: created_at, provider: provider}}
    settled_by: {source: payments, on: {instalment_id: instalment_id}, amount: amount, where: "outcome = 'succeeded'", due: due_amount}
    aggregates: [{name: due, op: sum, of: due_amount - paid_amount, at: due_date, ahead: true, windows: [30d], scoring: forbidden, online: false}]
  - source: statements
    entity: {customer_id: via accounts}
    aggregates: [{name: balance, op: last, of: balance}]
derived:
  - {name: ratio, expr: "ratio(n_{w}, balance)", windows: [7d]}
  - {name: kind, segment: [{name: many, when: n_7d > 3}, {name: few}]}
  - {name: kind_is, one_hot: kind, values: [many, other]}
"""


def compiled():
    shipped = load_catalogue()
    group = load_model(FeatureGroup, parse_yaml(GROUP, "g.yaml"))
    catalogue = Catalogue(shipped.sources, {"g": group})
    return catalogue, compile_groups(catalogue, "Asia/Kuala_Lumpur")


def test_every_form():
    catalogue, found = compiled()
    assert formulas(catalogue.group("g"), found.groups["g"]) == {
        "agreed": "any() of consents where purpose = 'bureau' from given_at until withdrawn_at",
        "n_7d": "count() of bnpl_plans in 7d",
        "n_7d_lag30d": "count() of bnpl_plans in 7d ending 30d before",
        "n_provider_atome_7d": "count() of bnpl_plans where provider = 'atome' in 7d",
        "n_provider_atome_7d_lag30d": "count() of bnpl_plans where provider = 'atome' in 7d ending 30d before",
        "n_provider_other_7d": "count() of bnpl_plans where provider is none of atome in 7d",
        "n_provider_other_7d_lag30d": "count() of bnpl_plans where provider is none of atome in 7d ending 30d before",
        "late_mtd": "sum(financed_amount) of bnpl_plans where big or decision = 'declined' at decided_at in mtd",
        "late_provider_atome_mtd": "sum(financed_amount) of bnpl_plans where (big or decision = 'declined') and provider = 'atome'"
        " at decided_at in mtd",
        "share_90d": "share(merchant_category, weight financed_amount) of bnpl_plans in 90d",
        "middle": "percentile(financed_amount, q = 50) of bnpl_plans only the newest of each provider",
        "per": "count() of bnpl_plans",
        "per_by_provider": "count() of bnpl_plans for each provider",
        "most_30d": "max(count() of bnpl_plans at each day) where big until settled_at in 30d",
        "ends_6mo": "count(sum(financed_amount) of bnpl_plans at each month end (what began in its 1mo), only where value > 0) in 6mo",
        "due_30d": "sum(due_amount - paid_amount) of instalments at due_date in the next 30d",
        "balance": "last(balance) of statements",
        "ratio_7d": "ratio(n_7d, balance)",
        "kind": "many where n_7d > 3, few otherwise",
        "kind_is_many": "1 where kind is many, else 0",
        "kind_is_other": "1 where kind is none of many, else 0",
    }  # fmt: skip


def test_joins():
    catalogue, _ = compiled()
    assert [how for item in catalogue.group("g").inputs for how in joins(item)] == [
        "`made_at` (created_at), `provider` of the row of `bnpl_plans`",
        "`paid_amount`, `paid_at`, `last_paid_at`: `amount` of `payments` where `outcome = 'succeeded'`, settling `due_amount`,"
        " by `instalment_id`",
        "`customer_id` via accounts",
    ]


def test_the_page():
    """Its parts once, a row each; what the group says of all columns isn't said again."""
    catalogue, found = compiled()
    text = page(catalogue, found, features_of(catalogue, found, ["g"]))
    for line in (
        "| [g](#g) | `customer_id` | 19 | One \\| two. |",
        "One | two. One row a `customer_id` of `customers`, daily; owner risk. Where `agreed` isn't true, every column but that one is null.",
        "| `agreed` | boolean | whether any of consents meets purpose = 'bureau', holding at the cut-off (from given_at until withdrawn_at) |"
        " `any() of consents where purpose = 'bureau' from given_at until withdrawn_at` | never null; false of no facts |",
        "| `due_30d` | money | sum of due_amount - paid_amount of instalments, counted at due_date in the 30 local days after the cut-off"
        " (offline only, not for scoring) | `sum(due_amount - paid_amount) of instalments at due_date in the next 30d` | never null; 0 of no facts |",
        "| `ratio_7d` | number | ratio in the 7 local days to the cut-off | `ratio(n_7d, balance)` | balance is null or a denominator is 0 |",
        "| `per_by_provider` | `count() of bnpl_plans for each provider` |",
        "| `big` | `bnpl_plans` | `financed_amount > 100` |",
        "| `statements` | `customer_id` via accounts |",
    ):  # fmt: skip
        assert text.count(f"\n{line}\n") == 1, line


def test_consent_is_an_input_of_what_it_blanks():
    catalogue, found = compiled()
    told = {feature.name: (feature.inputs, feature.null_rule) for feature in features_of(catalogue, found, ["g"])}
    assert told["n_7d"] == (("bnpl_plans", "consents"), "null: agreed is not true; 0 of no facts")
    assert told["agreed"] == (("consents",), "never null; false of no facts")
    assert told["due_30d"] == (("instalments", "bnpl_plans", "payments", "consents"), "null: agreed is not true; 0 of no facts")
