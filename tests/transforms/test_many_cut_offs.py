"""Many cut-offs at once, of every operation and kind of window, against each by itself and against the oracle's operations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.windows import Window
from tests.oracle.moment import Moment
from tests.oracle.operations import OPERATIONS as PLAIN
from tests.oracle.operations import Fact, Seen, newest_of_each
from tests.oracle.values import json_text, key_text
from tests.transforms.small import ZONE, values_of
from transforms import asked
from transforms.asked import Asked, answer_each
from transforms.calendar import FOREVER, cut_off, day_number, midnight
from transforms.kernel import Facts, Queries
from transforms.operations import OPERATIONS, Answer, build_operation
from transforms.timeline import Timeline

DAY, HOUR, MICROSECOND = timedelta(days=1), 3_600_000_000, timedelta(microseconds=1)
EPOCH, START = date(1970, 1, 1), datetime(1970, 1, 1, tzinfo=UTC)
PARAMETERS = {"n": "2", "q": "37.5", "edges": "-1, 0.015, 2", "half_life": "5", "within": "3", "high": "0.02", "low": "0"}
TYPES = ("integer", "money", "number", "string", "boolean", "date", "timestamp")


@dataclass(frozen=True)
class Row:
    """A fact; since and until when it counts; what it says (a number, of which each type has its own reading)."""

    entity: int
    at: int
    valid_from: int
    valid_until: int
    value: int | None
    weight: int | None
    account: str | None

    def counts(self, moment: int) -> bool:
        return self.valid_from <= moment < self.valid_until


def _frequency(seen: Seen) -> str:
    weights: dict[str, Any] = {}
    for fact in seen.facts:
        key = key_text(fact.value)
        weights[key] = weights.get(key, 0) + (1 if fact.weight is None else fact.weight)
    return json_text(weights)


ANSWERS = {"frequency": _frequency} | {op: plain.answer for op, plain in PLAIN.items()}


def in_kernel(type_: str, number: int | None) -> Any:
    if number is None:
        return None
    return {"number": number / 3, "string": f"é{number}", "boolean": number > 0}.get(type_, number)


def in_python(type_: str, cell: Any) -> Any:
    if cell is None:
        return None
    readings = {
        "money": lambda: Decimal(cell).scaleb(-2),
        "date": lambda: EPOCH + DAY * cell,
        "timestamp": lambda: START + MICROSECOND * cell,
    }
    return readings.get(type_, lambda: cell)()


def facts_of(rows: Sequence[Row]) -> Facts:
    columns = ([getattr(row, name) for row in rows] for name in ("entity", "at", "valid_from", "valid_until"))
    values = {type_: values_of(type_, *(in_kernel(type_, row.value) for row in rows)) for type_ in TYPES}
    values["weight"] = values_of("money", *(row.weight for row in rows))
    values["account"] = values_of("string", *(row.account for row in rows))
    return Facts(*(np.array(column, dtype=np.int64) for column in columns), values)


@dataclass(frozen=True)
class Question:
    """An operation on the values of a type over a window."""

    op: str
    type: str
    window: Window
    lag: int
    ahead: bool
    weighted: bool
    newest: bool
    mapped: bool

    @property
    def given(self) -> dict[str, str]:
        return {name: PARAMETERS[name] for name in OPERATIONS[self.op].parameters}

    def of_engine(self, facts: Facts, queries: Queries, zone: str, *, once: bool = False) -> list[Any]:
        """`once`: of queries that see the same only one is answered."""
        timeline = Timeline(facts, queries, zone)
        values = timeline.facts.values
        operation = build_operation(self.op, self.given)
        account, weights = values["account"], values["weight"] if self.weighted else None
        counts = values[self.type].present & (weights.present if weights else True)
        newest = replace(account, present=account.present & counts) if self.newest else None  # null of facts that don't count
        selection = timeline.select(self.window, lag=self.lag, ahead=self.ahead)
        place = np.arange(len(queries))
        if once:
            selection, place = selection.each_once(lambda: timeline.knowledge)
        [answer] = answer_each(
            selection, [Asked(operation, values[self.type], weights, newest, account if self.mapped else None)]
        )
        answer = answer.take(place)
        type_ = "string" if self.mapped else operation.type_of(self.type)
        return read(answer, type_, values[self.type].words)

    def plainly(self, rows: Sequence[Row], moment: Moment) -> Any:
        at = round((moment.cutoff - START) / MICROSECOND)
        start, end = moment.span(self.window, lag=self.lag, ahead=self.ahead)
        known = list(self._known(rows, at))
        inside = [(account, fact) for account, fact in known if start <= fact.at < end]
        before = [(account, fact) for account, fact in known if fact.at < start]
        if self.newest:
            newest = newest_of_each(inside)
            inside = [(account, fact) for account, fact in inside if any(fact is one for one in newest)]
        if not self.mapped:
            return self._answer(inside, before, moment)
        accounts = {account for account, _ in inside if account is not None}
        parts = {
            account: self._answer(*([one for one in facts if one[0] == account] for facts in (inside, before)), moment)
            for account in accounts
        }
        as_is = OPERATIONS[self.op].gives_json
        return json_text({key: json.loads(part) if as_is and part else part for key, part in parts.items()})

    def _known(self, rows: Sequence[Row], at: int) -> Iterator[tuple[str | None, Fact]]:
        for place, row in enumerate(rows):
            if row.counts(at) and row.value is not None and not (self.weighted and row.weight is None):
                weight = Decimal(row.weight or 0).scaleb(-2) if self.weighted else None
                value = in_python(self.type, in_kernel(self.type, row.value))
                yield row.account, Fact(START + MICROSECOND * row.at, (row.at, place), value, weight)

    def _answer(self, inside: Sequence[tuple[Any, Fact]], before: Sequence[tuple[Any, Fact]], moment: Moment) -> Any:
        facts, earlier = [fact for _, fact in inside], [fact for _, fact in before]
        return ANSWERS[self.op](Seen(facts, earlier, self.type, self.given, moment))


def read(answer: Answer, type_: str, words: Sequence[str]) -> list[Any]:
    if type_ == "string":
        words = words if answer.words is None else answer.words
        cells = [words[cell] if there else None for cell, there in zip(answer.data.tolist(), answer.present, strict=True)]
    else:
        cells = [in_python(type_, cell) for cell in answer.data.tolist()]
    return [cell if there else None for cell, there in zip(cells, answer.present, strict=True)]


def near(actual: Any, expected: Any) -> bool:
    """Equal; numbers to within rounding, inside JSON too."""
    if isinstance(expected, str) and isinstance(actual, str) and expected[:1] in ("{", "["):
        actual, expected = json.loads(actual), json.loads(expected)
        if isinstance(expected, dict) and isinstance(actual, dict):
            return list(actual) == list(expected) and all(near(actual[key], expected[key]) for key in expected)
    if isinstance(expected, float) and isinstance(actual, float):
        return actual == pytest.approx(expected, rel=1e-9, abs=1e-9)
    return type(actual) is type(expected) and bool(actual == expected)


DAYS = st.integers(0, 14)
MOMENTS = st.tuples(DAYS, st.sampled_from((-1, 0, 0, 1, 11 * HOUR)))
WINDOWS = st.sampled_from([Window.parse(text) for text in ("1d", "3d", "8d", "1mo", "2mo", "mtd", "life")])


@st.composite
def rows_in(draw: st.DrawFn, zone: str, start: date) -> list[Row]:
    """Facts on the edges of days, with ties: known late or at once, amended, or ahead of what is known of them."""

    def instant(moment: tuple[int, int]) -> int:
        return midnight(start + DAY * moment[0], zone) + moment[1]

    rows = []
    for _ in range(draw(st.integers(0, 12))):
        at = instant(draw(MOMENTS))
        known, amended = draw(st.one_of(st.none(), st.none(), MOMENTS)), draw(st.one_of(st.none(), st.none(), MOMENTS))
        rows.append(
            Row(
                draw(st.sampled_from((0, 0, 2))), at, at + 1 if known is None else instant(known),
                int(FOREVER) if amended is None else instant(amended), draw(st.sampled_from((None, -2, -1, 0, 1, 2, 3))),
                draw(st.sampled_from((None, 0, 1, 2, 5))), draw(st.sampled_from((None, "b", "a", "c"))),
            )
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row.entity, row.at))


@st.composite
def questions(draw: st.DrawFn, op: str) -> Question:
    kind = OPERATIONS[op]
    type_ = draw(st.sampled_from(sorted(kind.takes)))
    ahead = draw(st.sampled_from((False, False, False, True)))
    window = draw(st.sampled_from([Window.parse("1d"), Window.parse("3d")])) if ahead else draw(WINDOWS)
    weighted = kind.weighs and draw(st.booleans())
    newest = not kind.looks_back and draw(st.sampled_from((False, False, True)))
    return Question(
        op, type_, window, 0 if ahead else draw(st.sampled_from((0, 0, 2))), ahead, weighted, newest, draw(st.sampled_from((False, False, True)))
    )  # fmt: skip


HISTORIES = [(ZONE, date(2025, 6, 20)), ("America/New_York", date(2025, 3, 2)), ("Australia/Lord_Howe", date(2025, 3, 28))]


@pytest.mark.parametrize("op", sorted(OPERATIONS))
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_together_as_alone_and_as_said_plainly(op, data):
    zone, start = data.draw(st.sampled_from(HISTORIES))
    rows = data.draw(rows_in(zone, start))
    question = data.draw(questions(op))
    days = [start + DAY * number for number in sorted(data.draw(st.sets(DAYS, min_size=1, max_size=6)))]
    asked_of = [(entity, day_number(day), cut_off(day, zone)) for entity in (0, 1, 2) for day in days]
    queries = Queries(*(np.array(column, dtype=np.int64) for column in zip(*asked_of, strict=True)))
    if data.draw(st.sampled_from((False, False, True))):
        queries = Queries(queries.entity, queries.as_of, queries.cut_off - data.draw(st.sampled_from((0, 1, 13 * HOUR))), "event")
    facts = facts_of(rows)
    together = question.of_engine(facts, queries, zone)
    alone = [question.of_engine(facts, queries.slice(number, number + 1), zone)[0] for number in range(len(queries))]
    assert together == alone
    if queries.grain == "day" and not question.ahead and not OPERATIONS[op].ages:
        assert question.of_engine(facts, queries, zone, once=True) == together
    looks, asked.MAXIMUM_LOOKS = asked.MAXIMUM_LOOKS, 2
    try:
        assert question.of_engine(facts, queries, zone) == together
    finally:
        asked.MAXIMUM_LOOKS = looks
    for number, actual in enumerate(together):
        as_of, at = EPOCH + DAY * int(queries.as_of[number]), START + MICROSECOND * int(queries.cut_off[number])
        moment = Moment(as_of, zone, at if queries.grain == "event" else None)
        expected = question.plainly([row for row in rows if row.entity == queries.entity[number]], moment)
        assert near(actual, expected), (number, actual, expected)
