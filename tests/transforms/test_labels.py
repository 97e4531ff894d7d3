"""How the rows of a labels file are read and judged, and what becomes of a label that is there twice."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from transforms.calendar import iso_utc, microseconds
from transforms.label_sql import LabelColumns
from transforms.labels import LabelChecker, distinct

COLUMNS = LabelColumns(
    entity="customer_id",
    time="time",
    targets={"bad": "boolean"},
    carry={},
    zone="Asia/Kuala_Lumpur",
    null_values=("", "NA"),
)


def checked(columns: LabelColumns, *rows: tuple, unreadable: str | None = None):
    """Rows as the reader gives them: text, with their lines; the last one as text that can't be read."""
    cells = [list(cell) for cell in zip(*rows, strict=True)]
    count = len(rows)
    arrays = [pa.array(cell, pa.string()) for cell in cells]
    reasons = [*[None] * (count - 1), unreadable]
    arrays += [pa.array(range(2, count + 2), pa.int64()), pa.array(reasons, pa.string()), pa.array(reasons, pa.string())]
    batch = pa.RecordBatch.from_arrays(arrays, names=[*columns.names, "_line", "_unreadable", "_raw"])
    with LabelChecker(columns) as checker:
        return checker.check(batch)


def times_of(zone: str, *texts: str) -> list[str | None]:
    """The moments that texts stand for; None for one that is refused."""
    found = checked(replace(COLUMNS, zone=zone), *(("ann", text, "yes") for text in texts))
    by_line = {row["_row"]: iso_utc(row["_time"]) for row in found.labels.to_pylist()}
    assert len(by_line) + len(found.rejected) == len(texts)
    return [by_line.get(line) for line in range(2, len(texts) + 2)]


def test_times():
    """A date is the start of that local day, a time without an offset is local; what lies below a microsecond is cut off."""
    texts = {
        "2025-06-30": "2025-06-29T16:00:00Z",
        "2025-06-30 10:00": "2025-06-30T02:00:00Z",
        "2025-06-30T10:00:00.1234567": "2025-06-30T02:00:00.123456Z",
        "2025-06-30T10:00:00Z": "2025-06-30T10:00:00Z",
        "2025-06-30 10:00:00.000001Z": "2025-06-30T10:00:00.000001Z",
        "2025-06-30T10:00:00+02:00": "2025-06-30T08:00:00Z",
        "2025-06-30T10:00:00 -0530": "2025-06-30T15:30:00Z",
        "2025-06-30T10:00:00-05": "2025-06-30T15:00:00Z",
        "  2025-06-30T10:00:00Z ": "2025-06-30T10:00:00Z",
        "2024-02-29": "2024-02-28T16:00:00Z",
        "2025-02-29": None,
        "2025-06-30T24:00:00Z": None,
        "2025-06-30T10:60:00Z": None,
        "2025-06-30T10:00:00+19:00": None,
        "2025-06-30-08:00": None,
        "30.06.2025": None,
        "1751256000": None,
        "1899-12-31": None,
        "2200-01-01": None,
    }
    assert times_of("Asia/Kuala_Lumpur", *texts) == list(texts.values())


def test_local_times_where_clocks_change():
    """The hour that comes twice is the first; the one that is skipped is as if clocks had not changed."""
    texts = {
        "2025-03-09 01:59:59.999999": "2025-03-09T06:59:59.999999Z",
        "2025-03-09 02:30:00": "2025-03-09T07:30:00Z",
        "2025-03-09 03:30:00": "2025-03-09T07:30:00Z",
        "2025-11-02 01:30:00": "2025-11-02T05:30:00Z",
        "2025-11-02 02:00:00": "2025-11-02T07:00:00Z",
    }
    assert times_of("America/New_York", *texts) == list(texts.values())
    assert times_of("Australia/Lord_Howe", "2025-04-06 01:45:00", "2025-04-06 02:00:00") == [
        "2025-04-05T14:45:00Z", "2025-04-05T15:30:00Z",
    ]  # fmt: skip


def test_types():
    types = {"b": "boolean", "i": "integer", "n": "number", "m": "money", "d": "date", "s": "string", "t": "timestamp"}
    columns = replace(COLUMNS, targets={}, carry=types)
    found = checked(
        columns,
        ("ann", "2025-06-30", "Yes", "12.0", "1e-3", "12.345", "2025-06-30 00:00:00", " é ", "2025-06-30T10:00:00"),
        ("ann", "2025-07-01", "0", "-7", ".5", "-0.005", "2024-02-29", "NA", None),
    )
    told = [tuple(row[name] for name in types) for row in found.labels.to_pylist()]
    assert told == [
        (True, 12, 0.001, Decimal("12.35"), date(2025, 6, 30), "é", datetime(2025, 6, 30, 2, tzinfo=UTC)),
        (False, -7, 0.5, Decimal("-0.01"), date(2024, 2, 29), None, None),
    ]


def test_values_of_their_own_types():
    """As a Parquet file has them: the same as their texts; a time without a zone is local."""
    types = {"i": "integer", "n": "number", "d": "date", "t": "timestamp"}
    columns = replace(COLUMNS, targets={"bad": "boolean"}, carry=types, entity_type="integer")
    moment = datetime(2025, 6, 30, 10)
    arrays = {
        "customer_id": pa.array([7, 7, None]),
        "time": pa.array([moment, datetime(2200, 1, 1), moment], pa.timestamp("us")),
        "bad": pa.array([True, False, None]),
        "i": pa.array([-3, None, None], pa.int32()),
        "n": pa.array([0.5, float("inf"), None]),
        "d": pa.array([date(2024, 2, 29), None, None]),
        "t": pa.array([moment, None, None], pa.timestamp("us", "UTC")),
        "_line": pa.array([1, 2, 3]),
        "_unreadable": pa.nulls(3, pa.string()),
        "_raw": pa.nulls(3, pa.string()),
    }
    with LabelChecker(columns) as checker:
        found = checker.check(pa.RecordBatch.from_pydict(arrays))
    [label] = found.labels.to_pylist()
    assert (label["_entity"], iso_utc(label["_time"])) == ("7", "2025-06-30T02:00:00Z")
    told = tuple(label[name] for name in ("bad", *types))
    assert told == (True, -3, 0.5, date(2024, 2, 29), moment.replace(tzinfo=UTC))
    assert [one.rules for one in found.rejected] == [("time.year", "n.type"), ("customer_id.required", "bad.required")]
    assert found.rejected[0].reasons == (
        "time: '2200-01-01 00:00:00' lies outside 1900 to 2199", "n: 'inf' is not a number such as 0.25",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("row", "rules", "reasons", "key"),
    [
        (("", "2025-06-30", "yes"), "customer_id.required", "customer_id is required and empty", None),
        (("ann", None, "yes"), "time.required", "time is required and empty", "customer_id=ann"),
        (("ann", "June", "yes"), "time.type", "time: 'June' is not a time such as 2025-09-30T16:00:00Z, or a date", "customer_id=ann"),
        (("ann", "2200-01-01", "yes"), "time.year", "time: '2200-01-01' lies outside 1900 to 2199", "customer_id=ann"),
        (("ann", "2025-06-30", "NA"), "bad.required", "bad is what is to be learned, and empty", "customer_id=ann"),
        (("ann", "2025-06-30", "maybe"), "bad.type", "bad: 'maybe' is not true or false", "customer_id=ann"),
        (("ann", "2025-06-30", "x" * 99), "bad.type", f"bad: '{'x' * 60}' is not true or false", "customer_id=ann"),
        ((" ", "x", ""), "customer_id.required; time.type; bad.required", "customer_id is required and empty; time: 'x' is not a time such as"
         " 2025-09-30T16:00:00Z, or a date; bad is what is to be learned, and empty", None),
    ],
)  # fmt: skip
def test_a_row_that_is_no_label_says_why(row, rules, reasons, key):
    found = checked(COLUMNS, ("bob", "2025-06-30", "no"), row)
    assert found.labels["_entity"].to_pylist() == ["bob"]
    [rejected] = found.rejected
    assert ("; ".join(rejected.rules), "; ".join(rejected.reasons)) == (rules, reasons)
    assert (rejected.line, rejected.key) == (3, key)


def test_a_row_that_can_not_be_read_keeps_its_text():
    found = checked(COLUMNS, ("bob", "2025-06-30", "no"), (None, None, None), unreadable="2 values")
    [rejected] = found.rejected
    assert (rejected.line, rejected.rules, rejected.reasons, rejected.row) == (
        3,
        ("unreadable",),
        ("2 values",),
        '{"_raw":"2 values"}',
    )


def test_entities_as_the_ledgers_know_them():
    """A number is read as one; personal data is hashed with the key, and stays out of what is told of a bad row."""
    numbers = replace(COLUMNS, entity_type="integer")
    found = checked(numbers, ("007", "2025-06-30", "no"), ("7.0", "2025-07-30", "no"), ("seven", "2025-07-30", "no"))
    assert found.labels["_entity"].to_pylist() == ["7", "7"]
    assert found.rejected[0].reasons == ("customer_id: 'seven' is not a whole number such as 12",)
    hashed = checked(replace(COLUMNS, hmac_key=b"k"), ("ann", "2025-06-30", "no"), ("ann", "x", "no"))
    assert hashed.labels["_entity"].to_pylist() == [hmac.new(b"k", b"ann", hashlib.sha256).hexdigest()]
    assert (hashed.rejected[0].key, hashed.rejected[0].row) == (None, '{"time":"x","bad":"no"}')
    secret = checked(replace(numbers, hmac_key=b"k"), ("90-14", "2025-06-30", "no"))
    assert secret.rejected[0].reasons == ("customer_id: its value is not a whole number such as 12",)


NAMES = {"_entity": "customer_id", "_time": "time"}
JUNE, JULY = (microseconds(datetime(2025, month, 1, tzinfo=UTC)) for month in (6, 7))


def labels(*rows: tuple) -> pa.Table:
    columns = replace(COLUMNS, carry={"weight": "money"})
    entity, time, row, bad, weight = (list(cell) for cell in zip(*rows, strict=True))
    weights = [None if cell is None else Decimal(cell) for cell in weight]
    return pa.table([entity, time, row, bad, weights], names=columns.schema.names).cast(columns.schema)


def test_the_same_label_twice():
    """Of equal ones the first; where they contradict one another none, whatever their order; nulls are equal."""
    found = distinct(
        labels(
            ("bob", JUNE, 2, True, None),
            ("ann", JULY, 3, True, "1.00"),
            ("ann", JUNE, 9, True, "1.00"),
            ("ann", JUNE, 4, True, "1.00"),  # the same as row 9
            ("bob", JUNE, 5, True, None),  # the same as row 2
            ("zoe", JUNE, 6, True, "1.00"),
            ("zoe", JUNE, 7, False, "1.00"),  # contradicts row 6
            ("zoe", JUNE, 8, True, "1.00"),
            ("yan", JUNE, 10, True, "1.00"),
            ("yan", JUNE, 11, True, None),
            ("zoe", JULY, 12, False, None),
        ),
        NAMES,
    )
    kept = [(row["_entity"], row["_time"], row["_row"]) for row in found.labels.to_pylist()]
    assert kept == [("ann", JUNE, 4), ("ann", JULY, 3), ("bob", JUNE, 2), ("zoe", JULY, 12)]
    assert found.duplicates == 2
    assert [(one.line, one.key, one.rules) for one in found.conflicts] == [
        (10, "customer_id=yan", ("conflict",)), (11, "customer_id=yan", ("conflict",)),
        (6, "customer_id=zoe", ("conflict",)), (7, "customer_id=zoe", ("conflict",)), (8, "customer_id=zoe", ("conflict",)),
    ]  # fmt: skip
    assert found.conflicts[3].reasons == ("customer_id and time are those of other labels with other values: rows 6, 7, 8",)
    assert found.conflicts[3].row == '{"customer_id": "zoe", "time": "2025-06-01T00:00:00Z", "bad": false, "weight": "1.00"}'


@pytest.mark.parametrize("count", [0, 1])
def test_none_or_one(count):
    some = labels(("ann", JUNE, 2, True, None)).slice(0, count)
    found = distinct(some, NAMES)
    assert (found.labels.num_rows, found.duplicates, found.conflicts) == (count, 0, ())
