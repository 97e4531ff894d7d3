"""Arrow rows as online records: each value as the text that the Feature Store takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from conf.errors import PublishError
from stores.protocols import DeadLetter, FeatureType, Record

LONGEST_VALUE = 358_400  # characters
LONGEST_RECORD = 358_400  # bytes: names and values
LONGEST_IDENTIFIER = 2_048  # bytes
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
_WIDEST_CHARACTER = 4  # bytes in UTF-8
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Unwritable:
    """Stands for a value that the Feature Store can't hold."""

    reason: str


@dataclass(frozen=True)
class RecordLayout:
    """Which columns make a record of `group`. Other columns are not sent, and a null leaves its feature out."""

    group: str
    record_identifier: str
    event_time: str
    features: Mapping[str, FeatureType]
    """Every feature that is sent, identifier and event time among them."""

    def __post_init__(self) -> None:
        for name in (self.record_identifier, self.event_time):
            if name not in self.features:
                raise PublishError(f"{self.group}: '{name}' is not among the features to send: {', '.join(self.features)}")

    def records(self, batch: pa.RecordBatch) -> Iterator[Record | DeadLetter]:
        """One record a row, in order; a row that can't be written becomes a dead letter with the reason.

        Raises: PublishError when a column is missing or its type can't become the feature's.
        """
        columns = [self._texts(name, kind, batch) for name, kind in self.features.items()]
        names = list(self.features)
        identifier_at, event_time_at = names.index(self.record_identifier), names.index(self.event_time)
        name_bytes = sum(len(name) for name in names)  # feature names are ASCII
        for row in zip(*columns, strict=True):
            identifier, event_time = row[identifier_at], row[event_time_at]
            values: dict[str, str] = {}
            size, reason = name_bytes, None
            for name, text in zip(names, row, strict=True):
                if text is None:
                    continue
                if isinstance(text, Unwritable):
                    reason = f"{name}: {text.reason}"
                    break
                values[name] = text
                size += len(text)
            if reason is None:
                reason = self._too_large(values, size) or self._without_key(identifier, event_time)
            if reason is None and isinstance(identifier, str) and isinstance(event_time, str):
                yield Record(identifier, event_time, values)
            else:
                yield DeadLetter(self.group, _known(identifier), _known(event_time), "Unwritable", str(reason))

    def _texts(self, name: str, kind: FeatureType, batch: pa.RecordBatch) -> list[str | Unwritable | None]:
        position = batch.schema.get_field_index(name)
        if position < 0:
            raise PublishError(
                f"{self.group}: no column '{name}' among the rows to publish; columns: {', '.join(batch.schema.names)}"
            )
        column = batch.column(position)
        if kind == "Fractional" and name == self.event_time and pa.types.is_timestamp(column.type):
            to_text: Callable[[Any], str | Unwritable] = _unix_seconds
        else:
            to_text = _converter(column.type, kind, where=f"{self.group}.{name}")
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
        return [None if value is None else to_text(value) for value in column.to_pylist()]

    def _without_key(self, identifier: object, event_time: object) -> str | None:
        if not identifier:
            return f"{self.record_identifier}: the record identifier is {'null' if identifier is None else 'empty'}"
        return f"{self.event_time}: the event time is null" if event_time is None else None

    def _too_large(self, values: Mapping[str, str], size: int) -> str | None:
        """The reason why a record of `size` characters is refused; bytes are counted only when it may matter."""
        identifier = values.get(self.record_identifier, "")
        if len(identifier) * _WIDEST_CHARACTER > LONGEST_IDENTIFIER and len(identifier.encode()) > LONGEST_IDENTIFIER:
            return f"{self.record_identifier}: longer than {LONGEST_IDENTIFIER} bytes"
        if size * _WIDEST_CHARACTER <= LONGEST_RECORD:
            return None
        for name, text in values.items():
            if len(text) > LONGEST_VALUE:
                return f"{name}: longer than {LONGEST_VALUE} characters"
        size = sum(len(name) + len(text.encode()) for name, text in values.items())
        return f"the record has {size} bytes, more than {LONGEST_RECORD}" if size > LONGEST_RECORD else None


def event_time_text(moment: datetime) -> str:
    """ISO-8601 in UTC with `Z`; a fraction has three digits or nine, as the service reads it. Naive means UTC."""
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    text = f"{moment.year:04d}" + moment.strftime("-%m-%dT%H:%M:%S")
    if moment.microsecond == 0:
        return text + "Z"
    if moment.microsecond % 1000 == 0:
        return f"{text}.{moment.microsecond // 1000:03d}Z"
    return f"{text}.{moment.microsecond:06d}000Z"


def _converter(arrow_type: pa.DataType, kind: FeatureType, *, where: str) -> Callable[[Any], str | Unwritable]:
    """The function that turns a column's values into text; which types go into which feature is decided here."""
    types = pa.types
    if kind == "String":
        if types.is_string(arrow_type) or types.is_large_string(arrow_type):
            return _as_is
        if types.is_timestamp(arrow_type):
            return event_time_text
        if types.is_date(arrow_type):
            return _iso_date
        if types.is_boolean(arrow_type):
            return _true_or_false
        if types.is_integer(arrow_type):
            return str
        if types.is_decimal(arrow_type):
            return _plain
    elif kind == "Fractional":
        if types.is_floating(arrow_type):
            return _shortest
        if types.is_decimal(arrow_type):
            return _plain
        if types.is_integer(arrow_type):
            return str
    elif types.is_integer(arrow_type) or (types.is_decimal(arrow_type) and arrow_type.scale == 0):
        return _integer
    elif types.is_boolean(arrow_type):
        return _one_or_zero
    raise PublishError(f"{where}: a column of type {arrow_type} can't be published as {kind}")


def _as_is(value: str) -> str:
    return value


def _iso_date(value: Any) -> str:
    return str(value.isoformat())


def _true_or_false(value: bool) -> str:
    return "true" if value else "false"


def _one_or_zero(value: bool) -> str:
    return "1" if value else "0"


def _plain(value: Decimal) -> str:
    return f"{value:f}"  # never 1E+2; the scale stays: 120.10


def _shortest(value: float) -> str | Unwritable:
    """The shortest text that reads back as the same double."""
    return repr(value) if math.isfinite(value) else Unwritable(f"{value} is not a number that the Feature Store holds")


def _integer(value: int | Decimal) -> str | Unwritable:
    number = int(value)
    return str(number) if _SMALLEST <= number <= _LARGEST else Unwritable(f"{number} has more than 64 bits")


def _unix_seconds(moment: datetime) -> str:
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    microseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // _MICROSECOND
    return _plain(Decimal(microseconds).scaleb(-6))


def _known(value: object) -> str | None:
    return value if isinstance(value, str) else None
