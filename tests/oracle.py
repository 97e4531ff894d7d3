"""The slow, obvious answer: what a feature group says of each entity as of a day, in plain Python.

Written from the rules (docs of time, nulls and money, and conf/specs.py), sharing no code with the engine. T is the cut-off:
the local midnight that ends the as-of day D. Times are compared in UTC, half-open: an event at T − 1 µs is in, at T out.

Decisions where the rules are silent:
- Two rows of one (key, version) are refused: curate keeps one. A null version is the oldest. A row without event time, or
  without known time where its source has one, doesn't count. Key, event and known time are never blanked.
- `entity: {customer_id: via accounts}`: the newest row of accounts that counts at T and whose key equals this row's columns of
  the same names gives `customer_id`. No such row, or a null in it: the row has no entity and counts nowhere, not even in
  `has_history`. The spine's record identifiers are those of the newest counting versions.
- `settled_by` runs before `columns`: `on` and `due` read the source's own columns. A null amount adds nothing and a null
  `due` is never reached; a `due` of 0 is reached by the first payment, and without one not at all.
- `where` must be true; null isn't. Rows whose `of` is null are ignored, by streak too (they neither count nor break it).
- `any`, `all` without `of` judge `where` over all facts; with neither, every fact is true.
- `at`, `from`, `until` of a date type mean the start of that local day. A null `at` is in no window. Without `from` a fact
  holds from the start. A state's `at` is the event time.
- Without windows: all at < T, or all at ≥ T with `ahead`; no suffix. A lagged window is the window of day D − n; the listed
  lags are the columns (none listed: unlagged). `recency` and `age` always count to D. With `ahead` only days and `life` exist.
- `by` adds a column for each declared value and for `other` (null, or not declared) beside the one over all; other than text
  it is compared as `cast(… as string)`.
- Ties of time are broken by (at, known time, key in its declared type).
- Money leaves a column, an `of` or a derived feature rounded to cents. Derived features may also read `as_of` and `has_history`.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from conf.naming import column_name
from conf.specs import Aggregate, FeatureGroup, Input, SettledBy, Source, State, TimeColumn
from conf.windows import Window
from tests.oracle_sql import Expression, local_date, rounded, start_of_day, text_of

Rows = Mapping[str, Sequence[Mapping[str, object]]]
_PYTHON_TYPES = {
    "string": str, "integer": int, "number": float, "money": Decimal, "boolean": bool, "date": date, "timestamp": datetime,
}  # fmt: skip
_MICROSECOND = timedelta(microseconds=1)
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def answer(
    group: FeatureGroup, sources: Mapping[str, Source], rows: Rows, *, as_of: date, zone: str = "Asia/Kuala_Lumpur"
) -> dict[str, dict[str, object]]:
    """The published features and `has_history` of every entity of the spine, by entity and column."""
    moment = _Moment(as_of, zone)
    counting = {name: _counting(source, rows.get(name, ()), moment) for name, source in sources.items()}
    inputs = [_facts(item, group.record_identifier, sources, counting, moment) for item in group.inputs]
    asked = [
        (feature, column, facts)
        for item, facts in zip(group.inputs, inputs, strict=True)
        for feature in _features(item)
        for column in _columns(feature, facts.types, moment)
    ]
    answers: dict[str, dict[str, object]] = {}
    for entity in _spine(group, sources, counting):
        values: dict[str, object] = {"as_of": as_of, "has_history": any(facts.of(entity) for facts in inputs)}
        for _, column, facts in asked:
            values[column.name] = column.answer(facts.of(entity))
        types = {"as_of": "date", "has_history": "boolean"} | {column.name: column.type for _, column, _ in asked}
        internal = {"as_of"} | {column.name for feature, column, _ in asked if feature.internal}
        for derived in group.derived:
            for window in derived.windows or (None,):
                text = derived.expr if window is None else derived.expr.replace("{w}", str(window))
                expression = Expression(text, types, zone)
                name = column_name(derived.name, window=window)
                values[name], types[name] = expression.value(values), expression.type
                internal |= {name} if derived.internal else set()
        answers[entity] = {name: value for name, value in values.items() if name not in internal}
    return answers


def _features(item: Input) -> list[Aggregate | State]:
    return [*item.aggregates, *item.states]


def disagreements(
    expected: Mapping[str, Mapping[str, object]], actual: Mapping[str, Mapping[str, object]], *, tolerance: float = 1e-9
) -> list[str]:
    """Where two answers differ, one line each; empty when they agree. Only doubles may differ, by `tolerance`; types never."""
    found = [f"{entity}: only expected" for entity in expected.keys() - actual.keys()]
    found += [f"{entity}: not expected" for entity in actual.keys() - expected.keys()]
    for entity in expected.keys() & actual.keys():
        left, right = expected[entity], actual[entity]
        for name in sorted(left.keys() | right.keys()):
            if name not in left or name not in right:
                found.append(f"{entity}.{name}: {'not expected' if name in right else 'missing'}")
            elif not _same(left[name], right[name], tolerance):
                found.append(f"{entity}.{name}: expected {left[name]!r}, got {right[name]!r}")
    return sorted(found)


def span(window: Window | None, *, as_of: date, zone: str, lag: int = 0, ahead: bool = False) -> tuple[datetime, datetime]:
    """The first instant of a window and the first after it; None is everything before T, or from T on with `ahead`."""
    last = as_of - timedelta(days=lag)
    after = last + timedelta(days=1)
    end = start_of_day(after, zone)
    if ahead:
        if window is None or window.kind == "lifetime":
            return end, _NEVER
        if window.kind == "days":
            return end, start_of_day(after + timedelta(days=window.count), zone)
        raise ValueError(f"a window ahead is a number of days, not '{window}'")
    if window is None or window.kind == "lifetime":
        return _ALWAYS, end
    if window.kind == "days":
        return start_of_day(after - timedelta(days=window.count), zone), end
    if window.kind == "month_to_date":
        return start_of_day(last.replace(day=1), zone), end
    months = after.year * 12 + after.month - 1 - window.count
    first = date(months // 12, months % 12 + 1, 1)
    return start_of_day(first, zone), start_of_day(after.replace(day=1), zone)


@dataclass(frozen=True)
class _Moment:
    """The as-of day, its zone and its cut-off T."""

    as_of: date
    zone: str

    @property
    def cutoff(self) -> datetime:
        return start_of_day(self.as_of + timedelta(days=1), self.zone)

    def instant(self, value: Any) -> datetime:
        """A timestamp, or the start of a local day."""
        return value if isinstance(value, datetime) else start_of_day(value, self.zone)


@dataclass(frozen=True)
class _Row:
    """The version of a row that counts at T, its mutable columns blanked."""

    event: datetime
    known: datetime
    key: tuple[Any, ...]
    values: Mapping[str, Any]

    @property
    def order(self) -> tuple[Any, ...]:
        return (self.event, self.known, *(_null_first(part) for part in self.key))


def _counting(source: Source, rows: Iterable[Mapping[str, Any]], moment: _Moment) -> list[_Row]:
    """The newest version of each key of those with event time < T and known time ≤ T + grace."""
    newest: dict[tuple[Any, ...], tuple[Any, _Row]] = {}
    seen = set()
    for given in rows:
        row = {**dict.fromkeys(source.columns), **given}
        _check(source, row)
        key = tuple(row[column] for column in source.key)
        version = _null_first(row[source.version]) if source.version else ()
        if (key, version) in seen:
            raise ValueError(f"{source.name}: two rows of key {key}, version {version}; curated rows have one")
        seen.add((key, version))
        event = _time(source, source.event_time, row)
        known = _time(source, source.known_time, row) if source.known_time else _ALWAYS
        if event is None or known is None or event >= moment.cutoff or known > moment.cutoff + source.grace:
            continue
        if key not in newest or version > newest[key][0]:
            newest[key] = (version, _Row(event, known, key, _blanked(source, row, moment)))
    return [row for _, row in newest.values()]


def _blanked(source: Source, row: Mapping[str, Any], moment: _Moment) -> dict[str, Any]:
    values = dict(row)
    for column, settles in source.mutable.items():
        if row[column] is None or row[column] >= moment.cutoff:
            values.update(dict.fromkeys((column, *settles)))
    return values


def _time(source: Source, time: TimeColumn, row: Mapping[str, Any]) -> Any:
    value, zone = row[time.column], source.zone_of(time.column)
    if value is None or time.of_date is None:
        return value
    if time.of_date == "start_of_day":
        return start_of_day(value, zone)
    if time.of_date == "end_of_day":
        return start_of_day(value + timedelta(days=1), zone) - _MICROSECOND
    return start_of_day((value.replace(day=1) + timedelta(days=32)).replace(day=1), zone) - _MICROSECOND


def _check(source: Source, row: Mapping[str, Any]) -> None:
    for name, value in row.items():
        if name not in source.columns:
            raise ValueError(f"{source.name}: no column '{name}'; columns: {', '.join(source.columns)}")
        wanted = _PYTHON_TYPES[source.columns[name].type]
        if value is not None and type(value) is not wanted:
            raise TypeError(f"{source.name}.{name}: {value!r} is {type(value).__name__}, not {wanted.__name__}")
        if isinstance(value, datetime) and value.tzinfo is None:
            raise TypeError(f"{source.name}.{name}: {value} says no zone")


def _spine(group: FeatureGroup, sources: Mapping[str, Source], counting: Mapping[str, Sequence[_Row]]) -> list[str]:
    entities = {row.values[group.record_identifier] for row in counting[sources[group.spine].name]}
    return sorted(text_of(entity) for entity in entities if entity is not None)


@dataclass(frozen=True)
class _Facts:
    """The rows of an input that count at T, with the columns that it names, by entity."""

    types: Mapping[str, str]
    by_entity: Mapping[str, Sequence[_Row]]

    def of(self, entity: str) -> Sequence[_Row]:
        return self.by_entity.get(entity, ())


def _facts(
    item: Input, record_identifier: str, sources: Mapping[str, Source], counting: Mapping[str, Sequence[_Row]], moment: _Moment
) -> _Facts:
    source = sources[item.source]
    types: dict[str, str] = {name: column.type for name, column in source.columns.items()}
    settle, settled_types = _settlement(item.settled_by, types, sources, counting, moment)
    all_types = types | settled_types
    columns: dict[str, Expression] = {}
    for name, text in item.columns.items():
        columns[name] = Expression(text, all_types, moment.zone)
        all_types = {**all_types, name: columns[name].type}
    entity_of = _entity(item, record_identifier, sources, counting)
    by_entity = defaultdict(list)
    for row in counting[item.source]:
        values = {**row.values, **settle(row)}
        for name, expression in columns.items():
            values[name] = expression.value(values)
        entity = entity_of(values)
        if entity is not None:
            by_entity[text_of(entity)].append(_Row(row.event, row.known, row.key, values))
    return _Facts(all_types, by_entity)


def _entity(
    item: Input, record_identifier: str, sources: Mapping[str, Source], counting: Mapping[str, Sequence[_Row]]
) -> Callable[[Mapping[str, Any]], Any]:
    if not isinstance(item.entity, Mapping):
        column = item.entity or record_identifier
        return lambda values: values[column]
    ((brought, via),) = item.entity.items()
    parent = sources[via.removeprefix("via ").strip()]
    parents = {row.key: row.values[brought] for row in counting[parent.name]}
    return lambda values: parents.get(tuple(values[name] for name in parent.key))


def _settlement(
    settled: SettledBy | None,
    types: Mapping[str, str],
    sources: Mapping[str, Source],
    counting: Mapping[str, Sequence[_Row]],
    moment: _Moment,
) -> tuple[Callable[[_Row], dict[str, Any]], dict[str, str]]:
    """What `settled_by` adds to a parent row, and the types of it."""
    if settled is None:
        return lambda parent: {}, {}
    child_types = {name: column.type for name, column in sources[settled.source].columns.items()}
    amount = Expression(settled.amount, child_types, moment.zone)
    where = Expression(settled.where or "true", child_types, moment.zone)
    paying = [row for row in counting[settled.source] if where.value(row.values) is True]
    paying.sort(key=lambda row: row.order)
    due = Expression(settled.due, types, moment.zone)
    links = {child: Expression(text, types, moment.zone) for child, text in settled.on.items()}
    children: dict[tuple[Any, ...], list[_Row]] = defaultdict(list)
    for child in paying:
        children[tuple(child.values[name] for name in links)].append(child)

    def settle(parent: _Row) -> dict[str, Any]:
        link = tuple(expression.value(parent.values) for expression in links.values())
        owed, paid, paid_at, last = due.value(parent.values), _zero(amount.type), None, None
        for child in children.get(link, []) if None not in link else []:
            paid += amount.value(child.values) or 0
            last = child.event
            if paid_at is None and owed is not None and paid >= owed:
                paid_at = child.event
        return {"paid_amount": paid, "paid_at": paid_at, "last_paid_at": last}

    return settle, {"paid_amount": amount.type, "paid_at": "timestamp", "last_paid_at": "timestamp"}


@dataclass(frozen=True)
class _Point:
    """A fact as an operation sees it: when it counts, how ties with others break, its value (null ones are gone)."""

    at: datetime
    order: tuple[Any, ...]
    value: Any


@dataclass(frozen=True)
class _Column:
    """One output column of an aggregate or a state."""

    name: str
    type: str
    answer: Callable[[Sequence[_Row]], Any]


def _columns(feature: Aggregate | State, types: Mapping[str, str], moment: _Moment) -> Iterator[_Column]:
    aggregate = feature if isinstance(feature, Aggregate) else None
    where, of = feature.where, feature.of
    if feature.op in ("any", "all") and of is None:
        where, of = None, feature.where or "true"
    conditions = {"where": where, "of": of, "at": aggregate.at if aggregate else None}
    conditions |= {"from": feature.from_, "until": feature.until}
    expressions = {name: Expression(text, types, moment.zone) for name, text in conditions.items() if text is not None}
    of_type = expressions["of"].type if "of" in expressions else None
    result = _result_type(feature.op, of_type)
    pivot = _pivot(feature, types, moment)
    prepared: dict[int, list[_Point]] = {}

    def points_of(row: _Row) -> list[_Point]:
        if id(row) not in prepared:
            prepared[id(row)] = _points(row, expressions, moment)
        return prepared[id(row)]

    def column(name: str, chosen: Callable[[Mapping[str, Any]], bool], start: datetime, end: datetime) -> _Column:
        def compute(rows: Sequence[_Row]) -> Any:
            points = [point for row in rows if chosen(row.values) for point in points_of(row)]
            points = [point for point in points if start <= point.at < end]
            points.sort(key=lambda point: point.order)
            return _OPERATIONS[feature.op](points, of_type, moment)

        return _Column(name, result, compute)

    for value, chosen in pivot:
        for window in (aggregate.windows if aggregate else ()) or (None,):
            for lag in (aggregate.lag if aggregate else ()) or (0,):
                ahead = aggregate is not None and aggregate.ahead
                start, end = span(window, as_of=moment.as_of, zone=moment.zone, lag=lag, ahead=ahead)
                name = column_name(feature.name, by_value=value, window=window, lag_days=lag)
                yield column(name, chosen, start, end)


def _pivot(
    feature: Aggregate | State, types: Mapping[str, str], moment: _Moment
) -> list[tuple[str | None, Callable[[Mapping[str, Any]], bool]]]:
    """The value of each pivoted column and which rows are in it; first the column over all rows."""
    columns: list[tuple[str | None, Callable[[Mapping[str, Any]], bool]]] = [(None, lambda values: True)]
    for text, declared in feature.by.items():
        expression = Expression(text, types, moment.zone)
        named = [value for value in declared if value != "other"]

        def bucket(values: Mapping[str, Any], expression: Expression = expression, named: Sequence[str] = named) -> str:
            value = expression.value(values)
            return text_of(value) if value is not None and text_of(value) in named else "other"

        columns += [(v, lambda values, v=v, bucket=bucket: bucket(values) == v) for v in (*named, "other")]  # type: ignore[misc]
    return columns


def _points(row: _Row, expressions: Mapping[str, Expression], moment: _Moment) -> list[_Point]:
    """The fact of a row, or none where it doesn't hold at T, `where` isn't true or `of` is null."""
    found = {name: expression.value(row.values) for name, expression in expressions.items()}
    if "where" in found and found["where"] is not True:
        return []
    if "of" in found and found["of"] is None:
        return []
    if "from" in found and (found["from"] is None or moment.instant(found["from"]) >= moment.cutoff):
        return []
    if found.get("until") is not None and moment.instant(found["until"]) < moment.cutoff:
        return []
    at = found.get("at", row.event)
    if at is None:
        return []
    at = moment.instant(at)
    return [_Point(at, (at, row.known, *(_null_first(part) for part in row.key)), found.get("of"))]


# Operations: the facts of one window, oldest first; the type of `of`; the moment


def _sum(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    if of_type == "number":
        return math.fsum(point.value for point in points)
    return sum((point.value for point in points), start=_zero(of_type))


def _mean(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    if not points:
        return None
    total = sum((Fraction(point.value) for point in points), start=Fraction(0)) / len(points)
    return _cents(total) if of_type == "money" else float(total)


def _variance(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    if len(points) < 2:
        return None
    values = [Fraction(point.value) for point in points]
    mean = sum(values) / len(values)
    return float(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def _std(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    variance = _variance(points, of_type, moment)
    return None if variance is None else math.sqrt(variance)


def _slope(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    """Least squares of the value on the number of the local day."""
    if len(points) < 3:
        return None
    days = [Fraction(local_date(point.at, moment.zone).toordinal()) for point in points]
    values = [Fraction(point.value) for point in points]
    day_mean, value_mean = sum(days) / len(days), sum(values) / len(values)
    spread = sum((day - day_mean) ** 2 for day in days)
    if spread == 0:
        return None
    return float(sum((d - day_mean) * (v - value_mean) for d, v in zip(days, values, strict=True)) / spread)


def _gap_mean(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    days = [local_date(point.at, moment.zone) for point in points]
    gaps = [(later - earlier).days for earlier, later in itertools.pairwise(days)]
    return sum(gaps) / len(gaps) if gaps else None


def _streak(points: Sequence[_Point], of_type: str | None, moment: _Moment) -> Any:
    length = 0
    for point in reversed(points):
        if not point.value:
            break
        length += 1
    return length


def _days_since(points: Sequence[_Point], moment: _Moment) -> Any:
    return (moment.as_of - local_date(points[0].at, moment.zone)).days if points else None


_OPERATIONS: dict[str, Callable[[Sequence[_Point], str | None, _Moment], Any]] = {
    "count": lambda points, of_type, moment: len(points),
    "sum": _sum,
    "mean": _mean,
    "min": lambda points, of_type, moment: min((point.value for point in points), default=None),
    "max": lambda points, of_type, moment: max((point.value for point in points), default=None),
    "std": _std,
    "variance": _variance,
    "distinct_count": lambda points, of_type, moment: len({point.value for point in points}),
    "first": lambda points, of_type, moment: points[0].value if points else None,
    "last": lambda points, of_type, moment: points[-1].value if points else None,
    "any": lambda points, of_type, moment: any(point.value for point in points),
    "all": lambda points, of_type, moment: all(point.value for point in points) if points else None,
    "slope": _slope,
    "recency": lambda points, of_type, moment: _days_since(points[-1:], moment),
    "age": lambda points, of_type, moment: _days_since(points[:1], moment),
    "gap_mean": _gap_mean,
    "streak": _streak,
}


def _result_type(op: str, of_type: str | None) -> str:
    if op not in _OPERATIONS:
        raise ValueError(f"the oracle has no operation '{op}'; it has: {', '.join(_OPERATIONS)}")
    if op in ("count", "distinct_count", "recency", "age", "streak"):
        found = "integer"
    elif op in ("std", "variance", "slope", "gap_mean"):
        found = "number"
    elif op == "mean":
        found = "money" if of_type == "money" else "number"
    else:
        found = of_type or ""
    numeric = ("sum", "mean", "std", "variance", "slope")
    if op in (*numeric, "distinct_count", "min", "max", "first", "last", "any", "all", "streak") and of_type is None:
        raise ValueError(f"operation '{op}' needs a value: `of`")
    if (op in numeric and of_type not in ("integer", "number", "money")) or (
        op in ("any", "all", "streak") and of_type != "boolean"
    ):
        raise ValueError(f"operation '{op}' can't take a {of_type}")
    return found


def _zero(of_type: str | None) -> Any:
    return Decimal("0.00") if of_type == "money" else 0.0 if of_type == "number" else 0


def _cents(exact: Fraction) -> Decimal:
    """Half away from zero, without a decimal quotient that would round twice."""
    doubled = abs(exact) * 200
    cents = (doubled.numerator // doubled.denominator + 1) // 2
    return rounded(Decimal(cents if exact >= 0 else -cents).scaleb(-2), 2)


def _null_first(value: Any) -> tuple[Any, ...]:
    return () if value is None else (value,)


def _same(left: Any, right: Any, tolerance: float) -> bool:
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    return bool(left == right)
