"""A value of every day of a window, made again day by day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from conf.expressions import Expression, column_of, parse, parse_summary
from conf.specs import ColumnType, Daily
from conf.windows import Window
from transforms.by_hand.evidence import Evidence, Point
from transforms.by_hand.facts import Fact, counting, judge_facts, newest_only
from transforms.by_hand.inputs import InputReader
from transforms.by_hand.moments import Moment
from transforms.by_hand.operations import LOOKING_BACK, OPERATION_NAMES, Asked, Value, answer, answer_type
from transforms.by_hand.rows import evaluate
from transforms.by_hand.windows import DAY, bounds, days_in, ends_month, local_day

Part = tuple[str, Expression | None, Expression | None]  # an operation, what it is of, and its weight
DaysSeen = dict[tuple[str, date], tuple[Any, list[Fact]]]  # by what is asked and the day


class DailyValue:
    """The value of a day's end, as known at T."""

    def __init__(self, spec: Daily, reader: InputReader, seen: DaysSeen) -> None:
        self.spec = spec
        self._seen = seen
        asked = (spec.value, spec.where, spec.from_, spec.until, spec.newest_per, spec.within)
        self._asked = f"{id(reader)} {asked}"
        self.reader = reader
        self.parts: dict[str, Part] = {}
        self.part_types: dict[str, ColumnType] = {}
        self.expression = parse_summary(
            spec.value, reader.types, {"day": "date"}, OPERATION_NAMES, self._summarise, zone=reader.zone
        )

    def _summarise(self, operation: str, arguments: Sequence[Expression]) -> Expression:
        name = f"part_{len(self.parts)}"
        of, weight, *_ = (*arguments, None, None)
        self.parts[name] = (operation, of, weight)
        self.part_types[name] = answer_type(operation, of.type if of else None)
        return column_of(name, self.part_types[name])

    def at(self, day: date, entity: str, moment: Moment) -> tuple[Any, list[Fact]]:
        """The value at the end of a local day, and the rows with their verdicts then."""
        place = (self._asked, day)
        if place not in self._seen:
            self._seen[place] = self._made(day, entity, moment)
        return self._seen[place]

    def _made(self, day: date, entity: str, moment: Moment) -> tuple[Any, list[Fact]]:
        end = moment.end_of_day(day)
        rows = self.reader.rows(entity, known_at=moment.cut_off, moment=end)
        facts = judge_facts(self.spec, self.reader, rows, moment=end)
        if self.spec.within:
            start, _ = bounds(self.spec.within, day, moment.zone, cut_off=moment.cut_off)
            facts = [
                fact.unless(not fact.reason and fact.told.get("from", fact.time) < start, "outside the days before this one")
                for fact in facts
            ]
        told: dict[str, Any] = {"day": day}
        for name, (operation, of, weight) in self.parts.items():
            mine = facts
            if of is not None:
                asked_of = {"of": of} | ({"weight": weight} if weight else {})
                values = evaluate(asked_of, [fact.row.values for fact in facts], self.reader.types)
                mine = [
                    replace(fact, value=found["of"], told={**fact.told, "weight": found.get("weight")})
                    for fact, found in zip(facts, values, strict=True)
                ]
                mine = [fact.unless(fact.value is None, "it has no value") for fact in mine]
            if self.spec.newest_per:
                mine = newest_only(mine, self.spec.newest_per)
            asked = Asked(day, of.type if of else "boolean", {}, weight.type if weight else None)
            seen = [Value(f.value, local_day(f.time, moment.zone), f.told.get("weight")) for f in counting(mine)]
            told[name] = answer(operation, seen, asked)
        types: dict[str, ColumnType] = {"day": "date", **self.part_types}
        return evaluate({"value": self.expression}, [told], types)[0]["value"], facts


def explain_daily(
    spec: Daily, reader: InputReader, window: Window | None, lag: int, entity: str, moment: Moment, seen: DaysSeen
) -> tuple[Any, list[Evidence], list[Point]]:
    """The answer over the days of the window, the rows as they stand on its last day, and every day's value."""
    value = DailyValue(spec, reader, seen)
    began = _began(reader, entity, moment)
    days = list(_days(spec, window, lag, began, moment))
    found = [(day, *value.at(day, entity, moment)) for day in days]
    type_ = value.expression.type
    points = [Point(day, told, _why_not(spec, day, told, type_, reader.zone)) for day, told, _ in found]
    earlier: list[Point] = []
    if spec.op in LOOKING_BACK and days and began and began - DAY < days[0]:
        before = _between(began - DAY, days[0] - DAY, spec)
        earlier = [
            Point(day, told, _why_not(spec, day, told, type_, reader.zone))
            for day in before
            for told, _ in [value.at(day, entity, moment)]
        ]
    kept = [point for point in (*earlier, *points) if not point.reason]
    values = []
    for place, point in enumerate(kept):
        last = kept[place - 1] if place else None
        values.append(
            Value(point.value, point.day, None, last.value if last else None, (point.day - last.day).days if last else None)
        )
    outside = sum(1 for point in earlier if not point.reason)
    asked = Asked(moment.as_of, type_, spec.parameters, earlier=[point.value for point in kept[:outside]])
    facts = found[-1][2] if found else []
    evidence = [Evidence.of(f.row.origin, f.row.source, at=f.at, value=None, reason=f.reason, beside=f.row.beside) for f in facts]
    return answer(spec.op, values[outside:], asked), evidence, points


def _days(spec: Daily, window: Window | None, lag: int, began: date | None, moment: Moment) -> Iterator[date]:
    """The points of the window; a lifetime begins with the entity's first event, a target's period with the day of T."""
    if window is None and moment.since:
        return _between(local_day(moment.since, moment.zone), moment.as_of, spec)
    if window is None or window.kind == "lifetime":
        last = moment.as_of - lag * DAY
        return _between(began or last + DAY, last, spec)
    months = spec.every == "month_end"
    return days_in(window, moment.as_of, moment.zone, cut_off=moment.cut_off, lag=lag, month_ends_only=months)


def _between(first: date, last: date, spec: Daily) -> Iterator[date]:
    days = (first + number * DAY for number in range((last - first).days + 1))
    return (day for day in days if spec.every == "day" or ends_month(day))


def _began(reader: InputReader, entity: str, moment: Moment) -> date | None:
    """The local day of the first event of an entity that counts."""
    rows = reader.rows(entity, known_at=moment.cut_off, moment=moment.cut_off)
    first = min((row.values["_event_time"] for row in rows if not row.reason), default=None)
    return local_day(first, moment.zone) if first else None


def _why_not(spec: Daily, day: date, value: Any, type_: ColumnType, zone: str) -> str:
    if value is None:
        return "it has no value"
    if spec.days_where is None:
        return ""
    types: dict[str, ColumnType] = {"value": type_, "day": "date"}
    condition = parse(spec.days_where, types, zone=zone)
    kept = evaluate({"kept": condition}, [{"value": value, "day": day}], types)[0]["kept"]
    return "" if kept else f"filtered: not {spec.days_where}"
