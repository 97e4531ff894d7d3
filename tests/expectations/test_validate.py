"""What a report says of a table, that Great Expectations judged it, and that it would have judged the same by itself."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from expectations import rules
from expectations.quarantine import mark_broken, quarantine_rows
from expectations.rules import Rule, Suite
from expectations.tables import ArrowTable, JudgedTable, SparkTable
from expectations.validate import Failure, Report, validate
from tests.rows import rows
from tests.tables import table

NOW = datetime(2025, 10, 1, 2, 3, 4, tzinfo=UTC)
PLANS = "id string, short bigint, long bigint, rate double, day string"


Judged = Callable[..., JudgedTable]


@pytest.fixture(params=["in process", "in Spark"])
def judged(request: pytest.FixtureRequest) -> Judged:
    """Rows of PLANS, as `table` writes them, where they are judged."""
    if request.param == "in Spark":
        return lambda *written: SparkTable(table(request.getfixturevalue("spark"), PLANS, *written))
    return lambda *written: ArrowTable(rows(PLANS, *written))


def judge(table: JudgedTable, *asked: Rule, key: tuple[str, ...] = ("id",)) -> Report:
    suite = Suite("plans", key, asked)
    return validate(table, suite=suite, run_id="r1", asset="snapshots/plans", as_of="2025-09-30", now=NOW)


SOME = (
    ("ann", 1, 2, 0.5, "T"),
    ("bob", 3, 2, None, "T"),  # more in the short window than in the long one
    ("cid", -1, 2, float("nan"), "T"),  # below 0, not a number
    ("dee", 0, 0, 0.0, "T"),
)


def test_rows_that_break_a_rule_are_quarantined_with_the_reasons_and_the_others_pass(judged: Judged) -> None:
    plans = judged(*SOME)

    report = judge(
        plans, rules.not_more("short", "long"), rules.in_range("short", 0), rules.finite("rate"), rules.broken_share_at_most(0.5)
    )

    assert report.failures == (
        Failure("short.not_more_than.long", "error", "short ≤ long", "1 rows, such as (2, 3)", 1),
        Failure("short.range", "error", "short is ≥ 0", "1 rows, such as -1", 1),
        Failure("rate.range", "error", "rate is finite", "1 rows, such as NaN", 1),
    )
    assert (report.rows, report.quarantined, report.held_back) == (4, 2, False)
    found = sorted(plans.failing(report.suite, report.quarantine_rules), key=lambda row: row.key or "")
    aside = [row for batch in quarantine_rows(found, suite=report.suite) for row in batch.to_pylist()]
    assert [{**row, "row": json.loads(row["row"])} for row in aside] == [
        {
            "source_or_group": "plans", "file": None, "line": None, "key": "bob",
            "rule": "short.not_more_than.long",
            "reason": "broken: short ≤ long",
            "row": {"id": "bob", "short": 3, "long": 2, "rate": None, "day": "T"},
        },
        {
            "source_or_group": "plans", "file": None, "line": None, "key": "cid",
            "rule": "short.range; rate.range",
            "reason": "broken: short is ≥ 0; broken: rate is finite",
            "row": {"id": "cid", "short": -1, "long": 2, "rate": "NaN", "day": "T"},
        },
    ]  # fmt: skip


def test_nothing_wrong_says_nothing(judged: Judged) -> None:
    report = judge(judged(SOME[0]), rules.not_null("id"), rules.rows_are(1), rules.unique(["id"]))

    assert (report.failures, report.quarantined, report.held_back) == ((), 0, False)
    assert report.profile.rows == 1
    assert report.result["success"] is True


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (rules.rows_are(5), "4 rows"),
        (rules.rows_at_least("rows.some", 5, "there are five"), "4 rows"),
        (rules.unique(["day"]), "4 rows, such as T"),
        (rules.unique(["long", "day"]), "3 rows, such as (2, 'T')"),
        (rules.columns_are(["id", "short", "rate", "day", "gone"]), "missing: gone; not in the definition: long"),
        (rules.has_type("short", "DoubleType"), "LongType"),
        (rules.bounded("b", "max(long)", None, Decimal("1.5"), "b"), "2"),
        (rules.bounded("b", "min(long)", Decimal("0.5"), None, "b"), "0"),
        (rules.bounded("b", "max(case when id = 'no' then 1 end)", None, Decimal(1), "null lies nowhere"), "None"),
        (rules.not_null("rate", "critical"), "1 rows"),
    ],
    ids=lambda value: value.name if isinstance(value, Rule) else "",
)
def test_a_table_rule_that_fails_holds_the_day_back(judged: Judged, rule: Rule, found: str) -> None:
    key = tuple(rule.columns) if rule.name == "key.unique" else ("id",)
    report = judge(judged(*SOME), rule, key=key)

    assert report.held_back
    assert [(f.rule, f.severity, f.found.removesuffix(", such as None")) for f in report.failures] == [
        (rule.name, "critical", found)
    ]


@pytest.mark.parametrize(
    "rule",
    [
        rules.rows_are(4),
        rules.rows_at_least("rows.some", 4, "there are four"),
        rules.unique(["id"]),
        rules.bounded("b", "max(long)", Decimal(2), Decimal(2), "b"),
        rules.bounded("b", "avg(rate) is null", None, None, "b"),
        rules.has_some_values("rate"),
        rules.has_type("long", "LongType"),
    ],
    ids=lambda rule: rule.name,
)
def test_a_table_rule_holds_at_its_edge(judged: Judged, rule: Rule) -> None:
    assert judge(judged(*SOME), rule).failures == ()


@pytest.mark.parametrize(("share", "held_back"), [(0.25, False), (0.24, True)])
def test_the_share_of_quarantined_rows_may_be_the_limit_and_no_more(judged: Judged, share: float, held_back: bool) -> None:
    report = judge(judged(*SOME), rules.in_range("short", 0), rules.broken_share_at_most(share))

    assert (report.quarantined, report.held_back) == (1, held_back)


def test_a_warning_neither_quarantines_nor_holds_back(judged: Judged) -> None:
    report = judge(
        judged(*((*row[:3], None, row[4]) for row in SOME)),
        rules.condition("c", "short < 1", "few", "warning"),
        rules.has_some_values("rate"),
    )

    assert [(f.rule, f.severity, f.count) for f in report.failures] == [("c", "warning", 2), ("rate.some_values", "warning", 0)]
    assert (report.quarantined, report.held_back, report.quarantine_rules) == (0, False, ())


def test_an_empty_table_breaks_no_row_rule(judged: Judged) -> None:
    report = judge(
        judged(),
        rules.not_null("id"),
        rules.broken_share_at_most(0),
        rules.unique(["id"]),
        rules.rows_at_least("rows.some", 1, "some"),
    )

    assert [(f.rule, f.found) for f in report.failures] == [("rows.some", "0 rows")]


def test_more_rules_than_one_expression_takes_are_all_counted(judged: Judged) -> None:
    many = [rules.condition(f"c{n}", f"short <> {n}", "c") for n in range(-40, 40)]
    report = judge(judged(*SOME), *many)

    assert [(f.rule, f.count) for f in report.failures] == [("c-1", 1), ("c0", 1), ("c1", 1), ("c3", 1)]
    assert report.quarantined == 4


# ---- Great Expectations


def every_kind(rows: int) -> Suite:
    asked = [
        rules.columns_are(["id", "short", "long", "rate", "day"]),
        rules.has_type("short", "LongType"),
        rules.has_type("rate", "StringType"),
        rules.rows_at_least("rows.some", 1, "some"),
        rules.rows_are(rows),
        rules.unique(["id"]),
        rules.broken_share_at_most(0.3),
        rules.not_null("id"),
        rules.in_range("short", 0),
        rules.in_range("rate", 0, 0.8),
        rules.not_null("rate", "warning"),
        rules.one_of("day", ["T"]),
        rules.not_more("short", "long"),
        rules.condition("sum", "short + long < 12", "few", "warning"),
        rules.has_some_values("day"),
        rules.bounded("mean", "avg(long)", Decimal("5.2"), None, "mean"),
        rules.bounded("most", "max(long)", None, Decimal(9), "most"),
    ]
    return Suite("plans", ("id",), tuple(asked))


def random_plans(seed: int) -> list[tuple[Any, ...]]:
    draw = random.Random(seed)
    return [
        (
            draw.choice([None, *(f"c{n}" for n in range(200))]),
            draw.choice([None, *range(-1, 7)]),
            draw.choice([None, *range(3, 10)]),
            draw.choice([None, 0.0, 0.8, 0.81, -0.0, float("nan"), float("inf"), draw.random()]),
            draw.choice([None, "T", "T", "T", "U"]),
        )
        for _ in range(150)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_great_expectations_on_spark_judges_the_same(judged: Judged, spark: SparkSession, seed: int) -> None:
    """The same suite, with Great Expectations' own Spark jobs instead of our two passes."""
    some = random_plans(seed)
    df, suite = table(spark, PLANS, *some), every_kind(len(some))

    ours = validate(judged(*some), suite=suite, run_id="r1", asset="snapshots/plans", as_of="2025-09-30", now=NOW)

    errors = [rule for rule in suite.row_rules if rule.severity == "error"]
    theirs = by_itself(mark_broken(df, rules=errors), suite)
    theirs = [result for result in theirs if result["expectation_config"]["meta"]["rule"] != "columns"]  # there: one more
    assert sorted(map(summary, ours.result["results"][1:])) == sorted(map(summary, theirs))
    assert not all(result["success"] for result in theirs)


def by_itself(df: DataFrame, suite: Suite) -> list[Mapping[str, Any]]:
    import great_expectations
    from great_expectations.core import ExpectationSuite

    from expectations.gx import expectation_of

    context = great_expectations.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_spark("spark", persist=False)
    batch = source.add_dataframe_asset("plans").add_batch_definition_whole_dataframe("all").get_batch({"dataframe": df})
    asked = ExpectationSuite("plans", expectations=[expectation_of(rule) for rule in suite.rules])
    results: list[Mapping[str, Any]] = batch.validate(asked, result_format="SUMMARY").to_json_dict()["results"]
    return results


def summary(result: Mapping[str, Any]) -> tuple[Any, ...]:
    """What both must agree on."""
    told = result["result"]
    counts = ("element_count", "unexpected_count", "missing_count", "observed_value", "unexpected_percent")
    rule = result["expectation_config"]["meta"]["rule"]
    return rule, result["success"], *(told.get(name) for name in counts)


def test_the_result_is_great_expectations_own_and_its_pages_can_show_it() -> None:
    plans = ArrowTable(rows(PLANS, *random_plans(3)))
    report = validate(plans, suite=every_kind(150), run_id="r1", asset="snapshots/plans", as_of="2025-09-30", now=NOW)
    text = json.dumps(report.result)

    from great_expectations.core.expectation_validation_result import expectationSuiteValidationResultSchema
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    loaded = expectationSuiteValidationResultSchema.load(json.loads(text))
    assert loaded.statistics["evaluated_expectations"] == len(every_kind(150).rules)
    assert loaded.get_max_severity_failure().value == "critical"
    assert [result.expectation_config.meta["rule"] for result in loaded.results] == [rule.name for rule in every_kind(150).rules]
    assert loaded.to_json_dict()["results"] == json.loads(text)["results"]
    page = json.dumps(ValidationResultsPageRenderer(run_info_at_end=True).render(loaded).to_json_dict())
    assert "plans" in page
    assert "r1" in page


def test_great_expectations_is_silent(judged: Judged, capfd: pytest.CaptureFixture[str]) -> None:
    judge(
        judged(*SOME), rules.condition("c", "rate < 1", "{braces} stay"), rules.bounded("b", "max(long)", Decimal(9), None, "b")
    )

    assert capfd.readouterr() == ("", "")


def test_what_great_expectations_draws_with_is_loaded_when_it_is_used():
    """Seconds of every run were theirs. In a process of its own: here others may have loaded them."""
    code = (
        "import sys; import expectations.gx; "
        "print([type(sys.modules[name]).__name__ for name in ('altair', 'scipy.stats')]); "
        "import altair, scipy.stats; print(altair.Chart.__name__, scipy.stats.norm.cdf(0.0))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['_LazyModule', '_LazyModule']", "Chart 0.5"]
