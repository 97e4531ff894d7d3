"""What a training set refuses, with file and line and the whole reason; and what it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.catalogue import load_catalogue
from conf.errors import DefinitionError
from conf.training_sets import TrainingSet
from conf.yaml_file import load_model, parse_yaml
from transforms.training_sets import compile_training_set

SOURCES = {
    "customers": """\
name: customers
format: csv
location: "customers/*.csv"
key: [customer_id]
event_time: joined_at
columns: {customer_id: string, joined_at: timestamp, birth_date: date}
""",
    "orders": """\
name: orders
format: csv
location: "orders/*.csv"
key: [order_id]
event_time: ordered_at
known_time: recorded_at
grace: 2h
columns:
  {order_id: string, customer_id: string, shop_id: string, ordered_at: timestamp, recorded_at: timestamp, due_date: date, amount: money}
""",
}
GROUPS = {
    "customer_orders": """\
name: customer_orders
record_identifier: customer_id
spine: customers
inputs:
  - source: orders
    aggregates:
      - {name: order_count, op: count, windows: [7d, 30d]}
      - {name: due_next, op: sum, of: amount, at: due_date, ahead: true, windows: [30d]}
      - {name: spent, op: sum, of: amount, internal: true}
derived:
  - {name: due_share, expr: "ratio(due_next_30d, spent)"}
  - {name: due_flag, expr: "due_share > 0.5"}
  - {name: spent_share, expr: "ratio(spent, order_count_30d)"}
""",
    "customer_profile": """\
name: customer_profile
record_identifier: customer_id
spine: customers
inputs:
  - source: customers
    aggregates:
      - {name: born, op: last, of: birth_date, scoring: forbidden}
      - {name: order_count, op: count, windows: [7d]}
derived:
  - {name: is_old, expr: "born < date '1960-01-01'"}
""",
    "shop_orders": """\
name: shop_orders
record_identifier: shop_id
spine: orders
inputs: [{source: orders, aggregates: [{name: sold, op: count}]}]
""",
    "customer_model": """\
name: customer_model
record_identifier: customer_id
function: "json:loads"
reads: {sources: [orders]}
columns: {made: number}
""",
    "customer_rollup": """\
name: customer_rollup
record_identifier: customer_id
rollup:
  members: [{group: customer_orders, entity: customer_id}]
  columns: [{name: rolled, op: count}]
""",
}
SET = """\
name: order_default
record_identifier: customer_id
features:
  customer_orders:
    - order_count
    - spent_share
target:
  horizon: 12mo
  inputs:
    - source: orders
      aggregates:
        - {name: bad, op: any, where: "amount < 0"}
"""


def compiled(folder: Path, text: str = SET):
    for kind, files in (("sources", SOURCES), ("feature_groups", GROUPS), ("training_sets", {"order_default": text})):
        for name, written in files.items():
            path = folder / kind / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(written)
    catalogue = load_catalogue(folder)
    return compile_training_set(catalogue.training_set("order_default"), catalogue, "Asia/Kuala_Lumpur")


def test_the_columns_of_a_training_set(tmp_path):
    """The label's key and what it saw, what is to be learned, and of each group its version, history and chosen features."""
    made = compiled(tmp_path)
    assert [f"{field.name} {field.type}{'' if field.nullable else ' not null'}" for field in made.rows.schema] == [
        "customer_id string not null",
        "label_time timestamp[us, tz=UTC] not null",
        "label_row int64",
        "as_of date32[day] not null",
        "cut_off timestamp[us, tz=UTC] not null",
        "has_history bool not null",
        "bad bool",
        "customer_orders__version string not null",
        "customer_orders__has_history bool not null",
        "customer_orders__age_days int64",
        "order_count_7d int64",
        "order_count_30d int64",
        "spent_share double",
    ]
    assert made.sources == ("customers", "orders")
    assert [len(made.rows.groups[0].windows), len(made.rows.groups[0].derived)] == [3, 1]  # with what they are made from, only


def test_by_event_there_is_no_grace(tmp_path):
    """The versions are those of the definitions; the facts others, since what becomes known within the grace doesn't count."""
    by_day = compiled(tmp_path)
    by_event = compiled(tmp_path, SET + "grain: event\n")
    assert by_event.rows.groups[0].version == by_day.rows.groups[0].version
    graces = [made.features.sources["orders"].grace.total_seconds() for made in (by_day, by_event)]
    assert graces == [7200, 0]
    assert by_event.version != by_day.version


AHEAD = "looks at the 30 local days after T, which lie in the target's period, from T to 12 months later; leave it out"
FORBIDDEN = "is marked `scoring: forbidden`: for reporting, not for models; leave it out"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    - order_count\n", "    - order_count\n    - due_next_30d\n", f"order_default.yaml:6: customer_orders.due_next_30d {AHEAD}"),
        ("    - order_count\n", "    - due_flag\n",
         f"order_default.yaml:5: customer_orders.due_flag is made from due_next_30d, which {AHEAD}"),
        ("customer_orders:\n    - order_count\n    - spent_share\n", "customer_orders: all\n",
         f"order_default.yaml:4: customer_orders.due_next_30d {AHEAD}\n"
         f"order_default.yaml:4: customer_orders.due_share is made from due_next_30d, which {AHEAD}\n"
         f"order_default.yaml:4: customer_orders.due_flag is made from due_next_30d, which {AHEAD}"),
        ("customer_orders:\n    - order_count\n    - spent_share\n", "customer_profile: [born, is_old]\n",
         f"order_default.yaml:4: customer_profile.born {FORBIDDEN}\n"
         f"order_default.yaml:4: customer_profile.is_old is made from born, which {FORBIDDEN}"),
        ("    - order_count\n", "    - ordr_count\n", "order_default.yaml:5: customer_orders has no feature 'ordr_count' (did you mean"
         " 'order_count'?); features: order_count, due_next, due_share, due_flag, spent_share"),
        ("    - order_count\n", "    - spent\n",
         "order_default.yaml:5: 'spent' is internal to customer_orders: for its derived columns only, not published"),
        ("customer_orders:\n    - order_count\n    - spent_share\n", "customer_orders: {all_but: [due_nxt]}\n",
         "order_default.yaml:4: customer_orders has no feature 'due_nxt' (did you mean 'due_next'?); features: order_count, due_next,"
         f" due_share, due_flag, spent_share\norder_default.yaml:4: customer_orders.due_next_30d {AHEAD}\n"
         f"order_default.yaml:4: customer_orders.due_share is made from due_next_30d, which {AHEAD}\n"
         f"order_default.yaml:4: customer_orders.due_flag is made from due_next_30d, which {AHEAD}"),
        ("  customer_orders:\n", "  customer_order: all\n  customer_orders:\n", "order_default.yaml:4: no feature group named"
         " 'customer_order' (did you mean 'customer_orders'?); known: customer_model, customer_orders, customer_profile, customer_rollup, shop_orders"),
        ("  customer_orders:\n", "  shop_orders: all\n  customer_orders:\n", "order_default.yaml:4: shop_orders is a group of shop_id, this"
         " training set one of customer_id; take groups of one record identifier"),
        ("  customer_orders:\n", "  customer_model: all\n  customer_orders:\n", "order_default.yaml:4: customer_model is made by a Python"
         " function, which gives whole days; a training set takes groups that are answered for any moment"),
        ("  customer_orders:\n", "  customer_rollup: all\n  customer_orders:\n", "order_default.yaml:4: customer_rollup is made of other"
         " groups' rows, which are of whole days; a training set takes groups that are answered for any moment"),
        ("  customer_orders:\n", "  customer_profile: [order_count]\n  customer_orders:\n", "order_default.yaml:5: 'order_count_7d' is a"
         " column of customer_orders, and a column of customer_profile too; leave it out of one"),
        ("name: bad,", "name: order_count_7d,", "order_default.yaml:4: 'order_count_7d' is a column of customer_orders, and a column of the"
         " target too; leave it out of one"),
        ("name: bad,", "name: has_history,", "order_default.yaml:12: column 'has_history' is there already; choose another name"),
        ("target:\n", "labels: {carry: {as_of: date}}\ntarget:\n", "order_default.yaml:7: 'as_of' is a column of the labels, and a column"
         " that every row has too; give one another name"),
        ("op: any,", "op: any, windows: [30d],", "order_default.yaml:12: the window of a target is its period, from T to 12mo later; leave"
         " `windows` out"),
        ("op: any,", "op: any, ahead: true,", "order_default.yaml:12: the window of a target is its period, from T to 12mo later; leave"
         " `ahead` out"),
        ("op: any,", "op: any, lag: [3],", "order_default.yaml:12: the window of a target is its period, from T to 12mo later; leave `lag`"
         " out"),
        ("op: any,", "op: anny,", "order_default.yaml:12: no operation named 'anny' (did you mean 'any'?); known: "),
        ("amount < 0", "amont < 0", "order_default.yaml:12: "),
        ("target:\n", "spine: {from: 2025-01-31, to: 2024-12-31}\ntarget:\n",
         "order_default.yaml:7: 2024-12-31 comes before the first day, 2025-01-31"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path, old, new, message):
    assert old in SET
    with pytest.raises(DefinitionError) as problem:
        compiled(tmp_path, SET.replace(old, new, 1))
    told = str(problem.value)
    assert told == message or (message.endswith(": ") and told.startswith(message))


def test_what_is_made_from_another_groups_column_is_refused_as_well(tmp_path, monkeypatch):
    more = "  - {name: is_young, expr: \"customer_profile.born > date '1990-01-01'\"}\n"
    monkeypatch.setitem(GROUPS, "customer_orders", GROUPS["customer_orders"] + more)
    with pytest.raises(DefinitionError) as problem:
        compiled(tmp_path, SET.replace("    - order_count\n", "    - is_young\n"))
    assert str(problem.value) == (
        f"order_default.yaml:5: customer_orders.is_young is made from customer_profile.born, which {FORBIDDEN}"
    )


def test_a_file_of_labels_has_a_period_too(tmp_path):
    """Which one it is only the labels know; a feature that looks ahead of T is refused all the same."""
    text = "name: order_default\nrecord_identifier: customer_id\nfeatures: {customer_orders: [due_next]}\n"
    with pytest.raises(DefinitionError) as problem:
        compiled(tmp_path, text)
    assert str(problem.value) == (
        "order_default.yaml:3: customer_orders.due_next_30d looks at the 30 local days after T, of which the labels tell; leave it out"
    )


def test_all_but_what_looks_ahead(tmp_path):
    choice = "customer_orders: {all_but: [due_next, due_share, due_flag]}\n"
    made = compiled(tmp_path, SET.replace("customer_orders:\n    - order_count\n    - spent_share\n", choice))
    assert [column.name for column in made.rows.groups[0].columns] == ["order_count_7d", "order_count_30d", "spent_share"]


def test_the_version_is_that_of_the_meaning(tmp_path):
    """Words, owners and the spine don't change it; columns, the horizon and what a group means do."""
    version = compiled(tmp_path).version
    assert compiled(tmp_path, SET + "owner: risk\ndescription: ours\nspine: {from: 2024-01-31}\n").version == version
    changes = [
        ("12mo", "6mo"),
        ("    - spent_share\n", ""),
        ("amount < 0", "amount < 1"),
        ("horizon: 12mo", "horizon: 12mo\n  settling: 1d"),
    ]
    versions = {compiled(tmp_path, SET.replace(old, new)).version for old, new in changes}
    assert len(versions | {version}) == 5


def test_the_definition_that_the_docs_show_compiles():
    page = (Path(__file__).parents[2] / "docs" / "training_sets.md").read_text()
    shown = page.split("```yaml\n")[1].split("```")[0]
    spec = load_model(TrainingSet, parse_yaml(shown, "docs/training_sets.md"))
    catalogue = load_catalogue()
    made = compile_training_set(spec, catalogue, "Asia/Kuala_Lumpur")
    assert [column.name for column in made.rows.outcome.group.columns] == ["default_90dpd_12mo"]
