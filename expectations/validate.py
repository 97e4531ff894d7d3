"""Runs a suite over a table and returns a Report: two passes over it when all is well, four when rows break rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from pyspark.sql.types import DataType

from expectations.quarantine import FailingRow
from expectations.rules import BROKEN_RULES, Profile, Rule, RuleSql, Severity, Suite, breaks_any, quoted
from expectations.tables import JudgedTable

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
    table: JudgedTable,
    *,
    suite: Suite,
    run_id: str,
    asset: str,
    as_of: str,
    now: datetime,
    keys: JudgedTable | None = None,
) -> Report:
    """Measure the rows, let Great Expectations judge them, and say what doesn't hold.

    `keys`: the rows among which the key must be unique, when they are more than those of `table`. `asset`, `as_of` and `now`
    (aware) are told in the result. When columns are missing or too many, only that is judged.
    """
    from expectations import gx

    suite = _askable(table, suite)
    measured = _measure(table, suite, table if keys is None else keys)
    result = gx.evaluate(suite, measured.metric, run_id=run_id, asset=asset, as_of=as_of, now=now)
    failures = [
        Failure(rule.name, rule.severity, rule.words, measured.found(rule), measured.broken.get(rule.name, 0))
        for rule, told in zip(suite.rules, result["results"], strict=True)
        if not told["success"]
    ]
    profile = Profile(measured.rows, measured.non_null)
    return Report(suite, measured.rows, measured.quarantined, profile, tuple(failures), result)


def _askable(table: JudgedTable, suite: Suite) -> Suite:
    """The suite, or its rule of the columns alone when they are others than the rules name."""
    rule = next((rule for rule in suite.rules if rule.name == "columns"), None)
    if rule is None or set(rule.kwargs["column_set"]) == set(table.types):
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


def _measure(table: JudgedTable, suite: Suite, keys: JudgedTable) -> _Measured:
    row_rules = suite.row_rules
    chunks = [row_rules[start : start + _RULES_A_COUNT] for start in range(0, len(row_rules), _RULES_A_COUNT)]
    columns = list(dict.fromkeys(name for rule in suite.rules for name in rule.columns))
    pairs = list(dict.fromkeys(rule.columns for rule in suite.rules if rule.breaks and len(rule.columns) > 1))
    with_value = [(rule.name, rule.value) for rule in suite.rules if rule.value is not None]
    first = table.values(
        [
            RuleSql.of("count(*)"),
            *(RuleSql.of(f"count({quoted(name)})") for name in columns),
            *(RuleSql.of(f"count_if({' and '.join(f'{quoted(name)} is not null' for name in names)})") for names in pairs),
            *(_counted(breaks_any(chunk)) for chunk in chunks),
            *(value for _, value in with_value),
        ]
    )
    rows = next(first)
    non_null = dict(zip(columns, first, strict=False))
    both: dict[tuple[str, ...], int] = dict(zip(pairs, first, strict=False))
    suspects = [rule for chunk, count in zip(chunks, first, strict=False) if count for rule in chunk]
    values = {name: value for (name, _), value in zip(with_value, first, strict=True)}
    broken, quarantined, examples = _count_broken(table, suite, suspects)
    broken = dict.fromkeys((rule.name for rule in row_rules), 0) | broken
    for rule in suite.rules:
        if rule.name == "key.unique":
            broken[rule.name], examples[rule.name] = _duplicates(keys, suite.key)
            both.setdefault(rule.columns, rows)
    return _Measured(rows, quarantined, table.types, non_null, both, broken, values, examples)


def _count_broken(
    table: JudgedTable, suite: Suite, suspects: Sequence[Rule]
) -> tuple[dict[str, int], int, dict[str, tuple[Any, ...]]]:
    """Rows that break each rule, rows that break any of severity `error`, and examples of each. No pass without suspects."""
    if not suspects:
        return {}, 0, {}
    errors = [rule for rule in suspects if rule.severity == "error"]
    counts = table.values([_counted(breaks_any(errors)), *(_counted(rule.breaks) for rule in suspects if rule.breaks)])
    quarantined = next(counts)
    broken = {rule.name: count for rule, count in zip(suspects, counts, strict=True)}
    found = [rule for rule in suspects if broken[rule.name]]
    rows = list(table.failing(suite, found, EXAMPLES * 10)) if found else []
    examples = {rule.name: tuple(_examples(rule, rows))[:EXAMPLES] for rule in found}
    return broken, quarantined, examples


def _counted(condition: RuleSql) -> RuleSql:
    return RuleSql.filled("count_if({0})", condition)


def _examples(rule: Rule, rows: Iterable[FailingRow]) -> Iterator[Any]:
    for row in rows:
        if rule.name in row.rules:
            values = tuple(row.value(column) for column in rule.columns)
            yield values[0] if len(values) == 1 else values or row.key


def _duplicates(table: JudgedTable, key: Sequence[str]) -> tuple[int, tuple[Any, ...]]:
    count, some = table.shared_keys(key, EXAMPLES)
    found = (tuple(map(_plain, values)) for values in some)
    return count, tuple(values[0] if len(values) == 1 else values for values in found)


def _between(value: Any, minimum: Decimal | None, maximum: Decimal | None) -> bool:
    """As SQL compares: a double with the double nearest to an end."""
    if value is None or value != value:
        return False
    ends = [end if end is None or not isinstance(value, float) else float(end) for end in (minimum, maximum)]
    return (ends[0] is None or value >= ends[0]) and (ends[1] is None or value <= ends[1])


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
