"""Text to types, the two clocks, and the reason why a row can't be kept."""

import hashlib
import hmac

import pyarrow as pa
import pytest

from conf.specs import Source
from tests.rows import rows
from transforms.conform import Conform, conformed_columns
from transforms.curated import arrow_schema

RAW = "_file string, _line bigint, _unreadable string, _raw string"


def source(columns, **changes):
    """A source with a string key `id` and a timestamp `at`, and the columns to try."""
    known = {"id": "string", "at": "timestamp", **columns}
    return Source(
        **{"name": "things", "format": "csv", "location": "*", "columns": known, "key": ["id"], "event_time": "at", **changes}
    )


def conform(table, spec, **options):
    """Conform a table, handed over in batches of two rows."""
    return pa.Table.from_batches(Conform(spec, **options)(table.to_batches(2)), arrow_schema(conformed_columns(spec)))


def plain(value):
    """A value as text: an instant in UTC, without saying so."""
    return value if value is None else str(value).lower() if isinstance(value, bool) else str(value).removesuffix("+00:00")


def read_as(column, *texts, **changes):
    """One column's values and reasons, in the order of the texts."""
    table = rows(f"id string, at string, value string, {RAW}", *(
        (f"{number:03}", "2025-01-01T00:00:00Z", text, "f.csv", number, None, None) for number, text in enumerate(texts)
    ))  # fmt: skip
    found = conform(table, source({"value": column}, **changes)).sort_by("id").to_pylist()
    return [(plain(row["value"]), *filter(None, [row["_reason"]])) for row in found]


def test_whole_numbers():
    wrong = " is not a whole number such as 12"
    assert read_as(
        "integer", "12", " -7 ", "5.00E+05", "12.0", "9223372036854775807",
        "12.5", "1,234", "12x", "9223372036854775808", "NaN", None,
    ) == [
        ("12",), ("-7",), ("500000",), ("12",), ("9223372036854775807",),
        (None, f"value: '12.5'{wrong}"), (None, f"value: '1,234'{wrong}"), (None, f"value: '12x'{wrong}"),
        (None, f"value: '9223372036854775808'{wrong}"), (None,), (None,),
    ]  # fmt: skip


def test_money_is_exact_and_rounds_half_away_from_zero():
    wrong = " is not an amount such as 1234.50, below 10^16"
    assert read_as(
        "money", "1234.5", " 12 ", "0.005", "-0.005", "0.0049999", "1e3", "5.00E+05", "9999999999999999.99",
        "1e16", "inf", "-Infinity", "1,234.50", "$5", "1.2.3", "0x10", "5d", null_values=("",),
    ) == [
        ("1234.50",), ("12.00",), ("0.01",), ("-0.01",), ("0.00",), ("1000.00",), ("500000.00",), ("9999999999999999.99",),
        *((None, f"value: '{text}'{wrong}") for text in ("1e16", "inf", "-Infinity", "1,234.50", "$5", "1.2.3", "0x10", "5d")),
    ]  # fmt: skip


def test_amounts_that_were_rounded_are_counted():
    table = rows(
        f"id string, at string, one string, two string, {RAW}",
        ("a", "2025-01-01T00:00:00Z", "1.005", "2.0049", "f", 1, None, None),
        ("b", "2025-01-01T00:00:00Z", "1.500", None, "f", 2, None, None),  # a third decimal that is 0 loses nothing
        ("c", "2025-01-01T00:00:00Z", "5e-3", "1e2", "f", 3, None, None),
    )
    actual = conform(table, source({"one": "money", "two": "money"})).select(["id", "one", "two", "_rounded"])
    expected = rows(
        "id string, one decimal(18,2), two decimal(18,2), _rounded bigint",
        ("a", "1.01", "2.00", 2),
        ("b", "1.50", None, 0),
        ("c", "0.01", "100.00", 1),
    )
    assert actual.equals(expected)


def test_numbers_are_finite():
    wrong = " is not a number such as 0.25"
    assert read_as(
        "number", "0.25", ".5", "-1e-3", "1,000.5", "NaN", "nan", "Infinity", "1e999", "5d", "0x1p3", null_values=("",)
    ) == [
        ("0.25",), ("0.5",), ("-0.001",),
        *((None, f"value: '{text}'{wrong}") for text in ("1,000.5", "NaN", "nan", "Infinity", "1e999", "5d", "0x1p3")),
    ]  # fmt: skip


def test_booleans():
    assert read_as("boolean", "true", "No", "1", "0", "YES", "FALSE", "y") == [
        ("true",), ("false",), ("true",), ("false",), ("true",), ("false",), (None, "value: 'y' is not true or false"),
    ]  # fmt: skip


def test_dates():
    column = {"type": "date", "formats": ["dd/MM/yyyy", "d MMM yyyy"]}
    wrong = " is not a date such as 2025-09-30 or of the form dd/MM/yyyy, d MMM yyyy"
    assert read_as(
        column, "2025-09-30", "30/09/2025", "5 Jan 2025", "2025-09-30 00:00:00.000000",
        "2025-02-29", "2025-9-3", "2025", "31/09/2025", "0000-05-01", "01/05/0000",
    ) == [
        ("2025-09-30",), ("2025-09-30",), ("2025-01-05",), ("2025-09-30",),
        *((None, f"value: '{text}'{wrong}") for text in (
            "2025-02-29", "2025-9-3", "2025", "31/09/2025", "0000-05-01", "01/05/0000",
        )),
    ]  # fmt: skip


def test_timestamps_have_an_offset_or_are_local():
    column = {"type": "timestamp", "zone": "Asia/Kuala_Lumpur", "formats": ["dd/MM/yyyy HH:mm", "yyyyMMdd HHmmssXXX"]}
    wrong = " is not a date and time such as 2025-09-30T16:00:00Z or of the form dd/MM/yyyy HH:mm, yyyyMMdd HHmmssXXX"
    refused = (
        "2025-09-30",
        "16:00:00",
        "2025-09-30T25:00:00Z",
        "2025-02-30T00:00:00Z",
        "2025-09-30T16:00:00+19:00",
        "1759248000",
        "Z",
    )
    assert read_as(
        column, "2025-09-30T16:00:00Z", "2025-10-01 00:00:00", "2025-09-30T23:59:59.999999+08:00", "2025-09-30T16:00:00+0000",
        "2025-10-01T00:00:00.5", "2025-09-30T16:00:00.123456789Z", "01/10/2025 08:30", "20251001 003000+08:00",
        "2025-09-30T16:00:00 +08:00", "2025-09-30T16:00:00+08", *refused,
    ) == [
        ("2025-09-30 16:00:00",), ("2025-09-30 16:00:00",), ("2025-09-30 15:59:59.999999",), ("2025-09-30 16:00:00",),
        ("2025-09-30 16:00:00.500000",), ("2025-09-30 16:00:00.123456",), ("2025-10-01 00:30:00",), ("2025-09-30 16:30:00",),
        ("2025-09-30 08:00:00",), ("2025-09-30 08:00:00",),
        *((None, f"value: '{text}'{wrong}") for text in refused),
    ]  # fmt: skip


@pytest.mark.parametrize("clock", ["event_time", "known_time"])
def test_a_day_whose_end_is_no_moment_is_bad(clock):
    """The end of the last day that can be written isn't one."""
    times = {"event_time": "at", clock: {"column": "day", "of_date": "end_of_day"}}
    spec = source({"day": "date"}, **times)
    table = rows(f"id string, at string, day string, {RAW}", *(
        (day, "2025-01-01T00:00:00Z", day, "f.csv", 1, None, None) for day in ("2025-01-01", "9999-12-31")
    ))  # fmt: skip
    good, bad = conform(table, spec).sort_by("id").to_pylist()
    assert (good["_rule"], good["_reason"]) == (None, None)
    told = {
        "event_time": "event time 9999-12-31 lies outside 1900 to 2199",
        "known_time": "known time 9999-12-31 is no moment of the years 1 to 9999",
    }
    assert (bad["_rule"], bad["_reason"]) == (clock, told[clock])


def test_text_is_trimmed_and_null_values_are_null():
    assert read_as("string", " a b\t", "NULL", " N/A ", "", "null!", None) == [
        ("a b",),
        (None,),
        (None,),
        (None,),
        ("null!",),
        (None,),
    ]


def test_row_rules_say_what_was_found_and_what_is_allowed():
    column = {"type": "integer", "required": True, "values": ["1", "2", "30"], "minimum": 2, "maximum": 20}
    assert read_as(column, "2", "1", "30", "7", "", "NULL") == [
        ("2",),
        ("1", "value: '1' is below the minimum 2"),
        ("30", "value: '30' is above the maximum 20"),
        ("7", "value: '7' is not one of 1, 2, 30"),
        (None, "value is required and empty"),
        (None, "value is required and is 'NULL'"),
    ]


def test_a_row_that_breaks_rules_is_shown_with_its_key():
    """Of several reasons each is told; a rule that is null is broken; personal data is neither shown nor kept as it is."""
    spec = source(
        {"amount": "money", "phone": {"type": "integer", "personal": "drop"}, "card": {"type": "string", "personal": "hmac"}},
        rules=[{"name": "positive", "expr": "amount > 0"}],
    )
    table = rows(
        f"id string, at string, amount string, phone string, card string, {RAW}",
        ("ann", "2025-01-01T00:00:00Z", "5", "12", "4111", "f.csv", 2, None, None),
        ("bob", "yesterday", None, "secret", "4222", "f.csv", 3, None, None),
        (None, None, None, None, None, "f.csv", 4, "3 values where the header has 5 columns", "eve,4333,1"),
    )

    result = conform(table, spec, personal_key=b"key")

    card = hmac.new(b"key", b"4111", hashlib.sha256).hexdigest()
    assert [name for name in result.column_names if name in spec.columns] == ["id", "at", "amount", "card"]
    assert result["card"][0].as_py() == card
    expected = rows(
        "_line bigint, _rule string, _reason string, _key string, _row string",
        (2, None, None, None, None),
        (
            3,
            "at.type; phone.type; positive",
            "at: 'yesterday' is not a date and time such as 2025-09-30T16:00:00Z; "
            "phone: its value is not a whole number such as 12; positive does not hold: amount > 0",
            "id=bob",
            '{"id":"bob","at":"yesterday"}',
        ),
        (4, "unreadable", "3 values where the header has 5 columns", "id=", None),
    )
    assert result.select(expected.column_names).equals(expected)


def test_personal_data_to_be_hashed_needs_a_key():
    table = rows(f"id string, card string, {RAW}", ("ann", "4111", "f.csv", 2, None, None))
    with pytest.raises(ValueError, match=r"^things has personal data to be hashed, and there is no key$"):
        conform(table, source({"card": {"type": "string", "personal": "hmac"}}))


def test_an_unreadable_row_of_a_source_without_personal_data_is_shown():
    table = rows(f"id string, at string, {RAW}", (None, None, "f.csv", 4, "cut", 'a,"b'))
    assert conform(table, source({}))["_row"].to_pylist() == ['{"_raw":"a,\\"b"}']


def test_clocks_at_the_edges_of_local_days():
    """A day ends one microsecond before the local midnight that follows, so that it counts at its own cut-off."""
    table = rows(f"id string, day string, month string, {RAW}", ("a", "2025-06-30", "2025-02-10", "f", 1, None, None))
    columns = {"id": "string", "day": "date", "month": {"type": "date", "zone": "America/New_York"}}

    def clocks(event, known):
        spec = Source(
            name="x",
            format="csv",
            location="*",
            columns=columns,
            key=["id"],
            event_time=event,
            known_time=known,
            zone="Asia/Kuala_Lumpur",
        )
        (row,) = conform(table, spec).to_pylist()
        return plain(row["_event_time"]), plain(row["_known_time"]), row["_month"]

    assert clocks("end_of_day(day)", "start_of_day(day)") == ("2025-06-30 15:59:59.999999", "2025-06-29 16:00:00", "2025-06")
    assert clocks("end_of_month(month)", None) == ("2025-03-01 04:59:59.999999", None, "2025-03")


def test_local_times_that_clocks_show_twice_or_skip():
    """A time shown twice is the earlier one; a time that is skipped is read as if clocks had not been put forward yet."""
    column = {"type": "timestamp", "zone": "America/New_York"}
    assert read_as(column, "2025-11-02 00:59:59", "2025-11-02 01:30:00", "2025-11-02 02:00:00", "2025-03-09 02:30:00") == [
        ("2025-11-02 04:59:59",), ("2025-11-02 05:30:00",), ("2025-11-02 07:00:00",), ("2025-03-09 07:30:00",)
    ]  # fmt: skip
    half_an_hour = {"type": "timestamp", "zone": "Australia/Lord_Howe"}
    assert read_as(half_an_hour, "2025-04-06 01:29:59", "2025-04-06 01:45:00", "2025-04-06 02:00:00") == [
        ("2025-04-05 14:29:59",), ("2025-04-05 14:45:00",), ("2025-04-05 15:30:00",)
    ]  # fmt: skip


def test_days_begin_and_end_at_the_midnight_that_clocks_show_first():
    """In Havana the first hour of 2 November 2025 comes twice; in Cairo that of 25 April 2025 not at all."""
    table = rows(
        f"id string, day string, {RAW}", *((d, d, "f", 1, None, None) for d in ("2025-11-01", "2025-11-02", "2025-04-24"))
    )

    def ends(zone):
        spec = Source(
            name="x", format="csv", location="*", columns={"id": "string", "day": "date"}, key=["id"], zone=zone,
            event_time="start_of_day(day)", known_time="end_of_day(day)",
        )  # fmt: skip
        return [(plain(row["_event_time"]), plain(row["_known_time"])) for row in conform(table, spec).to_pylist()]

    assert ends("America/Havana")[:2] == [
        ("2025-11-01 04:00:00", "2025-11-02 03:59:59.999999"),
        ("2025-11-02 04:00:00", "2025-11-03 04:59:59.999999"),
    ]
    assert ends("Africa/Cairo")[2] == ("2025-04-23 22:00:00", "2025-04-24 21:59:59.999999")


def test_late_is_known_after_the_local_day_and_the_effect_is_the_first_cut_off_that_sees_a_row():
    """The local day of 16:30 UTC on 28 February is 1 March, which ends at 16:00 UTC."""
    table = rows(
        f"id string, at string, known string, {RAW}",
        ("a", "2025-02-28T16:30:00Z", "2025-03-01T16:00:00Z", "f", 1, None, None),  # known at the very end of its day
        ("b", "2025-02-28T16:30:00Z", "2025-03-01T16:00:00.000001Z", "f", 2, None, None),
        ("c", "2025-02-28T16:30:00Z", None, "f", 3, None, None),
        ("d", "2025-02-28T16:30:00Z", "2025-03-05T00:00:00Z", "f", 4, None, None),
    )
    spec = source({"known": "timestamp"}, known_time="known", grace="1d")
    found = conform(table, spec, zone="Asia/Kuala_Lumpur").to_pylist()
    day = 86_400_000_000
    moment = 1740760200_000000  # 28 February 16:30 UTC
    assert [(row["id"], row["_late_by"], row["_effect"]) for row in found] == [
        ("a", 0, moment + 1),  # a day of grace before it was known, it had not happened yet
        ("b", 1, moment + 1),
        ("c", 0, moment + 1),
        ("d", 3 * day + day // 3, 1741132800_000000 - day),
    ]


def test_years_may_be_the_layout():
    table = rows(f"id string, at string, {RAW}", ("a", "2024-12-31T23:59:59Z", "f", 1, None, None))
    assert conform(table, source({}, layout="year"))["_month"].to_pylist() == ["2024"]


def test_event_times_out_of_reach_are_refused():
    table = rows(f"id string, at string, {RAW}", ("a", "0025-01-01T00:00:00Z", "f", 1, None, None))
    (row,) = conform(table, source({})).to_pylist()
    assert (row["_rule"], row["_reason"]) == ("event_time", "event time 0025-01-01 00:00:00 lies outside 1900 to 2199")


def test_the_row_hash_is_that_of_the_typed_content():
    table = rows(
        f"id string, at string, value string, note string, {RAW}",
        ("a", "2025-01-01T00:00:00Z", "1.5", None, "f", 1, None, None),
        (" a", "2025-01-01 00:00:00", "1.50", "", "g", 2, None, None),  # the same, written otherwise
        ("a", "2025-01-01T00:00:00Z", "1.5", "x", "f", 3, None, None),
        ("a", "2025-01-01T00:00:00Z", None, "1.5", "f", 4, None, None),
    )
    hashes = conform(table, source({"value": "money", "note": "string"}))["_row_hash"].to_pylist()
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_no_rows_in_no_rows_out():
    spec = source({"value": "money", "card": {"type": "integer", "personal": "hmac"}})
    assert list(Conform(spec, personal_key=b"k")([])) == []
    assert conform(rows(f"id string, {RAW}"), spec, personal_key=b"k").num_rows == 0


def test_a_column_that_no_file_has_is_null():
    table = rows(f"id string, at string, {RAW}", ("a", "2025-01-01T00:00:00Z", "f", 1, None, None))
    (row,) = conform(table, source({"value": "money"})).to_pylist()
    assert (row["value"], row["_rule"], row["_month"]) == (None, None, "2025-01")
