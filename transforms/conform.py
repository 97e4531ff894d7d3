"""Columns as files have them to the types declared, the two clocks, and the reasons why a row can't be kept. Without Spark."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import pyarrow as pa

from conf.database import open_duckdb
from conf.expressions import duckdb_setup, parse, parse_condition
from conf.expressions.values import duckdb_name as quoted
from conf.expressions.values import duckdb_text as text
from conf.specs import Column, RowRule, Source, TimeColumn
from transforms.checks import Check, sentence
from transforms.curated import arrow_schema, curated_columns
from transforms.text_values import EXAMPLES, in_words, read, said, was_rounded
from transforms.typed_values import take_over, types_of_values, values_among, without_nan

CARRIED = ("_file", "_line", "_unreadable", "_raw")
"""Beside a source's columns: where a row comes from, why it can't be read, and its text when it can't."""

YEARS = ("1900-01-01", "2200-01-01")
"""An event time before the first, or not before the second, is a mistake."""
_ROWS_AT_ONCE = 65_536
_NO_VALUE, _BETWEEN = "chr(0)", "chr(31)"
Values = Mapping[str, pa.DataType]
"""The types of the columns that come as values and not as text."""
_JUDGED = {
    "_rule": "string",
    "_reason": "string",
    "_key": "string",
    "_row": "string",
    "_rounded": "bigint",
    "_late_by": "bigint",
    "_effect": "bigint",
}


def conformed_columns(source: Source) -> dict[str, str]:
    """What `conform` gives: the curated columns but `_run`, and what was judged of each row; by Spark type."""
    return {name: kind for name, kind in curated_columns(source).items() if name != "_run"} | _JUDGED


@dataclass(frozen=True)
class Conform:
    """Types a source's columns and judges every row; pickles.

    `zone`: of the local days in which lateness is counted. `personal_key`: needed when a column says `personal: hmac`. `threads`:
    how many of them DuckDB uses.
    """

    source: Source
    zone: str = "UTC"
    personal_key: bytes | None = field(default=None, repr=False)
    threads: int = 1

    def __call__(self, rows: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows in: the source's columns (those that are missing are null) and CARRIED. Rows out: the same number.

        A column of values that `typed_values.is_value` holds for is taken over, any other is read from its text; batches may
        differ in that.

        Columns out: the declared ones typed (null where unreadable; personal ones absent or an HMAC-SHA256 in hex),
        `_event_time`, `_known_time`, `_month`, `_file`, `_line`, `_row_hash`, and
        `_rule` and `_reason`: each rule that the row breaks and why, joined by `; `, null of a row to keep;
        `_key` and `_row`, of rows with reasons: the key as text, and JSON of the row as it was read, both without personal data;
        `_rounded`: how many amounts had more than two decimals;
        `_late_by`: microseconds from the end of its own local day until it was known, not above 0 of a row that isn't late;
        `_effect`: microseconds UTC, no cut-off before it sees the row.
        """
        for column in self.source.columns.values():
            if column.personal == "hmac" and self.personal_key is None:
                raise ValueError(f"{self.source.name} has personal data to be hashed, and there is no key")
        schema = arrow_schema(conformed_columns(self.source))
        with open_duckdb(threads=self.threads) as connection:
            duckdb_setup(connection)
            connection.execute("set TimeZone = 'UTC'")
            connection.create_function("keyed_hash", self._keyed_hash, ["varchar"], "varchar")
            for found, batches in groupby(rows, key=lambda batch: batch.schema):
                connection.register("raw", pa.RecordBatchReader.from_batches(found, batches))
                sql = conform_sql(self.source, found, zone=self.zone)
                for batch in connection.sql(sql).to_arrow_reader(_ROWS_AT_ONCE):
                    yield batch.cast(schema)

    def _keyed_hash(self, value: str) -> str:
        assert self.personal_key is not None
        return hmac.new(self.personal_key, value.encode(), hashlib.sha256).hexdigest()


def conform_sql(source: Source, found: pa.Schema, *, zone: str) -> str:
    """DuckDB SQL over the table `raw`, of the columns `found`: what `Conform` gives. It calls `keyed_hash` on personal data."""
    names = list(source.columns)
    values = values_among(found, types_of_values(source), source.null_values)
    raw = [f"{_found(name, found, values)} as {_raw(name)}" for name in names]
    written = [f"{_written(name, source, values)} as {_said(name)}" for name in names]
    typed = [f"{_typed(name, source, values)} as {quoted(name)}" for name in names]
    checks = list(_checks(source))
    judged = [f"({check.condition}) as {quoted(f'_check_{number}')}" for number, check in enumerate(checks)]
    kept = list(_kept_columns(source))
    return f"""
        select {", ".join(_out(name, source) for name in kept)},
            timezone('UTC', _event_time) as _event_time, timezone('UTC', _known_time) as _known_time, _file, _line,
            {_row_hash(source)} as _row_hash,
            _month,
            {_told([text(check.rule) for check in checks], "'unreadable'")} as _rule,
            {_told([check.reason for check in checks], "_unreadable")} as _reason,
            {_key(source)} as _key,
            {_row(source)} as _row,
            cast({_rounded(source, values)} as bigint) as _rounded,
            {_late_by(source, zone)} as _late_by,
            {_effect(source)} as _effect
        from (
            select * exclude ({", ".join(quoted(name) for name in kept)}),
                {", ".join(f"{_masked(name, source)} as {quoted(name)}" for name in kept)},
                {_any(len(checks))} as _breaks,
                strftime(_event_time, {text("%Y" if source.layout == "year" else "%Y-%m")}) as _month
            from (
                select *, {", ".join(judged)} from (
                    select *, {", ".join(_clocks(source))} from (
                        select *, {", ".join(typed)} from (
                            select *, {", ".join(written)} from (select {", ".join(raw)}, {", ".join(CARRIED)} from raw)
                        )
                    )
                )
            )
        )"""


# ---- columns


def _kept_columns(source: Source) -> dict[str, str]:
    return {name: kind for name, kind in curated_columns(source).items() if name in source.columns}


def _raw(name: str) -> str:
    return quoted(f"_raw_{name}")


def _found(name: str, found: pa.Schema, values: Values) -> str:
    if name in values:
        return quoted(name)
    return in_words(quoted(name) if name in found.names else "null")


def _said(name: str) -> str:
    return quoted(f"_said_{name}")


def _written(name: str, source: Source, values: Values) -> str:
    """What the file says: text without white space around it; null when it is one of the source's null values."""
    if name in values:
        return without_nan(_raw(name), source.columns[name].type, source.null_values)
    return said(_raw(name), source.null_values)


def _typed(name: str, source: Source, values: Values) -> str:
    column, zone = source.columns[name], source.zone_of(name)
    if name in values:
        return take_over(_said(name), values[name], column.type, zone=zone)
    return read(_said(name), column.type, formats=column.formats, zone=zone)


def _masked(name: str, source: Source) -> str:
    value = quoted(name)
    return f"keyed_hash(cast({value} as varchar))" if source.columns[name].personal == "hmac" else value


def _out(name: str, source: Source) -> str:
    """The column as it is handed on: an instant says that it is in UTC."""
    is_instant = _kept_columns(source)[name] == "timestamp"
    return f"timezone('UTC', {quoted(name)}) as {quoted(name)}" if is_instant else quoted(name)


def _clocks(source: Source) -> list[str]:
    known = _time(source.known_time, source) if source.known_time else "cast(null as timestamp)"
    return [f"{_time(source.event_time, source)} as _event_time", f"{known} as _known_time"]


def _time(time: TimeColumn, source: Source) -> str:
    """An instant: the column itself, or the start or the last microsecond of a local date."""
    if time.of_date is None:
        return quoted(time.column)
    instant = parse(f"{time.of_date}({time.column})", {time.column: "date"}, zone=source.zone_of(time.column)).duckdb()
    return instant if time.of_date == "start_of_day" else f"{instant} - interval 1 microsecond"


def _late_by(source: Source, zone: str) -> str:
    if source.known_time is None:
        return "cast(0 as bigint)"
    end_of_own_day = parse("end_of_day(local_date(_event_time))", {"_event_time": "timestamp"}, zone=zone).duckdb()
    return f"if(_known_time > _event_time, epoch_us(_known_time) - epoch_us({end_of_own_day}), 0)"


def _effect(source: Source) -> str:
    grace = int(source.grace.total_seconds() * 1_000_000)
    return f"greatest(epoch_us(_event_time) + 1, epoch_us(_known_time) - {grace})"


# ---- reasons


def _checks(source: Source) -> Iterator[Check]:
    for name, column in source.columns.items():
        yield from _column_checks(name, column, source)
    first, last = (f"timestamp '{year}'" for year in YEARS)
    event = quoted(source.event_time.column)
    shown = f"coalesce({in_words('_event_time')}, {in_words(event)})"
    told = sentence("event time ", shown, f" lies outside {YEARS[0][:4]} to {int(YEARS[1][:4]) - 1}")
    nowhere = f"({event} is not null and _event_time is null)"
    yield Check("event_time", f"_event_time < {first} or _event_time >= {last} or {nowhere}", told)
    if source.known_time is not None:
        known = quoted(source.known_time.column)
        told = sentence("known time ", in_words(known), " is no moment of the years 1 to 9999")
        yield Check("known_time", f"{known} is not null and _known_time is null", told)
    for rule in source.rules:
        yield Check(rule.name, _breaks(rule, source), text(f"{rule.name} does not hold: {rule.expr}"))


def _breaks(rule: RowRule, source: Source) -> str:
    types = {name: column.type for name, column in source.columns.items()}
    return f"not coalesce(({parse_condition(rule.expr, types, zone=source.zone).duckdb()}), false)"


def _column_checks(name: str, column: Column, source: Source) -> Iterator[Check]:
    value, written, raw = quoted(name), _said(name), in_words(_raw(name))
    times = [time.column for time in (source.event_time, source.known_time) if time]
    if column.required or name in (*source.key, *times, source.version):
        shown = sentence(f"{name} is required and is '", raw, "'") if column.personal is None else text(f"{name} is required")
        told = f"if(coalesce(trim({raw}), '') = '', {text(f'{name} is required and empty')}, {shown})"
        yield Check(f"{name}.required", f"{written} is null", told)
    shown = text("its value") if column.personal else sentence("'", in_words(written), "'")
    if column.type != "string":
        wanted = f" is not {EXAMPLES[column.type]}" + (f" or of the form {', '.join(column.formats)}" if column.formats else "")
        told = f"concat({text(name + ': ')}, {shown}, {text(wanted)})"
        yield Check(f"{name}.type", f"{written} is not null and {value} is null", told)
    if column.values:
        allowed = ", ".join(text(item) for item in column.values)
        told = f"concat({text(name + ': ')}, {shown}, {text(' is not one of ' + ', '.join(column.values))})"
        yield Check(f"{name}.values", f"{in_words(written)} not in ({allowed})", told)
    for limit, sign, rule, word in (
        (column.minimum, "<", "minimum", "below the minimum"),
        (column.maximum, ">", "maximum", "above the maximum"),
    ):
        if limit is not None:
            told = f"concat({text(name + ': ')}, {shown}, {text(f' is {word} {limit:f}')})"
            yield Check(f"{name}.{rule}", f"{value} {sign} {limit:f}", told)


def _any(checks: int) -> str:
    """Whether a row can't be kept; never null."""
    broken = [quoted(f"_check_{number}") for number in range(checks)]
    return f"coalesce({' or '.join(['_unreadable is not null', *broken])}, false)"


def _told(words: Sequence[str], unreadable: str) -> str:
    """What is said of the checks that a row breaks; of one that could not be read at all that alone."""
    cases = ", ".join(f"if({quoted(f'_check_{number}')}, {word}, null)" for number, word in enumerate(words))
    return f"case when _unreadable is not null then {unreadable} when _breaks then concat_ws('; ', {cases}) end"


def _rounded(source: Source, values: Values) -> str:
    money = [name for name in _kept_columns(source) if source.columns[name].type == "money" and name not in values]
    counts = [f"cast({was_rounded(_said(name), quoted(name))} as integer)" for name in money if _is_typed(name, source)]
    return " + ".join(counts) or "0"


# ---- what a row is shown as, and known by


def _row(source: Source) -> str:
    """JSON of the row's text without personal columns; of an unreadable row its text, unless the source has personal data."""
    shown = [name for name, column in source.columns.items() if column.personal is None]
    fields = ", ".join(f"{quoted(name)} := {in_words(_raw(name))}" for name in shown)
    of_columns = f"cast(json_merge_patch('{{}}', to_json(struct_pack({fields}))) as varchar)" if fields else "'{}'"
    is_personal = any(column.personal for column in source.columns.values())
    unreadable = "null" if is_personal else "cast(to_json(struct_pack(_raw := _raw)) as varchar)"
    return f"case when _unreadable is not null then {unreadable} when _breaks then {of_columns} end"


def _key(source: Source) -> str:
    """The key as `account_id=A1, period=2025-06-01`; what could not be typed as it is written, personal text left out."""
    parts = []
    for name in source.key:
        typed = f"cast({quoted(name)} as varchar)"
        written = {None: f"coalesce({typed}, {in_words(_said(name))})", "hmac": typed}.get(source.columns[name].personal, "null")
        parts.append(f"concat({text(name + '=')}, {written})")
    return f"if(_breaks, concat_ws(', ', {', '.join(parts)}), null)"


def _row_hash(source: Source) -> str:
    """128 bits of SHA-256, in hex, over the typed columns that are kept; null differs from empty."""
    values = []
    for name, kind in _kept_columns(source).items():
        value = f"epoch_us({quoted(name)})" if kind == "timestamp" else quoted(name)
        values.append(f"coalesce(cast({value} as varchar), {_NO_VALUE})")
    return f"substr(sha256(concat_ws({_BETWEEN}, {', '.join(values)})), 1, 32)"


def _is_typed(name: str, source: Source) -> bool:
    return source.columns[name].personal != "hmac"
