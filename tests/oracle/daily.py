"""Values of every day: a small question asked at each day's end, and an operation over the answers.

- A point is a local day of the window (or only days that end a month), judged at the day's end: of the rows that count at T, those that
  happened before it, as they read then, that hold then (`from`, by default the event time, before it, and not `until` before it).
  With `within`, instead those whose `from` lies in that window of the point's day.
- Facts are as old as their events, as in a state: a day's answer is that of a state at its end. `newest_per`: only the newest of each
  value of the column counts; ties by known time and key.
- `value` is an expression over operations of these facts and `day`. A null in one operation is ignored by that one alone.
- The points of a window are facts at their days, oldest first; null ones are ignored, and so are those that `days_where` isn't
  true of (it may name `value` and `day`).
- Lifetime begins on the day of the entity's first event. What looks back from a window sees the days before it, from the day before
  the first event on.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from conf.naming import column_name
from conf.specs import Daily
from conf.windows import Window
from tests.oracle.aggregates import Column, holds
from tests.oracle.inputs import Facts
from tests.oracle.ledger import Row
from tests.oracle.moment import Moment
from tests.oracle.operations import OPERATIONS, Fact, Seen, newest_of_each, operation
from tests.oracle.sql import Expression, expression
from tests.oracle.values import instant, local_date, start_of_day, step

_CALL = re.compile(r"\b([a-z_]+)\s*\(")


@dataclass(frozen=True)
class _Part:
    """One operation inside `value`, over the facts of a day."""

    op: str
    of: Expression | None
    weight: Expression | None

    @property
    def type(self) -> str:
        return operation(self.op, self.of.type if self.of else None, {})[1]

    def answer(self, rows: Sequence[tuple[Fact, Row]], moment: Moment) -> Any:
        facts = []
        for fact, row in rows:
            value = self.of.value(row.values) if self.of else None
            weight = self.weight.value(row.values) if self.weight else None
            if (self.of and value is None) or (self.weight and weight is None):
                continue
            facts.append(Fact(fact.at, fact.order, value, weight))
        of_type = self.of.type if self.of else None
        return OPERATIONS[self.op].answer(Seen(facts, (), of_type, {}, moment))


class DailyValues:
    """The columns of one `daily` feature."""

    def __init__(self, feature: Daily, facts: Facts, moment: Moment) -> None:
        self._feature, self._facts, self._moment = feature, facts, moment
        self._parts, text = _split(feature.value, facts)
        types = {name: part.type for name, part in self._parts.items()} | {"day": "date"}
        self._value = expression(text, types, moment.zone)
        points = {"value": self._value.type, "day": "date"}
        self._days_where = expression(feature.days_where, points, moment.zone) if feature.days_where else None
        self._operation, self._result = operation(feature.op, self._value.type, feature.parameters)
        self._known: dict[tuple[str, date], Any] = {}

    def columns(self) -> Iterator[Column]:
        for window in self._feature.windows or (None,):
            for lag in self._feature.lag or (0,):
                name = column_name(self._feature.name, window=window, lag_days=lag)
                yield Column(
                    name,
                    self._result,
                    not self._feature.internal,
                    lambda entity, window=window, lag=lag: self._answer(entity, window, lag),
                )

    def _answer(self, entity: str, window: Window | None, lag: int) -> Any:
        start, end = self._moment.span(window, lag=lag)
        last = local_date(end, self._moment.zone)
        last = step(last, -1) if start_of_day(last, self._moment.zone) == end else last
        first_event = self._first_event(entity)
        if window is None or window.kind == "lifetime":
            first = first_event or step(last, 1)
        else:
            first = local_date(start, self._moment.zone)
        earlier = first
        if self._operation.looks_back and first_event is not None:
            earlier = min(first, step(first_event, -1))
        before = list(self._points(entity, earlier, step(first, -1)))
        inside = list(self._points(entity, first, last))
        return self._operation.answer(Seen(inside, before, self._value.type, self._feature.parameters, self._moment))

    def _first_event(self, entity: str) -> date | None:
        events = [local_date(row.event, self._moment.zone) for row in self._facts.of(entity)]
        return min(events, default=None)

    def _points(self, entity: str, first: date, last: date) -> Iterator[Fact]:
        """The days from `first` to `last` that count, as facts."""
        for ordinal in range(first.toordinal(), last.toordinal() + 1):
            day = date.fromordinal(ordinal)
            if self._feature.every == "month_end" and day.day != calendar.monthrange(day.year, day.month)[1]:
                continue
            value = self._value_of(entity, day)
            if value is None:
                continue
            if self._days_where and self._days_where.value({"value": value, "day": day}) is not True:
                continue
            at = start_of_day(day, self._moment.zone)
            yield Fact(at, (at,), value)

    def _value_of(self, entity: str, day: date) -> Any:
        if (entity, day) not in self._known:
            rows = self._holding(entity, day)
            moment = self._moment.of_day(day)
            answers: dict[str, Any] = {name: part.answer(rows, moment) for name, part in self._parts.items()}
            self._known[entity, day] = self._value.value(answers | {"day": day})
        return self._known[entity, day]

    def _holding(self, entity: str, day: date) -> list[tuple[Fact, Row]]:
        """The rows that count on a day, oldest first."""
        feature, zone, end = self._feature, self._moment.zone, self._moment.end_of(day)
        found: list[tuple[Any, Fact, Row]] = []
        for row in self._facts.of(entity, end):
            told = _values({"from": feature.from_, "until": feature.until, "where": feature.where}, row, self._facts)
            told |= _values({"per": feature.newest_per, "day": None}, row, self._facts)
            if "where" in told and told["where"] is not True:
                continue
            since = told.get("from", row.event)
            if since is None or not self._counts(instant(since, zone), told, day, end):
                continue
            found.append((told.get("per"), Fact(row.event, row.order), row))
        if feature.newest_per:
            kept = newest_of_each([(per, fact) for per, fact, _ in found])
            found = [one for one in found if any(one[1] is fact for fact in kept)]
        return sorted(((fact, row) for _, fact, row in found), key=lambda pair: pair[0].order)

    def _counts(self, since: datetime, told: Mapping[str, Any], day: date, end: datetime) -> bool:
        if self._feature.within is None:
            return holds(told | {"from": since}, end, self._moment.zone)
        start, stop = self._moment.of_day(day).span(self._feature.within)
        return start <= since < stop


def _values(texts: Mapping[str, str | None], row: Row, facts: Facts) -> dict[str, Any]:
    return {name: facts.expression(text).value(row.values) for name, text in texts.items() if text is not None}


def _split(value: str, facts: Facts) -> tuple[dict[str, _Part], str]:
    """The operations inside `value`, and `value` with their names in their places."""
    parts: dict[str, _Part] = {}
    text, place = "", 0
    for match in _CALL.finditer(value):
        if match.start() < place or match[1] not in OPERATIONS:
            continue
        close, arguments = _arguments(value, match.end())
        of, weight = (*(facts.expression(argument) for argument in arguments), None, None)[:2]
        name = f"part_{len(parts)}"
        parts[name] = _Part(match[1], of, weight)
        text, place = text + value[place : match.start()] + name, close + 1
    return parts, text + value[place:]


def _arguments(text: str, start: int) -> tuple[int, list[str]]:
    """Where the parenthesis that opened before `start` closes, and the arguments between, split at their commas."""
    depth, quoted, found = 1, False, [""]
    for place in range(start, len(text)):
        letter = text[place]
        quoted ^= letter == "'"
        if not quoted:
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return place, [argument for argument in found if argument.strip() not in ("", "*")]
            if letter == "," and depth == 1:
                found.append("")
                continue
        found[-1] += letter
    raise ValueError(f"{text}: a parenthesis is not closed")
