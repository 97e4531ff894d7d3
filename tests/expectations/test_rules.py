"""Each rule at its edge, as Spark SQL over rows: null, both ends, NaN, infinity, one past."""

from __future__ import annotations

from decimal import Decimal

import pytest
from chispa import assert_df_equality
from pyspark.sql import SparkSession

from expectations import rules
from expectations.quarantine import mark_broken, passing
from expectations.rules import Rule, Suite
from expectations.tables import ArrowTable
from tests.rows import rows
from tests.tables import table

INFINITY = float("inf")
NAN = float("nan")
CASES = [
    (rules.not_null("n"), "n bigint", [(0,), (1,)], [(None,)]),
    (rules.in_range("n", 0), "n bigint", [(0,), (5,), (None,)], [(-1,)]),
    (rules.in_range("n", 0), "n decimal(28,2)", [("0.00",), (None,)], [("-0.01",)]),
    (rules.in_range("n", 0, 2), "n double", [(0.0,), (2.0,), (-0.0,), (None,)], [(2.0000001,), (-1e-9,), (NAN,)]),
    (rules.finite("n"), "n double", [(-rules.LARGEST,), (rules.LARGEST,), (0.0,), (None,)], [(INFINITY,), (-INFINITY,), (NAN,)]),
    (rules.one_of("s", ["a", "it's \\"]), "s string", [("a",), ("it's \\",), (None,)], [("A",), ("",), ("a ",)]),
    (rules.not_more("a", "b"), "a bigint, b bigint", [(1, 1), (1, 2), (None, 1), (1, None)], [(2, 1)]),
    (rules.condition("c", "a = b", "a is b"), "a bigint, b bigint", [(1, 1)], [(1, 2), (None, 1), (None, None)]),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "schema", "fit", "broken"), CASES, ids=[f"{case[0].name}-{case[1]}" for case in CASES])
def test_rule_at_its_edges_in_this_process(rule: Rule, schema: str, fit: list[tuple], broken: list[tuple]) -> None:
    suite = Suite("things", (schema.split()[0],), (rule,))

    marked = [bool(list(ArrowTable(rows(schema, row)).failing(suite, [rule]))) for row in (*fit, *broken)]

    assert marked == [False] * len(fit) + [True] * len(broken)


@pytest.mark.parametrize(("rule", "schema", "fit", "broken"), CASES, ids=[f"{case[0].name}-{case[1]}" for case in CASES])
def test_rule_at_its_edges_in_spark(spark: SparkSession, rule: Rule, schema: str, fit: list[tuple], broken: list[tuple]) -> None:
    actual = mark_broken(table(spark, schema, *fit, *broken), rules=[rule])

    names = [(*row, None) for row in fit] + [(*row, [rule.name]) for row in broken]
    expected = table(spark, f"{schema}, _broken_rules array<string>", *names)
    assert_df_equality(actual, expected, ignore_nullable=True, allow_nan_equality=True, ignore_row_order=True)


def test_a_row_is_told_every_rule_that_it_breaks_in_the_order_of_the_suite(spark: SparkSession) -> None:
    both = [rules.in_range("n", 0), rules.not_null("s")]
    marked = table(
        spark,
        "id string, n bigint, s string",
        ("ann", 1, "x"),
        ("bob", -1, "x"),
        ("cid", -1, None),
        ("dee", None, "x"),  # null is never out of range
    )

    expected = table(
        spark,
        "id string, _broken_rules array<string>",
        ("ann", None),
        ("bob", ["n.range"]),
        ("cid", ["n.range", "s.not_null"]),
        ("dee", None),
    )
    assert_df_equality(mark_broken(marked, rules=both).select("id", "_broken_rules"), expected, ignore_nullable=True)
    kept = table(spark, "id string, n bigint, s string", ("ann", 1, "x"), ("dee", None, "x"))
    assert_df_equality(passing(marked, rules=both), kept)


def test_no_rules_break_nothing(spark: SparkSession) -> None:
    some = table(spark, "n bigint", (1,), (None,))

    expected = table(spark, "n bigint, _broken_rules array<string>", (1, None), (None, None))
    assert_df_equality(mark_broken(some, rules=[]), expected)
    assert_df_equality(passing(some, rules=[]), some)


def test_names_of_rules_are_unique_in_a_suite() -> None:
    with pytest.raises(ValueError, match=r"^accounts: more than one rule is named n\.not_null$"):
        Suite("accounts", ("n",), (rules.not_null("n"), rules.not_null("n", "critical")))


def test_version_changes_with_what_is_asked_and_not_with_the_day_before() -> None:
    def version(*asked: Rule) -> str:
        return Suite("accounts", ("n",), asked).version

    plain = version(rules.not_null("n"), rules.in_range("n", 0))
    assert version(rules.in_range("n", 0), rules.not_null("n")) == plain
    assert version(rules.not_null("n"), rules.in_range("n", 0), rules.has_some_values("n")) == plain
    assert version(rules.not_null("n"), rules.in_range("n", 1)) != plain
    assert version(rules.not_null("n", "warning"), rules.in_range("n", 0)) != plain


def test_a_limit_on_a_share_is_met_at_the_limit_itself() -> None:
    """`mostly` is the exact complement: 1 - 0.58 in doubles is above 0.42, and 42 of 100 would fail."""
    assert rules.broken_share_at_most(0.58).kwargs["mostly"] == 0.42
    assert rules.bounded("b", "max(n)", Decimal(1), None, "b").kwargs["unexpected_rows_query"] == (
        "select * from (select max(n) as value from {batch}) where not coalesce(value >= 1, false)"
    )
