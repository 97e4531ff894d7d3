"""The one SQL subset that definitions use: checked when a definition is loaded, the same answers in Spark and in DuckDB.

The reference is docs/expressions.md, written by `python -m conf.expressions` from the table in `functions.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conf.errors import EnvironmentProblem
from conf.expressions.compiler import Compiler
from conf.expressions.grammar import read
from conf.expressions.values import ExpressionError, Value, finite
from conf.specs import ColumnType

__all__ = ["Expression", "ExpressionError", "duckdb_setup", "parse", "parse_condition"]


@dataclass(frozen=True)
class Expression:
    """A checked expression. `columns`: the names that it uses. Equal when text, type and meaning are."""

    text: str
    type: ColumnType
    columns: frozenset[str]
    _value: Value

    def spark(self) -> str:
        """Spark SQL over the same column names, with or without ANSI; the session's time zone must be UTC.

        An integer comes out as bigint, a number as double, money as a decimal of scale 2 (of a bare column: the
        column's own; otherwise at most 28 digits).
        """
        return self._value.spark

    def duckdb(self) -> str:
        """DuckDB SQL over the same column names, whatever `TimeZone` is set; types as in `spark`.

        A timestamp column may have a zone or be UTC without one; a timestamp comes out without one, in UTC.
        """
        return self._value.duckdb

    def canonical(self) -> str:
        """The meaning, for hashing: spacing, letter case of keywords and functions, and needless parentheses don't change it."""
        return self._value.canonical


def parse(text: str, columns: Mapping[str, ColumnType], *, zone: str = "UTC") -> Expression:
    """Check `text` against `columns`. `zone`: the IANA zone of local dates and clock times.

    Raises ExpressionError naming the piece as written: a syntax error, an unknown column or function, types that don't fit.
    """
    try:
        compiler = Compiler(columns, zone)
        value = finite(compiler.compile(read(text)))
    except RecursionError:
        raise ExpressionError("the expression is nested too deeply") from None
    if value.type == "null":
        raise ExpressionError(f"'{value.written}' is always null: give it a type, such as cast(null as integer)")
    if value.type == "interval":
        raise ExpressionError(f"'{value.written}' is an interval: it can only be added to or taken from a date or timestamp")
    return Expression(text, value.type, frozenset(compiler.used), value)


def parse_condition(text: str, columns: Mapping[str, ColumnType], *, zone: str = "UTC") -> Expression:
    """As `parse`; also raises ExpressionError for what is not boolean."""
    expression = parse(text, columns, zone=zone)
    if expression.type != "boolean":
        raise ExpressionError(f"'{expression._value.written}' is {expression.type}, a condition must be boolean")
    return expression


def duckdb_setup(connection: Any) -> None:
    """Make a DuckDB connection ready for `Expression.duckdb`: zones need its ICU, which PyPI's wheels have built in.

    Raises EnvironmentProblem for a DuckDB without it.
    """
    try:
        connection.execute("LOAD icu")
    except Exception as problem:
        raise EnvironmentProblem(
            f"this DuckDB knows no time zones (no ICU: {problem}); install the wheel that requirements/runtime.lock names"
        ) from problem
