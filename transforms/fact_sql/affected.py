"""Which facts new rows may change, and the rows of which these are made again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conf.specs import Source
from transforms.curated import curated_columns
from transforms.fact_sql.dialects import Dialect
from transforms.fact_sql.needed import needed_columns
from transforms.fact_sql.rows import KEY, Rows, key_width
from transforms.fact_sql.steps import Steps, Table
from transforms.feature_group import Stream
from transforms.feature_group.sql import Sql

NewRuns = Mapping[str, Sequence[str]]  # of each source
_BROADCAST = "/*+ broadcast(k) */"  # to Spark; there are few


def affected_sql(
    stream: Stream, sources: Mapping[str, Source], tables: Mapping[str, Table], new_runs: NewRuns, dialect: Dialect
) -> str:
    """SQL of the primary keys (`key_0`, …) whose facts may differ because of rows that these runs took in.

    These are the keys of such rows, and of rows whose parent or payments have such rows now or had them linked before: a payment
    that is amended may have left another instalment. `_known_before`: whether the key had rows before.
    """
    return _Affected(stream, sources, tables, new_runs, dialect).query()


def each_row_stands_alone(stream: Stream, sources: Mapping[str, Source]) -> bool:
    """Whether no row changes another's facts: each key comes once, and nothing is brought from elsewhere."""
    return not (stream.parent or stream.settlement) and all(sources[name].version is None for name in stream.sources)


def of_keys_sql(
    stream: Stream, sources: Mapping[str, Source], tables: Mapping[str, Table], keys: Table, dialect: Dialect
) -> dict[str, str]:
    """For each source of a stream's own rows, SQL of those of its rows whose primary key is among `keys`."""
    texts = {}
    for name, columns in _own_keys(stream, sources).items():
        same = " and ".join(f"k.{key} = o.{dialect.name(column)}" for key, column in columns.items())
        texts[name] = f"select {_BROADCAST} o.* from {tables[name].name} o semi join {keys.name} k on {same}"
    return texts


def _own_keys(stream: Stream, sources: Mapping[str, Source]) -> dict[str, dict[str, str]]:
    """For each source of a stream's own rows, what facts call the columns of its primary key."""
    if not stream.members:
        return {stream.source: {f"key_{place}": column for place, column in enumerate(sources[stream.source].key)}}
    found = {}
    place = 1
    for member in stream.members:
        found[member.source] = {f"key_{place + n}": column for n, column in enumerate(sources[member.source].key)}
        place += len(sources[member.source].key)
    return found


class _Affected:
    def __init__(
        self, stream: Stream, sources: Mapping[str, Source], tables: Mapping[str, Table], new_runs: NewRuns, dialect: Dialect
    ) -> None:
        self.stream = stream
        self.sources = sources
        self.tables = tables
        self.new_runs = {name: runs for name, runs in new_runs.items() if runs}
        self.dialect = dialect
        self.steps = Steps(dialect)
        self.rows = Rows(self.steps, tables, sources, needed_columns(stream, sources))
        self.keys = [f"key_{place}" for place in range(key_width(stream.source, stream.members, sources))]

    def query(self) -> str:
        parts = [self._own(fresh=True)]
        parent, settlement = self.stream.parent, self.stream.settlement
        if parent and parent.source in self.new_runs:
            parts.append(self._linked_to(parent.source, parent.on))
        if settlement and settlement.source in self.new_runs:
            parts.append(self._linked_to(settlement.source, settlement.on))
        union = " union ".join(f"select distinct {self.steps.names(self.keys)} from {part.name}" for part in parts)
        affected = self.steps.add("affected", f"({union})", self.keys)
        before = self._own(fresh=False)
        same = " and ".join(f"o.{key} is not distinct from k.{key}" for key in self.keys)
        kept = f"select {_BROADCAST} distinct o.* from {before.name} o semi join {affected.name} k on {same}"
        known = self.steps.add("before", f"({kept})", self.keys)
        listed = ", ".join(f"o.{key}" for key in self.keys)
        text = f"select {listed}, k.key_0 is not null as _known_before from {affected.name} o left join {known.name} k on {same}"
        return self.steps.query(self.steps.add("affected", f"({text})", [*self.keys, "_known_before"]))

    def _own(self, *, fresh: bool) -> Table:
        """The keys of the stream's own rows that these runs took in, or of all others."""
        types: dict[str, str] = {}
        parts = []
        for name, columns in _own_keys(self.stream, self.sources).items():
            made = {key: self.dialect.name(column) for key, column in columns.items()}
            types |= {key: curated_columns(self.sources[name])[column] for key, column in columns.items()}
            if self.stream.members:
                made["key_0"] = self.dialect.text(name)
            parts.append(self.steps.select(self.tables[name], [], made, where=self._of_runs(name, fresh=fresh), name="own"))
        return self.steps.union(parts, types, name="own")

    def _of_runs(self, source: str, *, fresh: bool) -> str:
        runs = ", ".join(self.dialect.text(run) for run in self.new_runs.get(source, ()))
        if not runs:
            return "false" if fresh else "true"
        return f"_run in ({runs})" if fresh else f"_run not in ({runs})"

    def _linked_to(self, source: str, on: Sequence[tuple[str, Sql]]) -> Table:
        """The keys of the stream's own rows that are, or were, linked to a row of another source that has new versions."""
        steps, dialect = self.steps, self.dialect
        table = self.tables[source]
        key = self.sources[source].key
        changed = steps.select(table, key, where=self._of_runs(source, fresh=True), name="changed")
        same = " and ".join(f"o.{dialect.name(column)} = k.{dialect.name(column)}" for column in key)
        links = ", ".join(f"o.{dialect.name(column)} as _on_{place}" for place, (column, _) in enumerate(on))
        text = f"select {_BROADCAST} distinct {links} from {table.name} o semi join {changed.name} k on {same}"
        linked = steps.add("linked", f"({text})", [f"_on_{place}" for place in range(len(on))])
        masks = sorted({mask for clock in self.stream.clocks for mask in clock.masks})
        rows = self.rows.read(self.stream.source, self.stream.members, masks, daily=False)
        made = {f"_link_{place}": f"({dialect.sql(sql)})" for place, (_, sql) in enumerate(on)}
        made |= {name: f"{KEY}{place}" for place, name in enumerate(self.keys)}
        keyed = steps.select(rows, [], made, name="links")
        same = " and ".join(f"o._link_{place} = k._on_{place}" for place in range(len(on)))
        text = f"select {_BROADCAST} {steps.names(self.keys)} from {keyed.name} o semi join {linked.name} k on {same}"
        return steps.add("linked", f"({text})", self.keys)
