"""Values in types of their own mean what their text means, at the edges of every type."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from conf.database import open_duckdb
from conf.specs import Source
from stores.raw import raw_format
from transforms.conform import Conform
from transforms.typed_values import is_value

WRITTEN = ("_reason", "_row", "_key")
"""What shows a value may write it otherwise."""
EPOCH = datetime(1970, 1, 1)
DAYS = [date(1, 1, 1), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31), None]
MOMENTS = [datetime(1969, 12, 31, 23, 59, 59, 999999), datetime(2024, 3, 10, 2, 30), datetime(2024, 11, 3, 1, 30), EPOCH, None]
NUMBERS = [0.1, -0.0, 1e300, 5e-324, 2.0**53 + 2, math.nan, math.inf, -math.inf, None]
WHOLE = [0, 1, -1, 127, -128, None]
AMOUNTS = [Decimal("0"), Decimal("-1"), Decimal("99999"), None]
CASES = [
    *(("integer", pa.array(WHOLE, kind)) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    ("integer", pa.array([2**63 - 1, -(2**63)], pa.int64())),
    *(("integer", pa.array([0, 255, None], kind)) for kind in (pa.uint8(), pa.uint16(), pa.uint32())),
    *(("money", pa.array(AMOUNTS, pa.decimal128(digits, scale))) for digits, scale in ((7, 2), (18, 2), (16, 0), (17, 1))),
    ("number", pa.array(NUMBERS, pa.float64())),
    ("boolean", pa.array([True, False, None])),
    ("date", pa.array(DAYS, pa.date32())),
    ("date", pa.array([-719163, 2932897], pa.date32())),  # a day before the year 1, a day after the year 9999
    *(
        ("timestamp", pa.array(MOMENTS, pa.timestamp("us")).cast(pa.timestamp("us", zone)))
        for zone in (None, "UTC", "Asia/Kuala_Lumpur")
    ),
    ("timestamp", pa.array([-62135596800000001, 253402300800000000], pa.timestamp("us"))),
]


def source(type_, **changes):
    columns = {"id": "integer", "at": "timestamp", "value": {"type": type_, "required": True}}
    return Source(
        name="things", format="parquet", location="*", columns=columns, key=["id"], event_time="at", zone="America/New_York",
        **changes,
    )  # fmt: skip


def conformed(values, spec):
    count = len(values)
    columns = {
        "id": pa.array(range(count)),
        "at": pa.array([EPOCH] * count, pa.timestamp("us", "UTC")),
        "value": values,
        "_file": pa.array(["f"] * count),
        "_line": pa.array(range(count)),
        "_unreadable": pa.nulls(count, pa.string()),
        "_raw": pa.nulls(count, pa.string()),
    }
    (batch,) = Conform(spec)([pa.RecordBatch.from_pydict(columns)])
    return batch.to_pylist()


def unwritten(rows):
    return [{name: value for name, value in row.items() if name not in WRITTEN} for row in rows]


@pytest.mark.parametrize("null_values", [("", "NA"), ("", "nan")])
@pytest.mark.parametrize(("type_", "values"), CASES, ids=lambda case: str(case.type) if isinstance(case, pa.Array) else case)
def test_a_value_is_what_its_text_says(type_, values, null_values):
    assert is_value(values.type, type_, null_values)
    spec = source(type_, null_values=null_values)
    as_values, as_text = conformed(values, spec), conformed(pc.cast(values, pa.string()), spec)
    assert unwritten(as_values) == unwritten(as_text)
    assert any(row["_rule"] is None for row in as_values) or values.type in (pa.date32(), pa.timestamp("us"))


def test_what_is_wrong_with_a_value_is_told_in_its_words():
    (row,) = conformed(pa.array([math.inf]), source("number"))
    assert (row["_rule"], row["_reason"]) == ("value.type", "value: 'inf' is not a number such as 0.25")
    assert row["_row"] == '{"id":"0","at":"1970-01-01 00:00:00+00","value":"inf"}'
    (row,) = conformed(pa.array([7]), source("integer", rules=[{"name": "small", "expr": "value < 5"}]))
    assert row["_reason"] == "small does not hold: value < 5"
    assert row["_key"] == "id=0"


@pytest.mark.parametrize(
    ("kind", "type_"),
    [
        (pa.float32(), "number"),  # 0.1 isn't what its text says
        (pa.float64(), "money"),
        (pa.int64(), "money"),
        (pa.int64(), "boolean"),
        (pa.int64(), "date"),
        (pa.uint64(), "integer"),
        (pa.float64(), "integer"),
        (pa.decimal128(18, 3), "money"),
        (pa.decimal128(19, 2), "money"),
        (pa.date32(), "timestamp"),
        (pa.timestamp("us"), "date"),
        (pa.string(), "string"),
    ],
)
def test_what_says_something_else_than_its_text_is_read_as_text(kind, type_):
    assert not is_value(kind, type_)


@pytest.mark.parametrize(
    ("type_", "values", "changes"),
    [
        ("integer", pa.array([1.5, 2.0, 1e20]), {}),
        ("money", pa.array([1.005, math.nan, 120.1]), {}),
        ("money", pa.array([Decimal("99999999999999999")], pa.decimal128(17, 0)), {}),
        ("money", pa.array([Decimal("1.235")], pa.decimal128(20, 3)), {}),
        ("integer", pa.array([-999, 5]), {"null_values": ["-999"]}),
        ("boolean", pa.array([2, 1, 0]), {}),
        ("number", pa.array([0.1], pa.float32()), {}),
        ("number", pa.array([math.inf, 1.0]), {"null_values": ["inf"]}),
        ("timestamp", pa.array([date(2025, 1, 1)]), {}),
        ("date", pa.array([20250101]), {}),
        ("date", pa.array([EPOCH], pa.timestamp("us")), {}),
    ],
    ids=str,
)
def test_other_values_are_read_from_their_text(type_, values, changes):
    """As a reshaping select may give them: never taken for a value of the type, and no run ends."""
    spec = source(type_, **changes)
    as_found, as_text = (unwritten(conformed(given, spec)) for given in (values, pa.array(in_words(values))))
    assert as_found == as_text


def in_words(values):
    with open_duckdb() as connection:
        connection.register("given", pa.table({"v": values}))
        return [text for (text,) in connection.sql("select cast(v as varchar) from given").fetchall()]


def test_a_number_with_listed_values_is_told_by_its_text():
    """Arrow writes a whole number without a point, as one would list it."""
    columns = {"id": "integer", "at": "timestamp", "value": {"type": "number", "values": ["1", "2.5"]}}
    spec = Source(name="things", format="parquet", location="*", columns=columns, key=["id"], event_time="at")
    assert raw_format(spec, None, [], reads=None).types.keys() == {"id", "at"}
    assert [row["_rule"] for row in conformed(pa.array(["1", "2.5", "3"]), spec)] == [None, None, "value.values"]


@pytest.mark.parametrize("null", ["-1", "1900-01-01", "False", "inf"])
def test_where_a_value_may_stand_for_none_its_text_is_read(null):
    assert not is_value(pa.int64(), "integer", ("", null))
    assert is_value(pa.int64(), "integer", ("", "NA"))


def test_batches_may_come_as_values_and_as_text():
    spec = source("integer")

    def batch(number, values):
        return pa.RecordBatch.from_pydict(
            {
                "id": pa.array([str(number)]), "at": pa.array(["2025-01-01"]), "value": values, "_file": pa.array(["f"]),
                "_line": pa.array([number]), "_unreadable": pa.nulls(1, pa.string()), "_raw": pa.nulls(1, pa.string()),
            }
        )  # fmt: skip

    given = [batch(1, pa.array([7])), batch(2, pa.array([8])), batch(3, pa.array(["9"])), batch(4, pa.array([10], pa.int32()))]
    found = [row for part in Conform(spec)(given) for row in part.to_pylist()]
    assert [(row["_line"], row["value"], row["_rule"]) for row in found] == [
        (1, 7, "at.type"),
        (2, 8, "at.type"),
        (3, 9, "at.type"),
        (4, 10, "at.type"),
    ]
