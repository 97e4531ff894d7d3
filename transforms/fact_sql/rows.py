"""The rows of a source, or of a union of sources, with the spans in which each version counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from conf.expressions.values import SPARK_TYPES
from conf.specs import Source
from transforms.curated import CLOCKS, curated_columns
from transforms.fact_sql.spans import ALWAYS, KNOWN, NEVER_YET, WORLD, mask
from transforms.fact_sql.steps import Steps, Table
from transforms.feature_group import Member

KEY = "_key_"


def key_width(name: str, members: Sequence[Member], sources: Mapping[str, Source]) -> int:
    """How many columns tell the rows apart: the primary key's; of a union the member's name and the keys of all members."""
    if members:
        return 1 + sum(len(sources[member.source].key) for member in members)
    return len(sources[name].key)


@dataclass
class Rows:
    """Makes the steps that read rows.

    `tables`: the curated tables, with the columns that they have. `needed`: those of each that anything reads. `linked_only`: of
    other sources only rows that own rows are linked to are read; it pays where the own rows are some of many.
    """

    steps: Steps
    tables: Mapping[str, Table]
    sources: Mapping[str, Source]
    needed: Mapping[str, Sequence[str]]
    linked_only: bool = False
    known: dict[tuple[object, ...], Table] = field(default_factory=dict)

    def read(self, name: str, members: Sequence[Member], masks: Sequence[str], *, daily: bool) -> Table:
        """A source's rows, masked, with their columns, clocks, keys (`_key_0`, …) and spans.

        Of a union: those of its members, with its columns. `daily`: masks and events cut the world's axis.
        """
        place = (name, tuple(masks), daily)
        if place not in self.known:
            if members:
                self.known[place] = self._union(members, masks, daily=daily)
            else:
                source = self.sources[name]
                rows = self.versions(source, daily=daily)
                keyed = {f"{KEY}{place}": self.steps.dialect.name(column) for place, column in enumerate(source.key)}
                rows = self.steps.select(rows, made=keyed, name=name)
                self.known[place] = mask(self.steps, rows, source.mutable, masks, WORLD if daily else KNOWN)
        return self.known[place]

    def versions(self, source: Source, *, daily: bool = False, always: bool = False) -> Table:
        """Since when and until when each version is the one that counts.

        Rows in: one per key and version. Rows out: those that ever count. A version counts from the first T with
        `event_time < T` and `known_time <= T + grace`, until a greater version counts. `daily`: in the world from its event on,
        or `always`.
        """
        dialect = self.steps.dialect
        event, known = (dialect.micros(column) for column in CLOCKS)
        grace = int(source.grace.total_seconds() * 1_000_000)
        table = self.tables[source.name]
        columns = self.needed[source.name]
        types = curated_columns(source)
        made = {name: f"cast(null as {types[name]})" for name in columns if name not in table.columns}
        noticed = f"{known} - cast({grace} as bigint)" if source.known_time else NEVER_YET
        made[KNOWN[0]] = f"greatest({event} + 1, {noticed})"
        if daily:
            made |= {WORLD[0]: NEVER_YET if always else f"{event} + 1", WORLD[1]: ALWAYS}
        if daily and not always and source.version is None:
            made[KNOWN[0]] = noticed  # when it happened is the world's; of versions it decides which is the one that counts
        clocks = CLOCKS if source.known_time else CLOCKS[:1]
        where = " and ".join(f"{clock} is not null" for clock in clocks)
        if source.version is None:
            return self.steps.select(table, columns, {**made, KNOWN[1]: ALWAYS}, where=where, name=source.name)
        rows = self.steps.select(table, columns, made, where=where, name=source.name)
        window = f"partition by {self.steps.names(source.key)} order by {dialect.name(source.version)} asc nulls first"
        window += " rows between 1 following and unbounded following"
        until = f"coalesce(min({KNOWN[0]}) over w, {ALWAYS})"
        bounded = self.steps.select(rows, made={KNOWN[1]: until}, window=window, name=source.name)
        return self.steps.select(bounded, where=f"{KNOWN[0]} < {KNOWN[1]}", name=source.name)

    def linked_to(self, links: Table, name: str, on: Sequence[str]) -> Rows:
        """What reads of a source only rows whose columns `on` are `_link_0`, … of some row of `links`, in all their versions."""
        if not self.linked_only:
            return self
        source, table = self.sources[name], self.tables[name]
        quoted = self.steps.dialect.name
        same = " and ".join(f"o.{quoted(column)} = k._link_{place}" for place, column in enumerate(on))
        if source.version is not None:
            found = f"select distinct {self.steps.names(source.key)} from {table.name} o semi join {links.name} k on {same}"
            links = self.steps.add("linked_keys", f"({found})", source.key)
            same = " and ".join(f"o.{quoted(column)} = k.{quoted(column)}" for column in source.key)
        some = self.steps.add(
            f"linked_{name}", f"(select o.* from {table.name} o semi join {links.name} k on {same})", table.columns
        )
        return replace(self, tables={**self.tables, name: some}, known={})

    def _union(self, members: Sequence[Member], masks: Sequence[str], *, daily: bool) -> Table:
        dialect = self.steps.dialect
        types: dict[str, str] = {}
        parts = []
        place = 1
        for member in members:
            source = self.sources[member.source]
            own = [mask.removeprefix(f"{member.source}.") for mask in masks if mask.startswith(f"{member.source}.")]
            rows = self.read(member.source, (), own, daily=daily)
            made = {name: f"cast({dialect.sql(sql)} as {SPARK_TYPES[type_]})" for name, type_, sql in member.columns}
            made[f"{KEY}0"] = dialect.text(member.source)
            of_key = {f"{KEY}{place + number}": column for number, column in enumerate(source.key)}
            made |= {name: dialect.name(column) for name, column in of_key.items()}
            types |= {name: SPARK_TYPES[type_] for name, type_, _ in member.columns}
            types |= {name: curated_columns(source)[column] for name, column in of_key.items()}
            place += len(of_key)
            spans = (*KNOWN, *(WORLD if daily else ()))
            parts.append(self.steps.select(rows, [*CLOCKS, *spans], made, name=member.source))
        return self.steps.union(parts, types, name="union")
