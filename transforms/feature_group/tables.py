"""What an input can read: a source or a union of sources, with the columns that may be named and what each depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from conf.catalogue import Catalogue
from conf.expressions import Expression, ExpressionError, parse
from conf.specs import ColumnType, Source, UnionSource
from transforms.feature_group.compiled import Member
from transforms.feature_group.sql import Sql

CLOCKS: Mapping[str, ColumnType] = {"_event_time": "timestamp", "_known_time": "timestamp"}


@dataclass(frozen=True)
class Table:
    """`columns`: those that expressions may name, the clocks of the row included.

    `masks`: column -> the mutable timestamps that it reads as null without; those of a union's member as `member.timestamp`.
    """

    name: str
    columns: Mapping[str, ColumnType]
    masks: Mapping[str, tuple[str, ...]]
    members: tuple[Member, ...] = ()

    def masks_of(self, used: Iterable[str]) -> tuple[str, ...]:
        """The mutable timestamps on which any of the used columns depends."""
        return tuple(sorted({mask for name in used for mask in self.masks.get(name, ())}))


def table_of(name: str, catalogue: Catalogue, zone: str) -> Table:
    """Raises DefinitionError where a union's columns don't fit."""
    if name in catalogue.sources:
        return _of_source(catalogue.sources[name])
    return _of_union(catalogue.unions[name], catalogue, zone)


def _of_source(source: Source) -> Table:
    kept = {name: column for name, column in source.columns.items() if column.personal != "drop"}
    columns: dict[str, ColumnType] = {
        name: "string" if column.personal == "hmac" else column.type for name, column in kept.items()
    }
    masks: dict[str, tuple[str, ...]] = {}
    for timestamp, settled in source.mutable.items():
        for column in dict.fromkeys((timestamp, *settled)):
            masks[column] = (*masks.get(column, ()), timestamp)
    return Table(source.name, {**columns, **CLOCKS}, masks)


def _of_union(union: UnionSource, catalogue: Catalogue, zone: str) -> Table:
    said: dict[str, tuple[str, ColumnType]] = {}  # column -> the first member that has it, and its type
    masks: dict[str, tuple[str, ...]] = {}
    members = []
    for member, texts in union.union_of.items():
        table = _of_source(catalogue.sources[member])
        columns = []
        for column, text in texts.items():
            expression = _member_column(union, member, column, text, table, catalogue, zone)
            first, type_ = said.setdefault(column, (member, expression.type))
            if type_ != expression.type:
                told = f"'{column}' is {type_} of '{first}' and {expression.type} of '{member}': cast one of them"
                raise catalogue.problem(union, ("union_of", member, column), told)
            columns.append((column, expression.type, Sql.of(expression)))
            found = [f"{member}.{mask}" for mask in table.masks_of(expression.columns)]
            masks[column] = (*masks.get(column, ()), *found)
        members.append(Member(member, tuple(columns)))
    return Table(union.name, {**{name: type_ for name, (_, type_) in said.items()}, **CLOCKS}, masks, tuple(members))


def _member_column(
    union: UnionSource, member: str, column: str, text: str, table: Table, catalogue: Catalogue, zone: str
) -> Expression:
    place = ("union_of", member, column)
    if column in CLOCKS:
        raise catalogue.problem(union, place, f"'{column}' is each row's own already; choose another name")
    try:
        return parse(text, table.columns, zone=zone)
    except ExpressionError as problem:
        raise catalogue.problem(union, place, str(problem)) from problem


def source_meaning(source: Source) -> dict[str, object]:
    """What of a source decides the numbers: its types, keys, clocks and zones, not its place or its prose."""
    return {
        "columns": {name: [column.type, source.zone_of(name)] for name, column in source.columns.items()},
        "key": source.key,
        "version": source.version,
        "event_time": source.event_time.model_dump(),
        "known_time": source.known_time.model_dump() if source.known_time else None,
        "grace": source.grace / timedelta(microseconds=1),
        "mutable": {name: sorted(columns) for name, columns in source.mutable.items()},
    }
