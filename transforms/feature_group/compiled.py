"""What the engine needs of feature groups: the facts to prepare, the windows to answer, the expressions to derive. Data only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Literal

from conf.specs import ColumnType, RollupOp, Scoring, Source
from conf.windows import Window
from transforms.feature_group.sql import Sql
from transforms.operations import Operation

LIFETIME = Window("lifetime")
Every = Literal["day", "month_end"]


@dataclass(frozen=True)
class FactValue:
    """One value that facts keep: SQL over the source's columns; null where the fact was filtered out."""

    name: str
    type: ColumnType
    sql: Sql
    ordered: bool = False  # whether an operation asks which of two facts of one moment came first


@dataclass(frozen=True)
class Clock:
    """When facts count and hold. SQL over the source's columns, None: the event time, and no limits.

    `masks`: the mutable timestamps on which the values depend; those of a union's member as `member.timestamp`. `parent_masks`:
    those of the parent, by the parent's names, on which brought columns depend. `settles`: whether the values depend on child
    rows. `daily`: for values of every day: what holds in the world and what is known are kept apart.
    """

    at: Sql | None = None
    from_: Sql | None = None
    until: Sql | None = None
    masks: tuple[str, ...] = ()
    settles: bool = False
    daily: bool = False
    parent_masks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "t_" + digest(asdict(self))


@dataclass(frozen=True)
class Settlement:
    """`SettledBy`, compiled: SQL over the child's columns (`amount`, `where`) and the row's own (`on`, `due`)."""

    source: str
    on: tuple[tuple[str, Sql], ...]
    amount: Sql
    where: Sql | None
    due: Sql
    masks: tuple[str, ...]


@dataclass(frozen=True)
class Parent:
    """A join to another source's row of the same key: `columns` are brought under new names, and `entity` where it is brought.

    `on`: the parent's column and SQL over the row's own columns that equals it. With `entity` the join is an inner one, one row a
    matching row of the parent; without, `on` is the parent's whole key, and where no row of it counts `columns` are null.
    """

    source: str
    on: tuple[tuple[str, Sql], ...]
    columns: tuple[tuple[str, str], ...]  # the name here, and the parent's column
    entity: str | None = None  # the parent's column


@dataclass(frozen=True)
class Member:
    """A source of a union: SQL over its columns for each of the union's columns that it has."""

    source: str
    columns: tuple[tuple[str, ColumnType, Sql], ...]


@dataclass(frozen=True)
class Stream:
    """A source prepared for one kind of entity, once for all groups: its facts on each clock.

    `entity_sql`: the entity of a row, over its columns, its own and brought; where the parent brings it, the column `_entity`.
    """

    name: str
    entity: str
    source: str
    entity_sql: Sql
    parent: Parent | None
    settlement: Settlement | None
    clocks: Mapping[Clock, tuple[FactValue, ...]]
    members: tuple[Member, ...] = ()  # of a union

    @property
    def own_sources(self) -> tuple[str, ...]:
        """Those of whose rows its facts are, the members of a union."""
        return tuple(member.source for member in self.members) or (self.source,)

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that its facts are made from."""
        named = [
            *self.own_sources,
            self.parent.source if self.parent else None,
            self.settlement.source if self.settlement else None,
        ]
        return tuple(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True)
class Column:
    """A column of a snapshot. `words`: what it is; `null_when`: what a missing value means, empty when none is ever missing."""

    name: str
    feature: str
    type: ColumnType
    words: str
    null_when: str
    online: bool
    internal: bool
    scoring: Scoring
    op: str | None = None
    window: Window | None = None
    by_value: str | None = None
    of_type: ColumnType | None = None

    @property
    def nullable(self) -> bool:
        return self.null_when != ""

    @property
    def decimal_digits(self) -> int:
        """Of money: sums and derived amounts have 28 digits, single amounts and means 18."""
        return 28 if self.op in ("sum", None) else 18


@dataclass(frozen=True)
class WindowColumn:
    """A column answered from the facts of a stream on one clock. `value` and the rest name values of the facts.

    `newest_per`: only the newest fact of each of its values counts. It is null of facts that don't count, whatever their pivot
    value: the newest is chosen before facts are told apart. `map_by`: an answer for each of its values, as a JSON map.
    """

    column: Column
    stream: str
    clock: str
    value: str
    window: Window
    lag: int
    ahead: bool
    operation: Operation
    weight: str | None = None
    newest_per: str | None = None
    map_by: str | None = None

    @cached_property
    def said(self) -> str:
        """The same text for columns that say the same, whatever they are called."""
        where = (self.stream, self.clock, self.window, self.lag, self.ahead)
        return repr((*where, self.operation, self.value, self.weight, self.newest_per, self.map_by))


@dataclass(frozen=True)
class DailyPart:
    """An operation inside a daily value, over the facts of a point; `type`: that of its answer."""

    name: str
    operation: Operation
    value: str
    weight: str | None
    type: ColumnType


@dataclass(frozen=True)
class DailyColumn:
    """A value of every day, and an operation over the days of a window.

    At each point p with its end t_p: the facts of the clock known at T (both clocks) that hold at t_p; with `within` also those
    only whose `since` (the name of a fact value, a timestamp) lies in that window ending at p; with `newest_per`, of those only
    the newest of each of its values. `value_sql`: over the parts' names and `day` (a date). `days_where_sql`: over
    `value` and `day`. `changes_daily`: whether what is said may differ between points at which the same facts hold.
    """

    column: Column
    stream: str
    clock: str
    parts: tuple[DailyPart, ...]
    value_sql: Sql
    value_type: ColumnType
    days_where_sql: Sql | None
    changes_daily: bool
    operation: Operation
    window: Window
    lag: int = 0
    every: Every = "day"
    within: Window | None = None
    since: str | None = None
    newest_per: str | None = None

    @cached_property
    def points(self) -> str:
        """The same text for columns whose points see the same facts: they are answered together."""
        return repr((self.stream, self.clock, self.every, self.within, self.since, self.newest_per))

    @cached_property
    def said_of_each(self) -> str:
        """The same text for columns of the same points that say the same of each."""
        return repr((self.parts, self.value_sql, self.value_type, self.days_where_sql))

    @cached_property
    def said(self) -> str:
        """The same text for columns that say the same, whatever they are called."""
        return repr((self.points, self.said_of_each, self.operation, self.window, self.lag))


@dataclass(frozen=True)
class DerivedColumn:
    """A column computed from others: SQL over `uses`.

    These may be any columns of the group, those of `internal` too, and of the row itself: `as_of` (date), `cut_off` (timestamp:
    T) and `has_history` (boolean).
    """

    column: Column
    sql: Sql
    uses: tuple[str, ...]


@dataclass(frozen=True)
class CompiledGroup:
    """What the engine needs to answer a feature group.

    `blank_unless`: a boolean column (it may be internal): where it isn't true, every published column but it is null.
    """

    name: str
    entity: str
    spine: tuple[str, str, str]  # stream, clock, value: an entity with a value before T gets a row
    presence: tuple[tuple[str, str, str], ...]  # the same of every input: any value means has_history
    windows: tuple[WindowColumn, ...]
    derived: tuple[DerivedColumn, ...]
    version: str
    dailies: tuple[DailyColumn, ...] = ()
    blank_unless: str | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features in order of definition, those of `internal` left out."""
        every = [item.column for item in self.windows] + [item.column for item in self.dailies]
        every += [item.column for item in self.derived]
        return tuple(column for column in every if not column.internal)

    @property
    def streams(self) -> tuple[str, ...]:
        named = [
            self.spine[0],
            *(p[0] for p in self.presence),
            *(w.stream for w in self.windows),
            *(d.stream for d in self.dailies),
        ]
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True)
class CompiledFunctionGroup:
    """A feature group that a Python function makes: `module`:`function`, of `sources` and of other groups' snapshots of the day.

    `def function(frames: Mapping[str, DataFrame], as_of: date, cut_off: datetime) -> DataFrame`, with one row an identifier and
    `columns`.
    """

    name: str
    entity: str
    module: str
    function: str
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    columns: tuple[Column, ...]
    version: str
    code: str = ""  # the hash of the module's, comments and layout aside


@dataclass(frozen=True)
class Beside:
    """A row of `group` that is read with a member: the one whose `identifier` is `key`, SQL over the member's own columns."""

    group: str
    identifier: str
    key: Sql


@dataclass(frozen=True)
class RolledMembers:
    """Rows of a group's snapshot: SQL over their columns, and over those of the rows beside them as `group.column`.

    `entity`: the text that says whose member a row is, null: nobody's. `columns`: the same names of all members of a rollup.
    """

    group: str
    identifier: str
    entity: Sql
    beside: tuple[Beside, ...]
    columns: Mapping[str, Sql]

    def beside_for(self, names: Collection[str] | None = None) -> tuple[Beside, ...]:
        """Of the rows beside those that are asked for whose member a row is, and for what is in `names` (all when None)."""
        used = self._used(names)
        return tuple(one for one in self.beside if any(name.startswith(f"{one.group}.") for name in used))

    def read(self, names: Collection[str] | None = None) -> dict[str, tuple[str, ...]]:
        """Group -> the columns of its snapshot that say whose member a row is, and what is in `names` (all when None)."""
        beside = self.beside_for(names)
        used = sorted(self._used(names).union(*(one.key.columns for one in beside)))
        found = {self.group: [self.identifier, *(name for name in used if "." not in name and name != self.identifier)]}
        for one in beside:
            theirs = [name.removeprefix(f"{one.group}.") for name in used if name.startswith(f"{one.group}.")]
            found[one.group] = [one.identifier, *(name for name in theirs if name != one.identifier)]
        return {group: tuple(columns) for group, columns in found.items()}

    def _used(self, names: Collection[str] | None) -> frozenset[str]:
        said = (sql for name, sql in self.columns.items() if names is None or name in names)
        return self.entity.columns.union(*(sql.columns for sql in said))


@dataclass(frozen=True)
class RolledColumn:
    """A column over members. `value`: SQL over what they say, null of those that don't count; None: every member counts.

    `counts`: true of those that do, null of the others; None: they all do. `type`: that of the value.
    """

    column: Column
    op: RollupOp
    value: Sql | None
    counts: Sql | None
    type: ColumnType | None

    @property
    def uses(self) -> frozenset[str]:
        """What it names of the members."""
        return frozenset().union(*(sql.columns for sql in (self.value, self.counts) if sql))


@dataclass(frozen=True)
class CompiledRollup:
    """A feature group with one row for each entity that has a member among other groups' rows of the day."""

    name: str
    entity: str
    members: tuple[RolledMembers, ...]
    rolled: tuple[RolledColumn, ...]
    version: str

    @property
    def columns(self) -> tuple[Column, ...]:
        return tuple(item.column for item in self.rolled)

    @property
    def groups(self) -> tuple[str, ...]:
        """Those whose snapshots it reads."""
        return tuple(self.read())

    def read(self) -> dict[str, tuple[str, ...]]:
        """Group -> the columns of its snapshot that are read."""
        found: dict[str, tuple[str, ...]] = {}
        for members in self.members:
            for group, columns in members.read().items():
                found[group] = tuple(dict.fromkeys((*found.get(group, ()), *columns)))
        return found


LaterGroup = CompiledFunctionGroup | CompiledRollup
AnyGroup = CompiledGroup | LaterGroup


@dataclass(frozen=True)
class Compiled:
    """All groups of a catalogue and the streams that they share.

    `functions`: the groups that a Python function makes; `rollups`: those that are made of other groups' rows.
    """

    zone: str
    groups: Mapping[str, CompiledGroup]
    streams: Mapping[str, Stream]
    sources: Mapping[str, Source]
    functions: Mapping[str, CompiledFunctionGroup] = field(default_factory=dict)
    rollups: Mapping[str, CompiledRollup] = field(default_factory=dict)

    @property
    def later(self) -> Mapping[str, LaterGroup]:
        """The groups that are made after those whose snapshots they read."""
        return {**self.functions, **self.rollups}

    def group(self, name: str) -> AnyGroup:
        """A group, whatever makes it."""
        return self.groups[name] if name in self.groups else self.later[name]

    def groups_behind(self, group: AnyGroup) -> tuple[AnyGroup, ...]:
        """The groups whose snapshots it is made of, and those that these are made of."""
        found: dict[str, AnyGroup] = {}
        waiting = [] if isinstance(group, CompiledGroup) else list(group.groups)
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found[name] = other = self.group(name)
                waiting += () if isinstance(other, CompiledGroup) else other.groups
        return tuple(found.values())

    def sources_of(self, group: AnyGroup) -> tuple[str, ...]:
        """The sources that a group reads itself, not by other groups' snapshots."""
        if isinstance(group, CompiledRollup):
            return ()
        if isinstance(group, CompiledFunctionGroup):
            return group.sources
        named = (source for stream in group.streams for source in self.streams[stream].sources)
        return tuple(dict.fromkeys(named))


def digest(meaning: object, length: int = 10) -> str:
    """A short hash of a meaning: equal meanings have equal ones, whatever the order of a mapping's keys."""
    return hashlib.sha256(json.dumps(meaning, sort_keys=True, default=str).encode()).hexdigest()[:length]
