"""Values that a file has in a type of its own: which needn't be read from text, and SQL of DuckDB that takes them over."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.types as kinds

from conf.specs import ColumnType, Source
from transforms.text_values import in_utc, within_years

_LONGEST_MONEY = 16
"""Digits before the decimal point."""
_DIGIT = re.compile("[0-9]")
_WORDS = ("true", "false", "inf", "-inf")


def is_value(kind: pa.DataType, type_: ColumnType, null_values: Sequence[str] = ()) -> bool:
    """Whether every value of the Arrow type `kind` says the same by itself as by its text, of which `null_values` are none.

    A float of 32 bits says something else: 0.1 is not what its text says. Text itself is not a value.
    """
    if any(_DIGIT.search(null) or null.lower() in _WORDS for null in null_values):
        return False
    match type_:
        case "integer":
            return bool(kinds.is_signed_integer(kind) or (kinds.is_unsigned_integer(kind) and kind.bit_width < 64))
        case "money":
            return bool(kinds.is_decimal128(kind)) and 0 <= kind.scale <= 2 and kind.precision - kind.scale <= _LONGEST_MONEY
        case "number":
            return bool(kinds.is_float64(kind))
        case "boolean":
            return bool(kinds.is_boolean(kind))
        case "date":
            return bool(kinds.is_date32(kind))
        case "timestamp":
            return bool(kinds.is_timestamp(kind)) and kind.unit == "us"
        case _:
            return False


def types_of_values(source: Source) -> dict[str, ColumnType]:
    """The types of those columns that may come as values; what a column with listed values says is told by its text."""
    return {name: column.type for name, column in source.columns.items() if not column.values}


def values_among(found: pa.Schema, types: Mapping[str, ColumnType], null_values: Sequence[str] = ()) -> dict[str, pa.DataType]:
    """Those of the columns found whose values are values of their declared type; all others are to be read from text."""
    there = {name: type_ for name, type_ in types.items() if name in found.names}
    return {name: found.field(name).type for name, type_ in there.items() if is_value(found.field(name).type, type_, null_values)}


def without_nan(value: str, type_: ColumnType, null_values: Sequence[str]) -> str:
    """SQL for the value; null where it is no number and the source says that this is no value."""
    return f"if(isnan({value}), null, {value})" if type_ == "number" and "nan" in null_values else value


def take_over(value: str, kind: pa.DataType, type_: ColumnType, *, zone: str = "UTC") -> str:
    """SQL for what `transforms.text_values.read` makes of the value's text: null where that is none.

    A timestamp without a zone is a local time of `zone`. What lies outside of the years 1 to 9999 can't be written.
    """
    match type_:
        case "integer":
            return f"cast({value} as bigint)"
        case "money":
            return f"cast({value} as decimal(18,2))"
        case "number":
            return f"if(isfinite({value}), {value}, null)"
        case "date":
            return f"if({value} between date '0001-01-01' and date '9999-12-31', {value}, null)"
        case "timestamp":
            return within_years(f"timezone('UTC', {value})" if kind.tz is not None else in_utc(within_years(value), zone))
        case _:
            return value
