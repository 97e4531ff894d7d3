"""Collects what all groups need of each source, so that it is prepared once for each kind of entity."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

from conf.specs import ColumnType
from transforms.feature_group.compiled import Clock, FactValue, Member, Parent, Settlement, Stream, digest
from transforms.feature_group.sql import Sql

TRUE = Sql("true", "true", "true")


@dataclass(frozen=True)
class Join:
    """A parent without the columns that it brings: inputs that differ only in these share a stream."""

    source: str
    on: tuple[tuple[str, Sql], ...]
    entity: str | None


@dataclass(frozen=True)
class StreamKey:
    """What makes facts of one stream: the rows and whose they are."""

    entity: str
    source: str
    entity_sql: Sql
    join: Join | None = None
    settlement: Settlement | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Placed:
    """A value of the facts of a stream, on a clock."""

    key: StreamKey
    clock: Clock
    value: FactValue


def brought(column: str) -> str:
    """What a row calls a column of its parent."""
    return f"_parent_{column}"


@dataclass
class Streams:
    """`add` and `bring` while groups are compiled, then `finish`."""

    clocks: dict[StreamKey, dict[Clock, dict[str, FactValue]]] = field(default_factory=dict)
    columns: dict[StreamKey, set[str]] = field(default_factory=dict)  # of the parent

    def add(self, key: StreamKey, clock: Clock, type_: ColumnType, sql: Sql, *, ordered: bool = False) -> Placed:
        value = FactValue("v_" + digest([type_, sql, ordered]), type_, sql, ordered)
        self.clocks.setdefault(key, {}).setdefault(clock, {})[value.name] = value
        return Placed(key, clock, value)

    def bring(self, key: StreamKey, columns: Iterable[str]) -> None:
        """Columns of the parent that some expression uses."""
        self.columns.setdefault(key, set()).update(columns)

    def presence(self, key: StreamKey) -> Placed:
        """A value that every row of the stream has."""
        return self.add(key, Clock(), "boolean", TRUE)

    def finish(self) -> dict[StreamKey, Stream]:
        return {key: self._stream(key) for key in self.clocks}

    def _stream(self, key: StreamKey) -> Stream:
        in_order = sorted(self.clocks[key].items(), key=lambda item: item[0].name)
        clocks = {clock: tuple(sorted(values.values(), key=lambda value: value.name)) for clock, values in in_order}
        parent = None
        if key.join:
            columns = tuple((brought(column), column) for column in sorted(self.columns.get(key, ())))
            parent = Parent(key.join.source, key.join.on, columns, key.join.entity)
        meaning: list[object] = [asdict(key), asdict(parent) if parent else None]
        meaning += [[asdict(clock), [asdict(value) for value in values]] for clock, values in clocks.items()]
        name = f"{key.source}-{digest(meaning)}"
        return Stream(name, key.entity, key.source, key.entity_sql, parent, key.settlement, clocks, key.members)
