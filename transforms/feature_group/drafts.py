"""Columns as they are compiled, before the streams are finished and have names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from conf.specs import ColumnType, Every
from conf.windows import Window
from conf.yaml_file import Place
from transforms.feature_group.compiled import Column, DailyColumn, DailyPart, Stream, WindowColumn
from transforms.feature_group.sql import Sql
from transforms.feature_group.streams import Placed, StreamKey
from transforms.operations import Operation

StreamsByKey = Mapping[StreamKey, Stream]


@dataclass(frozen=True)
class WindowDraft:
    """A `WindowColumn` to be."""

    column: Column
    place: Place
    value: Placed
    operation: Operation
    window: Window
    lag: int
    ahead: bool
    weight: Placed | None = None
    newest_per: Placed | None = None
    map_by: Placed | None = None

    def renamed(self, name: str) -> WindowDraft:
        """The same for another group's use."""
        return replace(self, column=replace(self.column, name=name, internal=True))

    def finish(self, streams: StreamsByKey) -> WindowColumn:
        return WindowColumn(
            self.column,
            streams[self.value.key].name,
            self.value.clock.name,
            self.value.value.name,
            self.window,
            self.lag,
            self.ahead,
            self.operation,
            name_of(self.weight),
            name_of(self.newest_per),
            name_of(self.map_by),
        )


@dataclass(frozen=True)
class PartDraft:
    """A `DailyPart` to be."""

    name: str
    operation: Operation
    value: Placed
    weight: Placed | None
    type: ColumnType

    def finish(self) -> DailyPart:
        return DailyPart(self.name, self.operation, self.value.value.name, name_of(self.weight), self.type)


@dataclass(frozen=True)
class DailyDraft:
    """A `DailyColumn` to be."""

    column: Column
    place: Place
    parts: tuple[PartDraft, ...]
    value_sql: Sql
    value_type: ColumnType
    days_where_sql: Sql | None
    changes_daily: bool
    operation: Operation
    window: Window
    lag: int
    every: Every
    within: Window | None
    since: Placed | None
    newest_per: Placed | None

    def renamed(self, name: str) -> DailyDraft:
        """The same for another group's use."""
        return replace(self, column=replace(self.column, name=name, internal=True))

    def finish(self, streams: StreamsByKey) -> DailyColumn:
        first = self.parts[0].value
        return DailyColumn(
            self.column,
            streams[first.key].name,
            first.clock.name,
            tuple(part.finish() for part in self.parts),
            self.value_sql,
            self.value_type,
            self.days_where_sql,
            self.changes_daily,
            self.operation,
            self.window,
            self.lag,
            self.every,
            self.within,
            name_of(self.since),
            name_of(self.newest_per),
        )


Draft = WindowDraft | DailyDraft


def name_of(placed: Placed | None) -> str | None:
    return placed.value.name if placed else None
