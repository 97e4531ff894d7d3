"""Compiles feature groups into the facts to prepare, the windows to answer and the expressions to derive. No Spark."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta

from conf.catalogue import Catalogue
from conf.errors import did_you_mean
from conf.expressions import Expression, ExpressionError, parse, parse_condition
from conf.naming import SNAPSHOT_COLUMNS, column_name
from conf.specs import Aggregate, ColumnType, FeatureGroup, Input, Pivot, Source, State
from conf.windows import Window
from conf.yaml_file import Place
from transforms.feature_group.compiled import (
    LIFETIME,
    Clock,
    Column,
    Compiled,
    CompiledGroup,
    DerivedColumn,
    FactValue,
    Parent,
    Settlement,
    Stream,
    WindowColumn,
    digest,
)
from transforms.feature_group.sql import Sql
from transforms.operations import Operation, build_operation

TRUE = Sql("true", "true", "true")
SETTLEMENT: Mapping[str, ColumnType] = {"paid_amount": "money", "paid_at": "timestamp", "last_paid_at": "timestamp"}
_WORDS = re.compile(r"'(?:[^']|'')*'|[A-Za-z_][A-Za-z0-9_]*(?:\s*\()?")


def compile_groups(catalogue: Catalogue, zone: str) -> Compiled:
    """Compile every group of a catalogue. Raises DefinitionError with file and line for what can't be."""
    streams = _Streams()
    made = [group for group in catalogue.groups.values() if group.function is None]
    drafts = [_GroupCompiler(group, catalogue, zone, streams) for group in made]
    finished = streams.finish()
    groups = {draft.group.name: draft.finish(finished) for draft in drafts}
    return Compiled(zone, groups, {stream.name: stream for stream in finished.values()}, catalogue.sources)


StreamKey = tuple[str, str, str, str | None, Settlement | None]


@dataclass
class _Streams:
    """Collects what all groups need of each source."""

    clocks: dict[StreamKey, dict[Clock, dict[str, FactValue]]] = field(default_factory=dict)
    parents: dict[StreamKey, Parent] = field(default_factory=dict)

    def add(self, key: StreamKey, clock: Clock, type_: ColumnType, sql: Sql, *, ordered: bool = False) -> FactValue:
        value = FactValue("v_" + digest([type_, sql, ordered]), type_, sql, ordered)
        self.clocks.setdefault(key, {}).setdefault(clock, {})[value.name] = value
        return value

    def finish(self) -> dict[StreamKey, Stream]:
        result = {}
        for key, clocks in self.clocks.items():
            entity, source, entity_column, via, settlement = key
            ordered = {
                c: tuple(sorted(v.values(), key=lambda value: value.name))
                for c, v in sorted(clocks.items(), key=lambda i: i[0].name)
            }
            meaning: list[object] = [entity, source, entity_column, via, asdict(settlement) if settlement else None]
            meaning += [[asdict(c), [asdict(v) for v in values]] for c, values in ordered.items()]
            parent = self.parents.get(key)
            sql = Sql.column("_entity" if parent else entity_column)
            result[key] = Stream(f"{source}-{digest(meaning)}", entity, source, sql, parent, settlement, ordered)
        return result


@dataclass(frozen=True)
class _Draft:
    column: Column
    key: StreamKey
    clock: Clock
    value: FactValue
    window: Window
    lag: int
    ahead: bool
    operation: Operation


class _GroupCompiler:
    """One group: checks it against its sources, collects its facts, names its columns."""

    def __init__(self, group: FeatureGroup, catalogue: Catalogue, zone: str, streams: _Streams) -> None:
        self.group = group
        self.catalogue = catalogue
        self.zone = zone
        self.streams = streams
        self.drafts: list[_Draft] = []
        self.derived: list[DerivedColumn] = []
        self.names: dict[str, ColumnType] = {}
        assert group.spine is not None
        spine_key: StreamKey = (group.record_identifier, group.spine, group.record_identifier, None, None)
        self.spine = self._presence(spine_key)
        self.presence: list[tuple[StreamKey, Clock, FactValue]] = []
        for index, item in enumerate(group.inputs):
            self._input(("inputs", index), item)
        for index in range(len(group.derived)):
            self._derived(("derived", index), index)

    def finish(self, streams: Mapping[StreamKey, Stream]) -> CompiledGroup:
        def place(key: StreamKey, clock: Clock, value: FactValue) -> tuple[str, str, str]:
            return streams[key].name, clock.name, value.name

        windows = tuple(
            WindowColumn(d.column, *place(d.key, d.clock, d.value), d.window, d.lag, d.ahead, d.operation) for d in self.drafts
        )
        group = CompiledGroup(
            self.group.name,
            self.group.record_identifier,
            place(*self.spine),
            tuple(dict.fromkeys(place(*item) for item in self.presence)),
            windows,
            tuple(self.derived),
            "",
        )
        return replace(group, version=self._version(streams))

    def _version(self, streams: Mapping[StreamKey, Stream]) -> str:
        """The hash of what the group means: names, order and comments of unused parts don't matter, formulas do."""
        sources = {name for key in streams for name in streams[key].sources}
        meaning = {
            "entity": self.group.record_identifier,
            "spine": self.group.spine,
            "zone": self.zone,
            "columns": sorted(
                [d.column.name, d.column.type, d.column.op or "", *map(_plain, d.key), _plain(d.clock), str(d.value.sql),
                 str(d.window), str(d.lag), str(d.ahead), str(d.column.internal)]
                for d in self.drafts
            ),
            "derived": sorted([d.column.name, d.column.type, d.sql, str(d.column.internal)] for d in self.derived),
            "sources": {
                name: source_meaning(self.catalogue.sources[name])
                for name in sorted({s for d in self.drafts for s in _named(d.key)} | {str(self.group.spine)} & sources)
            },
        }  # fmt: skip
        return digest(meaning, 16)

    def _presence(self, key: StreamKey) -> tuple[StreamKey, Clock, FactValue]:
        clock = Clock()
        return key, clock, self.streams.add(key, clock, "boolean", TRUE)

    def _fail(self, place: Place, message: str) -> Exception:
        return self.catalogue.problem(self.group, place, message)

    def _parse(self, place: Place, text: str, columns: Mapping[str, ColumnType], *, condition: bool = False) -> Expression:
        try:
            return (parse_condition if condition else parse)(text, columns, zone=self.zone)
        except ExpressionError as problem:
            raise self._fail(place, str(problem)) from problem

    def _input(self, place: Place, item: Input) -> None:
        source = self.catalogue.sources[item.source]
        columns: dict[str, ColumnType] = {
            name: column.type for name, column in source.columns.items() if column.personal != "drop"
        }
        entity_column, via = self._entity(place, item, source)
        settlement = self._settlement(place, item, columns)
        if settlement:
            columns |= SETTLEMENT
        key: StreamKey = (self.group.record_identifier, item.source, entity_column, via, settlement)
        if via:
            on = tuple((name, Sql.column(name)) for name in self.catalogue.sources[via].key)
            self.streams.parents[key] = Parent(via, on, (), self.group.record_identifier)
        self.presence.append(self._presence(key))
        named: dict[str, str] = {}
        for name, text in item.columns.items():
            spot = (*place, "columns", name)
            if name in columns:
                raise self._fail(spot, f"'{name}' is a column of '{item.source}' already; choose another name")
            whole = _inline(text, named)
            self._parse(spot, whole, columns)
            named[name] = f"({whole})"
        kinds: dict[str, Sequence[Aggregate | State]] = {"aggregates": item.aggregates, "states": item.states}
        for kind, features in kinds.items():
            for index, feature in enumerate(features):
                self._feature((*place, kind, index), feature, source, columns, key, named)

    def _entity(self, place: Place, item: Input, source: Source) -> tuple[str, str | None]:
        identifier = self.group.record_identifier
        wanted = item.entity or identifier
        spot = (*place, "entity") if item.entity else (*place, "source")
        if isinstance(wanted, str):
            if wanted not in source.columns:
                raise self._fail(
                    spot,
                    f"'{source.name}' has no column '{wanted}' to give the {identifier}; name one (entity: <column>) or a join"
                    f" (entity: {{{identifier}: via <source>}}); columns: {', '.join(source.columns)}",
                )
            return wanted, None
        if list(wanted) != [identifier] or not wanted[identifier].startswith("via "):
            raise self._fail(spot, f"write the join that brings the entity as {{{identifier}: via <source>}}")
        via = wanted[identifier].removeprefix("via ").strip()
        if via not in self.catalogue.sources:
            raise self._fail(spot, f"no source named '{via}'{did_you_mean(via, self.catalogue.sources)}")
        parent = self.catalogue.sources[via]
        missing = [name for name in parent.key if name not in source.columns]
        if missing or identifier not in parent.columns:
            needed = f"'{source.name}' must have its key ({', '.join(parent.key)}) and '{via}' the column {identifier}"
            raise self._fail(spot, f"'{via}' can't bring {identifier}: {needed}")
        return identifier, via

    def _settlement(self, place: Place, item: Input, columns: Mapping[str, ColumnType]) -> Settlement | None:
        spec = item.settled_by
        if spec is None:
            return None
        place = (*place, "settled_by")
        child = self.catalogue.sources[spec.source]
        child_columns = {name: column.type for name, column in child.columns.items()}
        on = []
        for name, text in spec.on.items():
            if name not in child_columns:
                raise self._fail(
                    (*place, "on", name), f"'{child.name}' has no column '{name}'{did_you_mean(name, child_columns)}"
                )
            on.append((name, Sql.of(self._parse((*place, "on", name), text, columns))))
        amount = self._parse((*place, "amount"), spec.amount, child_columns)
        due = self._parse((*place, "due"), spec.due, columns)
        for name, expression in (("amount", amount), ("due", due)):
            if expression.type not in ("money", "integer"):
                raise self._fail((*place, name), f"'{expression.text}' is {expression.type}; it must be money")
        where = self._parse((*place, "where"), spec.where, child_columns, condition=True) if spec.where else None
        used = amount.columns | (where.columns if where else frozenset())
        return Settlement(spec.source, tuple(on), Sql.of(amount), _sql(where), Sql.of(due), _masks(child, used))

    def _feature(
        self,
        place: Place,
        feature: Aggregate | State,
        source: Source,
        columns: Mapping[str, ColumnType],
        key: StreamKey,
        named: Mapping[str, str],
    ) -> None:
        try:
            operation = build_operation(feature.op, feature.parameters)
        except ValueError as problem:
            raise self._fail((*place, "op"), str(problem)) from problem

        def parsed(name: str, text: str | None, *, condition: bool = False) -> Expression | None:
            return None if text is None else self._parse((*place, name), _inline(text, named), columns, condition=condition)

        of, where = parsed("of", feature.of), parsed("where", feature.where, condition=True)
        if of is None and operation.needs_of:
            raise self._fail(place, f"operation '{feature.op}' needs `of`: the value that it takes")
        if of is not None and of.type not in operation.takes:
            takes = ", ".join(sorted(operation.takes))
            raise self._fail((*place, "of"), f"'{feature.of}' is {of.type}; operation '{feature.op}' takes {takes}")
        if of is None and where is None and operation.judges:
            raise self._fail(place, f"operation '{feature.op}' needs `of` or `where`: the condition that it judges")

        def time(name: str, text: str | None) -> Expression | None:
            """A date is the start of that local day."""
            moment = parsed(name, text)
            if moment is None or moment.type == "timestamp":
                return moment
            if moment.type != "date":
                raise self._fail((*place, name), f"'{text}' is {moment.type}; it must be a timestamp or a date")
            return parsed(name, f"start_of_day({text})")

        at: Expression | None = None
        windows: tuple[Window, ...] = (LIFETIME,)
        lags: tuple[int, ...] = (0,)
        ahead = False
        if isinstance(feature, Aggregate):
            at = time("at", feature.at)
            windows, lags, ahead = feature.windows or windows, feature.lag or lags, feature.ahead
            if ahead and any(window.kind != "days" for window in windows):
                raise self._fail((*place, "windows"), "a window ahead of the cut-off is a number of days, such as '30d'")
            if ahead and not feature.windows:
                raise self._fail(place, "`ahead` needs `windows`")
        since, until = time("from", feature.from_), time("until", feature.until)
        if len(feature.by) > 1:
            raise self._fail((*place, "by"), "`by` takes one column")
        used = frozenset().union(*(e.columns for e in (of, where, at, since, until) if e))
        for pivot in feature.by:
            if columns.get(pivot) != "string":
                raise self._fail(
                    (*place, "by", pivot), f"`by` takes a string column; '{pivot}' is not one{did_you_mean(pivot, columns)}"
                )
            used |= {pivot}
        clock = Clock(_sql(at), _sql(since), _sql(until), _masks(source, used), bool(used & set(SETTLEMENT)))
        for by_value, split in [(None, None), *_splits(feature.by)]:
            type_: ColumnType = of.type if of else "boolean"
            value = self.streams.add(key, clock, type_, _value_sql(operation, of, where, split), ordered=operation.ordered)
            for window in windows:
                for lag in lags:
                    column = self._column(place, feature, operation, by_value, window, lag, ahead, of)
                    self.drafts.append(_Draft(column, key, clock, value, window, lag, ahead, operation))

    def _column(
        self,
        place: Place,
        feature: Aggregate | State,
        operation: Operation,
        by_value: str | None,
        window: Window,
        lag: int,
        ahead: bool,
        of: Expression | None,
    ) -> Column:
        has_window = isinstance(feature, Aggregate) and bool(feature.windows)
        name = self._name(place, feature.name, by_value=by_value, window=window if has_window else None, lag=lag)
        type_ = operation.type_of(of.type if of else None)
        self.names[name] = type_
        words = feature.description or _in_words(operation, feature)
        if by_value is not None:
            words += f", {next(iter(feature.by))} {by_value}"
        if has_window:
            words += f" in the {window.count} local days after the cut-off" if ahead else f" {window.describe()}"
        if lag:
            words += f", {lag} days earlier"
        empty = "" if operation.empty != "null" else "no such fact in the window"
        return Column(
            name, feature.name, type_, words, empty, feature.online and self.group.online, feature.internal, feature.scoring,
            feature.op, window if has_window else None, by_value, of.type if of else None,
        )  # fmt: skip

    def _name(
        self, place: Place, feature: str, *, by_value: str | None = None, window: Window | None = None, lag: int = 0
    ) -> str:
        try:
            name = column_name(feature, by_value=by_value, window=window, lag_days=lag)
        except ValueError as problem:
            raise self._fail((*place, "name"), str(problem)) from problem
        if name in self.names or name in (self.group.record_identifier, *SNAPSHOT_COLUMNS):
            raise self._fail((*place, "name"), f"column '{name}' is there already; choose another name")
        return name

    def _derived(self, place: Place, index: int) -> None:
        spec = self.group.derived[index]
        for window in spec.windows or (None,):
            text = str(spec.expr).replace("{w}", str(window)) if window else str(spec.expr)
            expression = self._parse((*place, "expr"), text, dict(self.names))
            name = self._name(place, spec.name, window=window)
            self.names[name] = expression.type
            words = (spec.description or spec.name.replace("_", " ")) + (f" {window.describe()}" if window else "") + f": {text}"
            column = Column(
                name, spec.name, expression.type, words, "an input is null, or a denominator 0",
                spec.online and self.group.online, spec.internal, spec.scoring, None, window,
            )  # fmt: skip
            self.derived.append(DerivedColumn(column, expression.duckdb(), tuple(sorted(expression.columns))))


def source_meaning(source: Source) -> dict[str, object]:
    """What of a source decides the numbers: its types, keys, clocks and zones, not its place or its prose."""
    return {
        "columns": {name: [column.type, source.zone_of(name)] for name, column in source.columns.items()},
        "key": source.key,
        "version": source.version,
        "event_time": source.event_time.model_dump(),
        "known_time": source.known_time.model_dump() if source.known_time else None,
        "grace": source.grace / timedelta(microseconds=1),
        "mutable": {name: sorted(columns) for name, columns in source.mutable.items()},
    }


def _masks(source: Source, used: Iterable[str]) -> tuple[str, ...]:
    """The mutable timestamps on which any of the used columns depends."""
    wanted = set(used)
    return tuple(sorted(name for name, settled in source.mutable.items() if wanted & {name, *settled}))


def _splits(by: Mapping[str, Pivot]) -> list[tuple[str, Sql]]:
    """Each declared value with the condition of its facts; `other` is everything else, null included."""
    result = []
    for column, values in by.items():
        if values == "map":
            continue
        name = Sql.column(column)
        named = {value: Sql.text(value) for value in values if value != "other"}
        for value in values:
            if value != "other":
                condition = Sql.filled("{0} = {1}", name, named[value])
            elif named:
                places = ", ".join(f"{{{place}}}" for place in range(1, len(named) + 1))
                condition = Sql.filled(f"({{0}} is null or {{0}} not in ({places}))", name, *named.values())
            else:
                condition = TRUE
            result.append((value, condition))
    return result


def _value_sql(operation: Operation, of: Expression | None, where: Expression | None, split: Sql | None) -> Sql:
    conditions = [condition for condition in (_sql(where), split) if condition]
    condition = Sql.filled(" and ".join(f"({{{place}}})" for place in range(len(conditions))), *conditions)
    if of is None and operation.judges:
        return Sql.filled("coalesce({0}, false)", condition)
    value = Sql.of(of) if of else TRUE
    return Sql.filled("case when {0} then {1} end", condition, value) if conditions else value


def _sql(expression: Expression | None) -> Sql | None:
    return Sql.of(expression) if expression else None


def _in_words(operation: Operation, feature: Aggregate | State) -> str:
    words = operation.words
    if feature.of:
        words += f" {feature.of}"
    if isinstance(feature, State):
        words += f" holding at the cut-off (from {feature.from_}" + (f" until {feature.until}" if feature.until else "") + ")"
    elif feature.at:
        words += f" at {feature.at}"
    return words + (f" where {feature.where}" if feature.where else "")


def _inline(text: str, named: Mapping[str, str]) -> str:
    """Replace names of `columns:` by their expressions, leaving quoted text and function names alone."""
    return _WORDS.sub(lambda match: named.get(match[0], match[0]), text)


def _named(key: StreamKey) -> list[str]:
    return [name for name in (key[1], key[3], key[4].source if key[4] else None) if name]


def _plain(value: object) -> str:
    return json.dumps(asdict(value) if hasattr(value, "__dataclass_fields__") else value, sort_keys=True, default=str)  # type: ignore[call-overload]
