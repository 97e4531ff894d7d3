"""Everything that is wrong with definitions is told at once, each with its line."""

from __future__ import annotations

import pytest

from conf.catalogue import Catalogue, load_catalogue
from conf.errors import DefinitionError
from conf.specs import FeatureGroup
from conf.yaml_file import load_model, parse_yaml
from transforms.feature_group import compile_groups

SOURCES = load_catalogue().sources
GROUP = """\
name: g
record_identifier: customer_id
spine: customers
inputs:
  - source: bnpl_plans
    aggregates:
      - {name: plan_count, op: count, windows: [7d]}
      - {name: amount_sum, op: sum, of: financed_amount, windows: [7d]}
      - {name: provider_count, op: distinct_count, of: provider}
  - source: instalments
    states:
      - {name: open_count, op: count, from: agreed_at}
derived:
  - {name: share, expr: "ratio(amount_sum_7d, plan_count_7d)"}
  - {name: share_twice, expr: "share * 2"}
  - {name: some, expr: "plan_count_7d > 0"}
"""


def problems(*texts: str) -> list[str]:
    files = {text.splitlines()[0].removeprefix("name: "): text for text in texts}
    parsed = {name: parse_yaml(text, f"{name}.yaml") for name, text in files.items()}
    groups = {name: load_model(FeatureGroup, file) for name, file in parsed.items()}
    with pytest.raises(DefinitionError) as told:
        compile_groups(Catalogue(SOURCES, groups, {f"FeatureGroup:{name}": file for name, file in parsed.items()}), "UTC")
    return [line.partition("; ")[0] for line in str(told.value).splitlines()]


def test_every_feature_and_input_of_every_group_is_looked_at():
    """Not what is derived from them: half of it would be told missing."""
    wrong = (
        GROUP.replace("op: sum", "op: summ").replace("of: provider", "of: providr").replace("ratio(amount_sum_7d", "ratoi(amount")
    )
    other = wrong.replace("name: g", "name: h").replace("from: agreed_at", "from: number")
    assert problems(wrong, other) == [
        "g.yaml:8: no operation named 'summ' (did you mean 'sum'?)",
        "g.yaml:9: no column named 'providr' (did you mean 'provider'?)",
        "h.yaml:8: no operation named 'summ' (did you mean 'sum'?)",
        "h.yaml:9: no column named 'providr' (did you mean 'provider'?)",
        "h.yaml:12: 'number' is integer",
    ]


def test_an_input_that_can_not_be_read_hides_only_its_own_features():
    wrong = GROUP.replace("- source: bnpl_plans", "- source: bnpl_plans\n    entity: client").replace(
        "from: agreed_at", "from: number"
    )
    assert [line.split(": ")[0] for line in problems(wrong)] == ["g.yaml:6", "g.yaml:13"]


def test_every_derived_column_is_looked_at_and_a_problem_is_told_once():
    """`share_twice` is made from a column that is wrong: that one is told, not the next."""
    wrong = GROUP.replace("amount_sum_7d,", "amount_sums,").replace("plan_count_7d > 0", "plan_count_7d >")
    found = problems(wrong, GROUP.replace("name: g", "name: h").replace("share", "part").replace("part * 2", "g.share * 2"))
    assert [line.split(": ")[0] for line in found] == ["g.yaml:14", "g.yaml:16"]
