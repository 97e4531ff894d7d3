"""What is asked of every row of a file, as SQL of DuckDB: a source's rows and labels alike."""

from __future__ import annotations

from dataclasses import dataclass

from conf.expressions.values import duckdb_text as text

_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Check:
    """A rule, the SQL that is true of a row that breaks it, and SQL for the words that say so."""

    rule: str
    condition: str
    reason: str


def sentence(before: str, value: str, after: str) -> str:
    """SQL for words around a text, of which no more is shown than tells it."""
    return f"concat({text(before)}, substr({value}, 1, {_LONGEST_VALUE}), {text(after)})"
