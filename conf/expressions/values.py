"""A checked piece of an expression: its type, its SQL for Spark and for DuckDB, and how types convert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from conf.specs import ColumnType

ValueType = ColumnType | Literal["null", "interval"]
Constant = bool | int | Decimal | str | date | datetime | None

NUMERIC: tuple[ColumnType, ...] = ("integer", "money", "number")
ORDERED: tuple[ColumnType, ...] = ("integer", "money", "number", "string", "date", "timestamp")
EVERY: tuple[ColumnType, ...] = ("string", "integer", "number", "money", "boolean", "date", "timestamp")

SPARK_TYPES: dict[ColumnType, str] = {
    "string": "STRING",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "money": "DECIMAL(28, 2)",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
}
DUCKDB_TYPES: dict[ColumnType, str] = {**SPARK_TYPES, "string": "VARCHAR"}

BY_ZERO, NO_ANSWER = "/", "?"  # why a value may be null, beside columns that are
ALL_OF = "all of "  # before names with commas: it is null where all of them are, and not where one is

_LARGEST_NUMBER = "1.7976931348623157E308"
_LONG_LIMIT = 2**63


class ExpressionError(ValueError):
    """An expression outside the documented subset, or with a column, function or type that doesn't fit."""


class UnknownColumnError(ExpressionError):
    """An expression names a column that isn't there; `name` as written."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class Value:
    """A piece of an expression.

    `written`: as in the definition, for messages. `constant`: what a literal says; `is_constant` tells a null literal from a
    piece that is computed. `unbounded`: arithmetic on numbers whose result may be NaN or infinite until `finite` is applied.
    `nulls`: why it may be null: names of columns, ALL_OF several, BY_ZERO, NO_ANSWER; results past the range of their type aside.
    """

    type: ValueType
    spark: str
    duckdb: str
    canonical: str
    written: str
    constant: Constant = None
    is_constant: bool = False
    unbounded: bool = False
    nulls: frozenset[str] = frozenset({NO_ANSWER})

    @property
    def nullable(self) -> bool:
        return bool(self.nulls)

    @property
    def shown(self) -> str:
        """As written and in quotes; a text literal has its own."""
        return self.written if self.type == "string" and self.is_constant else f"'{self.written}'"


def build(
    type_: ValueType,
    name: str,
    args: Sequence[Value],
    spark: str,
    duckdb: str | None = None,
    *,
    unbounded: bool = False,
    nulls: Sequence[Value] | None = None,
    also: str | None = None,
) -> Value:
    """Fill the arguments into a template for each engine (`{0}`, `{1}`); the same template when `duckdb` is None.

    It is null where one of `nulls` is (by default an argument), and for the reason `also`.
    """
    return Value(
        type_,
        spark.format(*(arg.spark for arg in args)),
        (spark if duckdb is None else duckdb).format(*(arg.duckdb for arg in args)),
        f"{name}({','.join(arg.canonical for arg in args)})",
        "",
        unbounded=unbounded,
        nulls=frozenset().union(*(value.nulls for value in (args if nulls is None else nulls)), [also] if also else []),
    )


def recast(value: Value, type_: ValueType, spark: str, duckdb: str | None = None) -> Value:
    """An implicit conversion: new SQL, the same meaning."""
    template = spark if duckdb is None else duckdb
    return replace(value, type=type_, spark=spark.format(value.spark), duckdb=template.format(value.duckdb), unbounded=False)


def column(name: str, type_: ColumnType, *, nullable: bool = True) -> Value:
    """A timestamp column may reach DuckDB with or without a zone: both become UTC without one, whatever `TimeZone` is set."""
    in_spark, in_duckdb = spark_name(name), duckdb_name(name)
    if type_ == "timestamp":
        in_duckdb = f"make_timestamp(epoch_us({in_duckdb}))"
    nulls = frozenset([name] if nullable else [])
    return Value(type_, in_spark, in_duckdb, f"{duckdb_name(name)}:{type_}", name, nulls=nulls)


def spark_name(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def duckdb_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def spark_text(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def duckdb_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def literal(constant: Constant, written: str) -> Value:
    """Raises ExpressionError for a number that doesn't fit its type."""
    return replace(_literal(constant, written), nulls=frozenset([NO_ANSWER] if constant is None else []))


def _literal(constant: Constant, written: str) -> Value:
    if constant is None:
        return Value("null", "NULL", "NULL", "null", written, None, True)
    if isinstance(constant, bool):
        text = str(constant).lower()
        return Value("boolean", text, text, text, written, constant, True)
    if isinstance(constant, int):
        if not -_LONG_LIMIT < constant < _LONG_LIMIT:
            raise ExpressionError(f"'{written}' is too large for an integer (64 bits)")
        return Value("integer", f"{constant}L", f"CAST({constant} AS BIGINT)", str(constant), written, constant, True)
    if isinstance(constant, Decimal):
        as_double = float(constant)
        if abs(as_double) == float("inf"):
            raise ExpressionError(f"'{written}' is too large for a number (a double)")
        return Value(
            "number",
            f"{as_double!r}D",
            f"CAST('{as_double!r}' AS DOUBLE)",
            f"number:{constant.normalize()}",
            written,
            constant,
            True,
        )
    if isinstance(constant, str):
        canonical = f"text:{duckdb_text(constant)}"
        return Value("string", spark_text(constant), duckdb_text(constant), canonical, written, constant, True)
    if isinstance(constant, datetime):
        text = constant.isoformat(sep=" ")
        return Value("timestamp", f"TIMESTAMP '{text}Z'", f"TIMESTAMP '{text}'", f"timestamp:{text}", written, constant, True)
    return Value("date", f"DATE '{constant}'", f"DATE '{constant}'", f"date:{constant}", written, constant, True)


def finite(value: Value) -> Value:
    """Null where arithmetic left the range of a double (NaN counts as greatest in both engines)."""
    if not value.unbounded:
        return value
    return recast(value, value.type, f"CASE WHEN abs({{0}}) <= CAST('{_LARGEST_NUMBER}' AS DOUBLE) THEN {{0}} END")


def in_calendar(value: Value, *, margin: bool = False) -> Value:
    """Null outside the years 1 to 9999, which are all that Python and most readers of Parquet know.

    Such dates come from an open end written as 9999-12-31. `margin`: half a day less, so that a zone's offset still fits.
    """
    if value.type == "date":
        first = f"DATE '0001-01-0{2 if margin else 1}'"
        return recast(value, "date", f"CASE WHEN {{0}} BETWEEN {first} AND DATE '9999-12-31' THEN {{0}} END")
    first = f"0001-01-0{2 if margin else 1} 00:00:00"
    last = f"9999-12-31 {'09' if margin else '23'}:59:59.999999"
    template = "CASE WHEN {{0}} BETWEEN TIMESTAMP '{0}{2}' AND TIMESTAMP '{1}{2}' THEN {{0}} END"
    return recast(value, value.type, template.format(first, last, "Z"), template.format(first, last, ""))


def convert(value: Value, type_: ColumnType) -> Value:
    """An implicit conversion that `common_type` has allowed."""
    value = value if value.unbounded and type_ == "number" else finite(value)
    if value.type == type_:
        return value
    if value.type == "null":
        return recast(value, type_, f"CAST(NULL AS {SPARK_TYPES[type_]})", f"CAST(NULL AS {DUCKDB_TYPES[type_]})")
    if type_ == "number":
        return recast(value, "number", "CAST({0} AS DOUBLE)")
    if isinstance(value.constant, int | Decimal):
        exact = Decimal(value.constant)
        if abs(exact) >= Decimal(10) ** 26:
            raise ExpressionError(f"{value.shown} is too large for money (26 digits before the point)")
        digits = 18 if abs(exact) < Decimal(10) ** 16 else 28
        text = f"CAST({exact.quantize(Decimal('0.01')):f} AS DECIMAL({digits}, 2))"
        return replace(value, type="money", spark=text, duckdb=text)
    return recast(value, "money", "CAST({0} AS DECIMAL(28, 2))")


def common_type(values: Sequence[Value], *, what: str) -> ColumnType:
    """The type that all can be read as.

    An integer goes with money or number; money with number becomes number; a decimal literal of at most two places is money
    beside money. Raises ExpressionError, naming two that don't fit.
    """
    typed = [value for value in values if value.type != "null"]
    if not typed:
        raise ExpressionError(f"{what} has only nulls: give one a type, such as cast(null as integer)")
    found = typed[0]
    if found.type == "interval":
        raise ExpressionError(f"{found.shown} is an interval: it can only be added to or taken from a date or timestamp")
    for value in typed[1:]:
        if value.type != found.type and not (value.type in NUMERIC and found.type in NUMERIC):
            raise ExpressionError(_mismatch(found, value, what))
    types = {value.type for value in typed}
    if len(types) == 1:
        assert found.type != "null"
        return found.type
    if "money" in types and all(value.type != "number" or _is_cents(value) for value in typed):
        return "money"
    return "number" if "number" in types else "money"


def _is_cents(value: Value) -> bool:
    return isinstance(value.constant, Decimal) and (Fraction(value.constant) * 100).denominator == 1


def _mismatch(one: Value, other: Value, what: str) -> str:
    said = f"{one.shown} is {one.type}, {other.shown} is {other.type}: {what} takes values of one type"
    pair = {one.type: one, other.type: other}
    if {"date", "timestamp"} == set(pair):
        day, instant = pair["date"].written, pair["timestamp"].written
        return f"{said}; write start_of_day({day}) or end_of_day({day}), or local_date({instant})"
    for type_ in ("date", "timestamp"):
        if type_ in pair and "string" in pair and pair["string"].is_constant:
            return f"{said}; write {type_} {pair['string'].written}"
    return said


def cast(value: Value, to: ColumnType) -> Value:
    """An explicit cast: null where the value can't be read as `to`. Raises ExpressionError for a pair that has no cast."""
    value = finite(value)
    if value.type == to:
        return replace(value, is_constant=False, constant=None)
    if value.type == "null":
        return replace(convert(value, to), canonical=f"cast:{to}({value.canonical})", is_constant=False)
    refused = _REFUSED_CASTS.get((value.type, to))
    if refused is not None or (value.type, to) not in CASTS:
        hint = f"; {refused.format(value.written)}" if refused else ""
        raise ExpressionError(f"{value.shown} is {value.type}, which has no cast to {to}{hint}")
    spark, duckdb = CASTS[value.type, to]
    return build(to, f"cast:{to}", [value], spark, duckdb, also=NO_ANSWER if value.type == "string" else None)


def _guarded(pattern: str, spark: str, duckdb: str) -> tuple[str, str]:
    """Read text only when it has the documented form: engines differ on what else they would take."""
    pattern = f"^({pattern})\\z".replace("{", "{{").replace("}", "}}")
    in_spark, in_duckdb = "trim({0})", "trim({0}, ' ')"
    return (
        f"CASE WHEN {in_spark} RLIKE {spark_text(pattern)} THEN {spark.replace('{0}', in_spark)} END",
        f"CASE WHEN regexp_matches({in_duckdb}, {duckdb_text(pattern)}) THEN {duckdb.replace('{0}', in_duckdb)} END",
    )


_TO_MONEY = "try_cast({0} AS DECIMAL(28, 2))"
_AS_BOOLEAN = (
    "CASE WHEN lower({0}) IN ('true', 't', 'yes', 'y', '1') THEN true"
    " WHEN lower({0}) IN ('false', 'f', 'no', 'n', '0') THEN false END"
)
_WITHIN_LONG = "CASE WHEN abs({{0}}) < CAST('9223372036854775808' AS DOUBLE) THEN {} END"

CASTS: dict[tuple[ValueType, ColumnType], tuple[str, str]] = {
    ("integer", "number"): ("CAST({0} AS DOUBLE)", "CAST({0} AS DOUBLE)"),
    ("integer", "money"): ("CAST({0} AS DECIMAL(28, 2))", "CAST({0} AS DECIMAL(28, 2))"),
    ("integer", "string"): ("CAST({0} AS STRING)", "CAST({0} AS VARCHAR)"),
    ("integer", "boolean"): ("({0} != 0L)", "({0} != 0)"),
    ("money", "number"): ("CAST({0} AS DOUBLE)", "CAST({0} AS DOUBLE)"),
    ("money", "integer"): ("try_cast({0} AS BIGINT)", "try_cast(trunc({0}) AS BIGINT)"),
    ("money", "string"): ("CAST({0} AS STRING)", "CAST({0} AS VARCHAR)"),
    ("number", "integer"): (
        _WITHIN_LONG.format("CAST({0} AS BIGINT)"),
        _WITHIN_LONG.format("CAST(trunc({0}) AS BIGINT)"),
    ),
    # By way of text, so that 2.675 is halfway in DuckDB as it is in Spark.
    ("number", "money"): (_TO_MONEY, "try_cast(CAST({0} AS VARCHAR) AS DECIMAL(28, 2))"),
    ("boolean", "integer"): ("CAST({0} AS BIGINT)", "CAST({0} AS BIGINT)"),
    ("boolean", "string"): ("CAST({0} AS STRING)", "CAST({0} AS VARCHAR)"),
    ("date", "string"): ("CAST({0} AS STRING)", "CAST({0} AS VARCHAR)"),
    ("timestamp", "string"): (
        "date_format({0}, 'yyyy-MM-dd\\'T\\'HH:mm:ss.SSSSSS\\'Z\\'')",
        "strftime({0}, '%Y-%m-%dT%H:%M:%S.%fZ')",
    ),
    ("string", "integer"): _guarded("[+-]?[0-9]+", "try_cast({0} AS BIGINT)", "try_cast({0} AS BIGINT)"),
    # 'inf' past the range of a double: `cast` of a string is guarded as arithmetic is.
    ("string", "number"): _guarded(
        "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?",
        f"CASE WHEN abs(try_cast({{0}} AS DOUBLE)) <= CAST('{_LARGEST_NUMBER}' AS DOUBLE) THEN try_cast({{0}} AS DOUBLE) END",
        f"CASE WHEN abs(try_cast({{0}} AS DOUBLE)) <= CAST('{_LARGEST_NUMBER}' AS DOUBLE) THEN try_cast({{0}} AS DOUBLE) END",
    ),
    ("string", "money"): _guarded("[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)", _TO_MONEY, _TO_MONEY),
    ("string", "boolean"): (
        _AS_BOOLEAN.replace("{0}", "trim({0})"),
        _AS_BOOLEAN.replace("{0}", "trim({0}, ' ')"),
    ),
    ("string", "date"): _guarded("[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}", "try_cast({0} AS DATE)", "try_cast({0} AS DATE)"),
    ("string", "timestamp"): _guarded(
        "[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[ T]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?Z?",
        "try_cast({0} AS TIMESTAMP)",
        "try_cast({0} AS TIMESTAMP)",
    ),
}
_REFUSED_CASTS: dict[tuple[ValueType, ColumnType], str] = {
    ("date", "timestamp"): "write start_of_day({0}) or end_of_day({0})",
    ("timestamp", "date"): "write local_date({0})",
    ("number", "string"): "write cast(cast({0} as money) as string) or cast(cast({0} as integer) as string)",
}
