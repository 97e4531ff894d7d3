"""Arrow values as the text that the Feature Store takes."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from conf.errors import PublishError
from stores.protocols import DeadLetter, FeatureType, Record
from stores.records import RecordLayout

UTC_MICROSECONDS = pa.timestamp("us", "UTC")


def first_record(value: Any, arrow_type: pa.DataType, kind: FeatureType) -> Record | DeadLetter:
    layout = RecordLayout("people", "id", "at", {"id": "String", "at": "String", "value": kind})
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["ann"]), pa.array(["2025-06-01T12:00:00Z"]), pa.array([value], arrow_type)], ["id", "at", "value"]
    )
    return next(layout.records(batch))


@pytest.mark.parametrize(
    ("value", "arrow_type", "kind", "text"),
    [
        (None, pa.int64(), "Integral", None),  # left out
        (-7, pa.int64(), "Integral", "-7"),
        (True, pa.bool_(), "Integral", "1"),
        (False, pa.bool_(), "Integral", "0"),
        (Decimal(12), pa.decimal128(20, 0), "Integral", "12"),
        (0.1, pa.float64(), "Fractional", "0.1"),
        (1 / 3, pa.float64(), "Fractional", "0.3333333333333333"),
        (1e22, pa.float64(), "Fractional", "1e+22"),
        (-0.0, pa.float64(), "Fractional", "-0.0"),
        (Decimal("120.10"), pa.decimal128(18, 2), "Fractional", "120.10"),
        (Decimal("0.00"), pa.decimal128(28, 2), "Fractional", "0.00"),
        (7, pa.int32(), "Fractional", "7"),
        (Decimal("120.10"), pa.decimal128(18, 2), "String", "120.10"),
        (date(2025, 6, 1), pa.date32(), "String", "2025-06-01"),
        (datetime(2025, 6, 1, 12, tzinfo=UTC), UTC_MICROSECONDS, "String", "2025-06-01T12:00:00Z"),
        (datetime(2025, 6, 1, 12, 0, 0, 250_000, UTC), UTC_MICROSECONDS, "String", "2025-06-01T12:00:00.250Z"),
        (datetime(2025, 6, 1, 12, 0, 0, 1, UTC), UTC_MICROSECONDS, "String", "2025-06-01T12:00:00.000001000Z"),
        ("", pa.string(), "String", ""),
        ("Kuala Lumpur ✓", pa.string(), "String", "Kuala Lumpur ✓"),
    ],
)
def test_values_become_text(value: Any, arrow_type: pa.DataType, kind: FeatureType, text: str | None) -> None:
    record = first_record(value, arrow_type, kind)
    assert isinstance(record, Record)
    assert record.values.get("value") == text


@pytest.mark.parametrize(
    ("value", "arrow_type", "kind", "message"),
    [
        (float("nan"), pa.float64(), "Fractional", "value: nan is not a number that the Feature Store holds"),
        (float("-inf"), pa.float64(), "Fractional", "value: -inf is not a number that the Feature Store holds"),
        (2**63, pa.uint64(), "Integral", "value: 9223372036854775808 has more than 64 bits"),
        ("x" * 358_401, pa.string(), "String", "value: longer than 358400 characters"),
        ("ä" * 200_000, pa.string(), "String", "the record has 400032 bytes, more than 358400"),
    ],
)
def test_what_the_store_can_t_hold_is_a_dead_letter(value: Any, arrow_type: pa.DataType, kind: FeatureType, message: str) -> None:
    expected = DeadLetter("people", "ann", "2025-06-01T12:00:00Z", "Unwritable", message)
    assert first_record(value, arrow_type, kind) == expected


@pytest.mark.parametrize(
    ("identifier", "event_time", "message"),
    [
        (None, "2025-06-01T12:00:00Z", "id: the record identifier is null"),
        ("", "2025-06-01T12:00:00Z", "id: the record identifier is empty"),
        ("ä" * 1025, "2025-06-01T12:00:00Z", "id: longer than 2048 bytes"),
        ("ann", None, "at: the event time is null"),
    ],
)
def test_a_row_without_a_key_is_a_dead_letter(identifier: str | None, event_time: str | None, message: str) -> None:
    layout = RecordLayout("people", "id", "at", {"id": "String", "at": "String"})
    batch = pa.record_batch({"id": pa.array([identifier], pa.string()), "at": pa.array([event_time], pa.string())})
    assert [letter.message for letter in layout.records(batch) if isinstance(letter, DeadLetter)] == [message]


def test_a_fractional_event_time_is_unix_seconds() -> None:
    layout = RecordLayout("people", "id", "at", {"id": "String", "at": "Fractional"})
    moments = pa.array([datetime(2025, 6, 1, 12, 0, 0, 250_000, UTC)], UTC_MICROSECONDS)
    (record,) = layout.records(pa.record_batch({"id": pa.array(["ann"]), "at": moments}))
    assert record.event_time == "1748779200.250000"


def test_columns_that_don_t_fit_are_named_before_anything_is_sent() -> None:
    with pytest.raises(PublishError, match=r"^people\.value: a column of type double can't be published as Integral$"):
        first_record(0.5, pa.float64(), "Integral")
    layout = RecordLayout("people", "id", "at", {"id": "String", "at": "String"})
    with pytest.raises(PublishError, match=r"^people: no column 'at' among the rows to publish; columns: id, day$"):
        list(layout.records(pa.record_batch({"id": pa.array(["ann"]), "day": pa.array(["x"])})))
    with pytest.raises(PublishError, match=r"^people: 'key' is not among the features to send: id, at$"):
        RecordLayout("people", "key", "at", {"id": "String", "at": "String"})
