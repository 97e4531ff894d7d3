"""Random histories that sit on the edges: rows of sources whose times crowd around the cut-off, the window starts and the grace.

`history(random, …)` makes one from any `random.Random`, so the same code serves both ways of testing:

- `histories(…)` is a hypothesis strategy, which shrinks, for code that answers quickly;
- `batch(…)` makes many seeded ones whose keys don't meet, to be answered together in one Spark job; each entity's name
  starts with its case (`c17-`). `smallest` then drops the rows that a failure doesn't need.

Rows are what curate would leave: typed, one of each key and version, required columns never null, out of order.
"""

from __future__ import annotations

import random as randomness
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any

import sqlglot
from hypothesis import strategies as st
from sqlglot import exp

from conf.specs import Aggregate, ColumnType, FeatureGroup, SettledBy, Source, State
from tests.oracle import Expression, local_date, span, start_of_day
from tests.oracle.inputs import Via
from tests.oracle.ledger import time_of

History = dict[str, list[dict[str, Any]]]

# As-of days and zones where counting 86,400 seconds to a day goes wrong.
DAYS = (
    (date(2025, 6, 30), "Asia/Kuala_Lumpur"),  # a month that ends at T
    (date(2025, 3, 9), "America/New_York"),  # a day of 23 hours
    (date(2025, 11, 2), "America/New_York"),  # and one of 25
    (date(2025, 4, 24), "Africa/Cairo"),  # clocks jump over the midnight that ends the day
    (date(2025, 11, 2), "America/Havana"),  # midnight comes twice
    (date(2025, 4, 6), "Australia/Lord_Howe"),  # half an hour of summer time
    (date(2024, 2, 29), "Asia/Kathmandu"),  # a leap day, 5:45 ahead
    (date(2025, 1, 1), "UTC"),
)
_MICROSECOND = timedelta(microseconds=1)
_ORPHAN = 0.1
_NULL = 0.25


@dataclass(frozen=True)
class _Maker:
    """What one history is drawn from."""

    random: randomness.Random
    sources: Mapping[str, Source]
    cutoff: datetime
    instants: Sequence[datetime]
    days: Sequence[date]
    vocabulary: Mapping[str, Sequence[str]]
    case: int
    record_identifier: str
    entities: int
    keys: int

    def identifier(self, column: str, kind: ColumnType, *, refers: bool) -> Any:
        """One of a few, of fewer where it refers to another row; text ones sort otherwise than their numbers (10 before 9)."""
        known = self.entities if column == self.record_identifier else self.keys // 2 if refers else self.keys
        number = 8 + self.random.randrange(known)
        return number + self.case * 1000 if kind == "integer" else f"c{self.case}-{column}-{number}"

    def instant(self) -> datetime:
        """Half on the edges, half on a few ordinary times of the last year, so that ties occur."""
        if self.random.random() < 0.5:
            return self.random.choice(self.instants)
        return self.cutoff - timedelta(days=self.random.choice([1, 3, 10, 45, 100, 300]), hours=self.random.choice([1, 3, 20]))

    def value(self, source: Source, name: str) -> Any:
        column = source.columns[name]
        if not column.required and self.random.random() < _NULL:
            return None
        if _is_identifier(name, source, self.sources):
            if name in source.references and self.random.random() < _ORPHAN:
                return f"c{self.case}-nowhere" if column.type == "string" else self.case * 1000
            return self.identifier(name, column.type, refers=name in source.references)
        if column.type == "string":
            return self.random.choice(list(column.values) or [*self.vocabulary.get(name, ()), "alpha", "beta"])
        if column.type == "boolean":
            return self.random.random() < 0.5
        if column.type == "date":
            return self.random.choice(self.days)
        if column.type == "timestamp":
            return self.instant()
        low = int(column.minimum) if column.minimum is not None else -3
        if column.type == "integer":
            high = int(column.maximum) if column.maximum is not None else low + 6
            return self.random.randint(low, high)
        cents = self.random.choice([low * 100, 0, 1, 5, 1000, 1100, 3333, self.random.randint(max(low, -500) * 100, 50_000)])
        exact = Decimal(max(cents, low * 100)) / 100
        if column.maximum is not None:
            exact = min(exact, column.maximum)
        return exact.quantize(Decimal("0.01")) if column.type == "money" else float(exact)


def history(
    random: randomness.Random,
    sources: Mapping[str, Source],
    group: FeatureGroup,
    *,
    as_of: date,
    zone: str,
    case: int = 0,
    entities: int = 3,
    keys: int = 10,
    groups: Mapping[str, FeatureGroup] = MappingProxyType({}),
) -> History:
    """Up to `keys` keys of each source that `group` reads, each in one to four versions when the source has versions.

    `groups`: those whose columns it may name; what the ones of its entity read is drawn too.
    Every spine key is likely, not sure, to be there: facts without an entity belong to a history too. Half of the
    columns that settle a mutable timestamp are set without it, as dirty files have them.
    """
    maker = _maker(random, sources, group, as_of=as_of, zone=zone, case=case, entities=entities, keys=keys, groups=groups)
    made = {name: _rows(maker, sources[name], random.randrange(keys + 1)) for name in reads(group, sources, groups)}
    made[group.spine] += _rows(maker, sources[group.spine], keys, taken=made[group.spine])
    for item in group.inputs:
        if item.settled_by:
            _pay(maker, item.settled_by, sources[item.source], made)
    for rows in made.values():
        random.shuffle(rows)
    return made


def _maker(
    random: randomness.Random,
    sources: Mapping[str, Source],
    group: FeatureGroup,
    *,
    as_of: date,
    zone: str,
    case: int,
    entities: int,
    keys: int,
    groups: Mapping[str, FeatureGroup] = MappingProxyType({}),
) -> _Maker:
    return _Maker(
        random=random,
        sources=sources,
        cutoff=span(None, as_of=as_of, zone=zone)[1],
        instants=_instants(group, sources, as_of, zone),
        days=_days(group, sources, as_of, zone),
        vocabulary=_vocabulary([group, *_of_its_entity(group, groups)]),
        case=case,
        record_identifier=group.record_identifier,
        entities=entities,
        keys=keys,
    )


def histories(
    sources: Mapping[str, Source],
    group: FeatureGroup,
    *,
    as_of: date,
    zone: str,
    groups: Mapping[str, FeatureGroup] = MappingProxyType({}),
) -> st.SearchStrategy[History]:
    """Histories for hypothesis, which shrinks them by shrinking what its Random says."""
    draw = partial(history, sources=sources, group=group, as_of=as_of, zone=zone, groups=groups)
    return st.randoms(use_true_random=False).map(draw)


def batch(
    sources: Mapping[str, Source],
    group: FeatureGroup,
    *,
    as_of: date,
    zone: str,
    cases: int,
    seed: int | str = 1,
    keys: int = 10,
    groups: Mapping[str, FeatureGroup] = MappingProxyType({}),
) -> tuple[History, list[History]]:
    """The rows of `cases` histories together, and each by itself; no key is in two of them."""
    draw = partial(history, sources=sources, group=group, as_of=as_of, zone=zone, keys=keys, groups=groups)
    alone = [draw(randomness.Random(f"{seed}/{case}"), case=case) for case in range(cases)]
    together: History = {name: [row for one in alone for row in one[name]] for name in reads(group, sources, groups)}
    return together, alone


def with_another_future(
    rows: History, sources: Mapping[str, Source], group: FeatureGroup, *, as_of: date, zone: str, seed: int = 1
) -> tuple[History, int]:
    """The same past: what nobody could have known at T, rewritten at random; and how many rows were.

    Rows that happened at T or later, or became known later than the grace, keep their key, version and clocks and get other values.
    Of the others, mutable timestamps at T or later, and what they settle, are other ones.
    """
    maker = _maker(randomness.Random(f"future {seed}"), sources, group, as_of=as_of, zone=zone, case=0, entities=3, keys=10)
    changed, told = 0, {}
    for name, some in rows.items():
        source = sources[name]
        times = [time.column for time in (source.event_time, source.known_time) if time]
        kept = {*source.key, source.version, *times}
        told[name] = [dict(row) for row in some]
        for row in told[name]:
            if not _counts(source, row, maker.cutoff):
                free = [column for column in source.columns if column not in kept]
            else:
                free = []
                for column in source.mutable:
                    if row[column] is None or row[column] >= maker.cutoff:
                        row[column] = maker.random.choice([None, maker.cutoff, maker.cutoff + timedelta(days=9)])
                        free += source.mutable[column]
            row.update({column: maker.value(source, column) for column in free})
            changed += bool(free)
    return told, changed


def _counts(source: Source, row: Mapping[str, Any], cutoff: datetime) -> bool:
    """Whether a row could be known of at T, as far as its own clocks say."""
    if time_of(source, source.event_time, row) >= cutoff:
        return False
    known = time_of(source, source.known_time, row) if source.known_time else None
    return known is None or known <= cutoff + source.grace


def smallest(rows: History, fails: Callable[[History], bool]) -> History:
    """`rows` without those that the failure doesn't need: halves, quarters, … single rows are left out while it still fails."""
    flat = [(name, row) for name, some in rows.items() for row in some]
    size = max(len(flat) // 2, 1)
    while flat:
        start, dropped = 0, False
        while start < len(flat):
            fewer = flat[:start] + flat[start + size :]
            if fails(_by_source(fewer, rows)):
                flat, dropped = fewer, True
            else:
                start += size
        if size == 1 and not dropped:
            break
        size = max(size // 2, 1)
    return _by_source(flat, rows)


def reads(
    group: FeatureGroup, sources: Mapping[str, Source], groups: Mapping[str, FeatureGroup] = MappingProxyType({})
) -> list[str]:
    """The ledgers that a group reads: its spine, its inputs, what settles them and what brings their entity or columns.

    With those of the groups of its entity among `groups`.
    """
    names = [name for one in (group, *_of_its_entity(group, groups)) for name in _reads(one)]
    names += [member for name in names for member in sources[name].union_of]
    return [name for name in sources if name in names and not sources[name].union_of]


def _reads(group: FeatureGroup) -> Iterator[str]:
    yield group.spine
    for item in group.inputs:
        yield item.source
        yield from (join.source for join in (item.settled_by, item.parent) if join)
        if isinstance(item.entity, Mapping):
            yield from (via.source for via in map(Via.parse, item.entity.values()) if via)


def _of_its_entity(group: FeatureGroup, groups: Mapping[str, FeatureGroup]) -> list[FeatureGroup]:
    """The others that describe what `group` describes, by definitions."""
    return [
        other
        for other in groups.values()
        if other.name != group.name and other.record_identifier == group.record_identifier and not other.is_later
    ]


def _by_source(flat: Iterable[tuple[str, dict[str, Any]]], names: Iterable[str]) -> History:
    rows: History = {name: [] for name in names}
    for name, row in flat:
        rows[name].append(row)
    return rows


def _rows(maker: _Maker, source: Source, keys: int, taken: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    used = {tuple(row[name] for name in source.key) for row in taken}
    rows: list[dict[str, Any]] = []
    for _ in range(keys):
        key = tuple(maker.value(source, name) for name in source.key)
        if key in used or None in key:
            continue
        used.add(key)
        rows += _versions(maker, source, dict(zip(source.key, key, strict=True)))
    return rows


def _versions(maker: _Maker, source: Source, key: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row of a key, and when the source has versions up to three amendments of it, recorded in any order."""
    first = {name: maker.value(source, name) for name in source.columns if name not in key}
    versions = [{**key, **first}]
    for _ in range(maker.random.choice([0, 0, 1, 3]) if source.version else 0):
        amended = dict(versions[-1])
        for name in first:
            if name != source.event_time.column and maker.random.random() < 0.4:
                amended[name] = maker.value(source, name)
        if maker.random.random() < 0.2:
            amended[source.event_time.column] = maker.value(source, source.event_time.column)
        versions.append(amended)
    for row in versions:
        _record(maker, source, row)
    if source.version is None or source.version in source.key:
        return versions[:1]
    if source.known_time is None or source.version != source.known_time.column:
        low = int(source.columns[source.version].minimum or 0)
        for number, row in enumerate(versions):
            if source.columns[source.version].type == "integer":
                row[source.version] = low + number
    return list({row[source.version]: row for row in versions}.values())


def _record(maker: _Maker, source: Source, row: dict[str, Any]) -> None:
    """Known at once, soon, late or before it happened; settled columns mostly go with their timestamp."""
    known, event = source.known_time, row[source.event_time.column]
    if known is not None and known.column not in source.key and isinstance(event, datetime) and known.of_date is None:
        delays = (timedelta(), _MICROSECOND, timedelta(hours=1), timedelta(days=2), timedelta(days=40))
        row[known.column] = maker.random.choice([maker.instant(), *(event + delay for delay in delays)])
    for column, settles in source.mutable.items():
        if maker.random.random() < 0.3:
            row[column] = None
        for settled in settles if row[column] is None and maker.random.random() < 0.5 else ():
            row[settled] = None


def _pay(maker: _Maker, settled: SettledBy, parent: Source, made: Mapping[str, Sequence[dict[str, Any]]]) -> None:
    """Let most children pay a parent that exists: some of what is due, exactly it, or more."""
    types = {name: column.type for name, column in parent.columns.items()}
    links = {name: Expression(text, types, parent.zone) for name, text in settled.on.items()}
    due = Expression(settled.due, types, parent.zone)
    for child in made[settled.source]:
        if not made[parent.name] or maker.random.random() < 0.2:
            continue
        paid = maker.random.choice(made[parent.name])
        link = {name: expression.value(paid) for name, expression in links.items()}
        if None not in link.values():
            child.update(link)
        owed = due.value(paid)
        if isinstance(owed, Decimal) and settled.amount in child:
            share = maker.random.choice([Decimal("0.5"), Decimal(1), Decimal(1), Decimal("1.1")])
            child[settled.amount] = (owed * share).quantize(Decimal("0.01"))


def _is_identifier(name: str, source: Source, sources: Mapping[str, Source]) -> bool:
    """Whether a column names something that other rows name too."""
    kind = source.columns[name].type
    if kind not in ("string", "integer") or name == source.version:
        return False
    if name in source.references or name in source.key:
        return True
    return kind == "string" and any(name in other.key for other in sources.values() if not other.union_of)


def _windows_of(group: FeatureGroup) -> set[tuple[Any, int, bool]]:
    return {
        (window, lag, isinstance(feature, Aggregate) and feature.ahead)
        for item in group.inputs
        for feature in (*item.aggregates, *item.daily)
        for window in feature.windows or (None,)
        for lag in feature.lag or (0,)
    }


def _edges(group: FeatureGroup, as_of: date, zone: str) -> list[datetime]:
    found = {span(None, as_of=as_of, zone=zone)[1]}
    for window, lag, ahead in _windows_of(group):
        found |= set(span(window, as_of=as_of, zone=zone, lag=lag, ahead=ahead))
    return sorted(edge for edge in found if 1900 < edge.year < 2200)


def _instants(group: FeatureGroup, sources: Mapping[str, Source], as_of: date, zone: str) -> list[datetime]:
    """Each edge and the microsecond before it, the same a grace later, and T more often than the others.

    Where days are asked about one by one, also a few midnights before T, give or take a microsecond.
    """
    cutoff = span(None, as_of=as_of, zone=zone)[1]
    edges = [*_edges(group, as_of, zone), *[cutoff] * 4]
    graces = {sources[name].grace for name in reads(group, sources)} - {timedelta()}
    near = [edge + step for edge in edges for step in (-_MICROSECOND, timedelta())]
    near += [cutoff + grace + step for grace in graces for step in (timedelta(), _MICROSECOND)]
    if any(item.daily for item in group.inputs):
        midnights = [start_of_day(as_of - timedelta(days=days), zone) for days in (0, 1, 2, 4, as_of.day - 1)]
        near += [midnight + step for midnight in midnights for step in (-_MICROSECOND, timedelta(), _MICROSECOND)]
    return [*near, cutoff - timedelta(hours=1), cutoff + timedelta(hours=1), cutoff + timedelta(days=20)]


def _days(group: FeatureGroup, sources: Mapping[str, Source], as_of: date, zone: str) -> list[date]:
    """The days on either side of each edge, D and the day after most often, and days that fell due a month ago."""
    edges = [local_date(edge, zone) for edge in _edges(group, as_of, zone)]
    around = [edge + timedelta(days=step) for edge in edges for step in (-1, 0)]
    return [*around, *(as_of + timedelta(days=step) for step in (-31, -30, -29, -3, -2, -1, 0, 0, 1, 1, 8))]


def _vocabulary(groups: Iterable[FeatureGroup]) -> dict[str, list[str]]:
    """The values that the groups' pivots and comparisons name, by column, so that they occur."""
    words: dict[str, list[str]] = {}
    for item in (item for group in groups for item in group.inputs):
        texts = list(item.columns.values())
        texts += [daily.where for daily in item.daily if daily.where]
        features: list[Aggregate | State] = [*item.aggregates, *item.states]
        for feature in features:
            texts += [text for text in (feature.of, feature.where) if text]
            for column, values in feature.by.items():
                words.setdefault(column, []).extend(values if values != "map" else ())
        for tree in (sqlglot.parse_one(text) for text in texts):
            for comparison in tree.find_all(exp.EQ, exp.NEQ, exp.In):
                column, others = comparison.this, [*comparison.expressions, comparison.args.get("expression")]
                named = [literal.this for literal in others if isinstance(literal, exp.Literal) and literal.is_string]
                if isinstance(column, exp.Column):
                    words.setdefault(column.name, []).extend(named)
    return {column: list(dict.fromkeys(values)) for column, values in words.items()}


def utc(text: str) -> datetime:
    """An instant from ISO text, UTC unless it says otherwise: what tests write in their tables."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
