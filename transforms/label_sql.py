"""How the rows of a labels file are typed and judged, as `conform` does with a source's: DuckDB SQL over a batch of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from conf.expressions.values import duckdb_name as quoted
from conf.expressions.values import duckdb_text as text
from conf.specs import ColumnType
from transforms.arrow import arrow_type
from transforms.checks import Check, sentence
from transforms.text_values import EXAMPLES, in_utc, in_words, read, said
from transforms.typed_values import take_over, values_among, without_nan

_YEARS = (1900, 2200)
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
    def types(self) -> Mapping[str, ColumnType]:
        return {self.entity: self.entity_type, self.time: "timestamp", **self.own}

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


def label_sql(columns: LabelColumns, found: pa.Schema) -> str:
    """DuckDB SQL over the table `raw`: the columns `found`, as text or values, `_line`, `_unreadable` and `_raw`.

    Adds `_typed_<n>` of every column, numbered from 0 (the entity) and 1 (the time) in the order of `names`, instants in UTC;
    `_entity` (text); `_breaks`: whether the row is no label; of those that aren't, `_reasons`: a list of rule and reason, and
    `_row`: JSON of what was read.
    """
    names = columns.names
    types = columns.types
    values = values_among(found, types, columns.null_values)
    written = [_written(name, columns, values) for name in names]
    typed = [_typed(number, name, columns, values) for number, name in enumerate(names)]
    checks = list(_checks(columns))
    broken = " or ".join(f"({check.condition})" for check in checks)
    reasons = ", ".join(f"case when {check.condition} then {_reason(check.rule, check.reason)} end" for check in checks)
    shown = names if columns.hmac_key is None else names[1:]
    fields = ", ".join(f"{quoted(name)} := {in_words(quoted(name))}" for name in shown)
    unreadable = "cast(to_json(struct_pack(_raw := _raw)) as varchar)" if columns.hmac_key is None else "null"
    return f"""
        select *,
            cast(_typed_0 as varchar) as _entity,
            case
                when _unreadable is not null then {unreadable}
                when _breaks then cast(to_json(struct_pack({fields})) as varchar)
            end as _row,
            case
                when _unreadable is not null then [{_reason("unreadable", "_unreadable")}]
                when _breaks then list_filter([{reasons}], lambda reason: reason is not null)
            end as _reasons
        from (
            select *, coalesce(_unreadable is not null or {broken}, false) as _breaks from (
                select *, {_listed(typed, "typed")} from (select *, {_listed(written, "said")} from raw)
            )
        )"""


def _listed(parts: Iterable[str], name: str) -> str:
    return ", ".join(f"{part} as _{name}_{number}" for number, part in enumerate(parts))


def _written(name: str, columns: LabelColumns, values: Mapping[str, pa.DataType]) -> str:
    if name in values:
        return without_nan(quoted(name), columns.types[name], columns.null_values)
    return said(in_words(quoted(name)), columns.null_values)


def _typed(number: int, name: str, columns: LabelColumns, values: Mapping[str, pa.DataType]) -> str:
    value, type_, zone = f"_said_{number}", columns.types[name], columns.zone
    if name in values:
        return take_over(value, values[name], type_, zone=zone)
    if name != columns.time:
        return read(value, type_, zone=zone)
    midnight = in_utc(f"cast({read(value, 'date')} as timestamp)", zone)
    return f"coalesce({read(value, type_, zone=zone)}, {midnight})"


def _checks(columns: LabelColumns) -> Iterator[Check]:
    for number, name in ((0, columns.entity), (1, columns.time)):
        yield Check(f"{name}.required", f"_said_{number} is null", text(f"{name} is required and empty"))
    yield _type_check(0, columns.entity, EXAMPLES[columns.entity_type], is_shown=columns.hmac_key is None)
    yield _type_check(1, columns.time, _TIME_EXAMPLE)
    year = f"year(timezone({text(columns.zone)}, timezone('UTC', _typed_1)))"
    told = _told(columns.time, 1, f"lies outside {_YEARS[0]} to {_YEARS[1] - 1}")
    yield Check(f"{columns.time}.year", f"({year} < {_YEARS[0]} or {year} >= {_YEARS[1]})", told)
    for number, (name, type_) in enumerate(columns.own.items(), start=2):
        if name in columns.targets:
            told = text(f"{name} is what is to be learned, and empty")
            yield Check(f"{name}.required", f"_said_{number} is null", told)
        yield _type_check(number, name, EXAMPLES[type_])


def _type_check(number: int, name: str, example: str, *, is_shown: bool = True) -> Check:
    told = _told(name, number, f"is not {example}") if is_shown else text(f"{name}: its value is not {example}")
    return Check(f"{name}.type", f"_said_{number} is not null and _typed_{number} is null", told)


def _reason(rule: str, reason: str) -> str:
    return f"struct_pack(rule := {text(rule)}, reason := {reason})"


def _told(name: str, number: int, what: str) -> str:
    return sentence(f"{name}: '", in_words(f"_said_{number}"), f"' {what}")
