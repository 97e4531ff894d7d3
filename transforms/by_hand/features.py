"""A column that is made from rows, made again from the curated rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conf.naming import column_name
from conf.specs import Aggregate, Daily, FeatureGroup, Input, State
from conf.windows import Window
from transforms.by_hand.daily import DaysSeen, explain_daily
from transforms.by_hand.evidence import Evidence, Point
from transforms.by_hand.facts import Fact, counting, judge_facts, newest_only, of_value
from transforms.by_hand.history import text_of
from transforms.by_hand.inputs import InputReader
from transforms.by_hand.moments import Moment
from transforms.by_hand.operations import Asked, Value, answer, as_json, json_value, key_text
from transforms.by_hand.windows import bounds, local_day


@dataclass(frozen=True)
class WindowFeature:
    """One column of an aggregate, a state or a daily value: one window, lag and pivot value, or a map's column."""

    spec: Aggregate | State | Daily
    item: Input
    window: Window | None = None
    lag: int = 0
    by_value: str | None = None
    map_by: str | None = None


def window_features(group: FeatureGroup) -> Iterator[tuple[str, WindowFeature]]:
    """Every column of a group that is made from rows, by its name."""
    for item in group.inputs:
        for aggregate in item.aggregates:
            for window in aggregate.windows or (None,):
                for lag in aggregate.lag or (0,):
                    yield from _pivoted(aggregate, item, window, lag)
        for state in item.states:
            yield from _pivoted(state, item, None, 0)
        for daily in item.daily:
            for window in daily.windows or (None,):
                for lag in daily.lag or (0,):
                    yield column_name(daily.name, window=window, lag_days=lag), WindowFeature(daily, item, window, lag)


def _pivoted(spec: Aggregate | State, item: Input, window: Window | None, lag: int) -> Iterator[tuple[str, WindowFeature]]:
    def named(part: str | None) -> str:
        return column_name(spec.name, by_value=part, window=window, lag_days=lag)

    yield named(None), WindowFeature(spec, item, window, lag)
    for column, values in spec.by.items():
        if values == "map":
            yield named(f"by_{column}"), WindowFeature(spec, item, window, lag, map_by=column)
            continue
        for value in values:
            yield named(f"{column}_{value}"), WindowFeature(spec, item, window, lag, value)


Windowed = tuple[Any, Sequence[Evidence], Sequence[Point]]


def explain_window(feature: WindowFeature, reader: InputReader, entity: str, moment: Moment, days: DaysSeen) -> Windowed:
    """The value of a column, every row of the entity with its verdict, and the days of a daily one.

    `days`: daily values made before; those made now are added.
    """
    spec = feature.spec
    if isinstance(spec, Daily):
        return explain_daily(spec, reader, feature.window, feature.lag, entity, moment, days)
    rows = reader.rows(entity, known_at=moment.cut_off, moment=moment.cut_off)
    facts = judge_facts(spec, reader, rows, moment=moment.cut_off)
    every = counting(of_value(facts, spec, feature.by_value))
    ahead = isinstance(spec, Aggregate) and spec.ahead
    start, end = bounds(feature.window, moment.as_of, moment.zone, cut_off=moment.cut_off, lag=feature.lag, ahead=ahead)
    if moment.since and feature.window is None and isinstance(spec, Aggregate):
        start = moment.since
    facts = [_in_window(fact, start, end) for fact in facts]
    if spec.newest_per:
        facts = newest_only(facts, spec.newest_per)
    facts = of_value(facts, spec, feature.by_value)
    counted = counting(facts)
    type_ = reader.expression(spec.of).type if spec.of else "boolean"
    earlier = [fact.value for fact in every if fact.time < start]
    asked = Asked(moment.as_of, type_, spec.parameters, reader.expression(spec.weight).type if spec.weight else None, earlier)
    column = feature.map_by
    if column is None:
        told = answer(spec.op, _values(counted, every, moment.zone), asked)
    else:
        pieces: dict[str, list[Fact]] = {}
        for fact in counted:
            if fact.told[column] is not None:
                pieces.setdefault(key_text(fact.told[column]), []).append(fact)
        answers = {key: answer(spec.op, _values(piece, every, moment.zone), asked) for key, piece in pieces.items()}
        told = as_json({key: json_value(found) for key, found in answers.items()})
    evidence = [
        Evidence.of(
            fact.row.origin,
            fact.row.source,
            at=fact.at,
            value=None if fact.reason else fact.value,
            reason=fact.reason,
            beside=fact.row.beside,
        )
        for fact in facts
    ]
    return told, evidence, ()


def _in_window(fact: Fact, start: datetime, end: datetime) -> Fact:
    if fact.reason:
        return fact
    fact = fact.unless(fact.time < start, f"outside the window: {text_of(fact.time)} is before its start at {text_of(start)}")
    return fact.unless(fact.time >= end, f"outside the window: {text_of(fact.time)} is not before its end at {text_of(end)}")


def _values(counted: Sequence[Fact], every: Sequence[Fact], zone: str) -> list[Value]:
    """What the operation sees. `every`: all facts of the feature, for the one before the window's first."""
    result = []
    for fact in counted:
        earlier = [other for other in every if other.order < fact.order]
        before = earlier[-1] if earlier else None
        day = local_day(fact.time, zone)
        days_before = (day - local_day(before.time, zone)).days if before else None
        result.append(Value(fact.value, day, fact.told.get("weight"), before.value if before else None, days_before))
    return result
