"""A rolled-up number made again from the rows of the day that are members, in plain Python, one after the other."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import zip_longest
from typing import Any, Protocol

from conf.catalogue import Catalogue
from conf.errors import UsageError
from conf.expressions import Expression, parse
from conf.specs import ColumnType, FeatureGroup, RollupColumn, RollupMembers
from transforms.by_hand.columns import Explainer
from transforms.by_hand.moments import Moment
from transforms.by_hand.rows import Row, evaluate, is_column


class DayRows(Protocol):
    """The snapshots of a day, a few rows or columns at a time."""

    def batches(self, group: str, columns: Sequence[str], only: tuple[str, str] | None) -> Iterator[list[Row]]:
        """Every row of a group, some columns of it, so many rows at a time; `only` those with that value in that column."""
        ...

    def rows(self, group: str, columns: Sequence[str], identifier: str, values: Collection[str]) -> list[Row]:
        """The rows with one of `values` as the identifier."""
        ...


@dataclass(frozen=True)
class Read:
    """A feature that a member's value is made from: `column` of the row of `identifier` in the day's snapshot of `group`."""

    group: str
    identifier: str
    column: str
    value: Any


@dataclass(frozen=True)
class Member:
    """A row of the day as a rolled-up number sees it. `reason`: why it does not count; empty when it does.

    `said`: what it says, of what the number names; `value`: what it adds; `read`: the features that it is made from, those of
    the value itself last.
    """

    group: str
    identifier: str
    said: Mapping[str, Any]
    value: Any
    reason: str
    read: tuple[Read, ...]

    @property
    def counted(self) -> bool:
        return not self.reason

    @property
    def kind(self) -> tuple[bool, bool, str]:
        """Its verdict, in order: members that count, of a share those first that meet its condition; others by the reason."""
        return not self.counted, self.value is False, self.reason


@dataclass(frozen=True)
class RolledUp:
    """A number made again from its members. `members`: by kind of verdict, then group and identifier."""

    column: str
    definition: str
    type: ColumnType
    value: Any
    members: Sequence[Member]

    def some(self, count: int) -> list[Member]:
        """So many members, of each kind of verdict in turn."""
        kinds: dict[tuple[bool, bool, str], list[Member]] = {}
        for member in self.members:
            kinds.setdefault(member.kind, []).append(member)
        in_turn = [member for members in zip_longest(*kinds.values()) for member in members if member is not None]
        return in_turn[:count]


@dataclass
class RollupExplainer:
    """Makes rolled-up numbers of one entity again from the rows of a day."""

    catalogue: Catalogue
    rows: DayRows
    group: FeatureGroup
    entity: str
    moment: Moment
    _types: dict[str, ColumnType] = field(default_factory=dict)
    _columns: dict[tuple[str, str], ColumnType] = field(default_factory=dict)

    def explain(self, column: str) -> RolledUp:
        """Raises UsageError for a column that isn't there."""
        assert self.group.rollup is not None
        spec = next((one for one in self.group.rollup.columns if one.name == column), None)
        if spec is None:
            raise UsageError(f"{self.group.name} has no feature '{column}'; etr features {self.group.name} lists them")
        types = _Said(self)
        expressions = {name: self._parse(text, types) for name, text in (("of", spec.of), ("where", spec.where)) if text}
        names = list(dict.fromkeys(name for told in reversed(expressions.values()) for name in sorted(told.columns)))
        found: list[tuple[str, str, Row, tuple[Read, ...]]] = []
        for members in self.group.rollup.members:
            found += self._members(members, names)
        told = evaluate(expressions, [said for _, _, said, _ in found], types)
        judged = [
            Member(group, identifier, said, *_judged(spec, values), read)
            for (group, identifier, said, read), values in zip(found, told, strict=True)
        ]
        type_ = expressions["of"].type if spec.of else None
        ordered = sorted(judged, key=lambda member: (member.kind, member.group, member.identifier))
        counted = [member.value for member in ordered if member.counted]
        asked = sum(1 for values in told if not spec.where or values["where"] is True)
        answer = _answer(spec, type_, counted, asked)
        return RolledUp(column, formula(spec), self.type_of(self.group, column), answer, ordered)

    def type_of(self, group: FeatureGroup, column: str) -> ColumnType:
        """The type of a column of a snapshot. Raises KeyError for one that it doesn't have."""
        place = (group.name, column)
        if place not in self._columns:
            self._columns[place] = self._type_of(group, column)
        return self._columns[place]

    def _type_of(self, group: FeatureGroup, column: str) -> ColumnType:
        if column in (group.record_identifier, "has_history"):
            return "string" if column == group.record_identifier else "boolean"
        if group.function:
            return group.columns[column].type
        if group.rollup is None:
            return Explainer(self.catalogue, _NoLedgers(), "", self.moment).type_of(group, column)
        spec = next((one for one in group.rollup.columns if one.name == column), None)
        if spec is None:
            raise KeyError(column)
        if spec.op in ("count", "share"):
            return "integer" if spec.op == "count" else "number"
        whole = self if group is self.group else RollupExplainer(self.catalogue, self.rows, group, "", self.moment)
        type_ = whole._parse(str(spec.of), _Said(whole)).type
        return "number" if spec.op == "mean" and type_ != "money" else type_

    def _parse(self, text: str, types: Mapping[str, ColumnType]) -> Expression:
        return parse(text, types, zone=self.moment.zone)

    def _members(self, spec: RollupMembers, names: Sequence[str]) -> Iterator[tuple[str, str, Row, tuple[Read, ...]]]:
        """The rows of one group that are members: its name, the identifier, what it says under `names`, and what that is from."""
        group, nameable = self.catalogue.groups[spec.group], _Nameable(self, spec)
        entity = self._parse(spec.entity, nameable)
        said = {name: self._parse(spec.columns[name], nameable) for name in names if name in spec.columns}
        used = dict.fromkeys(name for told in (entity, *said.values()) for name in sorted(told.columns))
        beside = {name: place for name in used if (place := nameable.place(name))[0] != spec.group}
        keys = {other: self._parse(spec.beside[other], nameable) for other, _ in beside.values()}
        used = dict.fromkeys([*(name for key in keys.values() for name in sorted(key.columns)), *used])
        identifier = group.record_identifier
        columns = list(dict.fromkeys([identifier, *(name for name in used if name not in beside)]))
        early = {name: place for name, place in beside.items() if name in entity.columns}
        plain = is_column(entity) and entity.type == "string" and not early
        for rows in self.rows.batches(spec.group, columns, (entity.text.strip('"'), self.entity) if plain else None):
            self._bring(early, keys, rows, nameable)
            told = evaluate({"entity": entity}, rows, nameable)
            mine = [row for row, verdict in zip(rows, told, strict=True) if _text(verdict["entity"]) == self.entity]
            self._bring({name: place for name, place in beside.items() if name not in early}, keys, mine, nameable)
            for row, values in zip(mine, evaluate(said, mine, nameable), strict=True):
                read = tuple(self._read(spec.group, row[identifier], row, {name: beside.get(name) for name in used}))
                yield spec.group, row[identifier], {name: values.get(name) for name in names}, read

    def _read(self, group: str, identifier: str, row: Row, places: Mapping[str, tuple[str, str] | None]) -> Iterator[Read]:
        """The features among what a row was read for, its own (of no place) and those of the rows beside it that are there."""
        for name, place in places.items():
            owner, column = place or (group, name)
            key = row[_row_of(owner)] if place else identifier
            if key is not None and column not in (self.catalogue.groups[owner].record_identifier, "has_history"):
                yield Read(owner, key, column, row[name])

    def _bring(
        self,
        beside: Mapping[str, tuple[str, str]],
        keys: Mapping[str, Expression],
        rows: Sequence[Row],
        nameable: Mapping[str, ColumnType],
    ) -> None:
        """Add to each row what the rows beside it say: by name, the group and the column of it; null where there is no row."""
        for group in sorted({group for group, _ in beside.values()}):
            names = {name: column for name, (owner, column) in beside.items() if owner == group}
            identifier = self.catalogue.groups[group].record_identifier
            whose = [_text(told["key"]) for told in evaluate({"key": keys[group]}, rows, nameable)]
            wanted = sorted({key for key in whose if key is not None})
            columns = list(dict.fromkeys([identifier, *names.values()]))
            there = {row[identifier]: row for row in self.rows.rows(group, columns, identifier, wanted)}
            for row, key in zip(rows, whose, strict=True):
                found = there.get(key)
                row |= {name: found[column] if found else None for name, column in names.items()}
                row[_row_of(group)] = key if found else None


class _Nameable(Mapping[str, ColumnType]):
    """The columns that expressions of some members may name: of the members' group, then of the rows beside."""

    def __init__(self, explainer: RollupExplainer, spec: RollupMembers) -> None:
        self._explainer, self._spec = explainer, spec

    def place(self, name: str) -> tuple[str, str]:
        """The group that has it, and the column's name there. Raises KeyError."""
        prefix, dot, rest = name.partition(".")
        candidates = [(prefix, rest)] if dot else [(group, name) for group in (self._spec.group, *self._spec.beside)]
        for group, column in candidates:
            try:
                self._explainer.type_of(self._explainer.catalogue.groups[group], column)
            except KeyError:
                continue
            return group, column
        raise KeyError(name)

    def __getitem__(self, name: str) -> ColumnType:
        group, column = self.place(name)
        return self._explainer.type_of(self._explainer.catalogue.groups[group], column)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Said(Mapping[str, ColumnType]):
    """What the members of a rollup say, each of the type that the first of them gives it."""

    def __init__(self, explainer: RollupExplainer) -> None:
        self._explainer = explainer

    def __getitem__(self, name: str) -> ColumnType:
        known, rollup = self._explainer._types, self._explainer.group.rollup
        assert rollup is not None
        if name not in known:
            spec = next((members for members in rollup.members if name in members.columns), None)
            if spec is None:
                raise KeyError(name)
            known[name] = self._explainer._parse(spec.columns[name], _Nameable(self._explainer, spec)).type
        return known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._explainer._types)

    def __len__(self) -> int:
        return len(self._explainer._types)


class _NoLedgers:
    """For types alone no row is read."""

    def rows(self, source: str, column: str, values: Collection[Any]) -> list[Row]:
        return []

    def all_rows(self, source: str) -> list[Row]:
        return []


def formula(spec: RollupColumn) -> str:
    """How a number is made, by the definition's words."""
    told = [*([spec.of] if spec.of else []), *([f"where {spec.where}"] if spec.where else [])]
    return f"{spec.op}({', '.join(told)}) of members"


def _judged(spec: RollupColumn, told: Mapping[str, Any]) -> tuple[Any, str]:
    """What a member adds, and why it doesn't count."""
    if spec.where and told["where"] is not True:
        return None, f"filtered: {'not' if told['where'] is False else 'unknown whether'} {spec.where}"
    if spec.op == "share":
        return told["of"] is True, ""
    if spec.of is None:
        return 1, ""
    if told["of"] is None:
        return None, f"of no use: {spec.of} is null"
    return told["of"], ""


def _answer(spec: RollupColumn, type_: ColumnType | None, counted: Sequence[Any], asked: int) -> Any:
    """The number, of the values that count; `asked`: of how many members it was asked."""
    match spec.op:
        case "count":
            return len(counted)
        case "share":
            return sum(counted) / len(counted) if counted else None
        case "min":
            return min(counted, default=None)
        case "max":
            return max(counted, default=None)
        case "sum":
            if not asked and spec.where:
                return {"money": Decimal(0), "number": 0.0}.get(str(type_), 0)
            return _within(type_, sum(counted)) if counted else None
        case "mean":
            return _mean(type_, counted)


def _mean(type_: ColumnType | None, counted: Sequence[Any]) -> Any:
    if not counted:
        return None
    if type_ != "money":
        return sum(counted) / len(counted)
    cents = abs(Fraction(sum(counted)) / len(counted)) * 100
    whole = int(cents) + (cents - int(cents) >= Fraction(1, 2))
    return Decimal(whole if sum(counted) >= 0 else -whole).scaleb(-2) if cents < 10**18 else None


def _within(type_: ColumnType | None, total: Any) -> Any:
    """A sum as its type holds it; null where it doesn't."""
    if type_ == "integer":
        return total if -(2**63) <= total < 2**63 else None
    if type_ == "money":
        return total if abs(total) < 10**26 else None
    return total if math.isfinite(total) else None


def _row_of(group: str) -> str:
    """Where a row keeps which row of a group lies beside it."""
    return f"_row_of_{group}"


def _text(value: Any) -> str | None:
    """An identifier as a snapshot has it."""
    return None if value is None else str(value)
