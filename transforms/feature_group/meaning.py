"""What each column means, as a hash: its own operation, value, clock, window and sources, not those of the columns beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass

from conf.specs import Source
from transforms.feature_group.compiled import (
    AnyGroup,
    Column,
    Compiled,
    CompiledFunctionGroup,
    CompiledGroup,
    CompiledRollup,
    DailyColumn,
    RolledColumn,
    Stream,
    WindowColumn,
    digest,
)
from transforms.feature_group.sql import Sql
from transforms.feature_group.tables import source_meaning
from transforms.operations import Operation

LENGTH = 12
HAS_HISTORY = "has_history"  # of the row itself: whether any input has rows of the entity
_QUOTED = re.compile(r'"([^"]+)"')
_WORDS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def column_versions(compiled: Compiled, group: AnyGroup) -> dict[str, str]:
    """Published column -> the hash of its meaning.

    Names, words and the order of definitions don't change it; a formula, a type, a source's clock, the zone or the spine do.
    A column added beside it doesn't. Columns of equal meaning have equal hashes.
    """
    if isinstance(group, CompiledFunctionGroup):
        read = [source_meaning(compiled.sources[name]) for name in group.sources]
        others = [compiled.group(name).version for name in group.groups]
        made = [group.entity, group.module, group.function, group.code, read, others]
        return {column.name: digest([made, column.name, column.type], LENGTH) for column in group.columns}
    if isinstance(group, CompiledRollup):
        versions = {name: column_versions(compiled, compiled.group(name)) for name in group.groups}
        return {item.column.name: digest(_rolled(compiled, group, item, versions), LENGTH) for item in group.rolled}
    own = _own_meanings(compiled, group)
    rows = [group.entity, _rows(compiled, compiled.streams[group.spine[0]]), compiled.zone]
    blanked = own[group.blank_unless] if group.blank_unless else None
    return {
        column.name: digest([rows, own[column.name], None if column.name == group.blank_unless else blanked], LENGTH)
        for column in group.columns
    }


def sources_of_columns(compiled: Compiled, group: AnyGroup) -> dict[str, tuple[str, ...]]:
    """Column -> the sources that it is computed from, those of other columns that it uses included.

    Where a column blanks the others, its sources are theirs, too.
    """
    if isinstance(group, CompiledFunctionGroup):
        others = (compiled.group(name) for name in group.groups)
        read = [source for other in others for sources in sources_of_columns(compiled, other).values() for source in sources]
        return {column.name: tuple(dict.fromkeys((*group.sources, *read))) for column in group.columns}
    if isinstance(group, CompiledRollup):
        of_groups = {name: sources_of_columns(compiled, compiled.group(name)) for name in group.groups}
        return {
            item.column.name: tuple(
                dict.fromkeys(
                    source
                    for members in group.members
                    for name, columns in members.read(item.uses).items()
                    for column in columns
                    for source in of_groups[name].get(column, ())
                )
            )
            for item in group.rolled
        }
    found = {item.column.name: compiled.streams[item.stream].sources for item in answered_columns(group)}
    found[HAS_HISTORY] = tuple(source for stream, _, _ in group.presence for source in compiled.streams[stream].sources)
    derived = {item.column.name: item for item in group.derived}

    def sources(name: str) -> tuple[str, ...]:
        if name not in found and name in derived:
            found[name] = tuple(dict.fromkeys(source for used in derived[name].uses for source in sources(used)))
        return found.get(name, ())  # what isn't a column is of the row itself

    blanked = sources(group.blank_unless) if group.blank_unless else ()
    return {name: tuple(dict.fromkeys((*sources(name), *blanked))) for name in [*found, *derived]}


def answered_columns(group: CompiledGroup) -> list[WindowColumn | DailyColumn]:
    """The columns that are answered from facts."""
    return [*group.windows, *group.dailies]


def _own_meanings(compiled: Compiled, group: CompiledGroup) -> dict[str, str]:
    """Every column, the internal ones too."""
    found = {item.column.name: digest(_answered(compiled, item)) for item in answered_columns(group)}
    found[HAS_HISTORY] = digest([_rows(compiled, compiled.streams[stream]) for stream, _, _ in group.presence])
    derived = {item.column.name: item for item in group.derived}

    def meaning(name: str) -> str:
        if name not in found and name in derived:
            sql = _QUOTED.sub(lambda used: f'"{meaning(used[1])}"', str(derived[name].sql))
            found[name] = digest([_typed(derived[name].column), sql])
        return found.get(name, name)  # what isn't a column is of the row itself

    return {name: meaning(name) for name in [*found, *derived]}


def _rolled(
    compiled: Compiled, group: CompiledRollup, item: RolledColumn, versions: Mapping[str, Mapping[str, str]]
) -> list[object]:
    """What is made of members: what each says, in the place of the names for it, and of the columns that it is made from."""
    told = []
    for members in group.members:
        known = dict(versions[members.group])
        for one in members.beside:
            known |= {f"{one.group}.{name}": version for name, version in versions[one.group].items()}

        def meant(sql: Sql, known: Mapping[str, str] = known) -> str:
            return _QUOTED.sub(lambda used: f'"{known.get(used[1], used[1])}"', str(sql))

        said = {name: meant(sql) for name, sql in members.columns.items()}
        value, counts = (
            _QUOTED.sub(lambda used, said=said: said.get(used[1], used[0]), str(sql)) if sql else None  # type: ignore[misc]
            for sql in (item.value, item.counts)
        )
        beside = [[one.group, meant(one.key)] for one in members.beside_for(item.uses)]
        told.append([meant(members.entity), beside, value, counts])
    return [group.entity, compiled.zone, item.op, _typed(item.column), sorted(told, key=str)]


def _answered(compiled: Compiled, item: WindowColumn | DailyColumn) -> list[object]:
    stream = compiled.streams[item.stream]
    clock, values = next((clock, values) for clock, values in stream.clocks.items() if clock.name == item.clock)
    named = {value.name: [value.type, str(value.sql)] for value in values}
    meaning: list[object] = [
        _typed(item.column), _plain(clock), _operation(item.operation), str(item.window), item.lag,
        named.get(item.newest_per or ""),
    ]  # fmt: skip
    if isinstance(item, WindowColumn):
        meaning += [named[item.value], named.get(item.weight or ""), named.get(item.map_by or ""), item.ahead]
    else:
        parts = [[p.name, _operation(p.operation), named[p.value], named.get(p.weight or "")] for p in item.parts]
        within = str(item.within) if item.within else None
        days_where = str(item.days_where_sql) if item.days_where_sql else None
        meaning += [parts, str(item.value_sql), days_where, item.every, within, named.get(item.since or "")]
    return [*meaning, _rows(compiled, stream, meaning)]


def _typed(column: Column) -> list[object]:
    return [column.type, column.decimal_digits if column.type == "money" else None]


def _operation(operation: Operation) -> list[object]:
    return [operation.name, {name: str(found) for name, found in vars(operation).items()}]


def _plain(part: object) -> object:
    """As JSON, without the fields that are left at their default: those to come change nothing."""
    if isinstance(part, tuple):
        return [_plain(item) for item in part]
    if not is_dataclass(part):
        return part if part is None or isinstance(part, bool | int | str) else str(part)
    said = {field.name: getattr(part, field.name) for field in fields(part) if getattr(part, field.name) != field.default}
    return {name: _plain(value) for name, value in said.items()}


def _rows(compiled: Compiled, stream: Stream, used_by: object = None) -> list[object]:
    """What a stream's facts are made from, as far as `used_by` and the joins name it.

    Not the stream's name: all columns of all groups decide that.
    """
    parent = stream.parent
    meaning = [
        stream.entity, stream.source, str(stream.entity_sql), _plain(stream.members), _plain(stream.settlement),
        _plain((parent.on, parent.entity)) if parent else None,
    ]  # fmt: skip
    named = set(_WORDS.findall(f"{meaning} {used_by}"))
    brought = {name: column for name, column in parent.columns if name in named} if parent else {}
    named |= {*brought.values(), *([parent.entity] if parent and parent.entity else [])}
    return [meaning, brought, {name: _source(compiled.sources[name], named) for name in stream.sources}]


def _source(source: Source, named: Collection[str]) -> Mapping[str, object]:
    """A source's clocks and keys, and its columns as far as they are named."""
    whole = source_meaning(source)
    clocks = [time.column for time in (source.event_time, source.known_time) if time]
    needed = {*named, *source.key, *clocks, source.version}
    columns = {name: [column.type, source.zone_of(name)] for name, column in source.columns.items() if name in needed}
    return {key: value for key, value in whole.items() if key != "mutable"} | {"columns": columns}
