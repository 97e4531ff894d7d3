"""Aggregates and states: which facts a feature counts, and its columns.

- `where` must be true; null isn't. Facts whose `of` or weight is null are ignored, by streak and `newest_per` too.
- `any`, `all` without `of` judge `where` over all facts; with neither, every fact is true.
- `at`, `from`, `until` of a date type mean the start of that local day. A null `at` is in no window; a null `from` doesn't hold, a
  null `until` goes on. Without `from` a fact holds from the start. A state's facts count at their event time.
- Without windows: all at < T; no suffix. The listed lags are the columns (none listed: unlagged).
- Ties of time are broken by (at, known time, key in its declared type).
- `by` adds a column for each declared value (`other`: null, or not declared) beside the one over all; `map` adds one JSON
  object of the values that have facts (lists and maps inside it are JSON, too). What isn't text is compared, and written, as text. Null is no key of a map.
- `newest_per` looks at the facts that count in the window, before they are told apart `by` anything; facts without a value of it don't
  count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conf.naming import column_name
from conf.specs import Aggregate, State
from tests.oracle.inputs import Facts
from tests.oracle.ledger import Row
from tests.oracle.moment import Moment
from tests.oracle.operations import Fact, Seen, newest_of_each, operation
from tests.oracle.sql import Expression
from tests.oracle.values import OracleError, instant, json_text, key_text, null_first, text_of

Feature = Aggregate | State


@dataclass(frozen=True)
class Column:
    """One column of a group: its value by entity."""

    name: str
    type: str
    published: bool
    value: Callable[[str], Any]


@dataclass(frozen=True)
class _Given:
    """What a feature knows of one row: the fact it makes, and its value of `newest_per` and of each `by`."""

    fact: Fact
    newest_per: Any
    by: Mapping[str, Any]


class Aggregated:
    """The columns of one aggregate or state."""

    def __init__(self, feature: Feature, facts: Facts, moment: Moment) -> None:
        self._feature, self._facts, self._moment = feature, facts, moment
        where, of = feature.where, feature.of
        if feature.op in ("any", "all") and of is None:
            where, of = None, feature.where or "true"
        self._at = feature.at if isinstance(feature, Aggregate) else None
        self._where, self._of = self._expression(where), self._expression(of)
        self._type = self._of.type if self._of else None
        self._operation, self._result = operation(feature.op, self._type, feature.parameters)
        self._given: dict[str, list[_Given]] = {}
        if feature.newest_per and self._operation.looks_back:
            raise OracleError(f"{feature.name}: '{feature.op}' looks back at facts that `newest_per` may leave out")

    def _expression(self, text: str | None) -> Expression | None:
        return None if text is None else self._facts.expression(text)

    def columns(self) -> Iterator[Column]:
        feature = self._feature
        windows = feature.windows if isinstance(feature, Aggregate) else ()
        lags = feature.lag if isinstance(feature, Aggregate) else ()
        ahead = isinstance(feature, Aggregate) and feature.ahead
        for words, kind, compute in self._pivots():
            for window in windows or (None,):
                for lag in lags or (0,):
                    span = self._moment.span(window, lag=lag, ahead=ahead)
                    yield Column(
                        column_name(feature.name, by_value=words, window=window, lag_days=lag),
                        kind,
                        not feature.internal,
                        lambda entity, compute=compute, span=span: compute(entity, *span),
                    )

    def _pivots(self) -> Iterator[tuple[str | None, str, Callable[..., Any]]]:
        """The value in a column's name, the column's type, and what it is of an entity in a span."""
        yield None, self._result, lambda entity, start, end: self._answer(entity, start, end, lambda given: True)
        for column, values in self._feature.by.items():
            if values == "map":
                yield f"by_{column}", "string", lambda entity, start, end, by=column: self._map(entity, by, start, end)
                continue
            named = [value for value in values if value != "other"]

            def pivot(entity: str, start: Any, end: Any, by: str = column, named: Sequence[str] = named, word: str = "") -> Any:
                return self._answer(entity, start, end, lambda given: _bucket(given.by[by], named) == word)

            for word in values:
                yield (
                    f"{column}_{word}",
                    self._result,
                    lambda entity, start, end, p=pivot, word=word: p(entity, start, end, word=word),
                )

    def _map(self, entity: str, by: str, start: Any, end: Any) -> str:
        found = {}
        for word in {given.by[by] for given in self._inside(entity, start, end) if given.by[by] is not None}:
            answer = self._answer(entity, start, end, lambda given, word=word: given.by[by] == word)
            found[key_text(word)] = json.loads(answer) if self._operation.gives == "json" and answer is not None else answer
        return json_text(found)

    def _answer(self, entity: str, start: Any, end: Any, chosen: Callable[[_Given], bool]) -> Any:
        facts = sorted((one.fact for one in self._inside(entity, start, end) if chosen(one)), key=lambda fact: fact.order)
        earlier = (one.fact for one in self._of_entity(entity) if one.fact.at < start and chosen(one))
        before = sorted(earlier, key=lambda fact: fact.order)
        return self._operation.answer(Seen(facts, before, self._type, self._feature.parameters, self._moment))

    def _inside(self, entity: str, start: Any, end: Any) -> list[_Given]:
        """What counts in a window; of each value of `newest_per` only the newest."""
        inside = [one for one in self._of_entity(entity) if start <= one.fact.at < end]
        if not self._feature.newest_per:
            return inside
        kept = {id(fact) for fact in newest_of_each([(one.newest_per, one.fact) for one in inside])}
        return [one for one in inside if id(one.fact) in kept]

    def _of_entity(self, entity: str) -> list[_Given]:
        if entity not in self._given:
            self._given[entity] = [given for row in self._facts.of(entity) for given in self._of_row(row)]
        return self._given[entity]

    def _of_row(self, row: Row) -> Iterator[_Given]:
        """What the feature counts of a row: nothing where it doesn't hold at T, `where` isn't true or a value is null."""
        feature, cutoff, zone = self._feature, self._moment.cutoff, self._moment.zone
        told = {name: self._expression(text) for name, text in (("from", feature.from_), ("until", feature.until)) if text}
        if not holds({name: expression.value(row.values) for name, expression in told.items()}, cutoff, zone):
            return
        if self._where and self._where.value(row.values) is not True:
            return
        value = self._of.value(row.values) if self._of else None
        weight = self._expression(feature.weight).value(row.values) if feature.weight else None
        if (self._of and value is None) or (feature.weight and weight is None):
            return
        at = row.event if self._at is None else self._expression(self._at).value(row.values)
        if at is None:
            return
        at = instant(at, zone)
        by = {name: self._expression(name).value(row.values) for name in feature.by}
        newest_per = self._expression(feature.newest_per).value(row.values) if feature.newest_per else None
        if feature.newest_per and newest_per is None:
            return
        order = (at, row.known, *(null_first(part) for part in row.key))
        yield _Given(Fact(at, order, value, weight), newest_per, by)


def holds(found: Mapping[str, Any], moment: Any, zone: str) -> bool:
    """Whether what is found of `from` and `until` holds at a moment: `from` < it, and not `until` < it."""
    if "from" in found and (found["from"] is None or instant(found["from"], zone) >= moment):
        return False
    return found.get("until") is None or instant(found["until"], zone) >= moment


def _bucket(value: Any, named: Sequence[str]) -> str:
    return text_of(value) if value is not None and text_of(value) in named else "other"
