"""A compiled group cut down to some of its columns, for whoever asks for few of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from transforms.feature_group.compiled import Compiled, CompiledGroup, DailyColumn, WindowColumn
from transforms.feature_group.meaning import HAS_HISTORY

Place = tuple[str, str, str]  # stream, clock, value


def only(compiled: Compiled, name: str, columns: Collection[str]) -> Compiled:
    """The group `name` alone, with these columns, what they are made from, and the streams that these need.

    Where neither `has_history` is among them nor anything made from it, it says only whether the spine has the entity.
    """
    group = compiled.groups[name]
    needed = _with_used(group, {*columns, *([group.blank_unless] if group.blank_unless else [])})
    cut = replace(
        group,
        windows=tuple(item for item in group.windows if item.column.name in needed),
        dailies=tuple(item for item in group.dailies if item.column.name in needed),
        derived=tuple(item for item in group.derived if item.column.name in needed),
        presence=group.presence if HAS_HISTORY in needed else (group.spine,),
    )
    places = set(_places(cut))
    streams = {}
    for stream in compiled.streams.values():
        kept = {
            clock: tuple(v for v in values if (stream.name, clock.name, v.name) in places)
            for clock, values in stream.clocks.items()
        }
        clocks = {clock: values for clock, values in kept.items() if values}
        if clocks:
            streams[stream.name] = replace(stream, clocks=clocks)
    return replace(compiled, groups={name: cut}, streams=streams, functions={}, rollups={})


def _with_used(group: CompiledGroup, names: set[str]) -> set[str]:
    derived = {item.column.name: item for item in group.derived}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += derived[name].uses if name in derived else ()
    return found


def _places(group: CompiledGroup) -> Iterator[Place]:
    yield group.spine
    yield from group.presence
    answered: list[WindowColumn | DailyColumn] = [*group.windows, *group.dailies]
    for item in answered:
        for value in _values(item):
            if value:
                yield item.stream, item.clock, value


def _values(item: WindowColumn | DailyColumn) -> Iterator[str | None]:
    yield item.newest_per
    if isinstance(item, WindowColumn):
        yield from (item.value, item.weight, item.map_by)
    else:
        yield item.since
        for part in item.parts:
            yield from (part.value, part.weight)
