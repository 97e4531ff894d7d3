"""The one SQL subset that definitions use: checked when a definition is loaded, the same answers in Spark and in DuckDB.

The reference is docs/expressions.md, written by `python -m conf.expressions` from the table in `functions`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from conf.errors import EnvironmentProblem
from conf.expressions.compiler import Call, Compiler
from conf.expressions.grammar import read, written
from conf.expressions.values import ALL_OF, BY_ZERO, NO_ANSWER, ExpressionError, UnknownColumnError, Value, column, finite
from conf.specs import ColumnType

__all__ = [
    "Expression",
    "ExpressionError",
    "UnknownColumnError",
    "column_of",
    "duckdb_setup",
    "parse",
    "parse_condition",
    "parse_summary",
]


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

    @property
    def nullable(self) -> bool:
        """Whether it may be null, of columns as they were declared; results past the range of their type aside."""
        return self._value.nullable

    @property
    def missing(self) -> frozenset[str]:
        """The columns of which a null makes it null."""
        return frozenset(reason for reason in self._value.nulls - {BY_ZERO, NO_ANSWER} if not reason.startswith(ALL_OF))

    @property
    def missing_together(self) -> tuple[tuple[str, ...], ...]:
        """Columns that make it null when all of them are; none are told where its parts are null for other reasons, too."""
        found = sorted(reason.removeprefix(ALL_OF) for reason in self._value.nulls if reason.startswith(ALL_OF))
        return tuple(() if names == NO_ANSWER else tuple(names.split(", ")) for names in found)

    @property
    def divides(self) -> bool:
        """Whether a division by 0 makes it null."""
        return BY_ZERO in self._value.nulls

    def canonical(self) -> str:
        """The meaning, for hashing: spacing, letter case of keywords and functions, and needless parentheses don't change it."""
        return self._value.canonical


def parse(
    text: str, columns: Mapping[str, ColumnType], *, zone: str = "UTC", named: Mapping[str, Expression] | None = None
) -> Expression:
    """Check `text` against `columns`. `zone`: the IANA zone of local dates and clock times.

    `named`: names that stand for other expressions; what these use, this one uses.
    Raises ExpressionError naming the piece as written: a syntax error, an unknown column or function, types that don't fit.
    """
    return _expression(text, Compiler(columns, zone, _Named(named or {})))


class _Named(Mapping[str, tuple[Value, frozenset[str]]]):
    """Expressions by name, as the compiler reads them; looked up only when they are used."""

    def __init__(self, named: Mapping[str, Expression]) -> None:
        self._named = named

    def __getitem__(self, name: str) -> tuple[Value, frozenset[str]]:
        expression = self._named[name]
        return expression._value, expression.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)

    def __contains__(self, name: object) -> bool:
        return name in self._named


def _expression(text: str | exp.Expr, compiler: Compiler) -> Expression:
    try:
        tree = read(text) if isinstance(text, str) else text
        value = finite(compiler.compile(tree))
    except RecursionError:
        raise ExpressionError("the expression is nested too deeply") from None
    if value.type == "null":
        raise ExpressionError(f"'{value.written}' is always null: give it a type, such as cast(null as integer)")
    if value.type == "interval":
        raise ExpressionError(f"'{value.written}' is an interval: it can only be added to or taken from a date or timestamp")
    return Expression(text if isinstance(text, str) else written(text), value.type, frozenset(compiler.used), value)


def column_of(name: str, type_: ColumnType, *, nullable: bool = True) -> Expression:
    """A column by itself, whatever it is called."""
    return Expression(name, type_, frozenset([name]), column(name, type_, nullable=nullable))


Summarise = Callable[[str, Sequence[Expression]], Expression]


def parse_summary(
    text: str,
    rows: Mapping[str, ColumnType],
    columns: Mapping[str, ColumnType],
    operations: Collection[str],
    summarise: Summarise,
    *,
    zone: str = "UTC",
    named: Mapping[str, Expression] | None = None,
) -> Expression:
    """Check an expression over operations of many rows, such as `sum(balance) / sum(credit_limit)`.

    `rows` and `named`: what each row has, for the arguments of `operations`; `columns`: what there is once. `summarise` is
    given each operation with its checked arguments, and gives the column in which the answer comes. The expression is over
    these columns and `columns`. Raises ExpressionError as `parse` does, and for a column of the rows outside an operation.
    """
    each = _Named(named or {})

    def refuse(name: str, arguments: Sequence[exp.Expr]) -> Value:
        raise ExpressionError(f"{name}() stands inside another operation: an operation takes values of rows")

    def answer(name: str, arguments: Sequence[exp.Expr]) -> Value:
        checked = [_expression(argument, Compiler(rows, zone, each, dict.fromkeys(operations, refuse))) for argument in arguments]
        return summarise(name, checked)._value

    calls: dict[str, Call] = dict.fromkeys(operations, answer)
    try:
        return _expression(text, Compiler(columns, zone, {}, calls))
    except UnknownColumnError as problem:
        if problem.name not in rows and problem.name not in each:
            raise
        told = f"'{problem.name}' has a value a row: take an operation of it, such as sum({problem.name}) or max({problem.name})"
        raise ExpressionError(told) from None


def parse_condition(
    text: str, columns: Mapping[str, ColumnType], *, zone: str = "UTC", named: Mapping[str, Expression] | None = None
) -> Expression:
    """As `parse`; also raises ExpressionError for what is not boolean."""
    expression = parse(text, columns, zone=zone, named=named)
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
