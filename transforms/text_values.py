"""What a column's text says: SQL of DuckDB that reads it as a value of the declared type, null where it is none."""

from __future__ import annotations

from collections.abc import Sequence

from conf.expressions.values import duckdb_text as quoted_text
from conf.specs import ColumnType
from transforms.date_patterns import YEAR, date_pattern

EXAMPLES: dict[ColumnType, str] = {
    "string": "text",
    "integer": "a whole number such as 12",
    "number": "a number such as 0.25",
    "money": "an amount such as 1234.50, below 10^16",
    "boolean": "true or false",
    "date": "a date such as 2025-09-30",
    "timestamp": "a date and time such as 2025-09-30T16:00:00Z",
}
_NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_DAY = f"{YEAR}-[0-9]{{2}}-[0-9]{{2}}"
_LOCAL = f"{_DAY}[T ]([01][0-9]|2[0-3]):[0-9]{{2}}(:[0-9]{{2}}([.][0-9]{{1,9}})?)?"
_OFFSET = "[+-](0[0-9]|1[0-8])(:?[0-5][0-9])?"
_SPACE = " \t\r\n\u00a0"


def said(text: str, null_values: Sequence[str]) -> str:
    """SQL for the text without white space around it; null where it is one of the null values."""
    value = f"trim({text}, {quoted_text(_SPACE)})"
    nulls = ", ".join(map(quoted_text, null_values))
    return f"if({value} in ({nulls}), null, {value})" if nulls else value


def in_words(value: str) -> str:
    """SQL for a value as text."""
    return f"cast({value} as varchar)"


def read(text: str, type_: ColumnType, *, formats: Sequence[str] = (), zone: str = "UTC") -> str:
    """SQL for the value. Timestamps come out in UTC without a zone; those without an offset are local times of `zone`.

    Numbers may have an exponent; `1,234.50`, `NaN` and `inf` are none. Money is rounded half away from zero.
    """
    match type_:
        case "integer":
            exact = f"try_cast({text} as decimal(38,18))"
            whole = f"if({exact} = floor({exact}), try_cast({exact} as bigint), null)"
            digits = f"when {_fits(text, '[+-]?[0-9]+')} then try_cast({text} as bigint)"
            return f"case {digits} when {_fits(text, _NUMBER)} then {whole} end"
        case "money":
            return f"if({_fits(text, _NUMBER)}, try_cast({text} as decimal(18,2)), null)"
        case "number":
            value = f"try_cast({text} as double)"
            return f"if({_fits(text, _NUMBER)}, if(isinf({value}), null, {value}), null)"
        case "boolean":
            lower = f"lower({text})"
            return f"case when {lower} in ('true', '1', 'yes') then true when {lower} in ('false', '0', 'no') then false end"
        case "date":
            iso = f"if({_fits(text, f'{_DAY}([T ]00:00:00([.]0+)?)?')}, try_cast(substr({text}, 1, 10) as date), null)"
            return _first(iso, [f"cast({date_pattern(form).sql(text)} as date)" for form in formats])
        case "timestamp":
            return within_years(_first(_timestamp(text, zone), [_by_format(text, form, zone) for form in formats]))
        case _:
            return text


def was_rounded(text: str, money: str) -> str:
    """Whether an amount was written with more decimals than its value `money` has; never null."""
    has_more = f"regexp_matches(coalesce({text}, ''), '[.][0-9]{{3}}|[eE]')"
    return f"({has_more} and coalesce(try_cast({text} as decimal(38,20)) <> {money}, false))"


def in_utc(local: str, zone: str) -> str:
    """The instant at which clocks in `zone` show the timestamp `local`.

    The earlier one when they show it twice; of a time that is skipped, as if they had not been put forward yet.
    """
    if zone == "UTC":
        return local
    name = quoted_text(zone)
    instant = f"timezone({name}, {local})"
    earlier = [f"{instant} - interval {minutes} minute" for minutes in (60, 30)]
    cases = " ".join(f"when timezone({name}, {other}) = {local} then {other}" for other in earlier)
    return f"timezone('UTC', case {cases} else {instant} end)"


def within_years(instant: str) -> str:
    """The instant, in UTC; null outside of the years 1 to 9999, which is all that Python knows."""
    first, last = (f"timestamp '{moment}'" for moment in ("0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"))
    return f"case when {instant} between {first} and {last} then {instant} end"


def _fits(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {quoted_text(pattern)})"


def _first(value: str, others: Sequence[str]) -> str:
    return f"coalesce({', '.join([value, *others])})" if others else value


def _timestamp(text: str, zone: str) -> str:
    """ISO-8601 with an offset, else a local time; to the microsecond, what lies below is cut off."""
    without_z = f"substr({text}, 1, length({text}) - 1)"
    at_offset = f"timezone('UTC', try_cast(regexp_replace({text}, ' ([+-])', '\\1') as timestamptz))"
    return (
        f"case when suffix({text}, 'Z') then if({_fits(without_z, _LOCAL)}, try_cast({without_z} as timestamp), null) "
        f"when {_fits(text, _LOCAL)} then {in_utc(f'try_cast({text} as timestamp)', zone)} "
        f"when {_fits(text, f'{_LOCAL} ?{_OFFSET}')} then {at_offset} end"
    )


def _by_format(text: str, form: str, zone: str) -> str:
    pattern = date_pattern(form)
    value = pattern.sql(text)
    return value if pattern.has_offset else in_utc(value, zone)
