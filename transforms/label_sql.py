"""How the text of a labels file is typed and judged: DuckDB SQL over a batch of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from conf.specs import ColumnType
from transforms.arrow import arrow_type

_SPACE = " \t\r\n\u00a0"
_SHOWN = 60
_YEARS = (1900, 2200)
_TIME_OF_DAY = "([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}([.][0-9]{1,9})?)?"
_OFFSET = "(Z|[+-](0[0-9]|1[0-8])(:?[0-5][0-9])?)"
_TIME = f"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([T ]{_TIME_OF_DAY} ?{_OFFSET}?)?"
_NUMBER = "[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
_EXAMPLES: Mapping[ColumnType, str] = {
    "string": "text",
    "integer": "a whole number such as 12",
    "number": "a number such as 0.25",
    "money": "an amount such as 1234.50, below 10^16",
    "boolean": "true or false",
    "date": "a date such as 2025-09-30",
    "timestamp": "a date and time such as 2025-09-30T16:00:00Z",
}
_TIME_EXAMPLE = "a time such as 2025-09-30T16:00:00Z, or a date"


@dataclass(frozen=True)
class LabelColumns:
    """What the columns of a labels file are.

    `entity`, `time`: the names in the file. `entity_type`: that of the record identifier in the ledgers; `hmac_key`: where these
    know it by an HMAC only. `targets` must have a value in every row, `carry` need not. `zone`: of times without an offset.
    """

    entity: str
    time: str
    targets: Mapping[str, ColumnType]
    carry: Mapping[str, ColumnType]
    zone: str
    null_values: Sequence[str]
    entity_type: ColumnType = "string"
    hmac_key: bytes | None = None

    @property
    def own(self) -> Mapping[str, ColumnType]:
        """The columns that a label brings."""
        return {**self.targets, **self.carry}

    @property
    def names(self) -> tuple[str, ...]:
        return (self.entity, self.time, *self.own)

    @property
    def schema(self) -> pa.Schema:
        return label_schema(self.own.items())


def label_schema(own: Iterable[tuple[str, ColumnType]]) -> pa.Schema:
    """Labels as the engine has them: the entity, its moment in microseconds, the line or row in its file, and what it brings."""
    key = [("_entity", pa.string()), ("_time", pa.int64()), ("_row", pa.int64())]
    return pa.schema([*key, *((name, arrow_type(type_, decimal_digits=18)) for name, type_ in own)])


def label_sql(columns: LabelColumns) -> str:
    """DuckDB SQL over the table `raw`: text columns by their names in the file, `_line`, `_unreadable` and `_raw`.

    Adds `_entity` (text), `_local_<n>` and `_offset_<n>` of each time, `_typed_<n>` of every other column, numbered from 0 (the
    entity) and 1 (the time) in the order of `names`; `_reasons`: a list of rule and reason; `_row`: JSON of what was read.
    """
    names = columns.names
    types: list[ColumnType] = [columns.entity_type, "timestamp", *columns.own.values()]
    nulls = ", ".join(_literal(value) for value in columns.null_values)
    cleaned = [_cleaned(name, nulls, f"_text_{number}") for number, name in enumerate(names)]
    typed = [part for number, type_ in enumerate(types) for part in _typed(number, type_)]
    reasons = ", ".join(_reasons(columns))
    shown = names if columns.hmac_key is None else names[1:]
    fields = ", ".join(f"{_quoted(name)} := {_quoted(name)}" for name in shown)
    unreadable = "cast(to_json(struct_pack(_raw := _raw)) as varchar)" if columns.hmac_key is None else "null"
    return f"""
        with cleaned as (select *, {", ".join(cleaned)} from raw),
        typed as (select *, {", ".join(typed)} from cleaned)
        select *,
            cast(_typed_0 as varchar) as _entity,
            case when _unreadable is null then cast(to_json(struct_pack({fields})) as varchar) else {unreadable} end as _row,
            list_filter(
                case when _unreadable is null then [{reasons}] else [{_reason("unreadable", "_unreadable")}] end,
                lambda reason: reason is not null
            ) as _reasons
        from typed
    """


def _reasons(columns: LabelColumns) -> Iterator[str]:
    for number, name in ((0, columns.entity), (1, columns.time)):
        yield _check(f"_text_{number} is null", f"{name}.required", _literal(f"{name} is required and empty"))
    yield _type_check(0, columns.entity, columns.entity_type)
    yield _type_check(1, columns.time, "timestamp", _TIME_EXAMPLE)
    year = "year(make_timestamp(_local_1))"
    told = _said(columns.time, 1, f"lies outside {_YEARS[0]} to {_YEARS[1] - 1}")
    yield _check(f"{year} < {_YEARS[0]} or {year} >= {_YEARS[1]}", f"{columns.time}.year", told)
    for number, (name, type_) in enumerate(columns.own.items(), start=2):
        if name in columns.targets:
            told = _literal(f"{name} is what is to be learned, and empty")
            yield _check(f"_text_{number} is null", f"{name}.required", told)
        yield _type_check(number, name, type_)


def _type_check(number: int, name: str, type_: ColumnType, example: str | None = None) -> str:
    value = f"_local_{number}" if type_ == "timestamp" else f"_typed_{number}"
    told = _said(name, number, f"is not {example or _EXAMPLES[type_]}")
    return _check(f"_text_{number} is not null and {value} is null", f"{name}.type", told)


def _check(condition: str, rule: str, reason: str) -> str:
    return f"case when {condition} then {_reason(rule, reason)} end"


def _reason(rule: str, reason: str) -> str:
    return f"struct_pack(rule := {_literal(rule)}, reason := {reason})"


def _said(name: str, number: int, what: str) -> str:
    before, after = _literal(f"{name}: '"), _literal(f"' {what}")
    return f"{before} || substr(_text_{number}, 1, {_SHOWN}) || {after}"


def _cleaned(name: str, nulls: str, as_name: str) -> str:
    """The text without white space around it; null where it is one of the null values."""
    text = f"trim({_quoted(name)}, {_literal(_SPACE)})"
    return f"case when {text} not in ({nulls}) then {text} end as {as_name}" if nulls else f"{text} as {as_name}"


def _typed(number: int, type_: ColumnType) -> Iterator[str]:
    """As `conform` reads a source's columns: `_typed_<number>`, or of a time `_local_<number>` and `_offset_<number>`."""
    text = f"_text_{number}"
    if type_ == "timestamp":
        yield from _time(text, number)
        return
    exact = f"try_cast(case when {_matches(text, _NUMBER)} then {text} end as decimal(38,18))"
    double = f"try_cast(case when {_matches(text, _NUMBER)} then {text} end as double)"
    is_day = _matches(text, "[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]00:00:00([.]0+)?)?")
    sql: Mapping[ColumnType, str] = {
        "string": text,
        "integer": f"case when {exact} = floor({exact}) then try_cast({exact} as bigint) end",
        "number": f"case when isfinite({double}) then {double} end",
        "money": f"try_cast(round({exact}, 2) as decimal(18,2))",
        "boolean": f"case when lower({text}) in ('true', '1', 'yes') then true"
        f" when lower({text}) in ('false', '0', 'no') then false end",
        "date": f"case when {is_day} then try_cast(substr({text}, 1, 10) as date) end",
    }
    yield f"{sql[type_]} as _typed_{number}"


def _time(text: str, number: int) -> Iterator[str]:
    """`_local`: microseconds of the time as it is written; `_offset`: minutes that it is ahead of UTC, null for a local one."""
    is_time = _matches(text, _TIME)
    clock = f"regexp_extract(substr({text}, 12), {_literal(f'^({_TIME_OF_DAY})')}, 1)"
    exact = f"regexp_replace({clock}, '([.][0-9]{{6}})[0-9]+$', '\\1')"
    with_seconds = f"case length({exact}) when 0 then '00:00:00' when 5 then {exact} || ':00' else {exact} end"
    moment = f"try_cast(case when {is_time} then substr({text}, 1, 10) || ' ' || {with_seconds} end as timestamp)"
    yield f"epoch_us({moment}) as _local_{number}"
    offset = f"regexp_extract(substr({text}, 17), {_literal(f'{_OFFSET}$')}, 1)"
    digits = f"replace(substr({offset}, 2), ':', '')"
    minutes = f"cast(left({digits}, 2) as integer) * 60 + coalesce(try_cast(substr({digits}, 3) as integer), 0)"
    signed = f"case left({offset}, 1) when 'Z' then 0 when '-' then -({minutes}) when '+' then {minutes} end"
    yield f"case when {is_time} then {signed} end as _offset_{number}"


def _matches(text: str, pattern: str) -> str:
    return f"regexp_full_match({text}, {_literal(pattern)})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
