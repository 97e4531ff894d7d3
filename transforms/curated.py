"""What a curated table looks like, and such a table made of rows as an example or a test writes them. No Spark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from conf.errors import DefinitionError, did_you_mean
from conf.specs import ColumnType, Source, TimeColumn

CLOCKS = ("_event_time", "_known_time")
SPARK_TYPES: Mapping[ColumnType, str] = {
    "string": "string",
    "integer": "bigint",
    "number": "double",
    "money": "decimal(18,2)",
    "boolean": "boolean",
    "date": "date",
    "timestamp": "timestamp",
}
_ARROW_TYPES: Mapping[str, pa.DataType] = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "decimal(18,2)": pa.decimal128(18, 2),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
_MICROSECOND = timedelta(microseconds=1)
_CENT = Decimal("0.01")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def curated_columns(source: Source) -> dict[str, str]:
    """The columns of a source's curated table and their Spark types, in order."""
    declared = {
        name: "string" if column.personal == "hmac" else SPARK_TYPES[column.type]
        for name, column in source.columns.items()
        if column.personal != "drop"
    }
    return {
        **declared,
        "_event_time": "timestamp",
        "_known_time": "timestamp",
        "_file": "string",
        "_line": "bigint",
        "_row_hash": "string",
        "_run": "string",
        "_month": "string",
    }


def arrow_schema(columns: Mapping[str, str]) -> pa.Schema:
    """The Arrow types of columns given by Spark type."""
    return pa.schema([(name, _ARROW_TYPES[type_]) for name, type_ in columns.items()])


def curated_arrow_schema(source: Source, columns: Iterable[str] | None = None) -> pa.Schema:
    """`columns`: those wanted, all when None."""
    types = curated_columns(source)
    return arrow_schema(types if columns is None else {name: types[name] for name in columns})


def curated_table(source: Source, rows: Iterable[Mapping[str, Any]], *, run: str = "") -> pa.Table:
    """Rows as curate would have left them, from texts as an example writes them; typed values are taken as they are.

    A time without an offset, and a date that stands for a time, are read in their column's zone. A column that is left out is
    null; of the key, the number of the row stands in; a row that doesn't say when it was known was when it happened.

    Raises DefinitionError naming the source, the row (from 1) and the column.
    """
    schema = curated_arrow_schema(source)
    told = [_row(source, number, row, run) for number, row in enumerate(rows, start=1)]
    return pa.Table.from_pylist(told, schema=schema)


def _row(source: Source, number: int, row: Mapping[str, Any], run: str) -> dict[str, Any]:
    def problem(message: str) -> DefinitionError:
        return DefinitionError(f"{source.name}: row {number}: {message}")

    known = [name for name in curated_columns(source) if name in source.columns]
    for name in row:
        if name not in source.columns:
            raise problem(f"no column named '{name}'{did_you_mean(name, known)}; columns: {', '.join(known)}")
    told: dict[str, Any] = {}
    for name in known:
        value = row.get(name)
        if isinstance(value, str):
            try:
                value = _READERS[_type_of(source, name)](value, source.zone_of(name))
            except (ValueError, InvalidOperation):
                expected = _EXAMPLES[source.columns[name].type]
                raise problem(f"column '{name}' is '{value}', which is not {expected}") from None
        told[name] = value
    for name in source.key:
        if told[name] is None:
            told[name] = _stand_in(source, name, number)
        if told[name] is None:
            raise problem(f"column '{name}' is missing: it is part of the key")
    event = _time(source, source.event_time, told)
    if event is None:
        raise problem(f"column '{source.event_time.column}' is missing: it says when the row happened")
    noticed = None
    if source.known_time:
        noticed = _time(source, source.known_time, told) if source.known_time.column in row else event
    return {**told, "_event_time": event, "_known_time": noticed, "_line": number, "_run": run}


def _type_of(source: Source, name: str) -> ColumnType:
    column = source.columns[name]
    return "string" if column.personal == "hmac" else column.type


def _stand_in(source: Source, name: str, number: int) -> Any:
    """A key that an example needn't write, because nothing refers to it."""
    stand_ins: Mapping[ColumnType, Any] = {"string": f"row-{number}", "integer": number}
    return stand_ins.get(_type_of(source, name))


def _time(source: Source, column: TimeColumn, row: Mapping[str, Any]) -> datetime | None:
    """The instant that a row's time column says: the column itself, or the start or last microsecond of its local date."""
    value = row[column.column]
    if value is None or isinstance(value, datetime):
        return value
    zone = source.zone_of(column.column)
    if column.of_date == "start_of_day":
        return _midnight(value, zone)
    following = value + timedelta(days=1)
    if column.of_date == "end_of_month":
        following = (value.replace(day=1) + timedelta(days=32)).replace(day=1)
    return _midnight(following, zone) - _MICROSECOND


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _whole_number(text: str, _: str) -> int:
    return int(_checked(_WHOLE, text))


def _number(text: str, _: str) -> float:
    value = float(_checked(_NUMBER, text))
    if abs(value) == float("inf"):
        raise ValueError
    return value


def _money(text: str, _: str) -> Decimal:
    return Decimal(_checked(_NUMBER, text)).quantize(_CENT, ROUND_HALF_UP)


def _checked(pattern: re.Pattern[str], text: str) -> str:
    """Python reads `1_000`, `nan` and more besides, which curate doesn't."""
    if not pattern.fullmatch(text):
        raise ValueError
    return text


def _boolean(text: str, _: str) -> bool:
    if text.lower() in ("true", "1", "yes"):
        return True
    if text.lower() in ("false", "0", "no"):
        return False
    raise ValueError


def _date(text: str, _: str) -> date:
    if not _DAY.fullmatch(text):
        raise ValueError
    return date.fromisoformat(text)


def _timestamp(text: str, zone: str) -> datetime:
    if _DAY.fullmatch(text):
        raise ValueError
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)


_READERS: Mapping[ColumnType, Callable[[str, str], Any]] = {
    "string": lambda text, _: text,
    "integer": _whole_number,
    "number": _number,
    "money": _money,
    "boolean": _boolean,
    "date": _date,
    "timestamp": _timestamp,
}
_EXAMPLES: Mapping[ColumnType, str] = {
    "string": "text",
    "integer": "a whole number such as 12",
    "number": "a number such as 0.25",
    "money": "an amount such as 1234.50",
    "boolean": "true or false",
    "date": "a date such as 2025-09-30",
    "timestamp": "a date and time such as 2025-09-30T16:00:00Z",
}
