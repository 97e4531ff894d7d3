"""Rollups answered: other groups' rows of a day as members, and one row for each entity that has one. SQL for both engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from conf.expressions.values import duckdb_name
from transforms.answer import snapshot_schema
from transforms.calendar import cut_off, iso_utc
from transforms.fact_sql import DUCKDB
from transforms.fact_sql.dialects import Dialect
from transforms.feature_group import Compiled, CompiledRollup, RolledColumn, RolledMembers
from transforms.feature_group.needed import only
from transforms.prepare_duckdb import connect
from transforms.small import answer_rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LARGEST_MEAN = "CAST('10000000000000000' AS DECIMAL(17, 0))"  # of decimal(18,2)


def rollup_sql(group: CompiledRollup, tables: Mapping[str, str], dialect: Dialect, *, day: date, zone: str) -> str:
    """SQL whose rows have the columns of `snapshot_schema(group)`: one an entity that has a member.

    `tables`: for each of `group.groups`, what SQL calls its rows of the day, one an identifier. Numbers are added in the order
    of their members, so that no sum depends on how rows were spread.
    """
    name, text = dialect.name, dialect.text
    members = "\nunion all\n".join(_members(one, tables, dialect) for one in group.members)
    rolled = [f"{_answer(item, dialect)} AS {name(item.column.name)}" for item in group.rolled]
    row = [
        f"{name('_entity')} AS {name(group.entity)}",
        f"{text(iso_utc(cut_off(day, zone)))} AS event_time",
        f"{text(zone)} AS time_zone",
        "true AS has_history",
        *rolled,
    ]
    values = [f"{sql} AS {name(told)}" for told, sql in _values(group.rolled, dialect)]
    each = ", ".join([name("_entity"), name("_group"), name("_member"), *values])
    return (
        f"with _members as (\n{members}\n),\n_asked as (select {each} from _members where {name('_entity')} is not null)\n"
        f"select {', '.join(row)} from _asked group by {name('_entity')}"
    )


def roll_up(
    group: CompiledRollup, tables: Mapping[str, Any], *, day: date, zone: str, connection: DuckDBPyConnection | None = None
) -> pa.Table:
    """The snapshot of a day by DuckDB, sorted by entity: `snapshot_schema(group)`.

    `tables`: of each of `group.groups` its rows of that day, as Arrow tables or datasets, of which only what is needed is read.
    `connection`: one of `connect`, with settings of the caller's.
    """
    with nullcontext(connection) if connection else connect(threads=1) as own:
        for name in group.groups:
            own.register(name, tables[name])
        names = {name: duckdb_name(name) for name in group.groups}
        sql = rollup_sql(group, names, DUCKDB, day=day, zone=zone)
        rows = own.sql(f"{sql} order by {duckdb_name(group.entity)}").to_arrow_table()
    schema = snapshot_schema(group)
    return pa.table({field.name: rows[field.name].cast(field.type) for field in schema}, schema=schema)


def answer_rollup(
    compiled: Compiled, name: str, columns: Iterable[str], curated: Mapping[str, pa.Table], days: Sequence[date]
) -> pa.Table:
    """Some columns of a rollup from curated rows, all days together, as `answer_rows` has them of other groups.

    `columns`: those that are asked for; of what the members are made, only what these need is answered.
    """
    group = narrowed(compiled.rollups[name], columns)
    answered: dict[str, pa.Table] = {}
    for member, needed in group.read().items():
        if member in compiled.rollups:
            answered[member] = answer_rollup(compiled, member, needed, curated, days)
        else:
            answered[member] = answer_rows(only(compiled, member, needed), [member], curated, days)[member]
    parts = []
    for day in days:
        tables = {member: rows.filter(pc.equal(rows["as_of"], pa.scalar(day))) for member, rows in answered.items()}
        rows = roll_up(group, tables, day=day, zone=compiled.zone)
        parts.append(rows.add_column(0, "as_of", pa.array([day] * len(rows), pa.date32())))
    return pa.concat_tables(parts)


def narrowed(group: CompiledRollup, columns: Iterable[str]) -> CompiledRollup:
    """A rollup with some of its columns, and members that say no more than these need."""
    wanted = set(columns)
    rolled = tuple(item for item in group.rolled if item.column.name in wanted)
    used = set().union(*(item.uses for item in rolled))
    members = (replace(one, columns={name: sql for name, sql in one.columns.items() if name in used}) for one in group.members)
    return replace(group, rolled=rolled, members=tuple(members))


# ---- members


def _members(members: RolledMembers, tables: Mapping[str, str], dialect: Dialect) -> str:
    """Each row of a group: whose member it is, which row of which group it is, and what it says."""
    name, read, beside = dialect.name, members.read(), members.beside_for()
    own = [name(column) for column in read[members.group]]
    keys = [f"{dialect.sql(one.key)} AS {name(f'_key_{number}')}" for number, one in enumerate(beside)]
    rows = f"(select {', '.join([*own, *keys])} from {tables[members.group]}) o"
    for number, one in enumerate(beside):
        brought = [f"{name(column)} AS {name(f'{one.group}.{column}')}" for column in read[one.group]]
        identifier = name(f"{one.group}.{one.identifier}")
        rows += (
            f" left join (select {', '.join(brought)} from {tables[one.group]}) b{number}"
            f" on o.{name(f'_key_{number}')} = b{number}.{identifier}"
        )
    said = [
        f"{dialect.sql(members.entity)} AS {name('_entity')}",
        f"{dialect.text(members.group)} AS {name('_group')}",
        f"{name(members.identifier)} AS {name('_member')}",
        *(f"{dialect.sql(sql)} AS {name(column)}" for column, sql in members.columns.items()),
    ]
    return f"select {', '.join(said)} from {rows}"


def _values(rolled: Sequence[RolledColumn], dialect: Dialect) -> Iterator[tuple[str, str]]:
    """What is asked of each member, by name."""
    for item in rolled:
        if item.value:
            yield f"_value_{item.column.name}", dialect.sql(item.value)
        if item.counts:
            yield f"_counts_{item.column.name}", dialect.sql(item.counts)


# ---- what is made of them


def _answer(item: RolledColumn, dialect: Dialect) -> str:
    value, counts = dialect.name(f"_value_{item.column.name}"), dialect.name(f"_counts_{item.column.name}")
    counted = f"count({value})" if item.value else f"count({counts})" if item.counts else "count(*)"
    match item.op:
        case "count":
            return counted
        case "share":
            return f"(CAST(count(CASE WHEN {value} THEN 1 END) AS DOUBLE) / nullif({counted}, 0))"
        case "min" | "max":
            return f"{item.op}({value})"
        case "mean":
            return _mean(item, value, counted, dialect)
        case "sum":
            total = _total(item, value, dialect)
            total = _LIMITED.get(item.type or "number", "{0}").format(total)
            nothing = f"CAST(0 AS {_SQL_TYPES[item.column.type]})"
            return f"CASE WHEN count({counts}) = 0 THEN {nothing} ELSE {total} END" if item.counts else total


_SQL_TYPES = {"integer": "BIGINT", "money": "DECIMAL(28, 2)", "number": "DOUBLE"}
_LIMITED = {"integer": "try_cast({0} AS BIGINT)", "money": "try_cast({0} AS DECIMAL(28, 2))"}


def _total(item: RolledColumn, value: str, dialect: Dialect) -> str:
    """The sum of what isn't null, exact of whole numbers and money; null where nothing is."""
    if item.type == "integer":
        return f"sum(CAST({value} AS DECIMAL(38, 0)))"
    if item.type == "money":
        return f"sum({value})"
    fields = {"g": dialect.name("_group"), "m": dialect.name("_member"), "v": value}
    some = dialect.filter(dialect.gathered(dialect.struct(fields)), "s", "s.v is not null")
    total = dialect.fold(dialect.transform(some, "s", "s.v"), "CAST(0 AS DOUBLE)", "a + x")
    return f"CASE WHEN count({value}) > 0 AND abs({total}) < CAST('Infinity' AS DOUBLE) THEN {total} END"


def _mean(item: RolledColumn, value: str, counted: str, dialect: Dialect) -> str:
    """Of money in cents, exactly, and rounded half away from zero; null where it has more than 16 digits before the point."""
    total = _total(item, value, dialect)
    if item.type != "money":
        return f"(CAST({total} AS DOUBLE) / nullif({counted}, 0))"
    cents = dialect.whole_quotient(f"abs({total}) * 200 + {counted}", f"(2 * {counted})")
    mean = f"CAST(sign({total}) * {cents} AS DECIMAL(18, 0)) * CAST(0.01 AS DECIMAL(3, 2))"
    fits = f"abs({total}) < CAST({counted} AS DECIMAL(20, 0)) * {_LARGEST_MEAN}"
    return f"CASE WHEN {counted} > 0 AND {fits} THEN CAST({mean} AS DECIMAL(18, 2)) END"
