"""Splits rows that break a rule from rows that are fit to publish, and names the rules."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from conf.expressions.values import spark_name
from expectations.rules import BROKEN_RULES, Rule, Suite, breaks_any

ROWS_A_BATCH = 5_000


@dataclass(frozen=True)
class FailingRow:
    """A row that breaks rules: its key as text, their names in the suite's order, and the whole row as JSON text."""

    key: str | None
    rules: tuple[str, ...]
    row: str

    def value(self, column: str) -> object:
        """A column's value, as JSON has it."""
        return json.loads(self.row).get(column)


def mark_broken(df: DataFrame, *, rules: Sequence[Rule]) -> DataFrame:
    """Add `_broken_rules`: the names of the row rules that a row breaks, in the suite's order; null when it breaks none.

    Rows in and out: the same.
    """
    return df.withColumn(BROKEN_RULES, _names_of_broken(rules))


def passing(df: DataFrame, *, rules: Sequence[Rule]) -> DataFrame:
    """The rows that break none of `rules`; columns unchanged."""
    return df.where(f"not ({breaks_any(rules).spark})")


def failing(df: DataFrame, *, suite: Suite, rules: Sequence[Rule]) -> DataFrame:
    """The rows that break any of `rules`: `key` as text, `rules` (names), and the whole `row` as JSON text."""
    key = F.to_json(F.struct(*suite.key)) if len(suite.key) > 1 else F.col(suite.key[0]).cast("string")
    return df.where(breaks_any(rules).spark).select(
        key.alias("key"),
        _names_of_broken(rules).alias("rules"),
        F.to_json(F.struct(*(spark_name(name) for name in df.columns)), {"ignoreNullFields": "false"}).alias("row"),
    )


def quarantine_rows(rows: Iterable[FailingRow], *, suite: Suite) -> Iterator[pa.RecordBatch]:
    """Batches of quarantine rows, with the words of each broken rule as the reason."""
    words = {rule.name: rule.words for rule in suite.rules}
    pending: list[dict[str, object]] = []
    for row in rows:
        pending.append(
            {
                "source_or_group": suite.name,
                "file": None,
                "line": None,
                "key": row.key,
                "rule": "; ".join(row.rules),
                "reason": "; ".join(f"broken: {words[name]}" for name in row.rules),
                "row": row.row,
            }
        )
        if len(pending) == ROWS_A_BATCH:
            yield pa.RecordBatch.from_pylist(pending, schema=_SCHEMA)
            pending = []
    if pending:
        yield pa.RecordBatch.from_pylist(pending, schema=_SCHEMA)


def _names_of_broken(rules: Sequence[Rule]) -> Column:
    if not rules:
        return F.lit(None).cast("array<string>")
    cases = (F.when(F.expr(rule.breaks.spark), F.lit(rule.name)) for rule in rules if rule.breaks)
    names = F.array_compact(F.array(*cases))
    return F.when(F.size(names) > 0, names)


_SCHEMA = pa.schema(
    [
        ("source_or_group", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("key", pa.string()),
        ("rule", pa.string()),
        ("reason", pa.string()),
        ("row", pa.string()),
    ]
)
