"""A column's version is the hash of its own meaning; what a change of the definitions changes is told column by column."""

from __future__ import annotations

import re

import pytest

from conf.catalogue import Catalogue, load_catalogue
from conf.specs import FeatureGroup, Source
from conf.yaml_file import load_model, parse_yaml
from transforms.describe import Feature, difference, features_of
from transforms.feature_group import compile_groups

SOURCE = """\
name: orders
format: csv
location: "orders/*.csv"
key: [order_id]
version: recorded_at
event_time: ordered_at
known_time: recorded_at
mutable: {paid_at: [paid]}
columns:
  order_id: {type: string, required: true}
  customer_id: string
  ordered_at: timestamp
  recorded_at: timestamp
  paid_at: timestamp
  paid: money
  shop: string
  amount: money
"""
GROUP = """\
name: g
owner: risk
record_identifier: customer_id
spine: orders
inputs:
  - source: orders
    aggregates:
      - {name: order_count, op: count, windows: [7d, 30d], by: {shop: [a, other]}}
      - {name: paid_sum, op: sum, of: paid, windows: [7d], lag: [30]}
      - {name: age, op: age}
    states:
      - {name: open_count, op: count, from: ordered_at, until: paid_at, online: false, scoring: forbidden}
derived:
  - {name: open_share, expr: "ratio(open_count, order_count_30d)"}
"""


def features(group: str = GROUP, source: str = SOURCE, zone: str = "Asia/Kuala_Lumpur") -> list[Feature]:
    loaded = load_model(FeatureGroup, parse_yaml(group, "g.yaml"))
    catalogue = Catalogue({"orders": load_model(Source, parse_yaml(source, "orders.yaml"))}, {loaded.name: loaded})
    return features_of(catalogue, compile_groups(catalogue, zone), [loaded.name])


def changed(written: str, instead: str, *, of: str = "group") -> set[str]:
    """The columns whose version another text changes."""
    assert written in (GROUP if of == "group" else SOURCE)
    other = features(GROUP.replace(written, instead)) if of == "group" else features(source=SOURCE.replace(written, instead))
    now = {feature.name: feature.version for feature in other}
    return {feature.name for feature in features() if feature.name in now and now[feature.name] != feature.version}


def test_a_column_says_what_it_is():
    told = {
        f.name: (f.type, f.window, f.null_rule.partition(":")[0].partition(";")[0], f.inputs, f.online, f.scoring, f.owner)
        for f in features()
    }
    assert told == {
        "order_count_7d": ("integer", "7d", "never null", ("orders",), True, "allowed", "risk"),
        "order_count_shop_a_7d": ("integer", "7d", "never null", ("orders",), True, "allowed", "risk"),
        "order_count_shop_other_7d": ("integer", "7d", "never null", ("orders",), True, "allowed", "risk"),
        "order_count_30d": ("integer", "30d", "never null", ("orders",), True, "allowed", "risk"),
        "order_count_shop_a_30d": ("integer", "30d", "never null", ("orders",), True, "allowed", "risk"),
        "order_count_shop_other_30d": ("integer", "30d", "never null", ("orders",), True, "allowed", "risk"),
        "paid_sum_7d_lag30d": ("money", "7d lag 30d", "never null", ("orders",), True, "allowed", "risk"),
        "age": ("integer", "life", "null", ("orders",), True, "allowed", "risk"),
        "open_count": ("integer", None, "never null", ("orders",), False, "forbidden", "risk"),
        "open_share": ("number", None, "null", ("orders",), True, "allowed", "risk"),
    }


def test_every_column_means_something_else():
    versions = [feature.version for feature in features()]
    assert len(set(versions)) == len(versions)


EVERY = {feature.name for feature in features()}
OF_PAID_AT = {"paid_sum_7d_lag30d", "open_count", "open_share"}


@pytest.mark.parametrize(
    ("written", "instead", "expected"),
    [
        ("owner: risk", "owner: other\ndescription: Other words", set()),
        ("of: paid,", "of: (paid),", set()),
        ("windows: [7d, 30d], by", "windows: [30d, 7d, 90d], by", set()),  # more columns beside
        (
            "{name: age, op: age}",
            "{name: age, op: age}\n      - {name: shops, op: distinct_count, of: shop, windows: [7d]}",
            set(),
        ),
        ("online: false, scoring: forbidden", "online: true", set()),  # where it goes, not what it means
        ("of: paid,", "of: paid * 2,", {"paid_sum_7d_lag30d"}),
        ("of: paid, windows", "of: paid, where: paid > 0, windows", {"paid_sum_7d_lag30d"}),
        ("op: sum, of: paid", "op: max, of: paid", {"paid_sum_7d_lag30d"}),
        ("[a, other]", "[a, b, other]", {"order_count_shop_other_7d", "order_count_shop_other_30d"}),
        ("until: paid_at", "until: recorded_at", {"open_count", "open_share"}),  # and what is derived from it
        ("ratio(open_count, order_count_30d)", "ratio(open_count, order_count_7d)", {"open_share"}),
        ("source: orders\n", "source: orders\n    entity: shop\n", EVERY),
    ],
)
def test_a_change_of_a_group_changes_the_columns_that_mean_something_else(written, instead, expected):
    assert changed(written, instead) == expected


@pytest.mark.parametrize(
    ("written", "instead", "expected"),
    [
        ("location: \"orders/*.csv\"", "location: elsewhere.csv\ndescription: Words", set()),
        ("amount: money", "amount: number", set()),  # no column reads it
        ("amount: money", "amount: money\n  more: string", set()),
        ("paid: money", "paid: number", {"paid_sum_7d_lag30d"}),
        ("mutable: {paid_at: [paid]}", "mutable: {paid_at: []}", {"paid_sum_7d_lag30d"}),
        ("mutable: {paid_at: [paid]}\n", "", OF_PAID_AT),
        ("key: [order_id]", "key: [order_id]\ngrace: 2h", EVERY),
        ("known_time: recorded_at\n", "", EVERY),
        ("event_time: ordered_at", "event_time: recorded_at", EVERY),
    ],
)  # fmt: skip
def test_a_change_of_a_source_changes_the_columns_that_read_it_so(written, instead, expected):
    assert changed(written, instead, of="source") == expected


def test_days_are_those_of_the_zone():
    assert {f.version for f in features()}.isdisjoint(f.version for f in features(zone="UTC"))


def test_what_is_new_gone_renamed_and_changed():
    was, now = features(), features(
        GROUP.replace("paid_sum", "sum_of_paid").replace("  - {name: open_share", "  - {name: shop_share")
        .replace("order_count_30d)", "order_count_7d)").replace("op: age", "op: first, of: shop").replace("until: paid_at", "until: recorded_at"),
    )  # fmt: skip
    told = difference(was, now).as_json()
    versions = {feature.name: feature.version for feature in was}
    after = {feature.name: feature.version for feature in now}
    assert told == {
        "new": [{"group": "g", "name": "shop_share"}],
        "gone": [{"group": "g", "name": "open_share"}],
        "renamed": [{"group": "g", "name": "paid_sum_7d_lag30d", "was": "paid_sum_7d_lag30d", "is": "sum_of_paid_7d_lag30d"}],
        "changed_type": [{"group": "g", "name": "age", "was": "integer", "is": "string"}],
        "changed_meaning": [
            {"group": "g", "name": name, "was": versions[name], "is": after[name]} for name in ("age", "open_count")
        ],
    }
    assert not difference(was, features())


def test_a_feature_is_the_same_from_json():
    assert [Feature.from_json(feature.as_json()) for feature in features()] == features()
    with pytest.raises(ValueError, match=r"^a feature has the keys group, name, type, "):
        Feature.from_json({"name": "x"})


def test_what_is_made_of_has_history_is_made_of_every_input():
    with_flag = GROUP + "  - {name: is_known, expr: has_history}\n"
    [flag] = [feature for feature in features(with_flag) if feature.name == "is_known"]
    assert flag.inputs == ("orders",)
    [changed_flag] = [f for f in features(with_flag, SOURCE.replace("known_time: recorded_at\n", "")) if f.name == "is_known"]
    assert changed_flag.version != flag.version


def test_every_shipped_column_is_described():
    for folder in (None, "examples/uci_card", "examples/superlender"):
        catalogue = load_catalogue(folder)
        compiled = compile_groups(catalogue, "UTC")
        found = features_of(catalogue, compiled, catalogue.groups)
        assert [f for f in found if not (f.description and f.null_rule and f.owner and f.version and f.inputs)] == []


def test_what_a_null_means_names_only_what_is_published():
    compiled = compile_groups(load_catalogue(), "Asia/Kuala_Lumpur")
    for group in compiled.groups.values():
        inner = {item.column.name for item in (*group.windows, *group.dailies, *group.derived) if item.column.internal}
        hidden = {name for name in inner if "." not in name}
        for column in group.columns:
            assert not hidden & set(re.findall(r"[\w.]+", column.null_when)), (group.name, column.name, column.null_when)


def test_a_group_that_a_function_makes_is_described_too():
    """Its inputs are the sources that it reads, and those of the groups that it reads; its version changes with theirs."""
    text = "name: f\nrecord_identifier: customer_id\nfunction: json:loads\nreads: {groups: [g]}\ncolumns: {n: integer, m: {type: money, description: Much}}\n"
    function = load_model(FeatureGroup, parse_yaml(text, "f.yaml"))

    def told(group: str) -> list[Feature]:
        groups = {"g": load_model(FeatureGroup, parse_yaml(group, "g.yaml")), "f": function}
        catalogue = Catalogue({"orders": load_model(Source, parse_yaml(SOURCE, "orders.yaml"))}, groups)
        return features_of(catalogue, compile_groups(catalogue, "Asia/Kuala_Lumpur"), ["f"])

    found = told(GROUP)
    assert [(f.name, f.type, f.inputs, f.window, f.null_rule) for f in found] == [
        ("n", "integer", ("orders",), None, "null: the function gives none"),
        ("m", "money", ("orders",), None, "null: the function gives none"),
    ]
    assert found[1].description == "Much"
    assert {f.version for f in found}.isdisjoint(f.version for f in told(GROUP.replace("op: age", "op: recency")))
