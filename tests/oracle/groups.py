"""A group's answer: its spine, its columns, and what a withdrawn consent blanks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from conf.specs import FeatureGroup, Source
from tests.oracle.aggregates import Aggregated, Column
from tests.oracle.daily import DailyValues
from tests.oracle.derived import derived_columns
from tests.oracle.inputs import Facts
from tests.oracle.ledger import Ledger, Rows
from tests.oracle.moment import Moment
from tests.oracle.values import OracleError, text_of

Answer = dict[str, dict[str, object]]


def answer(
    group: FeatureGroup,
    sources: Mapping[str, Source],
    rows: Rows,
    *,
    as_of: date,
    zone: str = "Asia/Kuala_Lumpur",
    groups: Mapping[str, FeatureGroup] | None = None,
    now: datetime | None = None,
) -> Answer:
    """The published features and `has_history` of every entity of the spine, by entity and column.

    `groups`: others whose columns this one may name. `now`: in hindsight, with what is known by then.
    """
    return _Book(sources, rows, Moment(as_of, zone, now=now), {**(groups or {}), group.name: group}).answer(group)


def answer_event(
    group: FeatureGroup,
    sources: Mapping[str, Source],
    rows: Rows,
    *,
    at: datetime,
    zone: str = "Asia/Kuala_Lumpur",
    groups: Mapping[str, FeatureGroup] | None = None,
) -> Answer:
    """The same at a cut-off to the microsecond (grain event)."""
    return _Book(sources, rows, Moment.of_event(at, zone), {**(groups or {}), group.name: group}).answer(group)


def column_types(group: FeatureGroup, sources: Mapping[str, Source]) -> dict[str, str]:
    """The type of each column of a group, internal ones too."""
    return _Group(group, _Book(sources, {}, Moment(date(2025, 1, 1), "UTC"), {group.name: group})).types()


class _Book:
    """All groups that may be named, each made when it is first asked for."""

    def __init__(self, sources: Mapping[str, Source], rows: Rows, moment: Moment, groups: Mapping[str, FeatureGroup]) -> None:
        self.moment, self.ledger = moment, Ledger(sources, rows, moment)
        self._groups, self._made = groups, dict[str, _Group]()

    def answer(self, group: FeatureGroup) -> Answer:
        return self._group(group).answer()

    def _group(self, group: FeatureGroup) -> _Group:
        if group.name not in self._made:
            self._made[group.name] = _Group(group, self)
        return self._made[group.name]

    def others(self, of: FeatureGroup) -> list[_Group]:
        same = [group for group in self._groups.values() if group.record_identifier == of.record_identifier]
        return [self._group(group) for group in same if group.name != of.name]


class _Group:
    def __init__(self, group: FeatureGroup, book: _Book) -> None:
        self._group, self._book = group, book
        self._inputs = [Facts(item, group.record_identifier, book.ledger) for item in group.inputs]
        self._columns: dict[str, Column] = {}
        self._makers: dict[str, Callable[[], Column]] = {}
        self._making: list[str] = []
        for item, facts in zip(group.inputs, self._inputs, strict=True):
            for feature in (*item.aggregates, *item.states):
                self._add(Aggregated(feature, facts, book.moment))
            for daily in item.daily:
                self._add(DailyValues(daily, facts, book.moment))
        for derived in group.derived:
            self._makers |= dict(derived_columns(derived, self.find, book.moment.zone))

    def _add(self, feature: Aggregated | DailyValues) -> None:
        for column in feature.columns():
            self._columns[column.name] = _remembered(column)

    def answer(self) -> Answer:
        columns = [*self._columns.values(), *(self.own(name) for name in self._makers)]
        published = [column for column in dict.fromkeys(columns) if column.published]
        found: Answer = {}
        for entity in self._spine():
            values = {column.name: column.value(entity) for column in published}
            if self._group.blank_unless and self.find(self._group.blank_unless).value(entity) is not True:
                values = {name: value if name == self._group.blank_unless else None for name, value in values.items()}
            found[entity] = {"has_history": self._has_history(entity), **values}
        return found

    def types(self) -> dict[str, str]:
        return {column.name: column.type for column in (self.own(name) for name in [*self._columns, *self._makers])}

    def has(self, name: str) -> bool:
        return name in self._columns or name in self._makers

    def own(self, name: str) -> Column:
        """A column of this group."""
        if name not in self._columns:
            if name in self._making:
                raise OracleError(f"{self._group.name}.{name} is made from itself")
            self._making.append(name)
            self._columns[name] = _remembered(self._makers[name]())
            self._making.remove(name)
        return self._columns[name]

    def find(self, name: str) -> Column:
        """A column that an expression of this group names."""
        group, _, plain = name.rpartition(".")
        if name == "as_of":
            return Column(name, "date", False, lambda entity: self._book.moment.as_of)
        if name == "cut_off":
            return Column(name, "timestamp", False, lambda entity: self._book.moment.cutoff)
        if name == "has_history":
            return Column(name, "boolean", False, self._has_history)
        if not group and self.has(name):
            return self.own(name)
        others = [other for other in self._book.others(self._group) if other.has(plain) and group in ("", other.name)]
        if len(others) != 1:
            raise OracleError(f"{self._group.name}: {len(others)} columns are called '{name}'")
        return others[0].own(plain)

    @property
    def name(self) -> str:
        return self._group.name

    def _has_history(self, entity: str) -> bool:
        return any(facts.of(entity) for facts in self._inputs)

    def _spine(self) -> list[str]:
        """Who gets a row: the spine's record identifiers; where it has no such column, whom an input says its rows belong to."""
        spine, identifier = self._group.spine, self._group.record_identifier
        if identifier in self._book.ledger.types(spine):
            entities = {row.values[identifier] for row in self._book.ledger.at(spine)}
            return sorted(text_of(entity) for entity in entities if entity is not None)
        inputs = zip(self._group.inputs, self._inputs, strict=True)
        return sorted({entity for item, facts in inputs if item.source == spine for entity in facts.entities()})


def _remembered(column: Column) -> Column:
    known: dict[str, Any] = {}

    def value(entity: str) -> Any:
        if entity not in known:
            known[entity] = column.value(entity)
        return known[entity]

    return Column(column.name, column.type, column.published, value)
