"""Which rows of the sources count at T, and how they read at an earlier moment.

- A row counts when its event time < T and its known time <= T + grace; of several versions of a key, the newest of those.
- Two rows of one (key, version) are refused: curate keeps one. A null version is the oldest. A row without event time, or
  without known time where its source has one, doesn't count.
- A mutable timestamp reads as null while it is not before the moment of reading, and so does what it settles. A daily series reads
  what is known at T from the end of each day. Key, event and known time are never blanked.
- A union's rows are its members' own, by their clocks and masks, with columns computed from the member's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from conf.specs import Source, TimeColumn
from tests.oracle.moment import ALWAYS, MICROSECOND, Moment
from tests.oracle.sql import Expression, expression
from tests.oracle.sql_types import widest
from tests.oracle.values import convert, first_of_month, null_first, start_of_day, step

Rows = Mapping[str, Sequence[Mapping[str, object]]]
CLOCKS = {"_event_time": "timestamp", "_known_time": "timestamp"}
_PYTHON_TYPES = {
    "string": str, "integer": int, "number": float, "money": Decimal, "boolean": bool, "date": date, "timestamp": datetime,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The version of a row that counts at T. `values` are those of its columns and its clocks."""

    event: datetime
    known: datetime
    key: tuple[Any, ...]
    values: Mapping[str, Any]

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.event, self.known, *(null_first(part) for part in self.key))


class Ledger:
    """The sources and their rows as of a moment."""

    def __init__(self, sources: Mapping[str, Source], rows: Rows, moment: Moment) -> None:
        self.sources, self.moment, self._rows = sources, moment, rows
        self._counting: dict[str, list[Row]] = {}
        self._read: dict[tuple[str, datetime], list[Row]] = {}

    def types(self, name: str) -> dict[str, str]:
        """The types of a source's columns, those of its clocks among them."""
        source = self.sources[name]
        if not source.union_of:
            return {column: spec.type for column, spec in source.columns.items()} | CLOCKS
        members = [self._member(member, columns) for member, columns in source.union_of.items()]
        names = dict.fromkeys(column for member in members for column in member)
        return {name: widest({m[name].type for m in members if name in m}) for name in names} | CLOCKS

    def at(self, name: str, read: datetime | None = None) -> list[Row]:
        """The rows of a source that count at T, as they read at `read` (default: T)."""
        place = (name, read or self.moment.cutoff)
        if place not in self._read:
            self._read[place] = list(self._as_read(*place))
        return self._read[place]

    def _as_read(self, name: str, read: datetime) -> Iterator[Row]:
        source = self.sources[name]
        if not source.union_of:
            for row in self._newest(source):
                yield Row(row.event, row.known, row.key, _masked(source, row.values, read))
            return
        types = self.types(name)
        for member, columns in source.union_of.items():
            expressions = self._member(member, columns)
            for row in self.at(member, read):
                values = {
                    column: convert(expressions[column].value(row.values), kind) if column in expressions else None
                    for column, kind in types.items()
                }
                clocks = {clock: row.values[clock] for clock in CLOCKS}
                yield Row(row.event, row.known, (member, *row.key), values | clocks)

    def _member(self, name: str, columns: Mapping[str, str]) -> dict[str, Expression]:
        return {column: expression(text, self.types(name), self.moment.zone) for column, text in columns.items()}

    def _newest(self, source: Source) -> Iterable[Row]:
        """The newest version of each key of those that count at T."""
        if source.name not in self._counting:
            newest: dict[tuple[Any, ...], tuple[Any, Row]] = {}
            for key, version, row in _versions(source, self._rows.get(source.name, ())):
                if self._counts(source, row) and (key not in newest or version > newest[key][0]):
                    newest[key] = (version, row)
            self._counting[source.name] = [row for _, row in newest.values()]
        return self._counting[source.name]

    def _counts(self, source: Source, row: Row) -> bool:
        if row.event is None or row.known is None:
            return False
        return row.event < self.moment.cutoff and row.known <= self.moment.known_by(source.grace)


def _versions(source: Source, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[tuple[Any, ...], Any, Row]]:
    """Each row with its key and its version."""
    seen = set()
    for given in rows:
        row = {**dict.fromkeys(source.columns), **given}
        _check(source, row)
        key = tuple(row[column] for column in source.key)
        version = null_first(row[source.version]) if source.version else ()
        if (key, version) in seen:
            raise ValueError(f"{source.name}: two rows of key {key}, version {version}; curated rows have one")
        seen.add((key, version))
        event = time_of(source, source.event_time, row)
        known = time_of(source, source.known_time, row) if source.known_time else ALWAYS
        clocks = {"_event_time": event, "_known_time": known if source.known_time else None}
        yield key, version, Row(event, known, key, row | clocks)


def _masked(source: Source, values: Mapping[str, Any], read: datetime) -> dict[str, Any]:
    found = dict(values)
    for column, settles in source.mutable.items():
        if values[column] is None or values[column] >= read:
            found.update(dict.fromkeys((column, *settles)))
    return found


def time_of(source: Source, time: TimeColumn, row: Mapping[str, Any]) -> Any:
    """A row's event or known time: a timestamp of it, or what its source makes of a date."""
    value, zone = row[time.column], source.zone_of(time.column)
    if value is None or time.of_date is None:
        return value
    if time.of_date == "start_of_day":
        return start_of_day(value, zone)
    if time.of_date == "end_of_day":
        return start_of_day(step(value, 1), zone) - MICROSECOND
    return start_of_day(first_of_month(value, 1), zone) - MICROSECOND


def _check(source: Source, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name not in source.columns:
            raise ValueError(f"{source.name}: no column '{name}'; columns: {', '.join(source.columns)}")
        wanted = _PYTHON_TYPES[source.columns[name].type]
        if value is not None and type(value) is not wanted:
            raise TypeError(f"{source.name}.{name}: {value!r} is {type(value).__name__}, not {wanted.__name__}")
        if isinstance(value, datetime) and value.tzinfo is None:
            raise TypeError(f"{source.name}.{name}: {value} says no zone")
