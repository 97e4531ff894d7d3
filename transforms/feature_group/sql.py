"""An expression as both engines run it: Spark over the lake, DuckDB where there is no Spark."""

from __future__ import annotations

from conf.expressions import Expression
from conf.expressions.values import duckdb_name, duckdb_text, spark_name, spark_text


class Sql:
    """SQL over a row's columns, for each engine. Compared, hashed and written into versions by its meaning (`str`) alone.

    A change of how an expression is put for an engine is therefore no change of a definition. `columns`: those that it reads.
    """

    __slots__ = ("columns", "duckdb", "meaning", "spark")

    def __init__(self, meaning: str, spark: str, duckdb: str, columns: frozenset[str] = frozenset()) -> None:
        self.meaning = meaning
        self.spark = spark
        self.duckdb = duckdb
        self.columns = columns

    @classmethod
    def of(cls, expression: Expression) -> Sql:
        return cls(expression.canonical(), expression.spark(), expression.duckdb(), expression.columns)

    @classmethod
    def column(cls, name: str) -> Sql:
        return cls(duckdb_name(name), spark_name(name), duckdb_name(name), frozenset({name}))

    @classmethod
    def text(cls, text: str) -> Sql:
        return cls(duckdb_text(text), spark_text(text), duckdb_text(text))

    @classmethod
    def filled(cls, template: str, *parts: Sql) -> Sql:
        """A template that means the same to both engines (`{0}`, `{1}`), with the parts in their places."""
        return cls(
            template.format(*(part.meaning for part in parts)),
            template.format(*(part.spark for part in parts)),
            template.format(*(part.duckdb for part in parts)),
            frozenset().union(*(part.columns for part in parts)),
        )

    def __str__(self) -> str:
        return self.meaning

    def __repr__(self) -> str:
        return f"Sql({self.meaning})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sql) and self.meaning == other.meaning

    def __hash__(self) -> int:
        return hash(self.meaning)
