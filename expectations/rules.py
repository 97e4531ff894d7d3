"""What a suite says of a table: rules, each one expectation of Great Expectations and the same in SQL."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from conf.expressions.values import duckdb_name, duckdb_text, spark_name, spark_text

Severity = Literal["critical", "error", "warning"]
"""`critical` holds the day back, `error` sends the row to quarantine, `warning` is only reported."""

LARGEST = 1.7976931348623157e308
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
BROKEN_RULES = "_broken_rules"
"""The column in which a row's broken rules are named; null in a row that is fit to publish."""


@dataclass(frozen=True)
class RuleSql:
    """One expression for each engine, of the same meaning."""

    spark: str
    duckdb: str

    @classmethod
    def of(cls, sql: str) -> RuleSql:
        """From SQL that both know, once names and texts are written as each does: `"name"` and `'it''s'`, as standard SQL."""
        return cls(_QUOTED.sub(_as_spark_writes, sql), sql)

    @classmethod
    def filled(cls, template: str, *parts: RuleSql) -> RuleSql:
        """SQL that both know, with `{0}`, `{1}` for expressions."""
        spark = RuleSql.of(template).spark.format(*(part.spark for part in parts))
        return cls(spark, template.format(*(part.duckdb for part in parts)))


@dataclass(frozen=True)
class Rule:
    """One expectation. `words` say what must hold.

    `breaks`: SQL, true or false and never null, of a row that breaks it; None: a rule of the table as a whole.
    `value`: an aggregate in SQL that must lie between `minimum` and `maximum` (either may be None; null lies nowhere).
    `relative`: whether it depends on the clock, on one delivery or on another day, and so isn't part of the suite's version.
    """

    name: str
    expectation: str
    kwargs: Mapping[str, Any]
    severity: Severity
    words: str
    breaks: RuleSql | None = None
    value: RuleSql | None = None
    minimum: Decimal | None = None
    maximum: Decimal | None = None
    relative: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the expectation itself names."""
        named = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        return tuple(name for name in [*named, *self.kwargs.get("column_list", ())] if name and name != BROKEN_RULES)


@dataclass(frozen=True)
class Suite:
    """The rules of one table. `key`: the columns that identify a row."""

    name: str
    key: tuple[str, ...]
    rules: tuple[Rule, ...] = field(repr=False)

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{self.name}: more than one rule is named {', '.join(sorted(twice))}")

    @property
    def row_rules(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.breaks is not None)

    @property
    def version(self) -> str:
        """The hash of what is asked, whatever the day before was like."""
        asked = sorted(
            [rule.name, rule.severity, rule.expectation, json.dumps(dict(rule.kwargs), sort_keys=True)]
            for rule in self.rules
            if not rule.relative
        )
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Profile:
    """What a validated day looked like: its rows, and how many of them had a value in each column."""

    rows: int
    non_null: Mapping[str, int]


def quoted(column: str) -> str:
    """A column's name in standard SQL."""
    return duckdb_name(column)


def literal(value: str | float) -> str:
    """Text or a number in standard SQL."""
    if isinstance(value, str):
        return duckdb_text(value)
    return f"cast('{value!r}' as double)" if isinstance(value, float) else str(value)


def _as_spark_writes(found: re.Match[str]) -> str:
    written = found[0]
    if written[0] == "'":
        return spark_text(written[1:-1].replace("''", "'"))
    return spark_name(written[1:-1].replace('""', '"'))


# ---- rules of a row: a null is never out of range, out of a set or out of order


def not_null(column: str, severity: Severity = "error") -> Rule:
    return Rule(
        f"{column}.not_null",
        "expect_column_values_to_not_be_null",
        {"column": column},
        severity,
        f"{column} is not null",
        breaks=RuleSql.of(f"{quoted(column)} is null"),
    )


def in_range(column: str, minimum: float, maximum: float | None = None) -> Rule:
    """Both ends are in. NaN is above every maximum."""
    ends = [("<", minimum), (">", maximum)]
    outside = " or ".join(f"{quoted(column)} {sign} {literal(end)}" for sign, end in ends if end is not None)
    parts = [f"≥ {minimum:g}"] * (minimum != -LARGEST)
    if maximum is not None:
        parts.append("finite" if maximum == LARGEST else f"≤ {maximum:g}")
    return Rule(
        f"{column}.range",
        "expect_column_values_to_be_between",
        {"column": column, "min_value": minimum} | ({} if maximum is None else {"max_value": maximum}),
        "error",
        f"{column} is {' and '.join(parts)}",
        breaks=RuleSql.of(f"coalesce({outside}, false)"),
    )


def finite(column: str) -> Rule:
    """Neither NaN nor infinite."""
    return in_range(column, -LARGEST, LARGEST)


def one_of(column: str, values: Sequence[str], severity: Severity = "error") -> Rule:
    allowed = ", ".join(literal(value) for value in values)
    return Rule(
        f"{column}.values",
        "expect_column_values_to_be_in_set",
        {"column": column, "value_set": list(values)},
        severity,
        f"{column} is one of {', '.join(values)}",
        breaks=RuleSql.of(f"coalesce({quoted(column)} not in ({allowed}), false)"),
    )


def not_more(less: str, more: str) -> Rule:
    """`less <= more` wherever both have a value."""
    return Rule(
        f"{less}.not_more_than.{more}",
        "expect_column_pair_values_a_to_be_greater_than_b",
        {"column_A": more, "column_B": less, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        "error",
        f"{less} ≤ {more}",
        breaks=RuleSql.of(f"coalesce({quoted(less)} > {quoted(more)}, false)"),
    )


def condition(name: str, sql: str | RuleSql, words: str, severity: Severity = "error") -> Rule:
    """Holds of every row for which `sql` (standard, or of each engine) is true; false and null break it."""
    breaks = RuleSql.filled("not coalesce(({0}), false)", _both(sql))
    query = f"select * from {{batch}} where {_without_fields(breaks.spark)}"
    return Rule(name, "unexpected_rows_expectation", {"unexpected_rows_query": query}, severity, words, breaks=breaks)


def breaks_any(rules: Sequence[Rule]) -> RuleSql:
    """True of a row that breaks any of `rules`; never null."""
    conditions = [rule.breaks for rule in rules if rule.breaks is not None]
    return RuleSql.filled(" or ".join(f"({{{number}}})" for number in range(len(conditions))) or "false", *conditions)


# ---- rules of the table


def unique(columns: Sequence[str]) -> Rule:
    """No two rows have the same values; a row in which all of them are null is left out."""
    single = len(columns) == 1
    return Rule(
        "key.unique",
        "expect_column_values_to_be_unique" if single else "expect_compound_columns_to_be_unique",
        {"column": columns[0]} if single else {"column_list": list(columns)},
        "critical",
        f"no two rows have the same {', '.join(columns)}",
    )


def columns_are(columns: Iterable[str]) -> Rule:
    kwargs = {"column_set": sorted(columns), "exact_match": True}
    words = "the columns are those of the definition"
    return Rule("columns", "expect_table_columns_to_match_set", kwargs, "critical", words)


def has_type(column: str, type_: str) -> Rule:
    """`type_`: the name of a Spark type's class."""
    kwargs = {"column": column, "type_": type_}
    return Rule(f"{column}.type", "expect_column_values_to_be_of_type", kwargs, "critical", f"{column} is {type_}")


def rows_are(count: int) -> Rule:
    words = f"{count:,} rows were handed over"
    return Rule("rows.handed_over", "expect_table_row_count_to_equal", {"value": count}, "critical", words)


def rows_at_least(name: str, count: int, words: str, *, relative: bool = False) -> Rule:
    return Rule(name, "expect_table_row_count_to_be_between", {"min_value": count}, "critical", words, relative=relative)


def has_some_values(column: str) -> Rule:
    return Rule(
        f"{column}.some_values",
        "expect_column_proportion_of_non_null_values_to_be_between",
        {"column": column, "min_value": 0, "strict_min": True},
        "warning",
        f"{column} has values, as it had the day before",
        relative=True,
    )


def broken_share_at_most(share: float) -> Rule:
    """The share of rows that break a rule of severity `error`."""
    return Rule(
        "rows.quarantined",
        "expect_column_values_to_be_null",
        {"column": BROKEN_RULES, "mostly": float(1 - Decimal(str(share)))},
        "critical",
        f"at most {share:.2%} of the rows are quarantined",
    )


def bounded(
    name: str,
    aggregate: str | RuleSql,
    minimum: Decimal | None,
    maximum: Decimal | None,
    words: str,
    severity: Severity = "critical",
    *,
    relative: bool = False,
) -> Rule:
    """`aggregate` (standard SQL, or of each engine) lies between two ends, both in; a null lies nowhere."""
    value = _both(aggregate)
    limits = [("value >= ", minimum), ("value <= ", maximum)]
    inside = " and ".join(f"{sign}{end}" for sign, end in limits if end is not None) or "value is not null"
    query = f"select * from (select {_without_fields(value.spark)} as value from {{batch}}) where not coalesce({inside}, false)"
    kwargs = {"unexpected_rows_query": query}
    return Rule(
        name,
        "unexpected_rows_expectation",
        kwargs,
        severity,
        words,
        value=value,
        minimum=minimum,
        maximum=maximum,
        relative=relative,
    )


def _both(sql: str | RuleSql) -> RuleSql:
    return RuleSql.of(sql) if isinstance(sql, str) else sql


def _without_fields(sql: str) -> str:
    """SQL for a query in which `{batch}` is filled in: other braces doubled."""
    return sql.replace("{", "{{").replace("}", "}}")
