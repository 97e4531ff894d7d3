"""Curated rows from texts, as examples write them: types, zones, what stands in for what is left out, and what is refused."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from conf.errors import DefinitionError
from conf.specs import Source
from transforms.curated import curated_arrow_schema, curated_table

LOANS = Source.model_validate(
    {
        "name": "loans", "format": "csv", "location": "loans/*", "zone": "Asia/Kuala_Lumpur", "key": ["loan"],
        "event_time": "taken", "known_time": "recorded",
        "columns": {
            "loan": "string", "taken": "timestamp", "recorded": "timestamp", "amount": "money", "rate": "number", "parts": "integer",
            "good": "boolean", "due": "date", "phone": {"type": "string", "personal": "drop"},
            "born": {"type": "date", "personal": "hmac"}, "abroad": {"type": "timestamp", "zone": "America/New_York"},
        },
    }
)  # fmt: skip
STATES = Source(
    name="states", format="csv", location="states/*", zone="Asia/Kuala_Lumpur", key=["loan", "month"],
    event_time="end_of_month(month)", columns={"loan": "string", "month": "date"},
)  # fmt: skip


def one(source: Source, **row: object) -> dict[str, object]:
    [told] = curated_table(source, [row]).to_pylist()
    return {name: value for name, value in told.items() if value is not None and name not in ("_line", "_run")}


def test_texts_become_typed_and_local_times_utc():
    told = one(
        LOANS, loan="a", taken="2025-06-30T12:00:00+08:00", recorded="2025-07-01 00:00", amount="10.125", rate="1e-3", parts="+3",
        good="Yes", due="2025-07-31", born="not read: it is a hash", abroad="2025-01-01T00:00:00", phone="never kept",
    )  # fmt: skip
    assert told == {
        "loan": "a",
        "taken": datetime(2025, 6, 30, 4, tzinfo=UTC),
        "recorded": datetime(2025, 6, 30, 16, tzinfo=UTC),  # in the source's zone
        "amount": Decimal("10.13"),  # half away from zero
        "rate": 0.001,
        "parts": 3,
        "good": True,
        "due": date(2025, 7, 31),
        "born": "not read: it is a hash",
        "abroad": datetime(2025, 1, 1, 5, tzinfo=UTC),  # in the column's own
        "_event_time": datetime(2025, 6, 30, 4, tzinfo=UTC),
        "_known_time": datetime(2025, 6, 30, 16, tzinfo=UTC),
    }


def test_what_is_left_out_is_null_the_key_a_number_and_known_when_it_happened():
    told = curated_table(LOANS, [{"taken": "2025-06-30T00:00:00Z"}, {"taken": "2025-06-30T00:00:00Z"}], run="r")
    assert told.schema == curated_arrow_schema(LOANS)
    assert told["loan"].to_pylist() == ["row-1", "row-2"]
    assert told["_known_time"] == told["_event_time"]
    assert told["recorded"].null_count == told["amount"].null_count == 2
    assert told["_run"].to_pylist() == ["r", "r"]


def test_a_date_as_a_time_is_a_moment_of_the_sources_zone_and_nothing_is_known_but_the_event():
    told = one(STATES, loan="a", month="2025-02-11")
    assert told["_event_time"] == datetime(2025, 2, 28, 15, 59, 59, 999999, tzinfo=UTC)
    assert "_known_time" not in told


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"amont": "1"}, "loans: row 2: no column named 'amont' (did you mean 'amount'?); columns: loan, taken, recorded, amount,"
         " rate, parts, good, due, born, abroad"),
        ({"amount": "1,000.00"}, "loans: row 2: column 'amount' is '1,000.00', which is not an amount such as 1234.50"),
        ({"amount": "nan"}, "loans: row 2: column 'amount' is 'nan', which is not an amount such as 1234.50"),
        ({"rate": "1e999"}, "loans: row 2: column 'rate' is '1e999', which is not a number such as 0.25"),
        ({"parts": "1_0"}, "loans: row 2: column 'parts' is '1_0', which is not a whole number such as 12"),
        ({"good": "maybe"}, "loans: row 2: column 'good' is 'maybe', which is not true or false"),
        ({"due": "31.07.2025"}, "loans: row 2: column 'due' is '31.07.2025', which is not a date such as 2025-09-30"),
        ({"recorded": "2025-07-01"}, "loans: row 2: column 'recorded' is '2025-07-01', which is not a date and time such as"
         " 2025-09-30T16:00:00Z"),
        ({"taken": None}, "loans: row 2: column 'taken' is missing: it says when the row happened"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_is_refused(row, message):
    fine = {"taken": "2025-06-30T00:00:00Z"}
    with pytest.raises(DefinitionError) as problem:
        curated_table(LOANS, [fine, {**fine, **row}])
    assert str(problem.value) == message


def test_a_day_of_the_key_has_no_stand_in():
    with pytest.raises(DefinitionError) as problem:
        curated_table(STATES, [{"loan": "a"}])
    assert str(problem.value) == "states: row 1: column 'month' is missing: it is part of the key"
