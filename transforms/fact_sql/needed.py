"""Which columns of the curated tables a stream's facts are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from conf.specs import Source
from transforms.curated import CLOCKS, curated_columns
from transforms.feature_group import Stream
from transforms.feature_group.sql import Sql


def needed_columns(stream: Stream, sources: Mapping[str, Source]) -> dict[str, list[str]]:
    """By source: what expressions read, by what rows are found, and what says when each counts and what of it."""
    wanted: dict[str, set[str]] = {name: set() for name in stream.sources}
    masks = {mask for clock in stream.clocks for mask in clock.masks}
    for member in stream.members:
        own = (mask.removeprefix(f"{member.source}.") for mask in masks if mask.startswith(f"{member.source}."))
        wanted[member.source].update(_columns(sql for _, _, sql in member.columns), own)
    if not stream.members:
        wanted[stream.source].update(_columns(_own_sql(stream)), masks)
    if parent := stream.parent:
        found_by, brought = (column for column, _ in parent.on), (column for _, column in parent.columns)
        passed = (mask for clock in stream.clocks for mask in clock.parent_masks)
        wanted[parent.source].update(found_by, brought, passed, [parent.entity] if parent.entity else [])
    if paid := stream.settlement:
        found_by = (column for column, _ in paid.on)
        wanted[paid.source].update(found_by, _columns([paid.amount, paid.where]), paid.masks)
    return {name: _in_order(sources[name], columns) for name, columns in wanted.items()}


def _own_sql(stream: Stream) -> Iterator[Sql | None]:
    """All that is computed from the stream's own rows; it may name columns that they haven't by themselves."""
    yield stream.entity_sql
    for clock, values in stream.clocks.items():
        yield from (clock.at, clock.from_, clock.until, *(value.sql for value in values))
    if stream.parent:
        yield from (sql for _, sql in stream.parent.on)
    if stream.settlement:
        yield from (stream.settlement.due, *(sql for _, sql in stream.settlement.on))


def _columns(expressions: Iterable[Sql | None]) -> set[str]:
    return {column for sql in expressions if sql for column in sql.columns}


def _in_order(source: Source, wanted: set[str]) -> list[str]:
    always = {*source.key, *([source.version] if source.version else []), *CLOCKS}
    return [name for name in curated_columns(source) if name in wanted | always]
