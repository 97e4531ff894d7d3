"""Any column of a group, derived ones too, made again from the curated rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from conf.catalogue import Catalogue
from conf.errors import UsageError, did_you_mean
from conf.expressions import Expression, parse
from conf.naming import column_name
from conf.specs import ColumnType, Daily, Derived, FeatureGroup, Input, ScorePart
from conf.windows import Window
from transforms.by_hand.daily import DailyValue, DaysSeen
from transforms.by_hand.evidence import Evidence, Explained
from transforms.by_hand.features import WindowFeature, explain_window, window_features
from transforms.by_hand.inputs import InputReader
from transforms.by_hand.moments import Moment
from transforms.by_hand.operations import answer_type
from transforms.by_hand.rows import Ledgers, evaluate

OF_THE_ROW: Mapping[str, ColumnType] = {"as_of": "date", "cut_off": "timestamp", "has_history": "boolean"}


@dataclass(frozen=True)
class DerivedFeature:
    """One column of a derived feature: one window, or one value of `one_hot`."""

    spec: Derived
    window: Window | None = None
    value: str | None = None

    def text(self, written: str) -> str:
        return written.replace("{w}", str(self.window)) if self.window else written


def derived_features(group: FeatureGroup) -> Iterator[tuple[str, DerivedFeature]]:
    """Every derived column of a group, by its name."""
    for spec in group.derived:
        for window in spec.windows or (None,):
            for value in spec.values if spec.one_hot else (None,):
                yield column_name(spec.name, by_value=value, window=window), DerivedFeature(spec, window, value)


@dataclass
class Explainer:
    """Makes numbers of one entity again; what was made once is not made twice."""

    catalogue: Catalogue
    ledgers: Ledgers
    entity: str
    moment: Moment
    _made: dict[tuple[str, str], Explained] = field(default_factory=dict)
    _readers: dict[int, InputReader] = field(default_factory=dict)
    _days: DaysSeen = field(default_factory=dict)

    def explain(self, group: FeatureGroup, column: str) -> Explained:
        """A column as it is published: null where the group's consent is missing. Raises UsageError for an unknown column."""
        found = self._column(group, column)
        if group.blank_unless is None or column == group.blank_unless:
            return found
        owner, name = self.owner(group, group.blank_unless)
        consent = self._column(owner, name)
        if consent.value is True:
            return found
        told = {True: "true", False: "false", None: "null"}[consent.value]
        parts = (*found.parts, consent)
        return replace(found, value=None, parts=parts, note=f"blank: {name} is {told}, and would else be {found.value}")

    def on_spine(self, group: FeatureGroup) -> Explained:
        """Whether the entity gets a row of a group: it does when any row of the group's spine counts."""
        item = next((item for item in group.inputs if item.source == group.spine and item.entity), None)
        own = Input(source=str(group.spine))
        reader = self._new_reader(group, own)
        if group.record_identifier not in reader.own_types and item is not None:
            reader = self._new_reader(group, item)
        rows = reader.rows(self.entity, known_at=self.moment.cut_off, moment=self.moment.cut_off)
        evidence = [
            Evidence.of(row.origin, row.source, at=row.values["_event_time"], value=None, reason=row.reason) for row in rows
        ]
        is_there = any(row.counted for row in evidence)
        return Explained(f"on the spine of {group.name}", f"any row of {group.spine}", "boolean", is_there, evidence)

    def _column(self, group: FeatureGroup, column: str) -> Explained:
        place = (group.name, column)
        if place not in self._made:
            self._made[place] = self._make(group, column)
        return self._made[place]

    def _make(self, group: FeatureGroup, column: str) -> Explained:
        windows, derived = dict(window_features(group)), dict(derived_features(group))
        if column in windows:
            return self._from_rows(group, column, windows[column])
        if column in derived:
            return self._derive(group, column, derived[column])
        known = [*windows, *derived]
        raise UsageError(
            f"{group.name} has no feature '{column}'{did_you_mean(column, known)}; etr features {group.name} lists them"
        )

    def owner(self, group: FeatureGroup, name: str) -> tuple[FeatureGroup, str]:
        """The group that has a column, and its name there."""
        prefix, dot, rest = name.partition(".")
        if dot:
            return self.catalogue.groups[prefix], rest
        for other in [group, *self.catalogue.groups.values()]:
            if other.record_identifier == group.record_identifier and name in columns_of(other):
                return other, name
        raise UsageError(f"{group.name} has no column '{name}', nor has another group of {group.record_identifier}")

    def _reader(self, group: FeatureGroup, feature: WindowFeature) -> InputReader:
        place = id(feature.item)
        if place not in self._readers:
            self._readers[place] = self._new_reader(group, feature.item)
        return self._readers[place]

    def _new_reader(self, group: FeatureGroup, item: Input) -> InputReader:
        return InputReader(self.catalogue, group, item, self.moment.zone, self.ledgers, self.moment.name)

    def _from_rows(self, group: FeatureGroup, column: str, feature: WindowFeature) -> Explained:
        value, evidence, points = explain_window(feature, self._reader(group, feature), self.entity, self.moment, self._days)
        return Explained(column, "", self.type_of(group, column), value, evidence, points)

    def _has_history(self, group: FeatureGroup) -> bool:
        readers = (self._new_reader(group, item) for item in group.inputs)
        at = self.moment.cut_off
        return any(not row.reason for reader in readers for row in reader.rows(self.entity, known_at=at, moment=at))

    def _derive(self, group: FeatureGroup, column: str, feature: DerivedFeature) -> Explained:
        types = _Nameable(self, group)
        expressions = {text: parse(text, types, zone=self.moment.zone) for text in _texts(feature)}
        names = sorted(set().union(*(expression.columns for expression in expressions.values())))
        row: dict[str, Any] = {"as_of": self.moment.as_of, "cut_off": self.moment.cut_off}
        if "has_history" in names:
            row["has_history"] = self._has_history(group)
        parts = {name: self._column(*self.owner(group, name)) for name in names if name not in OF_THE_ROW}
        row |= {name: part.value for name, part in parts.items()}
        told = _evaluate(expressions, row, types)
        definition = "; ".join(_texts(feature))
        return Explained(column, definition, self.type_of(group, column), _form(feature, told), parts=tuple(parts.values()))

    def type_of(self, group: FeatureGroup, column: str) -> ColumnType:
        """The type of a column of a group. Raises KeyError for one that isn't there."""
        found = columns_of(group)[column]
        if isinstance(found, DerivedFeature):
            if found.spec.expr is None:
                return "string" if found.spec.segment else "integer"
            return parse(found.text(found.spec.expr), _Nameable(self, group), zone=self.moment.zone).type
        spec, reader = found.spec, self._reader(group, found)
        if isinstance(spec, Daily):
            return answer_type(spec.op, DailyValue(spec, reader, {}).expression.type)
        if "map" in spec.by.values():
            return "string"
        return answer_type(spec.op, reader.expression(spec.of).type if spec.of else None)


class _Nameable(Mapping[str, ColumnType]):
    """What a derived column may name: the row's own, the group's columns, and those of other groups of the same entity."""

    def __init__(self, explainer: Explainer, group: FeatureGroup) -> None:
        self._explainer = explainer
        self._group = group

    def __getitem__(self, name: str) -> ColumnType:
        if name in OF_THE_ROW:
            return OF_THE_ROW[name]
        try:
            return self._explainer.type_of(*self._explainer.owner(self._group, name))
        except UsageError as problem:
            raise KeyError(name) from problem

    def __iter__(self) -> Iterator[str]:
        yield from OF_THE_ROW
        yield from columns_of(self._group)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def columns_of(group: FeatureGroup) -> Mapping[str, WindowFeature | DerivedFeature]:
    """Every column of a group by its name."""
    return dict(window_features(group)) | dict(derived_features(group))


def _texts(feature: DerivedFeature) -> list[str]:
    """Every expression that a derived column names, in order."""
    spec = feature.spec
    texts = [text for text in (spec.expr, spec.one_hot, spec.label) if text]
    texts += [band.when for band in spec.segment if band.when]
    texts += [part.of for part in spec.score.parts] if spec.score else []
    return [feature.text(text) for text in texts]


def _evaluate(expressions: Mapping[str, Expression], row: Mapping[str, Any], types: Mapping[str, ColumnType]) -> dict[str, Any]:
    numbered = {f"e{number}": expression for number, expression in enumerate(expressions.values())}
    told = evaluate(numbered, [dict(row)], types)[0]
    return dict(zip(expressions, told.values(), strict=True))


def _form(feature: DerivedFeature, told: Mapping[str, Any]) -> Any:
    """The column's value from those of its expressions."""
    spec = feature.spec
    if spec.expr:
        return told[feature.text(spec.expr)]
    if spec.segment:
        return next((band.name for band in spec.segment if band.when is None or told[feature.text(band.when)]), None)
    if spec.one_hot:
        found = told[feature.text(spec.one_hot)]
        return int(found not in spec.values if feature.value == "other" else found == feature.value)
    if spec.label:
        found = told[feature.text(spec.label)]
        return None if found is None else spec.values.index(found) + 1 if found in spec.values else 0
    assert spec.score is not None
    points = spec.score.base + sum(_points(part, told[feature.text(part.of)]) for part in spec.score.parts)
    return min(max(points, spec.score.minimum), spec.score.maximum)


def _points(part: ScorePart, value: Any) -> int:
    if value is None:
        return part.missing
    return next(band.points for band in part.bands if band.below is None or Decimal(value) < band.below)
