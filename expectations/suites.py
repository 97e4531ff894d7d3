"""Derives the suite of a table from its definition: a feature group's snapshot, or a source's curated rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from conf.settings import ValidationSettings
from conf.specs import Aggregate, ColumnType, FeatureGroup, Source, State
from conf.windows import Window
from expectations.rules import (
    LARGEST,
    Profile,
    Rule,
    Suite,
    bounded,
    broken_share_at_most,
    columns_are,
    condition,
    finite,
    has_some_values,
    has_type,
    in_range,
    literal,
    not_more,
    not_null,
    one_of,
    quoted,
    rows_are,
    rows_at_least,
    unique,
)
from transforms.feature_group import AnyGroup, Column, CompiledGroup, CompiledRollup, WindowColumn

SPARK_TYPES: Mapping[ColumnType, str] = {
    "string": "StringType",
    "integer": "LongType",
    "number": "DoubleType",
    "money": "DecimalType",
    "boolean": "BooleanType",
    "date": "DateType",
    "timestamp": "TimestampType",
}
FRESH = timedelta(days=35)
"""A source without an event in so many days before the cut-off is reported: longer than a monthly delivery takes."""

_NEVER_NEGATIVE = frozenset(
    {
        "count", "distinct_count", "streak", "recency", "age", "std", "variance", "entropy",
        "gap_mean", "gap_min", "gap_max", "gap_std", "change_count", "rise_count", "close_count", "return_count",
    }
)  # fmt: skip
_NOT_NEGATIVE_OF = frozenset({"sum", "mean", "min", "max", "first", "last"})  # where the value isn't
_GROW = frozenset({"count", "distinct_count", "sum", "max"})  # with the window; a sum where its values are not negative
_EXACT = frozenset({"integer", "money"})


def group_suite(
    group: AnyGroup,
    definition: FeatureGroup,
    sources: Mapping[str, Source],
    *,
    event_time: str,
    time_zone: str,
    rows: int,
    limits: ValidationSettings,
    before: Profile | None = None,
    written: Sequence[Rule] = (),
) -> Suite:
    """What a snapshot of one day must be like.

    `rows`: how many were handed over; `before`: the day before, None when there was none; `written`: rules by hand.
    """
    columns = group.columns
    types: dict[str, ColumnType] = {group.entity: "string", "event_time": "string", "time_zone": "string"}
    types |= {"has_history": "boolean", "as_of": "date", "snapshot_version": "string"}
    types |= {column.name: column.type for column in columns}
    rules = [
        columns_are(types),
        *(has_type(name, SPARK_TYPES[type_]) for name, type_ in types.items()),
        rows_at_least("rows.some", 1, "there is at least one row"),
        rows_are(rows),
        unique([group.entity]),
        broken_share_at_most(limits.max_quarantined_share),
        not_null(group.entity),
        not_null("event_time"),
        one_of("event_time", [event_time]),
        not_null("time_zone"),
        one_of("time_zone", [time_zone]),
        not_null("has_history"),
    ]
    not_negative, shares = _not_negative(columns, definition, sources), _shares(group)
    for column in columns:
        rules += _column_rules(column, column.name in not_negative, is_share=column.name in shares)
    windows = group.windows if isinstance(group, CompiledGroup) else ()
    published = [item for item in windows if not item.column.internal and item.map_by is None]
    rules += _grow_with_the_window(published, not_negative)
    rules += _parts_and_whole(published, not_negative, blanked=definition.blank_unless is not None)
    rules += _same_facts(published, definition)
    if before is not None:
        least = _at_least(before.rows, limits.max_row_count_drop)
        words = (
            f"at least {least:,} rows: the day before had {before.rows:,}, and {limits.max_row_count_drop:.0%} fewer is the limit"
        )
        rules.append(rows_at_least("rows.day_before", least, words, relative=True))
        rules += [has_some_values(column.name) for column in columns if before.non_null.get(column.name, 0) > 0]
    return Suite(group.name, (group.entity,), (*rules, *written))


def source_suite(
    source: Source,
    *,
    limits: ValidationSettings,
    read: int,
    quarantined: int,
    now: datetime,
    cut_off: datetime | None = None,
    written: Sequence[Rule] = (),
) -> Suite:
    """What curated rows of a source must be like.

    The row rules were applied when the rows were curated; here a single row that breaks one is a fault of the engine and
    critical. `read` and `quarantined`: of the newest commit. `now` and `cut_off` are aware; without `cut_off`, and of a source
    for which nothing is delivered, freshness isn't judged.
    """
    key = [*source.key, *([source.version] if source.version and source.version not in source.key else [])]
    kept = {name: source.columns[name] for name in kept_columns(source)}
    types = {**kept_columns(source)}
    types |= {"_event_time": "timestamp", "_known_time": "timestamp"}
    rules: list[Rule] = [has_type(name, SPARK_TYPES[type_]) for name, type_ in types.items()]
    required = [*source.key, *(name for name, column in kept.items() if column.required and name not in source.key)]
    rules += [not_null(name, "critical") for name in (*required, "_event_time")]
    for name, column in kept.items():
        if column.personal == "hmac":
            continue
        if column.values:
            rules.append(one_of(name, column.values, "critical"))
        limited = [("minimum", ">=", column.minimum), ("maximum", "<=", column.maximum)]
        for end, sign, value in limited:
            if value is not None:
                held = f"{quoted(name)} is null or {quoted(name)} {sign} {value}"
                rules.append(condition(f"{name}.{end}", held, f"{name} {sign} {value}", "critical"))
    rules += [
        unique(key),
        bounded(
            "rows.quarantined",
            f"cast({quarantined if read else 0} as double) / {max(read, 1)}",
            None,
            Decimal(str(limits.max_quarantined_share)),
            f"at most {limits.max_quarantined_share:.2%} of the newest delivery is quarantined",
            relative=True,
        ),
        bounded(
            "event_time.future",
            f"count_if({quoted('_event_time')} > {_instant(now + timedelta(days=2))})",
            None,
            Decimal(0),
            "no event lies more than two days in the future",
            "warning",
            relative=True,
        ),
    ]
    if cut_off is not None and source.is_delivered:  # no row set aside for long is no fault
        fresh = f"count_if({quoted('_event_time')} >= {_instant(cut_off - FRESH)})"
        words = f"something happened in the {FRESH.days} days before the cut-off"
        rules.append(bounded("event_time.fresh", fresh, Decimal(1), None, words, "warning", relative=True))
    return Suite(source.name, tuple(key), (*rules, *written))


def kept_columns(source: Source) -> dict[str, ColumnType]:
    """The declared columns that curated rows have, with their types there: a keyed hash is text."""
    kept = {name: column for name, column in source.columns.items() if column.personal != "drop"}
    return {name: "string" if column.personal == "hmac" else column.type for name, column in kept.items()}


# ---- of a snapshot


def _column_rules(column: Column, not_negative: bool, *, is_share: bool) -> Iterator[Rule]:
    if not column.nullable:
        yield not_null(column.name)
    if is_share:
        yield in_range(column.name, 0, 1)
    elif column.type == "number":
        yield in_range(column.name, 0, LARGEST) if not_negative else finite(column.name)
    elif not_negative:
        yield in_range(column.name, 0)


def _not_negative(columns: Iterable[Column], definition: FeatureGroup, sources: Mapping[str, Source]) -> frozenset[str]:
    """Columns that can't be below 0: counts, times, spreads, and what is made of a source's column with a minimum."""
    features: dict[str, tuple[Aggregate | State, Source]] = {}
    for item in definition.inputs:
        if item.source not in sources:  # a union: what is known of its members' columns isn't followed
            continue
        for made in _features(item.aggregates, item.states):
            features[made.name] = (made, sources[item.source])
    found = set()
    for column in columns:
        if column.type not in ("integer", "number", "money"):
            continue
        feature, source = features.get(column.feature, (None, None))
        if column.op in _NEVER_NEGATIVE and not getattr(feature, "ahead", False):
            found.add(column.name)
        elif column.op in _NOT_NEGATIVE_OF and feature and source and feature.of and not feature.weight:
            minimum = source.columns[feature.of].minimum if feature.of in source.columns else None
            if minimum is not None and minimum >= 0:
                found.add(column.name)
    return frozenset(found)


def _shares(group: AnyGroup) -> frozenset[str]:
    """Columns of a rollup that are a share of its members."""
    rolled = group.rolled if isinstance(group, CompiledRollup) else ()
    return frozenset(item.column.name for item in rolled if item.op == "share")


def _features(aggregates: Iterable[Aggregate], states: Iterable[State]) -> Iterator[Aggregate | State]:
    yield from aggregates
    yield from states


def _grow_with_the_window(items: Sequence[WindowColumn], not_negative: frozenset[str]) -> Iterator[Rule]:
    """A longer window of days holds all that a shorter one does: counts, maxima and sums of what isn't negative don't shrink."""
    families: dict[tuple[object, ...], list[WindowColumn]] = {}
    for item in items:
        column = item.column
        if column.window is not None and column.window.kind in ("days", "lifetime"):
            families.setdefault((column.feature, column.by_value, item.lag, item.ahead), []).append(item)
    for family in families.values():
        ordered = sorted(family, key=lambda item: _length(item.window))
        for short, long in pairwise(ordered):
            column = short.column
            if column.op == "min" and column.type in _EXACT | {"number"}:
                yield not_more(long.column.name, column.name)
            elif column.op in _GROW and (column.op != "sum" or (column.name in not_negative and column.type in _EXACT)):
                yield not_more(column.name, long.column.name)


def _length(window: Window) -> float:
    return float("inf") if window.kind == "lifetime" else window.count


def _parts_and_whole(items: Sequence[WindowColumn], not_negative: frozenset[str], *, blanked: bool) -> Iterator[Rule]:
    """Counts and exact sums by value add up to the whole when `other` is among the values, and to no more when it isn't.

    `blanked`: all of them are null in some rows.
    """
    families: dict[tuple[object, ...], dict[str | None, Column]] = {}
    for item in items:
        column = item.column
        if column.op in ("count", "sum") and column.type in _EXACT:
            place = (column.feature, column.window, item.lag, item.ahead)
            families.setdefault(place, {})[column.by_value] = column
    for family in families.values():
        whole = family.pop(None, None)
        if whole is None or not family:
            continue
        parts = " + ".join(quoted(part.name) for part in family.values())
        unless = f"{quoted(whole.name)} is null or " if blanked else ""
        if "other" in family:
            words = f"the parts by value add up to {whole.name}"
            yield condition(f"{whole.name}.parts", f"{unless}{quoted(whole.name)} = {parts}", words)
        elif whole.name in not_negative:
            words = f"the parts by value add up to no more than {whole.name}"
            yield condition(f"{whole.name}.parts", f"{unless}{quoted(whole.name)} >= {parts}", words)


def _same_facts(items: Sequence[WindowColumn], definition: FeatureGroup) -> Iterator[Rule]:
    """Of the same facts in the same window: min ≤ mean ≤ max, and no more different values than values."""
    meaning: dict[str, tuple[object, ...]] = {}
    for place, item in enumerate(definition.inputs):
        for feature in _features(item.aggregates, item.states):
            clock = (getattr(feature, "at", None), feature.from_, feature.until, feature.newest_per, feature.weight)
            meaning[feature.name] = (place, feature.where, clock, tuple(feature.by), feature.of)
    families: dict[tuple[object, ...], dict[str, Column]] = {}
    for window_column in items:
        column = window_column.column
        facts = meaning.get(column.feature)
        if facts is None or column.op is None:
            continue
        told = (column.by_value, column.window, window_column.lag, window_column.ahead)
        families.setdefault((*facts, *told), {})[column.op] = column
        if column.op == "count" and facts[-1] is None:  # how many facts there are, whatever is asked of them
            for other in {features[-1] for features in meaning.values() if features[:-1] == facts[:-1]}:
                families.setdefault((*facts[:-1], other, *told), {}).setdefault("count", column)
    for family in families.values():
        for less, more in (("min", "mean"), ("mean", "max"), ("min", "max"), ("distinct_count", "count")):
            if less not in family or more not in family or ((less, more) == ("min", "max") and "mean" in family):
                continue
            if less == "distinct_count" or family[less].type in _EXACT or (family[less].of_type in _EXACT):
                yield not_more(family[less].name, family[more].name)


def _at_least(rows: int, drop: float) -> int:
    """The fewest rows that are not more than `drop` below `rows`."""
    exact = rows * (1 - Decimal(str(drop)))
    return int(exact.to_integral_value(rounding="ROUND_CEILING"))


def _instant(moment: datetime) -> str:
    """To the second, as SQL."""
    return f"cast({literal(moment.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ'))} as timestamp)"
