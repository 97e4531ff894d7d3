"""Functions of dates and instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conf.expressions.functions.base import ANY_NULL, Builder, Function, Parameter
from conf.expressions.values import ExpressionError, Value, build, convert, duckdb_text, in_calendar, recast, spark_text
from conf.specs import ColumnType

MOMENT: tuple[ColumnType, ...] = ("date", "timestamp")
_MOMENT = (Parameter("date or timestamp", MOMENT),)
_DAY = (Parameter("date", ("date",)),)
_DAYS_LIMIT = 3_652_059  # days in the years 1 to 9999
_MONTHS_LIMIT = 119_988
_SECONDS_LIMIT = _DAYS_LIMIT * 86_400


def local_time(value: Value, zone: str) -> Value:
    """A UTC timestamp as wall-clock time of `zone`; a date as it is."""
    if value.type != "timestamp" or zone == "UTC":
        return value
    local = recast(
        value,
        "timestamp",
        f"from_utc_timestamp({{0}}, {spark_text(zone)})",
        f"timezone({duckdb_text(zone)}, timezone('UTC', {{0}}))",
    )
    return Value(local.type, local.spark, local.duckdb, f"in[{zone}]({value.canonical})", value.written, nulls=value.nulls)


def local_date(value: Value, zone: str) -> Value:
    if value.type == "null":
        return convert(value, "date")
    if value.type == "date":
        return value
    local = local_time(value, zone)
    return recast(local, "date", "CAST({0} AS DATE)")


def _date_part(name: str, spark: str, duckdb: str, kinds: Sequence[str] = MOMENT) -> Builder:
    def built(args: Sequence[Value], zone: str) -> Value:
        value = convert(args[0], "date" if "date" in kinds else "timestamp") if args[0].type == "null" else args[0]
        return build("integer", name, [local_time(value, zone)], f"CAST({spark} AS BIGINT)", f"CAST({duckdb} AS BIGINT)")

    return built


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _name_of(name: str, names: Sequence[str], spark: str, duckdb: str) -> Builder:
    """The name of a date part that counts from 1."""
    choices = " ".join(f"WHEN {place} THEN '{one}'" for place, one in enumerate(names, start=1))

    def built(args: Sequence[Value], zone: str) -> Value:
        value = convert(args[0], "date") if args[0].type == "null" else args[0]
        return build("string", name, [local_time(value, zone)], f"CASE {spark} {choices} END", f"CASE {duckdb} {choices} END")

    return built


def _midnight(name: str, spark_day: str, duckdb_day: str) -> Builder:
    """The instant at which a local date begins: the earlier one when clocks show that midnight twice."""

    def built(args: Sequence[Value], zone: str) -> Value:
        given = convert(args[0], "date")
        day = in_calendar(recast(given, "date", spark_day, duckdb_day), margin=True)
        meaning = replace(day, canonical=given.canonical)
        midnight = "CAST({0} AS TIMESTAMP)"
        if zone == "UTC":
            return build("timestamp", name, [meaning], midnight)
        in_zone = duckdb_text(zone)
        instant = f"timezone({in_zone}, {midnight})"
        hour_before = f"{instant} - INTERVAL '1' HOUR"
        return build(
            "timestamp",
            f"{name}[{zone}]",
            [meaning],
            f"to_utc_timestamp({midnight}, {spark_text(zone)})",
            f"timezone('UTC', CASE WHEN timezone({in_zone}, {hour_before}) >= {midnight} THEN {hour_before} ELSE {instant} END)",
        )

    return built


def _local_date(args: Sequence[Value], zone: str) -> Value:
    return local_date(in_calendar(convert(args[0], "timestamp"), margin=zone != "UTC"), zone)


def _days_between(args: Sequence[Value], zone: str) -> Value:
    days = [local_date(arg, zone) for arg in args]
    return build("integer", "days_between", days, "CAST(datediff({1}, {0}) AS BIGINT)", "CAST({1} - {0} AS BIGINT)")


def _seconds_between(args: Sequence[Value], zone: str) -> Value:
    instants = [convert(arg, "timestamp") for arg in args]
    in_spark, in_duckdb = (f"(CAST({of}({{1}}) - {of}({{0}}) AS DOUBLE) / 1e6)" for of in ("unix_micros", "epoch_us"))
    return build("number", "seconds_between", instants, in_spark, in_duckdb)


def _months_between(args: Sequence[Value], zone: str) -> Value:
    days = [local_date(arg, zone) for arg in args]
    months = "(year({1}) - year({0})) * 12 + month({1}) - month({0}) - CASE WHEN day({1}) < day({0}) THEN 1 ELSE 0 END"
    return build("integer", "months_between", days, f"CAST({months} AS BIGINT)")


def _add_months(args: Sequence[Value], zone: str) -> Value:
    day, count = convert(args[0], "date"), convert(args[1], "integer")
    within = f"CASE WHEN {{1}} BETWEEN -{_MONTHS_LIMIT} AND {_MONTHS_LIMIT} THEN CAST({{1}} AS INT) END"
    in_duckdb = f"CAST(TRY({{0}} + to_months({within})) AS DATE)"
    return in_calendar(build("date", "add_months", [day, count], f"add_months({{0}}, {within})", in_duckdb))


def _add_days(args: Sequence[Value], zone: str) -> Value:
    return add_days(convert(args[0], "date"), convert(args[1], "integer"))


def add_days(day: Value, count: Value) -> Value:
    if isinstance(count.constant, int):
        if abs(count.constant) > _DAYS_LIMIT:
            raise ExpressionError(f"{count.shown} is more days than the calendar has (years 1 to 9999)")
        within = str(count.constant)
    else:
        within = f"CASE WHEN {{1}} BETWEEN -{_DAYS_LIMIT} AND {_DAYS_LIMIT} THEN CAST({{1}} AS INTEGER) END"
    shifted = build("date", "add_days", [day, count], f"date_add({{0}}, {within})", f"({{0}} + {within})")
    return in_calendar(shifted)


def _add_seconds(args: Sequence[Value], zone: str) -> Value:
    moment, count = convert(args[0], "timestamp"), convert(args[1], "integer")
    micros = f"1000000 * CASE WHEN {{1}} BETWEEN -{_SECONDS_LIMIT} AND {_SECONDS_LIMIT} THEN {{1}} END"
    in_spark, in_duckdb = f"timestamp_micros(unix_micros({{0}}) + {micros})", f"make_timestamp(epoch_us({{0}}) + {micros})"
    return in_calendar(build("timestamp", "add_seconds", [moment, count], in_spark, in_duckdb))


TIME = (
    Function(
        "year",
        _MOMENT,
        "integer",
        "Its year.",
        ANY_NULL,
        "year(created_at)",
        _date_part("year", "year({0})", "year({0})"),
    ),
    Function(
        "month",
        _MOMENT,
        "integer",
        "Its month, 1 to 12.",
        ANY_NULL,
        "month(created_at)",
        _date_part("month", "month({0})", "month({0})"),
    ),
    Function(
        "month_name",
        _MOMENT,
        "string",
        "Its month's name, `Jan` to `Dec`.",
        ANY_NULL,
        "month_name(created_at)",
        _name_of("month_name", _MONTHS, "month({0})", "month({0})"),
    ),
    Function(
        "day",
        _MOMENT,
        "integer",
        "Its day of the month.",
        ANY_NULL,
        "day(due_date)",
        _date_part("day", "day({0})", "day({0})"),
    ),
    Function(
        "weekday",
        _MOMENT,
        "integer",
        "1 (Monday) to 7 (Sunday).",
        ANY_NULL,
        "weekday(due_date)",
        _date_part("weekday", "weekday({0}) + 1", "isodow({0})"),
    ),
    Function(
        "weekday_name",
        _MOMENT,
        "string",
        "Its weekday's name, `Mon` to `Sun`.",
        ANY_NULL,
        "weekday_name(created_at)",
        _name_of("weekday_name", _WEEKDAYS, "weekday({0}) + 1", "isodow({0})"),
    ),
    Function(
        "hour",
        (Parameter("timestamp", ("timestamp",)),),
        "integer",
        "The hour on the local clock, 0 to 23.",
        ANY_NULL,
        "hour(created_at)",
        _date_part("hour", "hour({0})", "hour({0})", ("timestamp",)),
    ),
    Function(
        "local_date",
        (Parameter("timestamp", ("timestamp",)),),
        "date",
        "The local date on which it falls.",
        ANY_NULL,
        "local_date(created_at)",
        _local_date,
    ),
    Function(
        "start_of_day",
        _DAY,
        "timestamp",
        "The instant at which the local date begins: its midnight, or the clock change that skips it.",
        ANY_NULL,
        "start_of_day(due_date)",
        _midnight("start_of_day", "{0}", "{0}"),
    ),
    Function(
        "end_of_day",
        _DAY,
        "timestamp",
        "The instant at which the local date ends: the start of the next.",
        ANY_NULL,
        "end_of_day(due_date)",
        _midnight("end_of_day", "date_add({0}, 1)", "({0} + 1)"),
    ),
    Function(
        "end_of_month",
        _DAY,
        "timestamp",
        "The instant at which the local month of the date ends.",
        ANY_NULL,
        "end_of_month(due_date)",
        _midnight("end_of_month", "date_add(last_day({0}), 1)", "(last_day({0}) + 1)"),
    ),
    Function(
        "days_between",
        (Parameter("a", MOMENT), Parameter("b", MOMENT)),
        "integer",
        "`b - a` in local days; below 0 when `b` is earlier. A timestamp stands for its local date.",
        ANY_NULL,
        "days_between(due_date, paid_at)",
        _days_between,
    ),
    Function(
        "months_between",
        (Parameter("a", MOMENT), Parameter("b", MOMENT)),
        "integer",
        "Whole months from `a` to `b`, rounded down; below 0 when `b` is earlier. A timestamp stands for its local date. An age"
        " in years is `floor(months_between(birth_date, day) / 12)`.",
        ANY_NULL,
        "months_between(birth_date, created_at)",
        _months_between,
    ),
    Function(
        "seconds_between",
        (Parameter("a", ("timestamp",)), Parameter("b", ("timestamp",))),
        "number",
        "`b - a` in seconds, to the microsecond; below 0 when `b` is earlier.",
        ANY_NULL,
        "seconds_between(created_at, paid_at)",
        _seconds_between,
    ),
    Function(
        "add_months",
        (Parameter("date", ("date",)), Parameter("months", ("integer",))),
        "date",
        "The same day so many months later (earlier when `months` is below 0), or the month's last where it is shorter.",
        ANY_NULL + ", or outside the years 1 to 9999",
        "add_months(due_date, n)",
        _add_months,
    ),
    Function(
        "add_days",
        (Parameter("date", ("date",)), Parameter("days", ("integer",))),
        "date",
        "So many days later, or earlier when `days` is below 0.",
        ANY_NULL + ", or outside the years 1 to 9999",
        "add_days(due_date, n)",
        _add_days,
    ),
    Function(
        "add_seconds",
        (Parameter("timestamp", ("timestamp",)), Parameter("seconds", ("integer",))),
        "timestamp",
        "So many seconds later, or earlier when `seconds` is below 0.",
        ANY_NULL + ", or outside the years 1 to 9999",
        "add_seconds(created_at, n)",
        _add_seconds,
    ),
)
