"""Runs a suite over a DataFrame and returns a Report: two Spark jobs when all is well, four when rows break rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F
from pyspark.sql.types import DataType

from expectations.quarantine import breaks_any, failing, value_in
from expectations.rules import BROKEN_RULES, Profile, Rule, Severity, Suite, quoted

EXAMPLES = 20
_RULES_A_COUNT = 30  # more in one expression is more than the JVM compiles well


@dataclass(frozen=True)
class Failure:
    """A rule that doesn't hold: what was expected and what was found, in words."""

    rule: str
    severity: Severity
    expected: str
    found: str
    count: int
    """Rows that break it; 0 for a rule of the table as a whole."""


@dataclass(frozen=True)
class Report:
    """What a suite said of a table. `quarantined`: rows that break a rule of severity `error`."""

    suite: Suite
    rows: int
    quarantined: int
    profile: Profile
    failures: tuple[Failure, ...]
    result: Mapping[str, Any] = field(repr=False)
    """Great Expectations' own validation result, as JSON has it."""

    @property
    def held_back(self) -> bool:
        return any(failure.severity == "critical" for failure in self.failures)

    @property
    def quarantine_rules(self) -> tuple[Rule, ...]:
        """The rules of severity `error` that some row breaks."""
        broken = {failure.rule for failure in self.failures if failure.severity == "error"}
        return tuple(rule for rule in self.suite.rules if rule.name in broken)


def validate(
    df: DataFrame,
    *,
    suite: Suite,
    run_id: str,
    asset: str,
    as_of: str,
    now: datetime,
    keys: DataFrame | None = None,
) -> Report:
    """Measure the rows, let Great Expectations judge them, and say what doesn't hold.

    `keys`: the rows among which the key must be unique, when they are more than those of `df`. `asset`, `as_of` and `now` (aware)
    are told in the result. When columns are missing or too many, only that is judged.
    """
    from expectations import gx

    suite = _askable(df, suite)
    measured = _measure(df, suite, df if keys is None else keys)
    result = gx.evaluate(suite, measured.metric, spark=df.sparkSession, run_id=run_id, asset=asset, as_of=as_of, now=now)
    failures = [
        Failure(rule.name, rule.severity, rule.words, measured.found(rule), measured.broken.get(rule.name, 0))
        for rule, told in zip(suite.rules, result["results"], strict=True)
        if not told["success"]
    ]
    profile = Profile(measured.rows, measured.non_null)
    return Report(suite, measured.rows, measured.quarantined, profile, tuple(failures), result)


def _askable(df: DataFrame, suite: Suite) -> Suite:
    """The suite, or its rule of the columns alone when they are others than the rules name."""
    rule = next((rule for rule in suite.rules if rule.name == "columns"), None)
    if rule is None or set(rule.kwargs["column_set"]) == set(df.columns):
        return suite
    return Suite(suite.name, suite.key, (rule,))


@dataclass(frozen=True)
class _Measured:
    """What was counted, and each metric that an expectation asks for made of it."""

    rows: int
    quarantined: int
    types: Mapping[str, DataType]
    non_null: Mapping[str, int]
    both: Mapping[tuple[str, ...], int]  # rows in which every one of several columns has a value
    broken: Mapping[str, int]  # by rule: rows that break it
    values: Mapping[str, Any]  # by rule: the value of its aggregate
    examples: Mapping[str, tuple[Any, ...]]  # by rule: values that break it

    def metric(self, rule: Rule, name: str) -> Any:
        """A metric of Great Expectations, by its name."""
        if name == "table.row_count":
            return self.rows
        if name == "table.columns":
            return list(self.types)
        if name == "table.column_types":
            return [{"name": column, "type": type_} for column, type_ in self.types.items()]
        if name == "column_values.nonnull.unexpected_count":
            return self.rows - self.non_null[rule.columns[0]] if rule.columns else self.rows - self.quarantined
        if name == "column.non_null_proportion":
            return self.non_null[rule.columns[0]] / self.rows if self.rows else 0.0
        if name.endswith(".filtered_row_count"):
            return self.both.get(rule.columns, self.rows)
        if name.endswith((".unexpected_count", "unexpected_rows_query.row_count")):
            return self._unexpected(rule)
        if name == "unexpected_rows_query.table":
            return [{"value": _plain(self.values[rule.name])}] if rule.value is not None else []
        if name.endswith(".unexpected_values"):
            return list(self.examples.get(rule.name, ()))
        raise NotImplementedError(f"{rule.name}: {rule.expectation} asks for '{name}', which isn't measured")

    def found(self, rule: Rule) -> str:
        """What was found where the rule doesn't hold."""
        if rule.name == "columns":
            wanted, there = set(rule.kwargs["column_set"]), set(self.types)
            parts = [("missing", wanted - there), ("not in the definition", there - wanted)]
            return "; ".join(f"{words}: {', '.join(sorted(names))}" for words, names in parts if names)
        if rule.value is not None:
            return f"{_plain(self.values[rule.name])}"
        if rule.kwargs.get("column") == BROKEN_RULES:
            return f"{self.quarantined:,} of {self.rows:,}"
        if rule.name in self.broken:
            examples = ", ".join(str(value) for value in self.examples.get(rule.name, ())[:3])
            return f"{self.broken[rule.name]:,} rows" + (f", such as {examples}" if examples else "")
        if rule.expectation == "expect_column_values_to_be_of_type":
            return type(self.types[rule.columns[0]]).__name__
        if rule.expectation == "expect_column_proportion_of_non_null_values_to_be_between":
            return "none"
        return f"{self.rows:,} rows"

    def _unexpected(self, rule: Rule) -> int:
        if rule.value is not None:
            return int(not _between(self.values[rule.name], rule.minimum, rule.maximum))
        return self.quarantined if rule.kwargs.get("column") == BROKEN_RULES else self.broken.get(rule.name, 0)


def _measure(df: DataFrame, suite: Suite, keys: DataFrame) -> _Measured:
    row_rules = suite.row_rules
    chunks = [row_rules[start : start + _RULES_A_COUNT] for start in range(0, len(row_rules), _RULES_A_COUNT)]
    columns = list(dict.fromkeys(name for rule in suite.rules for name in rule.columns))
    pairs = list(dict.fromkeys(rule.columns for rule in suite.rules if rule.breaks and len(rule.columns) > 1))
    with_value = [rule for rule in suite.rules if rule.value is not None]
    first = _one_row(
        df,
        [
            "count(*)",
            *(f"count({quoted(name)})" for name in columns),
            *(f"count({', '.join(map(quoted, names))})" for names in pairs),
            *(f"count_if({breaks_any(chunk)})" for chunk in chunks),
            *(rule.value or "" for rule in with_value),
        ],
    )
    rows = next(first)
    non_null = dict(zip(columns, first, strict=False))
    both: dict[tuple[str, ...], int] = dict(zip(pairs, first, strict=False))
    suspects = [rule for chunk, count in zip(chunks, first, strict=False) if count for rule in chunk]
    values = {rule.name: value for rule, value in zip(with_value, first, strict=True)}
    broken, quarantined, examples = _count_broken(df, suite, suspects)
    broken = dict.fromkeys((rule.name for rule in row_rules), 0) | broken
    for rule in suite.rules:
        if rule.name == "key.unique":
            broken[rule.name], examples[rule.name] = _duplicates(keys, suite.key)
            both.setdefault(rule.columns, rows)
    types = {item.name: item.dataType for item in df.schema}
    return _Measured(rows, quarantined, types, non_null, both, broken, values, examples)


def _count_broken(
    df: DataFrame, suite: Suite, suspects: Sequence[Rule]
) -> tuple[dict[str, int], int, dict[str, tuple[Any, ...]]]:
    """Rows that break each rule, rows that break any of severity `error`, and examples of each. No job without suspects."""
    if not suspects:
        return {}, 0, {}
    errors = [rule for rule in suspects if rule.severity == "error"]
    counts = _one_row(df, [f"count_if({breaks_any(errors)})", *(f"count_if({rule.breaks})" for rule in suspects)])
    quarantined = next(counts)
    broken = {rule.name: count for rule, count in zip(suspects, counts, strict=True)}
    found = [rule for rule in suspects if broken[rule.name]]
    rows = failing(df, suite=suite, rules=found).limit(EXAMPLES * 10).collect()
    examples = {rule.name: tuple(_examples(rule, rows))[:EXAMPLES] for rule in found}
    return broken, quarantined, examples


def _examples(rule: Rule, rows: Iterable[Row]) -> Iterator[Any]:
    for row in rows:
        if rule.name in row["rules"]:
            values = tuple(value_in(row, column) for column in rule.columns)
            yield values[0] if len(values) == 1 else values or row["key"]


def _duplicates(df: DataFrame, key: Sequence[str]) -> tuple[int, tuple[Any, ...]]:
    """Rows that share their key with another one, and some of the keys. A row whose key is null in all columns is left out."""
    shared = (
        df.where(" or ".join(f"{quoted(name)} is not null" for name in key))
        .groupBy(*(quoted(name) for name in key))
        .agg(F.count("*").alias("_rows"))
        .where("_rows > 1")
    )
    told = shared.agg(F.sum("_rows").alias("rows")).first()
    count = int(told["rows"] or 0) if told else 0
    if not count:
        return 0, ()
    some = shared.limit(EXAMPLES).collect()
    return count, tuple(_key_of(row, key) for row in some)


def _key_of(row: Row, key: Sequence[str]) -> Any:
    values = tuple(_plain(row[name]) for name in key)
    return values[0] if len(values) == 1 else values


def _one_row(df: DataFrame, aggregates: Sequence[str]) -> Iterator[Any]:
    """The values of some aggregates over the whole of `df`, in order."""
    row = df.agg(*(F.expr(sql).alias(f"a{number}") for number, sql in enumerate(aggregates))).first()
    return iter(row or ())


def _between(value: Any, minimum: Decimal | None, maximum: Decimal | None) -> bool:
    if value is None or value != value:
        return False
    return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
