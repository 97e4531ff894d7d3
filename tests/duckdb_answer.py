"""A second answer, in SQL that DuckDB runs: trailing, month, lifetime, lagged and forward windows of aggregates, and states.

Windows, filters, joins, versions, ties and operations are said anew here; expressions of the definitions are compiled by conf (the
oracle's own evaluation of them is held to that in test_oracle_sql.py), and the bounds of windows are the oracle's. Daily values and derived
columns are left out.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import duckdb

from conf.expressions import duckdb_setup, parse
from conf.naming import column_name
from conf.specs import Aggregate, FeatureGroup, Input, Source, State, TimeColumn, UnionSource
from tests.oracle import OPERATIONS, span
from tests.oracle.inputs import Via
from tests.oracle.values import json_text, key_text, zero

Rows = Mapping[str, Sequence[Mapping[str, object]]]
Answer = dict[str, dict[str, object]]
_TYPES = {
    "string": "varchar", "integer": "bigint", "number": "double", "money": "decimal(18,2)", "boolean": "boolean",
    "date": "date", "timestamp": "timestamp",
}  # fmt: skip
_CLOCKS = {"_event_time": "timestamp", "_known_time": "timestamp"}
_ROUNDED = "(case when {c} < 0 then -1 else 1 end * ((2 * abs({c}) + {n}) // (2 * {n}))::decimal(38,2) / 100)::decimal(38,2)"

# One value for each entity, over the facts `f` of a window: entity, value, weight, day (local), place (1: the oldest), back (1: the
# newest), and of the fact before it, wherever that lies: value_before, day_before, and whether it is there.
_SIMPLE = {
    "count": "count(*)",
    "min": "min(value)",
    "max": "max(value)",
    "std": "stddev_samp(value::double)",
    "variance": "var_samp(value::double)",
    "skew": "case when count(*) < 3 then null when min(value) = max(value) then 0.0 else skewness(value::double) end",
    "kurtosis": "case when count(*) < 4 then null when min(value) = max(value) then 0.0 else kurtosis(value::double) end",
    "cv": "case when count(*) > 2 then stddev_samp(value::double) / nullif(avg(value::double), 0) end",
    "slope": "case when count(*) > 2 and min(day) < max(day) then regr_slope(value::double, (day - date '2000-01-01')::double) end",
    "distinct_count": "count(distinct value)",
    "first": "arg_min(value, place)",
    "last": "arg_min(value, back)",
    "any": "bool_or(value)",
    "all": "bool_and(value)",
    "streak": "coalesce(min(back) filter (where not value) - 1, count(*))",
    "recency": "date '{as_of}' - max(day)",
    "age": "date '{as_of}' - min(day)",
    "gap_mean": "avg((day - lag_day)::double)",
    "gap_min": "min(day - lag_day)",
    "gap_max": "max(day - lag_day)",
    "gap_std": "stddev_samp((day - lag_day)::double)",
    "decayed_sum": "fsum(value::double * power(2, -(date '{as_of}' - day)::double / {half_life}))",
    "first_n": "list(value order by place)[:{n}]",
    "last_n": "list(value order by back)[:{n}]",
    "change_count": "count(*) filter (where has_before and value <> value_before)",
    "rise_count": "count(*) filter (where has_before and value > value_before)",
    "close_count": "count(*) filter (where has_before and day - day_before <= {within})",
}
_EMPTY = {
    "count": 0, "distinct_count": 0, "streak": 0, "any": False, "change_count": 0, "rise_count": 0, "close_count": 0,
    "return_count": 0, "decayed_sum": 0.0, "first_n": [], "last_n": [], "top_k": [], "bottom_k": [], "histogram": [], "share": {}, "frequency": {},
}  # fmt: skip


class DuckdbAnswer:
    """One group as of one day. `answer()` gives the columns that SQL says, by entity."""

    def __init__(self, group: FeatureGroup, sources: Mapping[str, Source], rows: Rows, *, as_of: date, zone: str) -> None:
        self._group, self._sources, self._as_of, self._zone = group, sources, as_of, zone
        self._cutoff = _literal(span(None, as_of=as_of, zone=zone)[1])
        self._connection = duckdb.connect()
        duckdb_setup(self._connection)
        self._types = {name: _column_types(source) for name, source in sources.items() if not source.union_of}
        self._keys = {name: source.key for name, source in sources.items() if not source.union_of}
        for name in self._types:
            self._load(sources[name], rows.get(name, ()))
        for source in sources.values():
            if source.union_of:
                self._unite(source)

    def answer(self) -> Answer:
        with self._connection:
            spine = self._rows(f"select distinct {self._group.record_identifier}::varchar from counting_{self._group.spine}")
            found: Answer = {entity: {} for (entity,) in spine if entity is not None}
            for number, item in enumerate(self._group.inputs):
                types = self._input(f"input_{number}", item)
                for feature in (*item.aggregates, *item.states):
                    key = self._keys[item.source]
                    for column in _Feature(feature, types, f"input_{number}", key, self._as_of, self._zone).columns():
                        told = dict(self._rows(column.sql))
                        for entity, columns in found.items():
                            columns[column.name] = column.read(told.get(entity))
            return found

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def _load(self, source: Source, rows: Sequence[Mapping[str, object]]) -> None:
        """`counting_<source>`: the newest version of each key that counts at T, what has not come by then blanked."""
        columns = ", ".join(f'"{name}" {_TYPES[spec.type]}' for name, spec in source.columns.items())
        self._connection.execute(f"create table {source.name} ({columns})")
        for row in rows:
            told = [_naive(row.get(name)) for name in source.columns]
            self._connection.execute(f"insert into {source.name} values ({', '.join('?' * len(told))})", told)
        event = self._time(source, source.event_time)
        known = self._time(source, source.known_time) if source.known_time else "null::timestamp"
        grace = f"interval {int(source.grace.total_seconds())} seconds"
        in_time = f"_event_time < {self._cutoff}" + (f" and _known_time <= {self._cutoff} + {grace}" if source.known_time else "")
        masks = {
            settled: f'case when "{column}" < {self._cutoff} then "{settled}" end'
            for column, settles in source.mutable.items()
            for settled in (column, *settles)
        }
        read = ", ".join(f'{masks[name]} as "{name}"' if name in masks else f'"{name}"' for name in source.columns)
        newest = f'"{source.version}" desc nulls last' if source.version else "1"
        self._connection.execute(
            f"""create table counting_{source.name} as
            with timed as (select *, {event} as _event_time, {known} as _known_time from {source.name})
            select {read}, _event_time, _known_time from timed where {in_time}
            qualify row_number() over (partition by {", ".join(source.key)} order by {newest}) = 1"""
        )

    def _unite(self, union: UnionSource) -> None:
        """`counting_<union>`: its members' rows that count, each with the member's name and key to break ties by."""
        selects, types, keys = [], {}, ["_member"]
        for member, columns in union.union_of.items():
            told = {name: parse(text, self._types[member], zone=self._zone) for name, text in columns.items()}
            types |= {name: expression.type for name, expression in told.items()}
            own = {f"_key_{member}_{column}": column for column in self._keys[member]}
            keys += own
            texts = [f'{expression.duckdb()} as "{name}"' for name, expression in told.items()]
            texts += [f'"{column}" as {name}' for name, column in own.items()]
            selects.append(f"select '{member}' as _member, {', '.join(texts)}, _event_time, _known_time from counting_{member}")
        self._connection.execute(f"create table counting_{union.name} as {' union all by name '.join(selects)}")
        self._types[union.name], self._keys[union.name] = types | _CLOCKS, keys

    def _time(self, source: Source, time: TimeColumn) -> str:
        if time.of_date is None:
            return f'"{time.column}"'
        call = f"{time.of_date}({time.column})"
        zone = source.zone_of(time.column)
        moment = parse(call, {time.column: "date"}, zone=zone).duckdb()
        return moment if time.of_date == "start_of_day" else f"{moment} - interval 1 microsecond"

    def _input(self, table: str, item: Input) -> dict[str, str]:
        """`table`: the rows of an input with their entity and what joins bring; the types of its columns are returned."""
        types = dict(self._types[item.source])
        own = dict(types)
        self._connection.execute(f"create table {table} as select * from counting_{item.source}")
        if item.parent:
            parent = self._sources[item.parent.source]
            told = [self._sql(item.parent.on.get(column, column), own) for column in parent.key]
            links = ", ".join(f"({text}) as link_{number}" for number, text in enumerate(told))
            on = " and ".join(f'p."{column}" = c.link_{number}' for number, column in enumerate(parent.key))
            brought = ", ".join(f'p."{column}" as "{name}"' for name, column in item.parent.columns.items())
            child = f"(select *, {links} from {table}) c"
            self._extend(table, f"select c.*, {brought} from {child} left join counting_{parent.name} p on {on}")
            types |= {name: parent.columns[column].type for name, column in item.parent.columns.items()}
        if item.settled_by:
            types |= self._settle(table, item, own)
        for name, text in item.columns.items():
            expression = parse(text, types, zone=self._zone)
            self._extend(table, f'select *, {expression.duckdb()} as "{name}" from {table}')
            types[name] = expression.type
        self._entity(table, item, types)
        return types

    def _extend(self, table: str, select: str) -> None:
        self._connection.execute(f"create or replace table {table} as {select}")

    def _sql(self, text: str, types: Mapping[str, str]) -> str:
        return parse(text, types, zone=self._zone).duckdb()

    def _settle(self, table: str, item: Input, own: Mapping[str, str]) -> dict[str, str]:
        settled = item.settled_by
        child = self._sources[settled.source]
        types = self._types[child.name]
        amount = parse(settled.amount, types, zone=self._zone)
        where = self._sql(settled.where, types) if settled.where else "true"
        links = ", ".join(f"link_{number}" for number, _ in enumerate(settled.on))
        owing = ", ".join(f"({self._sql(text, own)}) as link_{number}" for number, text in enumerate(settled.on.values()))
        paying = ", ".join(f'"{name}" as link_{number}' for number, name in enumerate(settled.on))
        order = ", ".join(["_event_time", "_known_time", *(f'"{name}"' for name in child.key)])
        keys = ", ".join(f'"{name}"' for name in self._keys[item.source])
        self._extend(
            table,
            f"""with owing as (select {keys}, ({self._sql(settled.due, own)}) as owed, {owing} from {table}
            ), paying as (
              select {paying}, coalesce({amount.duckdb()}, 0) as paid, _event_time as paid_when, row_number() over (order by {order}) as seat
              from counting_{child.name} where ({where}) is true
            ), running as (
              select *, sum(paid) over (partition by {keys} order by seat) as so_far from owing join paying using ({links})
            ), summed as (
              select {keys}, sum(paid) as paid_amount, min(paid_when) filter (where so_far >= owed) as paid_at,
                max(paid_when) as last_paid_at from running group by {keys}
            )
            select {table}.*, coalesce(paid_amount, 0)::{_TYPES[amount.type]} as paid_amount, paid_at, last_paid_at
            from {table} left join summed using ({keys})""",
        )
        return {"paid_amount": amount.type, "paid_at": "timestamp", "last_paid_at": "timestamp"}

    def _entity(self, table: str, item: Input, types: Mapping[str, str]) -> None:
        if isinstance(item.entity, Mapping):
            ((brought, text),) = item.entity.items()
            via = Via.parse(text)
            if via:
                columns = [via.on] if via.on else list(self._sources[via.source].key)
                on = " and ".join(f'p."{name}" = c."{name}"' for name in columns)
                self._extend(
                    table, f'select c.*, p."{brought}"::varchar as _entity from {table} c join counting_{via.source} p on {on}'
                )
                return
        else:
            text = item.entity or self._group.record_identifier
        self._extend(table, f"select *, ({self._sql(text, types)})::varchar as _entity from {table}")


@dataclass(frozen=True)
class _Column:
    """`sql` gives (entity, answer) pairs; `read` makes an answer, or None for an entity without facts, a value."""

    name: str
    sql: str
    read: Any


class _Feature:
    """The columns of one aggregate or state over the rows of a table, each as one select."""

    def __init__(
        self, feature: Aggregate | State, types: Mapping[str, str], table: str, key: Sequence[str], as_of: date, zone: str
    ) -> None:
        self._feature, self._types, self._table, self._as_of, self._zone = feature, types, table, as_of, zone
        self._order = ", ".join(["counts_at", "_known_time", *(f'"{name}"' for name in key)])
        self._cutoff = _literal(span(None, as_of=as_of, zone=zone)[1])
        self._of, self._where = feature.of, feature.where
        if feature.op in ("any", "all") and feature.of is None:
            self._of, self._where = feature.where or "true", None
        self._type = parse(self._of, types, zone=zone).type if self._of else None

    def columns(self) -> Iterator[_Column]:
        feature = self._feature
        aggregate = isinstance(feature, Aggregate)
        for window in (feature.windows if aggregate else ()) or (None,):
            for lag in (feature.lag if aggregate else ()) or (0,):
                ahead = aggregate and feature.ahead
                start, end = map(_literal, span(window, as_of=self._as_of, zone=self._zone, lag=lag, ahead=ahead))

                def name(word: str | None, window: Any = window, lag: int = lag) -> str:
                    return column_name(feature.name, by_value=word, window=window, lag_days=lag)

                yield _Column(name(None), self._pairs(start, end, "true"), self._read)
                for column, values in feature.by.items():
                    yield from self._by(column, values, start, end, name)

    def _by(self, column: str, values: Any, start: str, end: str, name: Any) -> Iterator[_Column]:
        text = f"({self._sql(column)})::varchar"
        if values == "map":
            inner = self._pairs(start, end, f"{text} is not null", by=text)
            maps = f"select entity[1], map(list(entity[2]), list(answer)) from ({inner}) told_(entity, answer) group by 1"
            yield _Column(name(f"by_{column}"), maps, self._read_map)
            return
        listed = ", ".join(f"'{value}'" for value in values if value != "other")
        for value in values:
            chosen = f"coalesce({text} = '{value}', false)" if value != "other" else f"not coalesce({text} in ({listed}), false)"
            yield _Column(name(f"{column}_{value}"), self._pairs(start, end, chosen), self._read)

    def _sql(self, text: str) -> str:
        return parse(text, self._types, zone=self._zone).duckdb()

    def _moment(self, text: str) -> str:
        """A timestamp; a date is the start of its local day."""
        kind = parse(text, self._types, zone=self._zone).type
        return self._sql(text if kind == "timestamp" else f"start_of_day({text})")

    def _facts(self, start: str, end: str, chosen: str, by: str) -> str:
        """The facts of a window: those before it are looked back at, and gone."""
        feature = self._feature
        at = self._moment(feature.at) if isinstance(feature, Aggregate) and feature.at else "_event_time"
        value = self._sql(self._of) if self._of else "true"
        weight = self._sql(feature.weight) if feature.weight else "1"
        conditions = ["_entity is not null", "counts_at is not null", "value is not null", "weight is not null"]
        if self._where:
            conditions.append(f"({self._sql(self._where)}) is true")
        if feature.from_:
            conditions.append(f"({self._moment(feature.from_)}) < {self._cutoff}")
        if feature.until:
            conditions.append(f"not coalesce(({self._moment(feature.until)}) < {self._cutoff}, false)")
        local_day = f"timezone('{self._zone}', timezone('UTC', counts_at))::date"
        entity = f"[_entity, {by}]" if by else "_entity"
        if not feature.newest_per:  # the newest is chosen before facts are told apart
            conditions.append(f"({chosen})")
        in_window = f"counts_at >= {start} and counts_at < {end}"
        per = self._sql(feature.newest_per) if feature.newest_per else "null"
        newest = "qualify row_number() over (partition by whole, per order by seat desc) = 1" if feature.newest_per else ""
        no_null_per = "and per is not null" if feature.newest_per else ""
        return f"""with rows_ as (
            select *, {at} as counts_at, {value} as value, {weight} as weight, {per} as per, {chosen} as chosen from {self._table}
          ), facts as (
            select {entity} as entity, _entity as whole, chosen, counts_at, value, weight, per, {local_day} as day,
              row_number() over (order by {self._order}) as seat
            from rows_ where {" and ".join(conditions)}
          ), looked as (
            select *, lag(value) over w as value_before, lag(day) over w as day_before, lag(seat) over w is not null as has_before
            from facts window w as (partition by entity order by seat)
          ), inside as (
            select * from (select * from looked where {in_window} {no_null_per} {newest}) where chosen
          ), f as (
            select *, row_number() over (partition by entity order by seat) as place, lag(day) over (partition by entity order by seat) as lag_day,
              row_number() over (partition by entity order by seat desc) as back from inside
          )"""

    def _pairs(self, start: str, end: str, chosen: str, by: str = "") -> str:
        facts = self._facts(start, end, chosen, by)
        op = self._feature.op
        given = self._feature.parameters
        if op in _SIMPLE:
            text = _SIMPLE[op].format(as_of=self._as_of, **given)
            return f"{facts} select entity, {text} from f group by entity"
        return f"{facts} {getattr(self, f'_{op}')(given)}"

    # Operations that need more than one expression

    def _sum(self, given: Mapping[str, str]) -> str:
        total = "fsum(value)" if self._type == "number" else "sum(value)"
        return f"select entity, {total} from f group by entity"

    def _mean(self, given: Mapping[str, str]) -> str:
        if self._type != "money":
            top, whole = "sum(value::double * weight::double)", "sum(weight::double)"
            return f"select entity, {top} / nullif({whole}, 0) from f group by entity"
        cents = "sum((value * 100)::hugeint * (weight * 100)::hugeint)"
        weights = "sum((weight * 100)::hugeint)"
        rounded = _ROUNDED.format(c="c", n="n")
        return f"select entity, case when n > 0 then {rounded} end from (select entity, {cents} as c, {weights} as n from f group by 1)"

    def _percentile(self, given: Mapping[str, str]) -> str:
        share = float(given["q"]) / 100
        if self._type == "money":
            return f"select entity, (round(quantile_cont((value * 100)::double, {share})) / 100)::decimal(38,2) from f group by entity"
        return f"select entity, quantile_cont(value::double, {share}) from f group by entity"

    def _totals(self) -> str:
        return "select entity, value, sum(weight) as total from f group by entity, value"

    def _top_k(self, given: Mapping[str, str]) -> str:
        return f"select entity, list(value order by total desc, value)[:{given['n']}] from ({self._totals()}) group by entity"

    def _bottom_k(self, given: Mapping[str, str]) -> str:
        return f"select entity, list(value order by total, value)[:{given['n']}] from ({self._totals()}) group by entity"

    def _mode(self, given: Mapping[str, str]) -> str:
        return f"select entity, list(value order by total desc, value)[1] from ({self._totals()}) group by entity"

    def _shares(self) -> str:
        return f"select entity, value, total, total::double / nullif(sum(total) over (partition by entity), 0)::double as share from ({self._totals()})"

    def _share(self, given: Mapping[str, str]) -> str:
        return f"select entity, list({{'of': value, 'share': share}}) from ({self._shares()}) group by entity"

    def _frequency(self, given: Mapping[str, str]) -> str:
        return f"select entity, list({{'of': value, 'total': total}}) from ({self._totals()}) group by entity"

    def _entropy(self, given: Mapping[str, str]) -> str:
        return f"""select entity, case when count(share) > 0 and min(total) >= 0 then
            coalesce(-sum(share * ln(share)) filter (where share > 0), 0) end from ({self._shares()}) group by entity"""

    def _histogram(self, given: Mapping[str, str]) -> str:
        edges = [edge.strip() for edge in given["edges"].split(",")]
        bands = [f"value < {edges[0]}", *(f"value >= {a} and value < {b}" for a, b in itertools.pairwise(edges))]
        bands.append(f"value >= {edges[-1]}")
        return f"select entity, [{', '.join(f'count(*) filter (where {band})' for band in bands)}] from f group by entity"

    def _return_count(self, given: Mapping[str, str]) -> str:
        high, low = f"value >= {given['high']}", f"value <= {given['low']}"
        turns = f"select seat, {low} and lag({high}) over (partition by entity order by seat) as returns from facts where {high} or {low}"
        return f"select f.entity, count(*) filter (where returns) from f left join ({turns}) using (seat) group by f.entity"

    # What DuckDB gives, as the engine's values

    def _read(self, answer: Any) -> Any:
        op = self._feature.op
        if answer is None:
            nothing = zero(self._type) if op == "sum" else None
            found = _EMPTY.get(op, nothing)
        elif op == "share":
            shares = {key_text(_utc(one["of"])): one["share"] for one in answer}
            found = None if None in shares.values() else shares
        elif op == "frequency":
            found = {key_text(_utc(one["of"])): one["total"] for one in answer}
        else:
            found = answer
        if isinstance(found, list | dict):
            return json_text([_utc(one) for one in found] if isinstance(found, list) else found)
        return _utc(found)

    def _read_map(self, answer: Any) -> str:
        told = {} if answer is None else dict(answer)
        answers = {key: self._read(value) for key, value in told.items()}
        nested = OPERATIONS[self._feature.op].gives == "json"
        return json_text({key: json.loads(value) if nested and value is not None else value for key, value in answers.items()})


def _column_types(source: Source) -> dict[str, str]:
    return {name: spec.type for name, spec in source.columns.items()} | _CLOCKS


def _literal(moment: datetime) -> str:
    return f"timestamp '{moment.astimezone(UTC).replace(tzinfo=None)}'"


def _naive(value: object) -> object:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _utc(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value
