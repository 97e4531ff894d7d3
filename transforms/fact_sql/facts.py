"""The facts of a stream, on all its clocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from conf.specs import ColumnType, Source
from transforms.fact_sql.dialects import Dialect
from transforms.fact_sql.joins import MATCH, by_other_columns, join_parent, settle
from transforms.fact_sql.needed import needed_columns
from transforms.fact_sql.rows import KEY, Rows, key_width
from transforms.fact_sql.spans import ALWAYS, KNOWN, WORLD, join_spans
from transforms.fact_sql.steps import Steps, Table
from transforms.feature_group import Clock, FactValue, Stream
from transforms.feature_group.compiled import digest
from transforms.feature_group.sql import Sql

ORDER = ("clock", "entity", "at", "known")
_STORED_TYPES: Mapping[ColumnType, str] = {
    "string": "string", "number": "double", "boolean": "boolean",
    "integer": "bigint", "money": "bigint", "date": "bigint", "timestamp": "bigint",
}  # fmt: skip
_EVENT = "_event"
_HOLDS = ("holds_from", "holds_until")
Clocks = Mapping[Clock, tuple[FactValue, ...]]


def key_columns(stream: Stream, sources: Mapping[str, Source]) -> list[str]:
    """How facts call the primary key's columns, by which ties are broken. Of a union: the member, and each member's key."""
    return [f"key_{number}" for number in range(key_width(stream.source, stream.members, sources))]


def sorted_by(keys: Sequence[str]) -> list[str]:
    """The order of facts at rest, of which no two have the same place. `keys`: the names of the primary key's columns."""
    return [*ORDER, *keys, "valid_from", "holds_from"]


def facts_sql(
    stream: Stream,
    sources: Mapping[str, Source],
    tables: Mapping[str, Table],
    dialect: Dialect,
    *,
    in_order: bool = False,
    linked_only: bool = False,
) -> str:
    """SQL of a stream's facts, from curated tables with all versions; `in_order`: as `sorted_by` says.

    `linked_only`: the own rows are some of many, so of other sources only what they are linked to is read.

    Rows out: one a fact and span of time in which its values hold: `clock`, `entity`, `at`, `known`, `valid_from`, `valid_until`,
    `holds_from`, `holds_until` (int64 microseconds UTC), the primary key (`key_0`, …), and the values of each clock (null on the
    others): money in cents, dates in days, timestamps in microseconds. Rows without an entity or any value are left out.

    A fact counts at T for `valid_from <= T < valid_until`. On a daily clock that says what is known, `at` how old the fact is (by
    its event), and it holds at the end t of a day for `holds_from < t` and not `holds_until < t`; elsewhere both are null.
    """
    return _Facts(stream, sources, tables, dialect, linked_only=linked_only).query(in_order=in_order)


class _Facts:
    def __init__(
        self, stream: Stream, sources: Mapping[str, Source], tables: Mapping[str, Table], dialect: Dialect, *, linked_only: bool
    ) -> None:
        self.stream = stream
        self.sources = sources
        self.dialect = dialect
        self.steps = Steps(dialect)
        self.rows = Rows(self.steps, tables, sources, needed_columns(stream, sources), linked_only)
        self.keys = key_columns(stream, sources)
        self.types = {value.name: _STORED_TYPES[value.type] for values in stream.clocks.values() for value in values}
        several = stream.parent is not None and by_other_columns(stream.parent, self.rows)
        width = len(sources[stream.parent.source].key) if stream.parent and several else 0
        self.match = [f"{MATCH}{place}" for place in range(width)]

    def query(self, *, in_order: bool) -> str:
        columns = [*ORDER, "valid_from", "valid_until", *_HOLDS, *self.keys, *sorted(self.types)]
        renamed = {"valid_from": KNOWN[0], "valid_until": KNOWN[1]}
        parts = []
        for facts in self._parts():
            kept = [column for column in facts.columns if column in columns]
            parts.append(self.steps.select(facts, kept, renamed, name="facts"))
        last = self._union(parts)
        return self.steps.query(Table(last.name, tuple(columns)), sorted_by(self.keys) if in_order else ())

    def _parts(self) -> Iterator[Table]:
        whole: list[Table] = []
        spans: list[Table] = []
        daily: list[Table] = []
        for clocks in self._cut_alike():
            one = next(iter(clocks))
            told = self._told(clocks, self._spans(one), daily=one.daily)
            together = [clocks] if self.dialect.reads_again else [{clock: values} for clock, values in clocks.items()]
            facts = [self._on_clocks(some, told, daily=one.daily) for some in together]
            (daily if one.daily else spans if self._is_cut(one) else whole).extend(facts)
        yield from whole
        for parts, joined in ((spans, self._joined), (daily, self._joined_daily)):
            yield from map(joined, [self._union(parts)] if self.dialect.reads_again and parts else parts)

    def _cut_alike(self) -> list[Clocks]:
        """The clocks whose rows are cut at the same moments, together: they are cut once."""
        groups: dict[object, dict[Clock, tuple[FactValue, ...]]] = {}
        for clock, values in self.stream.clocks.items():
            moments = (clock.masks, clock.parent_masks, clock.settles, clock.daily)
            groups.setdefault(moments, {})[clock] = values
        return list(groups.values())

    def _is_cut(self, clock: Clock) -> bool:
        read = [self.sources[member.source] for member in self.stream.members] or [self.sources[self.stream.source]]
        return bool(clock.masks or clock.settles or self.stream.parent) or any(source.version for source in read)

    def _spans(self, clock: Clock) -> Table:
        """Rows out: one a row and span in which nothing changes of what the clock's values read."""
        stream = self.stream
        rows = self.rows.read(stream.source, stream.members, clock.masks, daily=clock.daily)
        if stream.parent:
            rows = join_parent(self.rows, rows, stream.parent, clock.parent_masks, daily=clock.daily)
        if stream.settlement and clock.settles:
            rows = settle(self.rows, rows, stream.settlement, daily=clock.daily)
        return rows

    def _told(self, clocks: Clocks, rows: Table, *, daily: bool) -> Table:
        """Whose each row is, and what the clocks need of it: each moment and value once, whatever the number of clocks."""
        dialect = self.dialect
        event, known = dialect.micros("_event_time"), dialect.micros("_known_time")
        entity = dialect.sql(self.stream.entity_sql)
        made = {
            "entity": f"cast({entity} as string)",
            "known": f"coalesce({known}, {event})",
            _EVENT: event,
            **{name: f"{KEY}{place}" for place, name in enumerate(self.keys)},
        }
        for clock, values in clocks.items():
            for moment in filter(None, (clock.at, clock.from_, clock.until)):
                made[_moment(moment)] = dialect.micros(f"({dialect.sql(moment)})")
            made |= {value.name: f"cast({self._stored(value)} as {self.types[value.name]})" for value in values}
        kept = [*self.match, *KNOWN, *(WORLD if daily else ())]
        return self.steps.select(rows, kept, made, where=f"({entity}) is not null", name="told", once=True)

    def _on_clocks(self, clocks: Clocks, told: Table, *, daily: bool) -> Table:
        """Rows out: one a span and clock on which it counts at some time and has a value."""
        dialect = self.dialect
        opens, closes = WORLD if daily else KNOWN
        names = list(dict.fromkeys(value.name for values in clocks.values() for value in values))
        facts = []
        for clock, values in clocks.items():
            since, until = opens, closes
            if clock.from_:
                moment = _moment(clock.from_)
                since = f"case when {moment} is not null then greatest({since}, {moment} + 1) end"
            if clock.until:
                until = f"least({until}, {_moment(clock.until)} + 1)"
            fact = {
                "clock": dialect.text(clock.name),
                "at": _moment(clock.at) if clock.at else _EVENT,
                opens: since,
                closes: until,
            }
            kept = {value.name for value in values}
            facts.append(fact | {name: name if name in kept else f"cast(null as {self.types[name]})" for name in names})
        others = [*self.match, "entity", "known", *self.keys, *(KNOWN if daily else ())]
        made: dict[str, str] = {} if daily else dict.fromkeys(_HOLDS, "cast(null as bigint)")
        if len(facts) == 1:
            table = self.steps.select(told, others, {**made, **facts[0]}, name="on_clock")
        else:
            each = dialect.explode(dialect.list(*map(dialect.struct, facts)))
            exploded = self.steps.select(told, others, {**made, "_fact": each}, name="on_clocks")
            fields = {name: f"_fact.{dialect.name(name)}" for name in facts[0]}
            table = self.steps.select(exploded, [*others, *made], fields, name="on_clocks")
        some = " or ".join(f"{name} is not null" for name in names)
        counts = f"{dialect.name('at')} is not null and {opens} is not null and {opens} < {closes} and ({some})"
        return self.steps.select(table, where=counts, name="counting")

    def _union(self, tables: Sequence[Table]) -> Table:
        return self.steps.union(tables, self.types, name="facts")

    def _joined(self, facts: Table) -> Table:
        """Joins the spans of one fact in which its values are the same."""
        by = ["clock", "entity", "at", *self.keys, *self.match]
        return join_spans(self.steps, self._with_tie(facts), KNOWN, by=by, same=[*self._values(facts), "_tie"])

    def _joined_daily(self, facts: Table) -> Table:
        """The same, and the spans in which they hold."""
        fact = ["clock", "entity", "at", *self.keys, *self.match]
        same = [*self._values(facts), "_tie"]
        joined = join_spans(self.steps, self._with_tie(facts), WORLD, by=[*fact, *KNOWN], same=same)
        joined = join_spans(self.steps, joined, KNOWN, by=[*fact, *WORLD], same=same)
        since, till = WORLD
        held = (f"{since} - 1", f"case when {till} = {ALWAYS} then {till} else {till} - 1 end")
        return self.steps.select(joined, made=dict(zip(_HOLDS, held, strict=True)), name="daily")

    def _values(self, facts: Table) -> list[str]:
        return [name for name in facts.columns if name in self.types]

    def _with_tie(self, facts: Table) -> Table:
        """The known time, on the clocks where it breaks ties."""
        ordered = [clock.name for clock, values in self.stream.clocks.items() if any(value.ordered for value in values)]
        named = ", ".join(self.dialect.text(name) for name in ordered)
        tie = f"case when clock in ({named}) then known end" if ordered else "cast(null as bigint)"
        return self.steps.select(facts, made={"_tie": tie}, name="facts")

    def _stored(self, value: FactValue) -> str:
        sql = f"({self.dialect.sql(value.sql)})"
        match value.type:
            case "money":
                return f"(cast({sql} as decimal(28,2)) * 100)"
            case "date":
                return self.dialect.day_number(sql)
            case "timestamp":
                return self.dialect.micros(sql)
            case "number":
                return f"case when not isnan({sql}) then {sql} end"
            case _:
                return sql


def _moment(sql: Sql) -> str:
    """What a step calls a moment that clocks name."""
    return f"_m_{digest(str(sql))}"
