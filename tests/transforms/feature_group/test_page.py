"""The definitions that docs/definitions.md shows are right as they stand there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from conf.catalogue import load_catalogue
from conf.specs import FeatureGroup, Source
from conf.yaml_file import load_model, parse_yaml
from tests.transforms.feature_group.given import ZONE, compiled
from transforms.feature_group import compile_groups

PAGE = (Path(__file__).parents[3] / "docs" / "definitions.md").read_text(encoding="utf-8")
SHOWN = [text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if text.startswith("name:")]
GROUPS = [text for text in SHOWN if "record_identifier:" in text and "function:" not in text and "rollup:" not in text]
OTHERS = [text for text in SHOWN if text not in GROUPS]


def test_the_page_shows_definitions_of_every_kind():
    assert len(GROUPS) == 4
    assert [next(key for key in ("format", "union_of", "rollup", "function") if f"\n{key}:" in text) for text in OTHERS] == [
        "format",
        "union_of",
        "format",
        "rollup",
        "function",
    ]


@pytest.mark.parametrize("text", GROUPS)
def test_groups_compile(text):
    assert compiled(text).groups


def test_columns_are_called_as_the_page_says():
    (made,) = compiled(GROUPS[0]).groups.values()
    names = [column.name for column in made.columns]
    assert names == [
        "bnpl_amount_sum_30d", "bnpl_amount_sum_90d", "bnpl_plan_count_7d", "bnpl_plan_count_90d",
        *(f"bnpl_plan_count_provider_{value}_{window}" for value in ("atome", "grab", "other") for window in ("7d", "90d")),
        "bnpl_active_plan_count", "bnpl_max_concurrent_plans_30d", "bnpl_velocity",
    ]  # fmt: skip


def test_the_sources_and_the_union_load():
    source, union, aside, _, function = OTHERS
    assert not load_model(Source, parse_yaml(aside, "a.yaml")).is_delivered
    assert load_model(FeatureGroup, parse_yaml(function, "f.yaml")).function == "my_features.communities:community"
    declared = re.sub(r"columns:\n", "columns:\n" + "".join(f"  {name}: {type_}\n" for name, type_ in UNSHOWN.items()), source)
    assert load_model(Source, parse_yaml(declared, "s.yaml")).name == "bnpl_plans"
    account = GROUPS[1].partition("inputs:")[0] + "inputs: [{source: account_snapshots, aggregates: [{name: n, op: count}]}]\n"
    assert compiled(account, union=union).groups


def test_the_rollup_compiles_beside_what_is_shipped():
    rollup = load_model(FeatureGroup, parse_yaml(OTHERS[3], "r.yaml"))
    catalogue = load_catalogue()
    made = compile_groups(replace(catalogue, groups={**catalogue.groups, rollup.name: rollup}), ZONE).rollups[rollup.name]
    assert made.groups == ("account_regulatory", "customer_regulatory", "plan_regulatory")
    assert [column.null_when for column in made.columns] == [
        "", "owed is null of all of them", "", "no member meets passes is not null",
    ]  # fmt: skip


UNSHOWN = {"customer_id": "string", "created_at": "timestamp", "recorded_at": "timestamp", "decided_at": "timestamp",
           "account_id": "string"}  # fmt: skip
