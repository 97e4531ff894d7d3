"""Text to types, the two clocks, and the reason why a row can't be kept."""

import hashlib
import hmac

import pytest
from chispa import assert_df_equality

from conf.errors import DefinitionError
from conf.specs import Source
from tests.tables import table
from transforms.conform import conform, curated_columns, reshape, reshape_inputs

ONE_SELECT = "reshape: write one select over the table raw, without group by"
RAW = "_file string, _line bigint, _unreadable string, _raw string"


def source(columns, **changes):
    """A source with a string key `id` and a timestamp `at`, and the columns to try."""
    known = {"id": "string", "at": "timestamp", **columns}
    return Source(
        **{"name": "things", "format": "csv", "location": "*", "columns": known, "key": ["id"], "event_time": "at", **changes}
    )


def read_as(spark, column, *texts, **changes):
    """One column's values and reasons, in the order of the texts."""
    rows = table(spark, f"id string, at string, value string, {RAW}", *(
        (f"{number:03}", "2025-01-01T00:00:00Z", text, "f.csv", number, None, None) for number, text in enumerate(texts)
    ))  # fmt: skip
    result = conform(rows, source=source({"value": column}, **changes))
    found = result.selectExpr("id", "cast(value as string) as value", "_reasons.reason as reasons", "_rounded").orderBy("id")
    return [(row["value"], *row["reasons"]) for row in found.collect()]


def test_whole_numbers(spark):
    wrong = " is not a whole number such as 12"
    assert read_as(
        spark, "integer", "12", " -7 ", "5.00E+05", "12.0", "9223372036854775807",
        "12.5", "1,234", "12x", "9223372036854775808", "NaN", None,
    ) == [
        ("12",), ("-7",), ("500000",), ("12",), ("9223372036854775807",),
        (None, f"value: '12.5'{wrong}"), (None, f"value: '1,234'{wrong}"), (None, f"value: '12x'{wrong}"),
        (None, f"value: '9223372036854775808'{wrong}"), (None,), (None,),
    ]  # fmt: skip


def test_money_is_exact_and_rounds_half_away_from_zero(spark):
    wrong = " is not an amount such as 1234.50, below 10^16"
    assert read_as(
        spark, "money", "1234.5", " 12 ", "0.005", "-0.005", "0.0049999", "1e3", "5.00E+05", "9999999999999999.99",
        "1e16", "inf", "-Infinity", "1,234.50", "$5", "1.2.3", "0x10", "5d", null_values=("",),
    ) == [
        ("1234.50",), ("12.00",), ("0.01",), ("-0.01",), ("0.00",), ("1000.00",), ("500000.00",), ("9999999999999999.99",),
        *((None, f"value: '{text}'{wrong}") for text in ("1e16", "inf", "-Infinity", "1,234.50", "$5", "1.2.3", "0x10", "5d")),
    ]  # fmt: skip


def test_amounts_that_were_rounded_are_counted(spark):
    rows = table(
        spark,
        f"id string, at string, one string, two string, {RAW}",
        ("a", "2025-01-01T00:00:00Z", "1.005", "2.0049", "f", 1, None, None),
        ("b", "2025-01-01T00:00:00Z", "1.500", None, "f", 2, None, None),  # a third decimal that is 0 loses nothing
    )
    result = conform(rows, source=source({"one": "money", "two": "money"}))
    expected = table(
        spark,
        "id string, one decimal(18,2), two decimal(18,2), _rounded int",
        ("a", "1.01", "2.00", 2),
        ("b", "1.50", None, 0),
    )
    assert_df_equality(result.select("id", "one", "two", "_rounded"), expected, ignore_nullable=True)


def test_numbers_are_finite(spark):
    wrong = " is not a number such as 0.25"
    assert read_as(
        spark, "number", "0.25", ".5", "-1e-3", "1,000.5", "NaN", "nan", "Infinity", "1e999", "5d", "0x1p3", null_values=("",)
    ) == [
        ("0.25",), ("0.5",), ("-0.001",),
        *((None, f"value: '{text}'{wrong}") for text in ("1,000.5", "NaN", "nan", "Infinity", "1e999", "5d", "0x1p3")),
    ]  # fmt: skip


def test_booleans(spark):
    assert read_as(spark, "boolean", "true", "No", "1", "0", "YES", "FALSE", "y") == [
        ("true",), ("false",), ("true",), ("false",), ("true",), ("false",), (None, "value: 'y' is not true or false"),
    ]  # fmt: skip


def test_dates(spark):
    column = {"type": "date", "formats": ["dd/MM/yyyy", "d MMM yyyy"]}
    wrong = " is not a date such as 2025-09-30 or of the form dd/MM/yyyy, d MMM yyyy"
    assert read_as(
        spark, column, "2025-09-30", "30/09/2025", "5 Jan 2025", "2025-09-30 00:00:00.000000",
        "2025-02-29", "2025-9-3", "2025", "31/09/2025",
    ) == [
        ("2025-09-30",), ("2025-09-30",), ("2025-01-05",), ("2025-09-30",),
        *((None, f"value: '{text}'{wrong}") for text in ("2025-02-29", "2025-9-3", "2025", "31/09/2025")),
    ]  # fmt: skip


def test_timestamps_have_an_offset_or_are_local(spark):
    column = {"type": "timestamp", "zone": "Asia/Kuala_Lumpur", "formats": ["dd/MM/yyyy HH:mm", "yyyyMMdd HHmmssXXX"]}
    wrong = " is not a date and time such as 2025-09-30T16:00:00Z or of the form dd/MM/yyyy HH:mm, yyyyMMdd HHmmssXXX"
    refused = ("2025-09-30", "16:00:00", "2025-09-30T25:00:00Z", "2025-02-30T00:00:00Z", "1759248000", "Z")
    assert read_as(
        spark, column, "2025-09-30T16:00:00Z", "2025-10-01 00:00:00", "2025-09-30T23:59:59.999999+08:00", "2025-09-30T16:00:00+0000",
        "2025-10-01T00:00:00.5", "2025-09-30T16:00:00.123456789Z", "01/10/2025 08:30", "20251001 003000+08:00",
        "2025-09-30T16:00:00 +08:00", "2025-09-30T16:00:00+08", *refused,
    ) == [
        ("2025-09-30 16:00:00",), ("2025-09-30 16:00:00",), ("2025-09-30 15:59:59.999999",), ("2025-09-30 16:00:00",),
        ("2025-09-30 16:00:00.5",), ("2025-09-30 16:00:00.123456",), ("2025-10-01 00:30:00",), ("2025-09-30 16:30:00",),
        ("2025-09-30 08:00:00",), ("2025-09-30 08:00:00",),
        *((None, f"value: '{text}'{wrong}") for text in refused),
    ]  # fmt: skip


def test_text_is_trimmed_and_null_values_are_null(spark):
    assert read_as(spark, "string", " a b\t", "NULL", " N/A ", "", "null!", None) == [
        ("a b",),
        (None,),
        (None,),
        (None,),
        ("null!",),
        (None,),
    ]


def test_row_rules_say_what_was_found_and_what_is_allowed(spark):
    column = {"type": "integer", "required": True, "values": ["1", "2", "30"], "minimum": 2, "maximum": 20}
    assert read_as(spark, column, "2", "1", "30", "7", "", "NULL") == [
        ("2",),
        ("1", "value: '1' is below the minimum 2"),
        ("30", "value: '30' is above the maximum 20"),
        ("7", "value: '7' is not one of 1, 2, 30"),
        (None, "value is required and empty"),
        (None, "value is required and is 'NULL'"),
    ]


def test_a_row_that_breaks_rules_is_shown_with_its_key(spark):
    """Of several reasons each is told; a rule that is null is broken; personal data is neither shown nor kept as it is."""
    spec = source(
        {"amount": "money", "phone": {"type": "integer", "personal": "drop"}, "card": {"type": "string", "personal": "hmac"}},
        rules=[{"name": "positive", "expr": "amount > 0"}],
    )
    rows = table(
        spark,
        f"id string, at string, amount string, phone string, card string, {RAW}",
        ("ann", "2025-01-01T00:00:00Z", "5", "12", "4111", "f.csv", 2, None, None),
        ("bob", "yesterday", None, "secret", "4222", "f.csv", 3, None, None),
        (None, None, None, None, None, "f.csv", 4, "3 values where the header has 5 columns", "eve,4333,1"),
    )

    result = conform(rows, source=spec, personal_key=b"key")

    card = hmac.new(b"key", b"4111", hashlib.sha256).hexdigest()
    assert [name for name in result.columns if name in spec.columns] == ["id", "at", "amount", "card"]
    assert result.where("id = 'ann'").select("card").first()[0] == card
    expected = table(
        spark,
        "_line bigint, _reasons array<struct<rule:string,reason:string>>, _key string, _row string",
        (2, [], None, None),
        (
            3,
            [
                ("at.type", "at: 'yesterday' is not a date and time such as 2025-09-30T16:00:00Z"),
                ("phone.type", "phone: its value is not a whole number such as 12"),
                ("positive", "positive does not hold: amount > 0"),
            ],
            "id=bob",
            '{"id":"bob","at":"yesterday"}',
        ),
        (4, [("unreadable", "3 values where the header has 5 columns")], "id=", None),
    )
    assert_df_equality(result.select("_line", "_reasons", "_key", "_row"), expected, ignore_nullable=True)


def test_an_unreadable_row_of_a_source_without_personal_data_is_shown(spark):
    rows = table(spark, f"id string, at string, {RAW}", (None, None, "f.csv", 4, "cut", 'a,"b'))
    assert conform(rows, source=source({})).select("_row").first()[0] == '{"_raw":"a,\\"b"}'


def test_clocks_at_the_edges_of_local_days(spark):
    """A day ends one microsecond before the local midnight that follows, so that it counts at its own cut-off."""
    rows = table(spark, f"id string, day string, month string, {RAW}", ("a", "2025-06-30", "2025-02-10", "f", 1, None, None))
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
        row = (
            conform(rows, source=spec).selectExpr("cast(_event_time as string)", "cast(_known_time as string)", "_month").first()
        )
        return tuple(row)

    assert clocks("end_of_day(day)", "start_of_day(day)") == ("2025-06-30 15:59:59.999999", "2025-06-29 16:00:00", "2025-06")
    assert clocks("end_of_month(month)", None) == ("2025-03-01 04:59:59.999999", None, "2025-03")


def test_years_may_be_the_layout(spark):
    rows = table(spark, f"id string, at string, {RAW}", ("a", "2024-12-31T23:59:59Z", "f", 1, None, None))
    assert conform(rows, source=source({}, layout="year")).select("_month").first()[0] == "2024"


def test_event_times_out_of_reach_are_refused(spark):
    rows = table(spark, f"id string, at string, {RAW}", ("a", "0025-01-01T00:00:00Z", "f", 1, None, None))
    reasons = conform(rows, source=source({})).select("_reasons").first()[0]
    assert [tuple(reason) for reason in reasons] == [("event_time", "event time 0025-01-01 00:00:00 lies outside 1900 to 2199")]


def test_the_row_hash_is_that_of_the_typed_content(spark):
    rows = table(
        spark,
        f"id string, at string, value string, note string, {RAW}",
        ("a", "2025-01-01T00:00:00Z", "1.5", None, "f", 1, None, None),
        (" a", "2025-01-01 00:00:00", "1.50", "", "g", 2, None, None),  # the same, written otherwise
        ("a", "2025-01-01T00:00:00Z", "1.5", "x", "f", 3, None, None),
        ("a", "2025-01-01T00:00:00Z", None, "1.5", "f", 4, None, None),
    )
    result = conform(rows, source=source({"value": "money", "note": "string"}))
    hashes = [row[0] for row in result.orderBy("_line").select("_row_hash").collect()]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_an_empty_frame_has_the_curated_columns(spark):
    spec = source({"value": "money", "card": {"type": "integer", "personal": "hmac"}})
    result = conform(table(spark, f"id string, {RAW}"), source=spec, personal_key=b"k")
    types = dict(result.dtypes)
    assert {name: types[name] for name in curated_columns(spec) if name != "_run"} == {
        name: kind for name, kind in curated_columns(spec).items() if name != "_run"
    }


def test_reshape_unfolds_a_wide_row_and_keeps_its_line(spark):
    rows = table(
        spark,
        "`ID` string, `PAY.0` string, `PAY.2` string, _file string, _line bigint",
        ("1", "2", "-1", "f.csv", 2),
        ("2", "0", None, "f.csv", 3),
    )
    sql = "select ID as id, stack(2, 'sep', `PAY.0`, 'aug', `PAY.2`) as (month, status) from raw where ID <> '9'"

    assert reshape_inputs(sql) == ({"ID", "PAY.0", "PAY.2"}, False)
    expected = table(
        spark,
        "_file string, _line bigint, id string, month string, status string",
        ("f.csv", 2, "1", "sep", "2"),
        ("f.csv", 2, "1", "aug", "-1"),
        ("f.csv", 3, "2", "sep", "0"),
        ("f.csv", 3, "2", "aug", None),
    )
    assert_df_equality(reshape(rows, sql=sql), expected, ignore_nullable=True)


def test_reshape_explodes_a_json_array(spark):
    rows = table(spark, "id string, items string, _file string, _line bigint", ("a", '["x","y"]', "f", 1), ("b", "[]", "f", 2))
    sql = "select r.id, item from raw r lateral view explode(from_json(items, 'array<string>')) t as item"

    assert reshape_inputs(sql) == ({"id", "items"}, False)
    expected = table(spark, "_file string, _line bigint, id string, item string", ("f", 1, "a", "x"), ("f", 1, "a", "y"))
    assert_df_equality(reshape(rows, sql=sql), expected, ignore_nullable=True)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("select 1 as id", "reshape: the select reads no table named 'raw': select 1 as id"),
        ("select sum(x) from raw group by id", f"{ONE_SELECT}: select sum(x) from raw group by id"),
        ("drop table raw", f"{ONE_SELECT}: drop table raw"),
    ],
)  # fmt: skip
def test_what_reshape_refuses(sql, told):
    with pytest.raises(DefinitionError) as problem:
        reshape_inputs(sql)
    assert str(problem.value) == told


def test_reshape_takes_every_column_by_a_star():
    assert reshape_inputs("select *, upper(id) as other from raw") == ({"id"}, True)
    assert reshape_inputs("select v from (select id, cast(x as int) as v from raw) where v > 1") == ({"id", "x"}, False)
