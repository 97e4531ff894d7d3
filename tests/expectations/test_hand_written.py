"""Rules by hand: what they become, and what wrong ones say."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from conf.errors import DefinitionError
from expectations.hand_written import Table, load_written
from expectations.quarantine import mark_broken
from expectations.rules import Rule
from expectations.tables import ArrowTable, SparkTable
from tests.rows import rows
from tests.tables import table

PLANS = Table("group", "customer_plans", {"customer_id": "string", "n_7d": "integer", "n_30d": "integer", "mean_30d": "money"})
RAW = Table("source", "plans", {"plan_id": "string", "amount": "money"})


def load(folder: Path, text: str, name: str = "customer_plans.yaml") -> tuple[Rule, ...]:
    (folder / "expectations").mkdir(exist_ok=True)
    (folder / "expectations" / name).write_text(text, encoding="utf-8")
    rules = load_written(folder, [PLANS, RAW], zone="UTC")
    return next(iter(rules.values()))


def test_a_condition_that_is_false_or_null_breaks_a_row(spark: SparkSession, tmp_path: Path) -> None:
    rules = load(tmp_path, "group: customer_plans\nrows:\n  - {name: grows, expr: n_7d <= n_30d}\n")
    plans = table(
        spark,
        "customer_id string, n_7d bigint, n_30d bigint, mean_30d decimal(18,2)",
        ("ann", 1, 1, None),
        ("bob", 2, 1, None),  # false
        ("cid", None, 1, None),  # null
    )

    actual = mark_broken(plans, rules=rules).select("customer_id", "_broken_rules")

    broken = ["written.grows"]
    expected = table(spark, "customer_id string, _broken_rules array<string>", ("ann", None), ("bob", broken), ("cid", broken))
    assert_df_equality(actual, expected, ignore_nullable=True)


def test_metrics_are_taken_over_the_whole_table(spark: SparkSession, tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        """
        group: customer_plans
        table:
          - {name: a, metric: share, of: n_7d > 0, min: 0.1}
          - {name: b, metric: null_share, of: mean_30d, max: 0.5, severity: warning}
          - {name: c, metric: count, min: 1}
          - {name: d, metric: count, of: mean_30d, min: 1}
          - {name: e, metric: mean, of: mean_30d, min: 1, max: 100.5}
          - {name: f, metric: sum, of: n_7d + n_30d, max: 9}
          - {name: g, metric: min, of: n_7d, min: 0}
          - {name: h, metric: max, of: n_7d, max: 9}
        """.replace("\n        ", "\n"),
    )
    schema = "n_7d bigint, n_30d bigint, mean_30d decimal(18,2)"
    some = [(0, 1, "10.00"), (2, 3, "20.00"), (None, None, None), (1, 0, None)]

    asked = [rule.value for rule in rules if rule.value is not None]
    names = [rule.name[-1] for rule in rules]

    for judged in (ArrowTable(rows(schema, *some)), SparkTable(table(spark, schema, *some))):
        values = dict(zip(names, map(float, judged.values(asked)), strict=True))
        assert values == {"a": 0.5, "b": 0.5, "c": 4.0, "d": 2.0, "e": 15.0, "f": 7.0, "g": 0.0, "h": 2.0}
    assert [(rule.minimum, rule.maximum, rule.severity) for rule in rules][1:5:3] == [
        (None, Decimal("0.5"), "warning"),
        (Decimal(1), Decimal("100.5"), "critical"),
    ]


OF_PLANS = "group: customer_plans\n"
WRONG = [
    (
        "rows: [{name: a, expr: n_7d > 0}]\n",
        "1: name the table: `group: <feature group>` or `source: <source>`, one of them",
    ),
    (OF_PLANS, "1: no rules; write some below `rows` or `table`"),
    (
        "group: customer_plan\nrows: [{name: a, expr: n_7d > 0}]\n",
        "1: no feature group named 'customer_plan' (did you mean 'customer_plans'?); known: customer_plans",
    ),
    (
        "source: plan\nrows: [{name: a, expr: n_7d > 0}]\n",
        "1: no source named 'plan' (did you mean 'plans'?); known: plans",
    ),
    (OF_PLANS + "rows:\n  - name: a\n", "3: 'expr' is missing"),
    (
        OF_PLANS + "rows:\n  - name: a\n    expr: n_7d > 0\n    severe: error\n",
        "5: unknown key 'severe' (did you mean 'severity'?); known: name, expr, severity, description",
    ),
    (
        OF_PLANS + "rows:\n  - name: a\n    expr: n_7d > 0\n    severity: critical\n",
        "5: 'critical' is not one of 'error' or 'warning'",
    ),
    (
        OF_PLANS + "rows: [{name: a, expr: n_7d > 0}]\ntable:\n  - {name: a, metric: count, min: 1}\n",
        "1: two rules are named 'a'",
    ),
    (OF_PLANS + "table:\n  - {name: a, metric: count}\n", "3: 'a' needs `min`, `max` or both"),
    (
        OF_PLANS + "table:\n  - {name: a, metric: mean, min: 1}\n",
        "3: 'a': metric 'mean' needs `of`: the column or expression that it is taken of",
    ),
    (OF_PLANS + "table:\n  - {name: a, metric: count, min: 2, max: 1}\n", "3: 'a': min 2 is more than max 1"),
    (OF_PLANS + "table:\n  - {name: a, metric: count, min: many}\n", "3: 'many' is not a number"),
    (
        OF_PLANS + "table:\n  - name: a\n    metric: mean\n    of: customer_id\n    min: 1\n",
        "5: 'customer_id' is string; metric 'mean' takes integer, number or money",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_rules_say_what_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as problem:
        load(tmp_path, text)

    assert str(problem.value) == f"customer_plans.yaml:{message}"


def test_an_unknown_column_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"^customer_plans\.yaml:4: .*'n_8d'"):
        load(tmp_path, "group: customer_plans\nrows:\n  - name: a\n    expr: n_8d > 0\n")


def test_a_table_has_its_rules_in_one_file(tmp_path: Path) -> None:
    text = "source: plans\nrows: [{name: a, expr: amount > 0}]\n"
    load(tmp_path, text, "a.yaml")

    with pytest.raises(DefinitionError) as problem:
        load(tmp_path, text, "b.yaml")

    assert str(problem.value) == "b.yaml:1: 'plans' has rules in a.yaml too; write them in one file"


def test_a_folder_of_definitions_without_rules_has_none(tmp_path: Path) -> None:
    assert load_written(tmp_path, [PLANS, RAW], zone="UTC") == {}


def test_rules_are_not_about_rows_that_a_missing_consent_blanks(tmp_path):
    """Such a row says nothing that could be wrong; in the others null is a fault, as ever."""
    written = 'group: g\nrows: [{name: some, expr: "plans > 0"}]\n'
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "g.yaml").write_text(written)
    columns = {"plans": "integer", "plan_count": "integer"}

    def breaks(table):
        return load_written(tmp_path, [table], zone="UTC")["group", "g"][0].breaks.spark

    assert breaks(Table("group", "g", columns)) == "not coalesce((((`plans` > 0L))), false)"
    blank = "not coalesce((`plan_count` is null or ((`plans` > 0L))), false)"
    assert breaks(Table("group", "g", columns, null_in_blank_rows="plan_count")) == blank
