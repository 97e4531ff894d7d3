"""How curated rows become facts, as SQL: one text for both engines, which differ in a few words only."""

from __future__ import annotations

from transforms.fact_sql.affected import affected_sql, each_row_stands_alone, of_keys_sql
from transforms.fact_sql.dialects import DUCKDB, SPARK, Dialect
from transforms.fact_sql.facts import facts_sql, key_columns, sorted_by
from transforms.fact_sql.needed import needed_columns
from transforms.fact_sql.steps import Table

__all__ = [
    "DUCKDB",
    "SPARK",
    "Dialect",
    "Table",
    "affected_sql",
    "each_row_stands_alone",
    "facts_sql",
    "key_columns",
    "needed_columns",
    "of_keys_sql",
    "sorted_by",
]
